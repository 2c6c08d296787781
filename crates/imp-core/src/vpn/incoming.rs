//! What both roles are told: messages that came in, ends of messages that went out, and the moment in which they decide.

use std::fmt;

use crate::amount::Msat;
use crate::id::{MessageId, NodeId, PaymentHash};
use crate::time::UnixMillis;

/// A message of another node, but its text.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'m> {
    /// The payment that brought it: the last one, where it took several.
    pub hash: PaymentHash,
    /// Its sender.
    pub from: NodeId,
    /// Its name.
    pub id: MessageId,
    /// The id of the message that it answers, or nothing.
    pub reply_to: &'m str,
    /// What came with it.
    pub amount: Msat,
    /// When it came.
    pub at: UnixMillis,
    /// A payment for a message that had come before: paid twice.
    pub repeated: bool,
    /// Its sender is blocked.
    pub blocked: bool,
}

/// How a message of this node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is paid for, since then.
    Settled(UnixMillis),
    /// It is definitely not paid for.
    Failed,
    /// Nobody can tell whether it is.
    Unknown,
    /// The outbox knows no such message. A payment of a buyer is noted before the outbox takes it in, so it was never made;
    /// an answer of a seller is noted together with the outbox's row, so that was forgotten, and nobody can tell.
    Missing,
}

/// In what a decision is made: the time, chance and channels.
pub struct Moment<'m> {
    /// The time.
    pub now: UnixMillis,
    /// Fresh random bytes, which nobody can guess: ids and keys are made of them.
    pub random: &'m mut dyn FnMut() -> [u8; 32],
    /// Whether a node can be paid over a channel with it, without fees.
    pub is_direct: &'m dyn Fn(&NodeId) -> bool,
}

impl Moment<'_> {
    pub(super) fn message_id(&mut self) -> MessageId {
        MessageId::from_random(self.half())
    }

    pub(super) fn half(&mut self) -> [u8; 16] {
        let bytes = (self.random)();
        std::array::from_fn(|at| bytes[at])
    }
}

impl fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment").field("now", &self.now).finish_non_exhaustive()
    }
}
