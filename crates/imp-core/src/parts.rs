//! Putting a message's parts together: which are there, and which unfinished message must go when there are too many.
//!
//! The texts themselves stay with the caller, who joins them by index once [`Parts::whole`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use thiserror::Error;

use crate::amount::Msat;
use crate::id::{MessageId, NodeId};
use crate::order::Position;
use crate::time::UnixMillis;
use crate::wire::envelope::{Header, MAX_PARTS, PartOf};

/// How long the parts of an unfinished message are kept, from its first part.
pub const UNFINISHED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The most bytes that the unfinished messages of one sender take.
pub const MAX_UNFINISHED_BYTES_PER_SENDER: usize = 8 << 20;

/// The most bytes that all unfinished messages take.
pub const MAX_UNFINISHED_BYTES: usize = 256 << 20;

/// How long it is known that a part was taken. Longer than any sender tries, so that no part counts twice.
pub const TAKEN_KNOWN_FOR: Duration = Duration::from_secs(8 * 24 * 3600);

const WORDS: usize = (MAX_PARTS as usize).div_ceil(64);

/// Which parts of a message are there. The first part that is added says which message it is. After a restart the parts
/// that are stored are added again, in any order.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    message: Option<Message>,
    present: [u64; WORDS],
    amount: Msat,
    bytes: usize,
    position: Option<Position>,
}

/// What all parts of a message have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    sender: NodeId,
    id: MessageId,
    count: u16,
    unordered: bool,
}

/// What became of a part that fits its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New,
    /// It was there before, and nothing changed.
    Duplicate,
}

/// Why a part does not belong to a message.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartRefused {
    /// It is a whole message.
    #[error("it is a whole message, not a part")]
    Whole,
    /// It belongs to another message.
    #[error("it is a part of message {0}")]
    OtherMessage(MessageId),
    /// Another node has signed it.
    #[error("node {0} has signed it, another node the parts before")]
    OtherSender(NodeId),
    /// It counts the message's parts differently.
    #[error("it is one of {found} parts, the parts before are of {expected}")]
    OtherCount {
        /// What the parts before said.
        expected: u16,
        /// What this one says.
        found: u16,
    },
    /// There is no part with this index.
    #[error("there is no part {0}")]
    NoSuchPart(u16),
    /// Of a message's parts, either all have a place in the order or none.
    #[error("either all parts of a message are in the order of messages or none is")]
    OtherOrder,
}

impl Parts {
    /// A message of which nothing is there.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that was paid `amount` and has `bytes` bytes of text.
    ///
    /// Stream and number may differ from those of the parts before: a message whose try was given up is tried again
    /// under a new number, with the parts that are missing. The newest number counts.
    pub fn add(
        &mut self,
        sender: NodeId,
        header: &Header,
        bytes: usize,
        amount: Msat,
    ) -> Result<Added, PartRefused> {
        let PartOf { index, count } = header.part.ok_or(PartRefused::Whole)?;
        let this = Message { sender, id: header.id, count, unordered: header.unordered };
        let message = self.message.unwrap_or(this);
        if this.id != message.id {
            return Err(PartRefused::OtherMessage(this.id));
        }
        if this.sender != message.sender {
            return Err(PartRefused::OtherSender(this.sender));
        }
        if this.count != message.count {
            return Err(PartRefused::OtherCount { expected: message.count, found: this.count });
        }
        if this.unordered != message.unordered {
            return Err(PartRefused::OtherOrder);
        }
        if index >= count || count > MAX_PARTS {
            return Err(PartRefused::NoSuchPart(index));
        }
        if self.has(index) {
            return Ok(Added::Duplicate);
        }
        self.message = Some(message);
        self.present[usize::from(index / 64)] |= 1 << (index % 64);
        self.amount = self.amount.saturating_add(amount);
        self.bytes = self.bytes.saturating_add(bytes);
        let positions = self.position.into_iter().chain(header.position());
        self.position = positions.max_by_key(|at| (at.stream, at.seq, Reverse(at.floor_back)));
        Ok(Added::New)
    }

    /// Whether part `index` is there.
    pub fn has(&self, index: u16) -> bool {
        let word = self.present.get(usize::from(index / 64)).copied().unwrap_or(0);
        word >> (index % 64) & 1 == 1
    }

    /// How many parts are there.
    pub fn present(&self) -> u16 {
        self.present.iter().map(|word| word.count_ones() as u16).sum()
    }

    /// How many parts the message has; nothing before the first was added.
    pub fn count(&self) -> Option<u16> {
        self.message.map(|message| message.count)
    }

    /// Whether every part is there.
    pub fn whole(&self) -> bool {
        self.count() == Some(self.present())
    }

    /// The sum of what was paid with the parts.
    pub const fn amount(&self) -> Msat {
        self.amount
    }

    /// Bytes of text in the parts.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The message's place in its sender's order: the newest that its parts name. Nothing where it is unordered.
    pub const fn position(&self) -> Option<Position> {
        self.position
    }
}

/// An unfinished message, for deciding which one goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Who sends it.
    pub sender: NodeId,
    /// Which message it is.
    pub id: MessageId,
    /// What its parts take, in bytes.
    pub bytes: usize,
    /// When its first part came.
    pub since: UnixMillis,
}

/// Why an unfinished message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// Its first part came a day ago.
    TooOld,
    /// Its sender's unfinished messages take too much.
    SenderLimit,
    /// All unfinished messages together take too much.
    TotalLimit,
}

/// Which of the unfinished messages must go, by their places in the list, and why.
///
/// What is too old goes. Where there is too much, the oldest message of the sender who holds most goes, again and again
/// until there is not.
pub fn to_go(unfinished: &[Unfinished], now: UnixMillis) -> Vec<(usize, GivenUp)> {
    let mut oldest_first: Vec<usize> = (0..unfinished.len()).collect();
    oldest_first.sort_by_key(|at| unfinished[*at].since);
    let is_too_old = |at: &usize| now.since(unfinished[*at].since) >= UNFINISHED_KEPT;
    let young = oldest_first.partition_point(is_too_old);
    let mut to_go: Vec<_> = oldest_first[..young].iter().map(|at| (*at, GivenUp::TooOld)).collect();

    let mut senders = HashMap::<NodeId, VecDeque<usize>>::new();
    for at in &oldest_first[young..] {
        senders.entry(unfinished[*at].sender).or_default().push_back(*at);
    }
    let bytes_of = |messages: &VecDeque<usize>| messages.iter().map(|at| unfinished[*at].bytes).sum();
    // The key breaks ties, so that the same list always gives the same answer.
    let mut by_bytes: BinaryHeap<(usize, NodeId)> =
        senders.iter().map(|(sender, messages)| (bytes_of(messages), *sender)).collect();
    let mut total: usize = by_bytes.iter().map(|(bytes, _)| bytes).sum();
    while let Some((most, holder)) = by_bytes.pop() {
        let why = match () {
            () if most > MAX_UNFINISHED_BYTES_PER_SENDER => GivenUp::SenderLimit,
            () if total > MAX_UNFINISHED_BYTES => GivenUp::TotalLimit,
            () => break,
        };
        let Some(oldest) = senders.get_mut(&holder).and_then(VecDeque::pop_front) else { break };
        total -= unfinished[oldest].bytes;
        by_bytes.push((most - unfinished[oldest].bytes, holder));
        to_go.push((oldest, why));
    }
    to_go
}

#[cfg(test)]
mod tests;
