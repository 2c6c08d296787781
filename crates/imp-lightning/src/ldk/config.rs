//! How the embedded node is set up, and why it may not start.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use imp_core::id::NodeId;
use thiserror::Error;

use crate::port::Network;

/// What an embedded node is made of.
#[derive(Clone, Debug)]
pub struct LdkConfig {
    /// The network. The node's stored state belongs to one network.
    pub network: Network,
    /// Where the chain is looked at.
    pub chain: ChainSource,
    /// Where other nodes can connect; empty: nowhere.
    pub listen: Vec<SocketAddr>,
    /// Addresses to announce, `host:port`; empty: those of `listen`. Without `listen` and `alias` nothing is announced.
    pub announce: Vec<String>,
    /// Name of the node, at most 32 bytes. Channels are announced only by a node that has one and listens.
    pub alias: Option<String>,
    /// A directory for files of the Lightning library. With a [`BlobStore`](crate::blob::BlobStore) it stays empty.
    pub storage_dir: PathBuf,
    /// The seed (BIP 39, 64 bytes) of all keys.
    pub seed: Seed,
    /// Peers that are trusted to bring closing transactions onto the chain: no reserve is kept for channels with them.
    pub trusted_peers: Vec<NodeId>,
    /// On-chain reserve in satoshis for each channel with any other peer, which both ends must have to open one.
    /// [`LdkConfig::DEFAULT_RESERVE_SAT`] suits public networks.
    pub reserve_sat: u64,
}

impl LdkConfig {
    /// The usual on-chain reserve for a channel, in satoshis.
    pub const DEFAULT_RESERVE_SAT: u64 = 25_000;
}

/// The 64 bytes of a BIP 39 seed.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(pub [u8; 64]);

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(***)")
    }
}

/// Where the chain is looked at.
#[derive(Clone, PartialEq, Eq)]
pub enum ChainSource {
    /// The JSON-RPC of a bitcoind. Looked at every 2 seconds.
    Bitcoind {
        /// Host name or address.
        host: String,
        /// Port of the RPC.
        port: u16,
        /// User of the RPC.
        user: String,
        /// The user's password.
        password: String,
    },
    /// An Esplora server. Looked at every 30 to 80 seconds. Not tested live.
    Esplora {
        /// Its address, `https://host/path`.
        url: String,
    },
    /// An Electrum server. Looked at every 30 to 80 seconds. Not tested live.
    Electrum {
        /// Its address, `tcp://host:port` or `ssl://host:port`.
        url: String,
    },
}

impl ChainSource {
    /// The source's address without passwords.
    pub fn url(&self) -> String {
        match self {
            Self::Bitcoind { host, port, .. } => format!("http://{host}:{port}"),
            Self::Esplora { url } | Self::Electrum { url } => without_user(url),
        }
    }
}

impl fmt::Debug for ChainSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Bitcoind { .. } => "Bitcoind",
            Self::Esplora { .. } => "Esplora",
            Self::Electrum { .. } => "Electrum",
        };
        write!(f, "{kind}({})", self.url())
    }
}

/// A URL without `user:password@`.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end_of_authority = rest.find('/').unwrap_or(rest.len());
    match rest[..end_of_authority].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

/// Why an embedded node did not start.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// A value of the configuration cannot be used.
    #[error("{what} {value:?} {fault}")]
    Config {
        /// Which value.
        what: &'static str,
        /// What it is.
        value: String,
        /// What is wrong with it.
        fault: String,
    },
    /// An address to listen on cannot be had.
    #[error("cannot listen for Lightning nodes on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        cause: String,
    },
    /// The chain source does not answer, or not as one.
    #[error("the chain source {url} cannot be used: {cause}")]
    ChainAway {
        /// Its address.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// The chain source does not accept the user or the password.
    #[error("the chain source {url} refuses the user name or password")]
    ChainRefused {
        /// Its address.
        url: String,
    },
    /// The chain source follows another network.
    #[error("the chain source {url} follows {found}, this node is on {expected}")]
    WrongNetwork {
        /// Its address.
        url: String,
        /// The network it follows.
        found: String,
        /// The network that is configured.
        expected: Network,
    },
    /// The stored state is of another network, or of another seed.
    #[error("the stored state of the node does not belong to this network and seed")]
    OtherState,
    /// The store cannot be read or written.
    #[error("the state of the Lightning node cannot be read or written")]
    Store,
    /// It took too long.
    #[error("the Lightning node did not start within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Anything else, in the library's words.
    #[error("the Lightning node did not start: {0}")]
    Failed(String),
}

impl StartError {
    /// Whether the same start may work later, without a change of the configuration.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::ChainAway { .. } | Self::Listen { .. } | Self::TimedOut(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let chain = ChainSource::Bitcoind {
            host: "127.0.0.1".to_owned(),
            port: 8332,
            user: "satoshi".to_owned(),
            password: "hunter2".to_owned(),
        };
        assert_eq!(format!("{chain:?}"), "Bitcoind(http://127.0.0.1:8332)");
        let esplora = ChainSource::Esplora { url: "https://me:secret@host/a@b".to_owned() };
        assert_eq!(esplora.url(), "https://host/a@b");
        let electrum = ChainSource::Electrum { url: "tcp://host:1".to_owned() };
        assert_eq!(electrum.url(), "tcp://host:1");
        assert_eq!(format!("{:?}", Seed([7; 64])), "Seed(***)");
    }
}
