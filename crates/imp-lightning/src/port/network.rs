//! Bitcoin networks.

use std::fmt;

/// A Bitcoin network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The real one.
    Bitcoin,
    /// The third test network.
    Testnet,
    /// The signed test network.
    Signet,
    /// A private chain.
    Regtest,
}

impl Network {
    /// The network's name in configuration: `bitcoin`, `testnet`, `signet` or `regtest`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitcoin => "bitcoin",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// The network with this name; `mainnet` is another name of `bitcoin`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "bitcoin" | "mainnet" => Some(Self::Bitcoin),
            "testnet" => Some(Self::Testnet),
            "signet" => Some(Self::Signet),
            "regtest" => Some(Self::Regtest),
            _ => None,
        }
    }

    /// The hash of the network's first block, in the byte order of BOLT 0's `chain_hash`.
    pub fn genesis_hash(self) -> [u8; 32] {
        bitcoin::constants::ChainHash::using_genesis_block(bitcoin::Network::from(self)).to_bytes()
    }
}

impl From<Network> for bitcoin::Network {
    fn from(network: Network) -> Self {
        match network {
            Network::Bitcoin => Self::Bitcoin,
            Network::Testnet => Self::Testnet,
            Network::Signet => Self::Signet,
            Network::Regtest => Self::Regtest,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
