//! What both roles want done: messages to other nodes, and events for the programs of this one.

use std::fmt;
use std::time::Duration;

use super::ALLOWANCE_FEE_LIMIT;
use crate::amount::Msat;
use crate::id::{MessageId, NodeId};

/// A message to another node, which the outbox is to take in.
#[derive(Clone, PartialEq, Eq)]
pub struct Post {
    /// Its name, by which its end is told.
    pub id: MessageId,
    /// Its recipient.
    pub to: NodeId,
    /// Its text.
    pub body: String,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// Satoshis that go with it; 0 for the least that its parts take, which is 1 for each payment that it is made of.
    pub amount_sat: u64,
    /// What each of its payments may cost besides; nothing for what the configuration allows.
    pub fee_limit: Option<Msat>,
    /// How long it is tried again; nothing for one try.
    pub keep: Option<Duration>,
    /// It is paid from the allowance for answers, and is not sent where that has no room.
    pub from_allowance: bool,
}

/// An event to publish.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    /// Its id: that of the message that it tells of, or a fresh one.
    pub id: MessageId,
    /// The id of the message that it answers, or nothing.
    pub reply_to: String,
    /// The other node, if it is from there; nothing for this node.
    pub from: Option<NodeId>,
    /// Its text.
    pub data: String,
    /// Satoshis that came with it.
    pub amount_sat: u64,
}

impl Post {
    /// A message that nobody here asked for and nobody paid for: one try, at the cost of the allowance for answers.
    pub(super) const fn from_allowance(
        id: MessageId,
        to: NodeId,
        body: String,
        reply_to: Option<MessageId>,
    ) -> Self {
        Self {
            id,
            to,
            body,
            reply_to,
            amount_sat: 0,
            fee_limit: Some(ALLOWANCE_FEE_LIMIT),
            keep: None,
            from_allowance: true,
        }
    }
}

/// Without the text, which may hold keys.
impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("id", &self.id)
            .field("to", &self.to)
            .field("reply_to", &self.reply_to)
            .field("amount_sat", &self.amount_sat)
            .field("fee_limit", &self.fee_limit)
            .field("keep", &self.keep)
            .field("from_allowance", &self.from_allowance)
            .finish_non_exhaustive()
    }
}

/// Without the text, which may hold keys.
impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note")
            .field("id", &self.id)
            .field("reply_to", &self.reply_to)
            .field("from", &self.from)
            .field("amount_sat", &self.amount_sat)
            .finish_non_exhaustive()
    }
}
