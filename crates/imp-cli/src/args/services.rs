//! What can be typed of federation, sockets and VPN.

use clap::Subcommand;

use super::value::sat;

#[derive(Debug, Subcommand)]
pub(crate) enum FederateCommand {
    /// Asks a node to federate. Its answer arrives as an event.
    Request {
        /// The far node's Lightning public key.
        pubkey: String,
    },
    /// Ends the federation with a node.
    Leave {
        /// The far node's Lightning public key.
        pubkey: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SocketCommand {
    /// Starts the relay, and tells where it listens.
    Start,
    /// Stops the relay.
    Stop,
    /// Sends the relay's address to a node, which gets it as an event.
    Send {
        /// The far node's Lightning public key.
        pubkey: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VpnCommand {
    /// Asks a node for its price. The quote arrives as an event.
    Quote {
        /// The seller's Lightning public key.
        pubkey: String,
    },
    /// Accepts a quote and pays for it. The tunnel's configuration arrives as an event.
    Contract(Contract),
    /// Pays for more time on a contract.
    Refresh(Contract),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Contract {
    /// The seller's Lightning public key.
    pub(crate) pubkey: String,
    /// The nonce of the quote, or of the contract.
    pub(crate) nonce: String,
    /// The price in satoshis.
    #[arg(value_name = "SAT", value_parser = sat)]
    pub(crate) price: i64,
}
