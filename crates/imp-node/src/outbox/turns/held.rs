//! What whoever has a turn holds. Each passes on what it is worth when it is dropped.

use imp_core::id::NodeId;
use imp_core::record::Service;
use tokio::sync::oneshot;

use super::Turns;
use crate::store::outbox::Number;

/// The right to have one payment in flight. Dropping it passes the turn on.
#[derive(Debug)]
pub(in crate::outbox) struct Slot {
    pub(super) turns: Turns,
    pub(super) recipient: NodeId,
    pub(super) unused: Option<Numbered>,
    pub(super) room: Option<Room>,
}

impl Slot {
    /// The message's number, where this is its first slot and it has a place in the order.
    pub(in crate::outbox) fn take_number(&mut self) -> Option<Numbered> {
        self.unused.take()
    }

    /// The room for the message's text, where this is its first slot.
    pub(in crate::outbox) fn take_room(&mut self) -> Option<Room> {
        self.room.take()
    }
}

/// The right to have a message's text in memory and to queue for more payments for it. Dropping it passes it on.
#[derive(Debug)]
pub(in crate::outbox) struct Room {
    pub(super) turns: Turns,
    pub(super) recipient: NodeId,
    pub(super) bytes: usize,
}

/// A number that is not resolved. Dropping it resolves it: its message is settled or given up, and nobody is to wait for
/// it, however the work on it ended.
#[derive(Debug)]
pub(in crate::outbox) struct Numbered {
    pub(super) turns: Turns,
    pub(super) recipient: NodeId,
    pub(super) line: Service,
    pub(super) number: Number,
}

impl Numbered {
    /// The number, as it is stored.
    pub(in crate::outbox) const fn number(&self) -> Number {
        self.number
    }

    /// The lowest number of the message's run that is not resolved, as an envelope tells it.
    pub(in crate::outbox) fn floor_back(&self) -> u16 {
        let mut state = self.turns.lock();
        let window = state.line(self.recipient, self.line).and_then(|line| line.window(self.number.stream));
        window.map_or(0, |window| window.floor_back(self.number.seq))
    }
}

/// A place in a recipient's queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(in crate::outbox) struct Ticket(pub(super) oneshot::Receiver<Slot>);

impl Ticket {
    /// Waits for the turn.
    pub(in crate::outbox) async fn granted(self) -> Slot {
        self.0.await.expect("a queued sender is dropped only with its receiver")
    }
}

/// While this is held, the numbers of this run wait for a message of an earlier one.
#[derive(Debug)]
pub(in crate::outbox) struct Barrier {
    pub(super) turns: Turns,
    pub(super) recipient: NodeId,
    pub(super) line: Service,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if let Some(recipient) = state.recipients.get_mut(&self.recipient) {
            recipient.in_flight -= 1;
            let shared = !recipient.direct;
            state.shared_in_flight -= usize::from(shared);
        }
        self.turns.grant(state, self.recipient);
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        let line = state.line(self.recipient, self.line);
        if let Some(window) = line.and_then(|line| line.window(self.number.stream)) {
            window.resolve(self.number.seq);
        }
        self.turns.grant(state, self.recipient);
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if let Some(line) = state.line(self.recipient, self.line) {
            line.blocked_by -= 1;
        }
        self.turns.grant(state, self.recipient);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.text_bytes -= self.bytes;
        if let Some(recipient) = state.recipients.get_mut(&self.recipient) {
            recipient.sending -= 1;
        }
        self.turns.grant(state, self.recipient);
    }
}
