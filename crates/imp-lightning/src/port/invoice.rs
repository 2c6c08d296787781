//! Invoices (BOLT 11): how one of this node stands, and why one is not paid.

use thiserror::Error;

use crate::port::Network;

/// How an invoice of this node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// Not paid.
    Open,
    /// Paid in full.
    Paid,
}

/// Why an invoice is not paid.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvoiceFault {
    /// It is no invoice, or a damaged one.
    #[error("the invoice cannot be read: {0}")]
    Malformed(String),
    /// It is something else that can be paid, or looks alike, named with its article.
    #[error("this is {0}, not an invoice: give a BOLT 11 invoice, which begins with \"ln\"")]
    OtherKind(&'static str),
    /// It cannot be paid without features (BOLT 9) that this node lacks.
    #[error("the invoice requires the features {}, which this node does not have", list(bits))]
    UnknownFeatures {
        /// The numbers of their bits.
        bits: Vec<u64>,
    },
    /// It is for another network than the node's.
    #[error("the invoice is for the network {invoice}, this node is on {node}")]
    OtherNetwork {
        /// The invoice's network.
        invoice: &'static str,
        /// The node's.
        node: Network,
    },
    /// The payer is to choose the amount.
    #[error("the invoice names no amount: ask for one with an amount")]
    NoAmount,
    /// Its time is over.
    #[error("the invoice has expired {ago_secs} seconds ago: ask for a new one")]
    Expired {
        /// Since when, in seconds.
        ago_secs: u64,
    },
    /// This node made it.
    #[error("the invoice is this node's own: a node cannot pay itself")]
    Own,
    /// This node has paid it.
    #[error("the invoice has been paid already by this node")]
    Paid,
}

fn list(bits: &[u64]) -> String {
    bits.iter().map(u64::to_string).collect::<Vec<String>>().join(", ")
}
