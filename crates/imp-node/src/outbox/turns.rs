//! Whose turn it is to pay: slots for payments, numbers for messages.
//!
//! A Lightning channel carries a bounded number of payments at once, so messages queue here and never fail for want of a
//! slot. Recipients take turns. Within a recipient, parts of messages that were begun go before new messages, and new
//! messages go in the order in which they were accepted: a message gets its number together with its first slot.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_core::dispatch::Window;
use imp_core::id::NodeId;
use imp_core::record::Service;
use tokio::sync::oneshot;

use crate::store::outbox::Number;

/// One slot of so many is never given to a recipient who shares channels with others.
const SHARE_LEFT_TO_OTHERS: usize = 10;

/// The queues. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    state: Arc<Mutex<State>>,
    stream: u32,
}

#[derive(Debug, Default)]
struct State {
    recipients: HashMap<NodeId, Recipient>,
    /// Recipients with somebody waiting, the next one first.
    rotation: VecDeque<NodeId>,
    /// Slots of recipients without a channel of their own: they share this node's channels.
    shared_in_flight: usize,
}

#[derive(Debug, Default)]
struct Recipient {
    limit: usize,
    /// It has a channel with this node, so that nobody else's payments are in its way.
    direct: bool,
    in_flight: usize,
    begun: VecDeque<oneshot::Sender<Slot>>,
    fresh: VecDeque<Waiting>,
    lines: HashMap<Service, Line>,
}

#[derive(Debug)]
struct Waiting {
    ticket: oneshot::Sender<Slot>,
    /// The line whose number it needs; nothing for what is sent outside of the order.
    line: Option<Service>,
}

/// Whoever is next, and the number that goes with it.
#[derive(Debug)]
struct Turn {
    ticket: oneshot::Sender<Slot>,
    unused: Option<(Service, Number)>,
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

/// The right to have one payment in flight. Dropping it passes the turn on.
#[derive(Debug)]
pub(super) struct Slot {
    turns: Turns,
    recipient: NodeId,
    unused: Option<Numbered>,
}

impl Slot {
    /// The message's number, where this is its first slot and it has a place in the order.
    pub(super) fn take_number(&mut self) -> Option<Numbered> {
        self.unused.take()
    }
}

/// A number that is not resolved. Dropping it resolves it: its message is settled or given up, and nobody is to wait for
/// it, however the work on it ended.
#[derive(Debug)]
pub(super) struct Numbered {
    turns: Turns,
    recipient: NodeId,
    line: Service,
    number: Number,
}

impl Numbered {
    /// The number, as it is stored.
    pub(super) const fn number(&self) -> Number {
        self.number
    }

    /// The lowest number of the message's run that is not resolved, as an envelope tells it.
    pub(super) fn floor_back(&self) -> u16 {
        let mut state = self.turns.lock();
        let line = state.line(self.recipient, self.line, self.turns.stream);
        line.window(self.number.stream).map_or(0, |window| window.floor_back(self.number.seq))
    }
}

/// A place in a recipient's queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Ticket(oneshot::Receiver<Slot>);

impl Ticket {
    /// Waits for the turn.
    pub(super) async fn granted(self) -> Slot {
        self.0.await.expect("a queued sender is dropped only with its receiver")
    }
}

/// While this is held, the numbers of this run wait for a message of an earlier one.
#[derive(Debug)]
pub(super) struct Barrier {
    turns: Turns,
    recipient: NodeId,
    line: Service,
}

impl Turns {
    /// Queues for the run of the daemon that has this number.
    pub(super) fn new(stream: u32) -> Self {
        Self { state: Arc::default(), stream }
    }

    /// Notes how many payments a recipient can have in flight: over channels of its own, or over those that it shares
    /// with others.
    pub(super) fn set_limit(&self, recipient: NodeId, limit: usize, direct: bool) {
        let mut state = self.lock();
        let known = state.recipients.entry(recipient).or_default();
        // Payments that are under way stay counted where they were counted first.
        if known.in_flight == 0 {
            known.direct = direct;
        }
        // Whoever holds payments up on purpose must not hold up all others.
        known.limit = if known.direct { limit } else { limit - limit / SHARE_LEFT_TO_OTHERS };
        self.grant(state);
    }

    /// Queues a new message. Its place is taken when this returns.
    pub(super) fn enter(&self, recipient: NodeId, line: Option<Service>) -> Ticket {
        let (ticket, granted) = oneshot::channel();
        self.queue(recipient, |recipient| recipient.fresh.push_back(Waiting { ticket, line }));
        Ticket(granted)
    }

    /// Queues for another payment of a message that was begun.
    pub(super) fn again(&self, recipient: NodeId) -> Ticket {
        let (ticket, granted) = oneshot::channel();
        self.queue(recipient, |recipient| recipient.begun.push_back(ticket));
        Ticket(granted)
    }

    /// Takes up a message of an earlier run: its number in a window of that run, and a barrier for this run's numbers.
    pub(super) fn take_up(&self, recipient: NodeId, line: Service, number: Number) -> (Numbered, Barrier) {
        let mut state = self.lock();
        let known = state.line(recipient, line, self.stream);
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
        join(state.recipients.entry(recipient).or_default());
        if !state.rotation.contains(&recipient) {
            state.rotation.push_back(recipient);
        }
        self.grant(state);
    }

    /// Hands out slots until no recipient can take one.
    fn grant(&self, mut state: MutexGuard<'_, State>) {
        let mut refused = Vec::new();
        while let Some((recipient, Turn { ticket, unused })) = state.next_turn(self.stream) {
            let unused =
                unused.map(|(line, number)| Numbered { turns: self.clone(), recipient, line, number });
            refused.extend(ticket.send(Slot { turns: self.clone(), recipient, unused }).err());
        }
        // A slot locks the state when it is dropped, and so does a number.
        drop(state);
        drop(refused);
    }
}

impl State {
    /// Takes the next turn: recipients with nothing in flight go before the others, and each goes to the end of the
    /// line after its turn.
    fn next_turn(&mut self, stream: u32) -> Option<(NodeId, Turn)> {
        let shared_limit = self.shared_limit();
        let Self { recipients, rotation, shared_in_flight } = self;
        rotation.retain(|id| recipients.get_mut(id).is_some_and(Recipient::waits));
        for idle_first in [true, false] {
            for place in 0..rotation.len() {
                let Some(id) = rotation.get(place).copied() else { break };
                let Some(recipient) = recipients.get_mut(&id) else { continue };
                let room = recipient.direct || *shared_in_flight < shared_limit;
                if !room || idle_first != (recipient.in_flight == 0) {
                    continue;
                }
                let Some(turn) = recipient.next(stream) else { continue };
                recipient.in_flight += 1;
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

    fn line(&mut self, recipient: NodeId, line: Service, stream: u32) -> &mut Line {
        self.recipients.entry(recipient).or_default().line(line, stream)
    }
}

impl Recipient {
    fn line(&mut self, line: Service, stream: u32) -> &mut Line {
        self.lines.entry(line).or_insert_with(|| Line {
            window: Window::new(stream),
            earlier: Vec::new(),
            blocked_by: 0,
        })
    }

    /// Whether anybody is in the queue who has not left it.
    fn waits(&mut self) -> bool {
        self.begun.retain(|ticket| !ticket.is_closed());
        self.fresh.retain(|waiting| !waiting.ticket.is_closed());
        !self.begun.is_empty() || !self.fresh.is_empty()
    }

    /// Who is next, with the number it gets. A message of a line that has no number to give waits, and so does what
    /// stands behind it in the same line; other lines pass.
    fn next(&mut self, stream: u32) -> Option<Turn> {
        if self.in_flight >= self.limit {
            return None;
        }
        if let Some(ticket) = self.begun.pop_front() {
            return Some(Turn { ticket, unused: None });
        }
        let mut full = Vec::new();
        for at in 0..self.fresh.len() {
            let Some(service) = self.fresh[at].line else {
                return self.fresh.remove(at).map(|waiting| Turn { ticket: waiting.ticket, unused: None });
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
                return self.fresh.remove(at).map(|waiting| Turn { ticket: waiting.ticket, unused });
            }
            full.push(service);
        }
        None
    }
}

impl Line {
    fn window(&mut self, stream: u32) -> Option<&mut Window> {
        std::iter::once(&mut self.window).chain(&mut self.earlier).find(|window| window.stream() == stream)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        if let Some(recipient) = state.recipients.get_mut(&self.recipient) {
            recipient.in_flight -= 1;
            let shared = !recipient.direct;
            state.shared_in_flight -= usize::from(shared);
        }
        self.turns.grant(state);
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        let line = state.line(self.recipient, self.line, self.turns.stream);
        if let Some(window) = line.window(self.number.stream) {
            window.resolve(self.number.seq);
        }
        self.turns.grant(state);
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.line(self.recipient, self.line, self.turns.stream).blocked_by -= 1;
        self.turns.grant(state);
    }
}

#[cfg(test)]
mod tests;
