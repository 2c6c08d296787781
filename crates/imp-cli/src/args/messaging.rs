//! What can be typed of messages.

use clap::Subcommand;

use super::options::{Key, Part};
use super::text::Text;
use super::value::{Node, sat, secs};

/// The services whose messages a node sends.
const SERVICES: [&str; 4] = ["federate", "message", "socket", "vpn"];

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Sends a text and waits until it has arrived.
    Send(Send),
    /// Shows what became of a message, with every payment for it.
    Show {
        /// The message's id.
        id: String,
    },
    /// Lists messages that the node sent, newest first.
    List(ListMessages),
    /// Sends what is missing of a message that failed within the last 24 hours.
    Retry {
        /// The message's id.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// The recipient: its Lightning public key, or its local name.
    pub(crate) node: Node,
    #[command(flatten)]
    pub(crate) text: Text,
    /// Satoshis to send along [default: 1, or 1 for each part of a long text].
    #[arg(long, value_name = "SAT", value_parser = sat)]
    pub(crate) amount: Option<i64>,
    /// The id of the message that this one answers.
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<String>,
    /// Have the node go on trying for so long where the recipient cannot be reached now: 90s, 10m, 2h, 7d at most.
    #[arg(long, value_name = "DURATION", value_parser = secs)]
    pub(crate) keep: Option<i64>,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListMessages {
    /// Only those in these states, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = ["queued", "sending", "settled", "failed", "unknown"])]
    pub(crate) state: Vec<String>,
    /// Only those to this node: its Lightning public key, or its local name.
    #[arg(long, value_name = "NODE")]
    pub(crate) to: Option<Node>,
    /// Only those of these services, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = SERVICES)]
    pub(crate) service: Vec<String>,
    #[command(flatten)]
    pub(crate) part: Part,
}
