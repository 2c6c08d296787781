//! Payments to others: what is sent, how it stands, why it is not.

use std::fmt;

use imp_core::amount::Msat;
use imp_core::id::{NodeId, Preimage};
use imp_core::record::RecordType;
use thiserror::Error;

use crate::port::InvoiceFault;

/// A spontaneous payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keysend {
    /// Who is paid.
    pub recipient: NodeId,
    /// Settles the payment; its hash is the payment's name. Fresh for every attempt.
    pub preimage: Preimage,
    /// What the recipient gets, at least 1 msat.
    pub amount: Msat,
    /// The most that may go to forwarding nodes.
    pub fee_limit: Msat,
    /// A custom record to carry along: its type, and its value of at most 1000 bytes.
    pub record: Option<(RecordType, Vec<u8>)>,
}

/// How a payment that was sent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// Its end will come as an event.
    InFlight,
    /// Paid.
    Settled {
        /// The proof of payment.
        preimage: Preimage,
        /// What forwarding nodes got, where the backend knows it.
        fee: Option<Msat>,
    },
    /// Not paid, and this hash will not be, unless it is an invoice's that is paid once more.
    Failed(FailureReason),
}

/// Why a payment failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureReason {
    /// No path to the recipient now: unknown, away, or without capacity.
    NoRoute,
    /// The recipient refused it.
    RecipientRejected,
    /// Every path that was tried failed.
    RetriesExhausted,
    /// The time for trying was over.
    TimedOut,
    /// Of the failure only the fact is known, as of one that is looked up later: the recipient may have refused it.
    Unrecorded,
    /// Anything else, in the backend's words.
    Other(String),
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no route to the node"),
            Self::RecipientRejected => f.write_str("the node refused the payment"),
            Self::RetriesExhausted => f.write_str("no path carried the payment"),
            Self::TimedOut => f.write_str("the payment found no path in time"),
            Self::Unrecorded => f.write_str("the payment failed, it is not known why"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Why a payment was not begun.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// Every slot for payments is taken; one frees when a payment ends.
    #[error("all payment slots are in use")]
    Busy,
    /// No path: the text says whether the node is unknown, away, or no channel of ours is usable.
    #[error("no route: {0}")]
    NoRoute(String),
    /// Less can be sent than asked.
    #[error("not enough balance: {spendable} can be sent, {needed} are needed")]
    InsufficientBalance {
        /// What can be sent now.
        spendable: Msat,
        /// What the payment takes.
        needed: Msat,
    },
    /// A payment with this hash is known: look it up.
    #[error("a payment with this hash is known already")]
    Known,
    /// The request makes no sense to the backend, and will not later.
    #[error("{0}")]
    Invalid(String),
    /// The invoice cannot be paid by this node, now or ever. Nothing was sent.
    #[error("{0}")]
    InvalidInvoice(#[from] InvoiceFault),
    /// The backend is starting, stopping or away. Nothing was sent.
    #[error("the Lightning node is not available: {0}")]
    Unavailable(String),
    /// It cannot be told whether the payment was begun: look it up.
    #[error("the Lightning node did not answer: {0}")]
    Unknown(String),
}

/// Room for payments to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendRoom {
    /// Payments that may be in flight at once; 0 where no channel is usable.
    pub max_in_flight: usize,
    /// What can be sent now over all usable channels.
    pub spendable: Msat,
    /// The largest single payment, were nothing else in flight.
    pub largest: Msat,
    /// The recipient is at the other end of a usable channel, so that nobody takes a fee.
    pub direct: bool,
}
