//! What can be typed of VPN.

use clap::Subcommand;

use super::value::{Node, sat};

#[derive(Debug, Subcommand)]
pub(crate) enum VpnCommand {
    /// Asks a node for its price. The quote arrives as an event.
    Quote {
        /// The seller: its Lightning public key, or its local name.
        node: Node,
    },
    /// Accepts a quote and pays for it. The tunnel's configuration arrives as an event.
    Contract(Contract),
    /// Pays for more time on a contract.
    Refresh(Contract),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Contract {
    /// The seller: its Lightning public key, or its local name.
    pub(crate) node: Node,
    /// The nonce of the quote, or of the contract.
    pub(crate) nonce: String,
    /// The price in satoshis.
    #[arg(value_name = "SAT", value_parser = sat)]
    pub(crate) price: i64,
}
