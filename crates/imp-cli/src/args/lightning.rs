//! What can be typed of invoices and payments.

use clap::Subcommand;

use super::options::{Key, Part};
use super::value::{Node, sat, secs};

#[derive(Debug, Subcommand)]
pub(crate) enum InvoiceCommand {
    /// Makes an invoice.
    New {
        /// Satoshis to receive.
        #[arg(value_name = "SAT", value_parser = sat)]
        amount: i64,
        /// A text that the payer sees.
        #[arg(default_value = "", hide_default_value = true)]
        memo: String,
        /// For how long it can be paid: 90s, 10m, 2h, 7d [default: 1d].
        #[arg(long, value_name = "DURATION", value_parser = secs)]
        expiry: Option<i64>,
    },
    /// Pays an invoice and waits until it is paid.
    Pay {
        /// The invoice: lnbc...
        #[arg(value_name = "INVOICE")]
        bolt11: String,
        #[command(flatten)]
        key: Key,
    },
    /// Tells whether an invoice of the node is paid.
    Check {
        /// The invoice: lnbc...
        #[arg(value_name = "INVOICE")]
        bolt11: String,
    },
    /// Lists invoices that the node made, newest first.
    List {
        /// Only those in these states, separated by commas.
        #[arg(long, value_delimiter = ',', value_parser = ["open", "paid", "expired"])]
        state: Vec<String>,
        #[command(flatten)]
        part: Part,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Keysend {
    /// The recipient: its Lightning public key, or its local name.
    pub(crate) node: Node,
    /// Satoshis to pay.
    #[arg(value_name = "SAT", value_parser = sat)]
    pub(crate) amount: i64,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PaymentCommand {
    /// Lists payments that `invoice pay` and `keysend` made, newest first.
    List {
        /// Only those in these states, separated by commas.
        #[arg(long, value_delimiter = ',', value_parser = ["sending", "settled", "failed", "unknown"])]
        state: Vec<String>,
        #[command(flatten)]
        part: Part,
    },
}
