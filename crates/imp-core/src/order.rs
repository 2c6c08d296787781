//! The receiver's order: of what one sender sends with one record type, what was accepted first is published first.
//!
//! Payments overtake each other. A sender numbers its messages (see [`crate::dispatch`]), and an [`Order`] holds back
//! what came too early. It never keeps a message for good and never drops one: where a limit is reached, messages come
//! out of order instead, marked as late.
//!
//! - A *stream* is one run of the sender's daemon. The first sight of a higher stream ends the older one: what it held
//!   comes out, in order. An envelope of an older stream comes out at once, late.
//! - The *floor* is the lowest number that the sender had not resolved yet. Below it nothing is waited for.
//! - A *gap* is a run of missing numbers below a held message. It is waited for until it is filled, until the floor
//!   passes it, or for 60 s after the first message was held behind it; as long as parts of a missing message come, for
//!   60 s after the last of them, and 10 min at most.
//!
//! Unordered messages ([`crate::wire::envelope::Header::position`] is nothing) are published as they come and are never
//! shown to an `Order`. Whoever calls has dropped repeats, by the message's id.
//!
//! An `Order` lives through a crash if its [`Snapshot`] and the list of held messages are stored in the transaction that
//! publishes what it released.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::MessageId;
use crate::time::UnixMillis;

/// How long a gap is waited for, from the first message held behind it, or from the last part seen of a missing one.
pub const GAP_PATIENCE: Duration = Duration::from_secs(60);

/// The longest that a gap is waited for while parts of a missing message come.
pub const GAP_PATIENCE_WITH_PARTS: Duration = Duration::from_secs(600);

/// The most messages that are held for one sender and record type.
pub const MAX_HELD: usize = 256;

/// The most bytes that are held for one sender and record type.
pub const MAX_HELD_BYTES: usize = 4 << 20;

/// The most bytes that are held for all senders together. It takes [`Order::give_up_oldest_gap`] to keep to it.
pub const MAX_HELD_BYTES_IN_ALL: usize = 64 << 20;

/// The most unfinished messages whose parts lengthen a wait. A sender has no more under way at once.
const MAX_UNFINISHED: usize = 256;

/// A message's place in the order of its sender's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The run of the sender's daemon.
    pub stream: u32,
    /// The number in the stream.
    pub seq: u32,
    /// How far below `seq` the floor was when this was sent.
    pub floor_back: u16,
}

impl Position {
    /// The lowest number that was not resolved when this was sent.
    const fn floor(self) -> u64 {
        self.seq.saturating_sub(self.floor_back as u32) as u64
    }
}

/// A whole, verified message, new to the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its id.
    pub id: MessageId,
    /// Its place.
    pub position: Position,
    /// What it takes to keep it, in bytes.
    pub bytes: usize,
}

/// A message that is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its id.
    pub id: MessageId,
    /// Its number in the current stream.
    pub seq: u32,
    /// What it takes to keep it, in bytes.
    pub bytes: usize,
    /// Since when it is held.
    pub since: UnixMillis,
}

/// A message to be published now. Several are published in the order in which they were returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which message.
    pub id: MessageId,
    /// Messages that were sent after it may have been published before it.
    pub late: bool,
}

/// What must outlive a crash, beside the messages that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The highest stream seen.
    pub stream: u32,
    /// The number that is published next: 0 to 2^32.
    pub next: u64,
}

/// The order of one sender's messages of one record type.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Nothing until the sender was heard of.
    current: Option<Snapshot>,
    /// By number; all above `next`.
    held: BTreeMap<u32, Waiting>,
    held_bytes: usize,
    /// When the last part came of messages that are not whole; numbers from `next` up.
    unfinished: BTreeMap<u32, UnixMillis>,
}

impl Order {
    /// The order of a sender that was never heard of.
    pub fn new() -> Self {
        Self::default()
    }

    /// The order as it was when `snapshot` was taken and `held` were held, and what of it is to be published at once:
    /// nothing, unless the two do not belong together.
    ///
    /// `unfinished` names the messages of the snapshot's stream of which parts are stored, by number, with the time when
    /// the last part came.
    pub fn restore(
        snapshot: Snapshot,
        held: impl IntoIterator<Item = Waiting>,
        unfinished: impl IntoIterator<Item = (u32, UnixMillis)>,
    ) -> (Self, Vec<Release>) {
        let mut order = Self { current: Some(snapshot), ..Self::default() };
        let mut released = Vec::new();
        for waiting in held {
            if u64::from(waiting.seq) < snapshot.next || order.held.contains_key(&waiting.seq) {
                released.push(Release { id: waiting.id, late: true });
            } else {
                order.held_bytes += waiting.bytes;
                order.held.insert(waiting.seq, waiting);
            }
        }
        for (seq, last_part) in unfinished {
            order.note_part(seq, last_part);
        }
        order.release_ready(&mut released);
        (order, released)
    }

    /// What must be stored to restore this order; nothing where the sender was never heard of.
    pub const fn snapshot(&self) -> Option<Snapshot> {
        self.current
    }

    /// The messages held, by number.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.held.values()
    }

    /// Bytes held.
    pub const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes note of a verified part of a message that is not whole yet.
    pub fn observe(&mut self, position: Position, now: UnixMillis) -> Vec<Release> {
        let mut released = Vec::new();
        self.set_back_to(now);
        if self.enter(position, &mut released) && !self.held.contains_key(&position.seq) {
            self.note_part(position.seq, now);
        }
        released
    }

    /// Takes a whole message that is new. If it is not among the messages returned it is held, since `now`; each message
    /// that is taken is returned once, by this call or a later one.
    pub fn accept(&mut self, message: Held, now: UnixMillis) -> Vec<Release> {
        let mut released = Vec::new();
        let Held { id, position, bytes } = message;
        self.set_back_to(now);
        let ahead = self.enter(position, &mut released);
        let namesake = self.held.get(&position.seq).map(|waiting| waiting.id);
        match namesake {
            _ if !ahead => released.push(Release { id, late: true }),
            // Stored by a step that a crash cut off.
            Some(held) if held == id => {}
            // No sender gives a number twice. It costs the second message its place, not its life.
            Some(_) => released.push(Release { id, late: true }),
            None => {
                self.unfinished.remove(&position.seq);
                self.held.insert(position.seq, Waiting { id, seq: position.seq, bytes, since: now });
                self.held_bytes += bytes;
                self.release_ready(&mut released);
                while self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES {
                    self.give_up_gap(&mut released);
                }
            }
        }
        released
    }

    /// Gives up every gap that was waited for long enough. To be called when [`Self::deadline`] has come.
    pub fn expire(&mut self, now: UnixMillis) -> Vec<Release> {
        let mut released = Vec::new();
        self.set_back_to(now);
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.give_up_gap(&mut released);
        }
        released
    }

    /// Gives up the oldest gap, however short the wait was; nothing comes out where nothing is held.
    pub fn give_up_oldest_gap(&mut self) -> Vec<Release> {
        let mut released = Vec::new();
        self.give_up_gap(&mut released);
        released
    }

    /// Whether a wait began after `now`, because the clock was set back: [`Self::expire`] then has something to do before
    /// the deadline comes.
    pub fn is_ahead_of(&self, now: UnixMillis) -> bool {
        self.held.values().any(|waiting| waiting.since > now)
    }

    /// When the oldest gap has been waited for long enough; nothing where nothing is held.
    pub fn deadline(&self) -> Option<UnixMillis> {
        let (&first_held, _) = self.held.first_key_value()?;
        let since = self.held.values().map(|waiting| waiting.since).min()?;
        let last_part = self.unfinished.range(..first_held).map(|(_, seen)| *seen).max();
        let patience = since.max(last_part.unwrap_or(since)).plus(GAP_PATIENCE);
        Some(patience.min(since.plus(GAP_PATIENCE_WITH_PARTS)))
    }

    fn note_part(&mut self, seq: u32, at: UnixMillis) {
        let last = self.unfinished.entry(seq).or_insert(at);
        *last = at.max(*last);
        if self.unfinished.len() > MAX_UNFINISHED {
            self.unfinished.pop_last();
        }
    }

    /// Moves to the position's stream and up to its floor. Whether the position is one that is still to come.
    fn enter(&mut self, position: Position, released: &mut Vec<Release>) -> bool {
        let Position { stream, seq, .. } = position;
        let next = match self.current {
            Some(current) if stream < current.stream => return false,
            Some(current) if stream == current.stream => current.next.max(position.floor()),
            _ => {
                let held = std::mem::take(&mut self.held);
                released.extend(held.into_values().map(|waiting| Release { id: waiting.id, late: false }));
                self.held_bytes = 0;
                self.unfinished.clear();
                position.floor()
            }
        };
        self.current = Some(Snapshot { stream, next });
        self.release_below(next, released);
        self.release_ready(released);
        self.current.is_some_and(|current| u64::from(seq) >= current.next)
    }

    /// Gives up the numbers that are missing below the first held message.
    fn give_up_gap(&mut self, released: &mut Vec<Release>) {
        if let (Some(current), Some((&first_held, _))) = (&mut self.current, self.held.first_key_value()) {
            current.next = first_held.into();
        }
        self.release_ready(released);
    }

    /// Releases what is held below `next`, across its gaps.
    fn release_below(&mut self, next: u64, released: &mut Vec<Release>) {
        while let Some(first) = self.held.first_entry().filter(|first| u64::from(*first.key()) < next) {
            let waiting = first.remove();
            self.held_bytes -= waiting.bytes;
            released.push(Release { id: waiting.id, late: false });
        }
    }

    /// Releases what is held without a gap from the next number on.
    fn release_ready(&mut self, released: &mut Vec<Release>) {
        let Some(mut current) = self.current else { return };
        while self.held.first_key_value().is_some_and(|(seq, _)| u64::from(*seq) == current.next) {
            current.next += 1;
            self.release_below(current.next, released);
        }
        self.current = Some(current);
        self.unfinished.retain(|seq, _| u64::from(*seq) >= current.next);
    }

    /// After the clock was set back, waits begin anew rather than last for the step.
    fn set_back_to(&mut self, now: UnixMillis) {
        for waiting in self.held.values_mut() {
            waiting.since = waiting.since.min(now);
        }
        for seen in self.unfinished.values_mut() {
            *seen = now.min(*seen);
        }
    }
}

#[cfg(test)]
mod tests;
