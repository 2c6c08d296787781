//! What can be typed.

use std::io::Read;

use clap::{Parser, Subcommand};
use imp_api::client::DEFAULT_ADDR;

use crate::failure::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the node refused
  2  the command line cannot be understood
  3  the node cannot be reached
  4  the answer is no: the signature is not valid, or the invoice is not paid";

/// Talks to a running IMP node.
#[derive(Debug, Parser)]
#[command(name = "imp", version, about, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// Where the node serves gRPC.
    #[arg(long, global = true, env = "IMP_ADDR", value_name = "HOST:PORT", default_value = DEFAULT_ADDR)]
    pub(crate) addr: String,
    /// Print JSON, as REST answers it.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Messages to other nodes.
    #[command(subcommand)]
    Message(MessageCommand),
    /// Shows what other nodes send, until Ctrl-C. Reconnects when the node restarts, and misses nothing.
    Watch(Watch),
    /// The node itself.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Invoices.
    #[command(subcommand)]
    Invoice(InvoiceCommand),
    /// Signs a text with the node's key.
    Sign(Sign),
    /// Tells whether the node signed a text.
    Verify(Verify),
}

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Sends a text and waits until it has arrived.
    Send(Send),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// The recipient's Lightning public key.
    pub(crate) pubkey: String,
    /// The text, or - for what standard input holds, to the last byte.
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
    /// Satoshis to send along [default: 1, or 1 for each part of a long text].
    #[arg(long, value_name = "SAT", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) amount: Option<i64>,
    /// The id of the message that this one answers.
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// First show what came after this cursor; 0 for everything that is kept.
    #[arg(long, value_name = "CURSOR", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) after: Option<i64>,
    /// Show each event's cursor. Always on with --after.
    #[arg(long)]
    pub(crate) cursor: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Who the node is, how far it has synced, and what it can spend.
    Info,
    /// Its channels.
    Channels,
    /// A fresh on-chain address.
    Address,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvoiceCommand {
    /// Makes an invoice.
    New {
        /// Satoshis to receive.
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        amount: i64,
        /// A text that the payer sees.
        #[arg(default_value = "", hide_default_value = true)]
        memo: String,
    },
    /// Pays an invoice and waits until it is paid.
    Pay {
        /// The invoice: lnbc...
        bolt11: String,
    },
    /// Tells whether an invoice of the node is paid.
    Check {
        /// The invoice: lnbc...
        bolt11: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// The text, or - for what standard input holds, to the last byte.
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The text, or - for what standard input holds, to the last byte.
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
    /// The signature: 104 characters of zbase32.
    pub(crate) signature: String,
}

/// A text as given, or standard input for `-`.
pub(crate) fn text_or_stdin(text: String) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text);
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(Failure::Input)?;
    String::from_utf8(bytes).map_err(|_| Failure::NotText)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_sound() {
        super::Args::command().debug_assert();
    }
}
