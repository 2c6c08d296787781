//! What can be typed of the node, its wallet, its channels and its peers.

use clap::Subcommand;

use super::options::{Key, Yes};
use super::value::{Node, NodeAt, sat};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Who the node is, how far it has synced, and what it can spend.
    Info,
    /// What the node holds, on the chain and in channels.
    Balance,
    /// Has the node look at the chain now rather than at its next poll.
    Sync,
    /// As `channel list`.
    #[command(hide = true)]
    Channels,
    /// As `wallet address`.
    #[command(hide = true)]
    Address,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// A fresh on-chain address.
    Address,
    /// What the wallet holds, and what comes back to it from channels.
    Balance,
    /// Sends bitcoin on the chain. Asks first.
    Send(SendOnchain),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SendOnchain {
    /// An address on the node's network.
    pub(crate) address: String,
    /// Satoshis to send.
    #[arg(value_name = "SAT", value_parser = sat, required_unless_present = "all", conflicts_with = "all")]
    pub(crate) amount: Option<i64>,
    /// Send all there is, but for what open channels need in reserve.
    #[arg(long)]
    pub(crate) all: bool,
    /// The fee, in satoshis per virtual byte [default: an estimate].
    #[arg(long, value_name = "SAT", value_parser = sat)]
    pub(crate) fee_rate: Option<i64>,
    #[command(flatten)]
    pub(crate) key: Key,
    #[command(flatten)]
    pub(crate) yes: Yes,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// Lists the node's channels.
    List,
    /// Opens a channel and waits until it is negotiated; it can be used after its confirmations.
    Open {
        /// The other node and where it listens.
        #[arg(value_name = "NODE@HOST:PORT")]
        node: NodeAt,
        /// Satoshis that this node puts in.
        #[arg(value_name = "SAT", value_parser = sat)]
        capacity: i64,
        /// Satoshis of these that belong to the other node from the start.
        #[arg(long, value_name = "SAT", value_parser = sat)]
        push: Option<i64>,
        /// Announce the channel to the network.
        #[arg(long)]
        announce: bool,
        #[command(flatten)]
        key: Key,
    },
    /// Closes a channel together with the other node.
    Close {
        /// The channel's id, as `channel list` shows it.
        id: String,
        /// Close it alone, which takes longer and costs more. Asks first.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        yes: Yes,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Lists nodes that this one is, or keeps itself, connected to.
    List,
    /// Connects to another node.
    Connect {
        /// The other node and where it listens.
        #[arg(value_name = "NODE@HOST:PORT")]
        node: NodeAt,
    },
    /// Ends the connection to a node with which there is no channel.
    Disconnect {
        /// The other node: its Lightning public key, or its local name.
        node: Node,
    },
}
