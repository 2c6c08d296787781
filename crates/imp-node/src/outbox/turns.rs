//! Whose turn it is to pay: slots for payments, numbers for messages.
//!
//! A Lightning channel carries a bounded number of payments at once, so messages queue here and never fail for want of a
//! slot. Recipients take turns. Within a recipient, parts of messages that were begun go before new messages, and new
//! messages go in the order in which they were accepted: a message gets its number together with its first slot, and with
//! it the right to have its text in memory.

mod held;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_core::dispatch::Window;
use imp_core::id::NodeId;
use imp_core::record::Service;
use tokio::sync::oneshot;

use crate::store::outbox::Number;
pub(super) use held::{Barrier, Numbered, Room, Slot, Ticket};

/// One slot of so many is never given to a recipient who shares channels with others.
const SHARE_LEFT_TO_OTHERS: usize = 10;

/// The queues. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    state: Arc<Mutex<State>>,
    stream: u32,
    max_text_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Those to whom anything goes now.
    recipients: HashMap<NodeId, Recipient>,
    /// The numbers of those to whom something went before: they go on where they were.
    resting: HashMap<NodeId, Box<[(Service, Window)]>>,
    /// Recipients with somebody waiting, the next one first.
    rotation: VecDeque<NodeId>,
    /// Slots of recipients without a channel of their own: they share this node's channels.
    shared_in_flight: usize,
    /// Bytes of the texts of messages that had their turn.
    text_bytes: usize,
}

#[derive(Debug, Default)]
struct Recipient {
    limit: usize,
    /// It has a channel with this node, so that nobody else's payments are in its way.
    direct: bool,
    in_flight: usize,
    /// Messages that had their turn and are not done.
    sending: usize,
    begun: VecDeque<oneshot::Sender<Slot>>,
    fresh: VecDeque<Waiting>,
    lines: HashMap<Service, Line>,
}

#[derive(Debug)]
struct Waiting {
    ticket: oneshot::Sender<Slot>,
    /// The line whose number it needs; nothing for what is sent outside of the order.
    line: Option<Service>,
    text_bytes: usize,
}

/// Whoever is next, and the number that goes with it.
#[derive(Debug)]
struct Turn {
    ticket: oneshot::Sender<Slot>,
    unused: Option<(Service, Number)>,
    /// Of a message's first turn: bytes of its text.
    text_bytes: Option<usize>,
}

/// The numbers of one service's messages to one recipient.
#[derive(Debug)]
struct Line {
    window: Window,
    /// Windows of earlier runs, while messages of theirs are followed to their end.
    earlier: Vec<Window>,
    /// Messages of earlier runs that this run's numbers wait for.
    blocked_by: usize,
}

impl Turns {
    /// Queues for the run of the daemon that has this number. No message has its first turn while those that had theirs
    /// and are not done have texts of `max_text_bytes` or more.
    pub(super) fn new(stream: u32, max_text_bytes: usize) -> Self {
        Self { state: Arc::default(), stream, max_text_bytes }
    }

    /// Notes how many payments a recipient can have in flight: over channels of its own, or over those that it shares
    /// with others. Holds as long as anybody waits for the recipient or sends to it: enter first.
    pub(super) fn set_limit(&self, recipient: NodeId, limit: usize, direct: bool) {
        let mut state = self.lock();
        let Some(known) = state.recipients.get_mut(&recipient) else { return };
        // Payments that are under way stay counted where they were counted first.
        if known.in_flight == 0 {
            known.direct = direct;
        }
        // Whoever holds payments up on purpose must not hold up all others.
        known.limit = if known.direct { limit } else { limit - limit / SHARE_LEFT_TO_OTHERS };
        self.grant(state, recipient);
    }

    /// Queues a new message with a text of so many bytes. Its place is taken when this returns.
    pub(super) fn enter(&self, recipient: NodeId, line: Option<Service>, text_bytes: usize) -> Ticket {
        let (ticket, granted) = oneshot::channel();
        self.queue(recipient, |recipient| recipient.fresh.push_back(Waiting { ticket, line, text_bytes }));
        Ticket(granted)
    }

    /// Queues for another payment of a message that was begun and has its [`Room`].
    pub(super) fn again(&self, recipient: NodeId) -> Ticket {
        let (ticket, granted) = oneshot::channel();
        self.queue(recipient, |recipient| recipient.begun.push_back(ticket));
        Ticket(granted)
    }

    /// Takes up a message of an earlier run: its number in a window of that run, and a barrier for this run's numbers.
    pub(super) fn take_up(&self, recipient: NodeId, line: Service, number: Number) -> (Numbered, Barrier) {
        let mut state = self.lock();
        let known = state.recipient(recipient).line(line, self.stream);
        known.blocked_by += 1;
        match known.earlier.iter_mut().find(|window| window.stream() == number.stream) {
            Some(window) => {
                let seqs = window.unresolved().chain([number.seq]).collect::<Vec<_>>();
                *window = Window::restore(number.stream, 0, seqs);
            }
            None => known.earlier.push(Window::restore(number.stream, 0, [number.seq])),
        }
        let numbered = Numbered { turns: self.clone(), recipient, line, number };
        (numbered, Barrier { turns: self.clone(), recipient, line })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, recipient: NodeId, join: impl FnOnce(&mut Recipient)) {
        let mut state = self.lock();
        join(state.recipient(recipient));
        if !state.rotation.contains(&recipient) {
            state.rotation.push_back(recipient);
        }
        self.grant(state, recipient);
    }

    /// Hands out slots until no recipient can take one, after a change of `changed`.
    fn grant(&self, mut state: MutexGuard<'_, State>, changed: NodeId) {
        let mut refused = Vec::new();
        while let Some((recipient, Turn { ticket, unused, text_bytes })) = state.next_turn(self) {
            let unused =
                unused.map(|(line, number)| Numbered { turns: self.clone(), recipient, line, number });
            let room = text_bytes.map(|bytes| Room { turns: self.clone(), recipient, bytes });
            refused.extend(ticket.send(Slot { turns: self.clone(), recipient, unused, room }).err());
        }
        state.rest(changed);
        // A slot locks the state when it is dropped, and so do a number and a room.
        drop(state);
        drop(refused);
    }
}

impl State {
    /// Takes the next turn: recipients with nothing in flight go before the others, and each goes to the end of the
    /// line after its turn.
    fn next_turn(&mut self, turns: &Turns) -> Option<(NodeId, Turn)> {
        self.leave_rotation();
        let shared_limit = self.shared_limit();
        let may_begin = self.text_bytes < turns.max_text_bytes;
        let Self { recipients, rotation, shared_in_flight, text_bytes, .. } = self;
        for idle_first in [true, false] {
            for place in 0..rotation.len() {
                let Some(id) = rotation.get(place).copied() else { break };
                let Some(recipient) = recipients.get_mut(&id) else { continue };
                let room = recipient.direct || *shared_in_flight < shared_limit;
                if !room || idle_first != (recipient.in_flight == 0) {
                    continue;
                }
                let Some(turn) = recipient.next(turns.stream, may_begin) else { continue };
                recipient.in_flight += 1;
                recipient.sending += usize::from(turn.text_bytes.is_some());
                *text_bytes += turn.text_bytes.unwrap_or(0);
                *shared_in_flight += usize::from(!recipient.direct);
                rotation.remove(place);
                rotation.push_back(id);
                return Some((id, turn));
            }
        }
        None
    }

    /// How many payments recipients without a channel of their own may have in flight together: as many as the channels
    /// take, of which each of them may have most.
    fn shared_limit(&self) -> usize {
        let shared = self.recipients.values().filter(|recipient| !recipient.direct);
        let most = shared.map(|recipient| recipient.limit).max().unwrap_or(0);
        most + most / (SHARE_LEFT_TO_OTHERS - 1)
    }

    /// Takes those out of the rotation for whom nobody waits any more.
    fn leave_rotation(&mut self) {
        let Self { recipients, rotation, .. } = self;
        let mut left = Vec::new();
        rotation.retain(|id| {
            let waits = recipients.get_mut(id).is_some_and(Recipient::waits);
            if !waits {
                left.push(*id);
            }
            waits
        });
        for id in left {
            self.rest(id);
        }
    }

    /// A recipient to whom something is to go.
    fn recipient(&mut self, id: NodeId) -> &mut Recipient {
        let Self { recipients, resting, .. } = self;
        recipients.entry(id).or_insert_with(|| {
            let lines = resting.remove(&id).into_iter().flatten();
            let lines = lines.map(|(service, window)| (service, Line::with(window))).collect();
            Recipient { lines, ..Recipient::default() }
        })
    }

    /// Keeps nothing but the numbers of a recipient to whom nothing goes now.
    fn rest(&mut self, id: NodeId) {
        if !self.recipients.get_mut(&id).is_some_and(|recipient| recipient.is_idle()) {
            return;
        }
        let lines = self.recipients.remove(&id).into_iter().flat_map(|recipient| recipient.lines);
        let windows: Box<[_]> = lines.map(|(service, line)| (service, line.window)).collect();
        if !windows.is_empty() {
            self.resting.insert(id, windows);
        }
    }

    /// The line of a number that is not resolved, or of a barrier.
    fn line(&mut self, recipient: NodeId, line: Service) -> Option<&mut Line> {
        self.recipients.get_mut(&recipient)?.lines.get_mut(&line)
    }
}

impl Recipient {
    fn line(&mut self, line: Service, stream: u32) -> &mut Line {
        self.lines.entry(line).or_insert_with(|| Line::with(Window::new(stream)))
    }

    /// Whether nobody waits for it, nothing goes to it, and no number of it can still be asked for.
    fn is_idle(&mut self) -> bool {
        let in_use = self.waits() || self.in_flight > 0 || self.sending > 0;
        !in_use && self.lines.values().all(Line::is_idle)
    }

    /// Whether anybody is in the queue who has not left it.
    fn waits(&mut self) -> bool {
        self.begun.retain(|ticket| !ticket.is_closed());
        self.fresh.retain(|waiting| !waiting.ticket.is_closed());
        !self.begun.is_empty() || !self.fresh.is_empty()
    }

    /// Who is next, with the number it gets. A message of a line that has no number to give waits, and so does what
    /// stands behind it in the same line; other lines pass.
    fn next(&mut self, stream: u32, may_begin: bool) -> Option<Turn> {
        if self.in_flight >= self.limit {
            return None;
        }
        if let Some(ticket) = self.begun.pop_front() {
            return Some(Turn { ticket, unused: None, text_bytes: None });
        }
        if !may_begin {
            return None;
        }
        let mut full = Vec::new();
        for at in 0..self.fresh.len() {
            let Some(service) = self.fresh[at].line else {
                return self.fresh.remove(at).map(|waiting| waiting.turn(None));
            };
            if full.contains(&service) {
                continue;
            }
            let line = self.line(service, stream);
            if line.blocked_by == 0
                && let Some(numbered) = line.window.assign()
            {
                let number = Number { stream: numbered.stream, seq: numbered.seq };
                let unused = Some((service, number));
                return self.fresh.remove(at).map(|waiting| waiting.turn(unused));
            }
            full.push(service);
        }
        None
    }
}

impl Waiting {
    fn turn(self, unused: Option<(Service, Number)>) -> Turn {
        Turn { ticket: self.ticket, unused, text_bytes: Some(self.text_bytes) }
    }
}

impl Line {
    const fn with(window: Window) -> Self {
        Self { window, earlier: Vec::new(), blocked_by: 0 }
    }

    /// Whether none of its numbers is in use.
    fn is_idle(&self) -> bool {
        let mut windows = std::iter::once(&self.window).chain(&self.earlier);
        self.blocked_by == 0 && windows.all(|window| window.unresolved().len() == 0)
    }

    fn window(&mut self, stream: u32) -> Option<&mut Window> {
        std::iter::once(&mut self.window).chain(&mut self.earlier).find(|window| window.stream() == stream)
    }
}

#[cfg(test)]
mod tests;
