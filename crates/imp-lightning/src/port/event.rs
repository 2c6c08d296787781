//! What happens at the node.

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};

use crate::port::FailureReason;

/// What happens at the Lightning node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LightningEvent {
    /// A payment of ours settled.
    PaymentSettled {
        /// Which one.
        hash: PaymentHash,
        /// The proof of payment.
        preimage: Preimage,
        /// What forwarding nodes got, where the backend knows it.
        fee: Option<Msat>,
    },
    /// A payment of ours failed. Definite only if no channel of ours that was ready closed since it was begun.
    PaymentFailed {
        /// Which one.
        hash: PaymentHash,
        /// Why.
        reason: FailureReason,
    },
    /// Another node paid us.
    PaymentReceived {
        /// Which payment. The same one may be told of more than once.
        hash: PaymentHash,
        /// What we got.
        amount: Msat,
        /// How it was paid.
        kind: ReceivedKind,
    },
    /// A channel can be used.
    ChannelReady {
        /// The other end.
        peer: Option<NodeId>,
    },
    /// A channel that was ready is gone, and what was in flight on it is undecided until the chain decides it. That an
    /// opening broke off is not told: anybody can make one break off, and no payment is in doubt for it.
    ChannelClosed {
        /// The other end.
        peer: Option<NodeId>,
        /// Why, in the backend's words.
        reason: String,
    },
}

/// How a payment to us was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedKind {
    /// Spontaneously; only these carry envelopes.
    Keysend {
        /// The payment's preimage.
        preimage: Preimage,
        /// The custom records that came along, without the backend's own.
        records: Vec<(u64, Vec<u8>)>,
    },
    /// By an invoice of this node.
    Invoice,
}
