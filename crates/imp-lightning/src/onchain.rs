//! What both adapters ask of an on-chain payment before they make it.

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, FeeRate};

use crate::port::{LightningError, Network, OnchainAmount};

/// All the bitcoin there will ever be, in satoshis.
const MAX_AMOUNT_SAT: u64 = 21_000_000 * 100_000_000;

/// The largest fee rate taken for meant, in satoshis per virtual byte.
const MAX_FEE_RATE: u64 = 10_000;

/// A payment that can be made if there is enough to make it with.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) address: Address,
    pub(crate) amount: OnchainAmount,
    pub(crate) fee_rate: Option<FeeRate>,
}

impl Transfer {
    /// Checks what is asked for on a node of `network`.
    pub(crate) fn of(
        address: &str,
        amount: OnchainAmount,
        fee_rate_sat_per_vbyte: Option<u64>,
        network: Network,
    ) -> Result<Self, LightningError> {
        let address = recipient(address, network)?;
        let invalid = |text: String| Err(LightningError::Invalid(text));
        let dust_sat = dust_sat(&address);
        match amount {
            OnchainAmount::Sat(sat) if sat < dust_sat => {
                return invalid(format!(
                    "{sat} sat are dust: the network passes on {dust_sat} sat or more to such an address"
                ));
            }
            OnchainAmount::Sat(sat) if sat > MAX_AMOUNT_SAT => {
                return invalid(format!("there are not as many as {sat} sat"));
            }
            OnchainAmount::Sat(_) | OnchainAmount::All => {}
        }
        let fee_rate = match fee_rate_sat_per_vbyte {
            None => None,
            Some(rate @ 1..=MAX_FEE_RATE) => FeeRate::from_sat_per_vb(rate),
            Some(rate) => {
                return invalid(format!("a fee rate is 1 to {MAX_FEE_RATE} sat per vbyte, not {rate}"));
            }
        };
        Ok(Self { address, amount, fee_rate })
    }

    /// What has to arrive at least, in satoshis.
    pub(crate) fn least_sat(&self) -> u64 {
        match self.amount {
            OnchainAmount::Sat(sat) => sat,
            OnchainAmount::All => dust_sat(&self.address),
        }
    }
}

/// The smallest output to an address that nodes pass on, in satoshis.
fn dust_sat(address: &Address) -> u64 {
    address.script_pubkey().minimal_non_dust().to_sat()
}

fn recipient(text: &str, network: Network) -> Result<Address, LightningError> {
    let invalid = |text: String| LightningError::Invalid(text);
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("bitcoin:") {
        return Err(invalid(
            "this is a link: give the address in it alone, and the amount beside it".to_owned(),
        ));
    }
    if lower.starts_with("ln") || lower.starts_with("lightning:") {
        return Err(invalid("this is for a Lightning payment, not an on-chain address".to_owned()));
    }
    let address: Address<NetworkUnchecked> =
        text.parse().map_err(|fault| invalid(format!("{text:?} is no bitcoin address: {fault}")))?;
    let networks = [Network::Bitcoin, Network::Testnet, Network::Signet, Network::Regtest];
    let of = |network: &Network| address.is_valid_for_network((*network).into());
    let other = networks.iter().find(|other| of(other));
    if !of(&network) {
        let other = other.map_or("another network", |other| other.name());
        return Err(invalid(format!("the address is one of {other}, this node is on {network}")));
    }
    Ok(address.assume_checked())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGTEST: &str = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x";

    fn refusal(address: &str, amount: OnchainAmount, fee_rate: Option<u64>) -> String {
        match Transfer::of(address, amount, fee_rate, Network::Regtest) {
            Err(LightningError::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_fault_is_told() {
        let refused = |address| refusal(address, OnchainAmount::All, None);
        assert!(refused("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa").contains("one of bitcoin"));
        assert!(refused("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx").contains("one of testnet"));
        assert!(refused("bcrt1qnonsense").contains("no bitcoin address"));
        assert!(refused("").contains("no bitcoin address"));
        assert!(refused("bitcoin:x?amount=1").contains("link"));
        assert!(refused("LNBCRT1").contains("Lightning"));
        assert!(refusal(REGTEST, OnchainAmount::Sat(293), None).contains("294 sat or more"));
        assert!(refusal(REGTEST, OnchainAmount::Sat(u64::MAX), None).contains("not as many"));
        assert!(refusal(REGTEST, OnchainAmount::All, Some(0)).contains("1 to 10000"));
        assert!(refusal(REGTEST, OnchainAmount::All, Some(10_001)).contains("not 10001"));
    }

    #[test]
    fn an_address_in_capitals_between_blanks_is_taken() {
        let text = format!(" {} ", REGTEST.to_uppercase());
        let transfer = Transfer::of(&text, OnchainAmount::Sat(294), Some(3), Network::Regtest).unwrap();
        assert_eq!(transfer.address.to_string(), REGTEST);
        assert_eq!((transfer.least_sat(), transfer.fee_rate), (294, FeeRate::from_sat_per_vb(3)));
    }
}
