//! What this node asked a peer for and was not answered.

use crate::id::MessageId;

/// The most open questions to one peer; the oldest is forgotten beyond that. Programs that ask without waiting for an answer
/// are many questions ahead of it.
pub const MAX_ASKS: usize = 64;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// To federate.
    Request,
    /// To go on.
    Renew,
}

/// A question to a peer that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The message that asks.
    pub id: MessageId,
    /// What it asks for.
    pub kind: AskKind,
    /// Programs know that it was sent.
    pub told: bool,
    /// The peer asked later than it could have rejected this: a rejection does not count any more.
    pub crossed: bool,
}

impl Ask {
    /// A REQUEST. Programs learn of it once it was sent.
    pub const fn request(id: MessageId) -> Self {
        Self { id, kind: AskKind::Request, told: false, crossed: false }
    }

    /// A RENEW. Programs learn of it in the commit that makes it.
    pub const fn renew(id: MessageId) -> Self {
        Self { id, kind: AskKind::Renew, told: true, crossed: false }
    }
}
