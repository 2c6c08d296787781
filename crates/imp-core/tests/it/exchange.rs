//! A sender, a network and a receiver, all simulated, and what must hold after each step.
//!
//! The sender numbers messages as the daemon does, the network repeats, reorders and delays, the receiver keeps what a
//! database would keep and may crash before any commit. Beside the real order stands a naive one, computed anew at each
//! step from all that ever came. The property tests and the fuzz target `order` share this file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::dispatch::Window;
use imp_core::id::{MessageId, NodeId};
use imp_core::order::{
    GAP_PATIENCE, GAP_PATIENCE_WITH_PARTS, Held, MAX_HELD, MAX_HELD_BYTES, Order, Position, Release, Snapshot,
};
use imp_core::parts::{Added, Parts};
use imp_core::time::UnixMillis;
use imp_core::wire::envelope::{Header, PartOf};

/// Something that happens. Numbers pick from what there is, modulo how much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// The sender numbers a message and puts its parts on the network.
    Send { parts: u8, kib: u16 },
    /// The receiver gets something that is on the network.
    Deliver { pick: u16 },
    /// The same, and it will come once more.
    Repeat { pick: u16 },
    /// The sender learns that a message has arrived.
    Settle { pick: u16 },
    /// The sender gives a message up: its failed parts are gone, or come nevertheless.
    GiveUp { pick: u16, gone: bool },
    /// The sender tries a message that it gave up once more, under a new number, with the parts that are missing.
    TryAgain { pick: u16 },
    /// The sender's daemon starts anew.
    Restart,
    /// Time passes, and the receiver looks at it.
    Pass { secs: u16 },
    /// The receiver's clock is set back.
    SetBack { secs: u16 },
    /// The receiver crashes before it commits its next step.
    Crash,
    /// The receiver's memory is short.
    GiveUpGap,
}

impl Op {
    /// The operation that bytes stand for; nothing at their end.
    #[allow(dead_code, reason = "the property tests make operations in another way")]
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (&[kind, low, high], rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        let pick = u16::from_le_bytes([low, high]);
        Some(match kind % 16 {
            0..=2 => Self::Send { parts: low, kib: high.into() },
            3..=6 => Self::Deliver { pick },
            7 => Self::Repeat { pick },
            8 | 9 => Self::Settle { pick },
            10 => Self::GiveUp { pick: low.into(), gone: high & 1 == 0 },
            11 => Self::TryAgain { pick },
            12 if low < 64 => Self::Restart,
            13 => Self::Pass { secs: pick % 700 },
            12 | 14 => Self::Crash,
            _ if low < 32 => Self::SetBack { secs: high.into() },
            _ if low < 64 => Self::GiveUpGap,
            _ => Self::Pass { secs: u16::from(high) % 100 },
        })
    }
}

/// A message of the sender's.
#[derive(Debug)]
struct Sent {
    id: MessageId,
    count: u16,
    kib: usize,
    stream: u32,
    seq: u32,
    arrived: HashSet<u16>,
    resolved: bool,
}

/// A payment on its way.
#[derive(Clone, Copy, Debug)]
struct Payment {
    message: usize,
    index: u16,
    position: Position,
}

/// What the receiver has in memory; all of it can be had again from what it stores.
#[derive(Clone, Debug, Default)]
struct Receiver {
    order: Order,
    unfinished: HashMap<MessageId, (Parts, UnixMillis)>,
    taken: HashSet<(MessageId, u16)>,
}

/// The whole of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    now: UnixMillis,
    clock_was_set_back: bool,
    crash_next: bool,
    sender: NodeId,
    stream: u32,
    windows: HashMap<u32, Window>,
    messages: Vec<Sent>,
    network: Vec<Payment>,
    receiver: Receiver,
    /// What ever became whole at the receiver, by its place then.
    whole: BTreeMap<(u32, u32), (MessageId, usize)>,
    published: HashMap<MessageId, bool>,
    last_published: Option<(u32, u32)>,
}

impl Exchange {
    /// Nothing was sent yet.
    pub(crate) fn new(sender: NodeId) -> Self {
        let stream = 1_700_000_000;
        Self {
            now: UnixMillis(1_700_000_000_000),
            clock_was_set_back: false,
            crash_next: false,
            sender,
            stream,
            windows: HashMap::from([(stream, Window::new(stream))]),
            messages: Vec::new(),
            network: Vec::new(),
            receiver: Receiver::default(),
            whole: BTreeMap::new(),
            published: HashMap::new(),
            last_published: None,
        }
    }

    /// Lets something happen, and checks everything that must hold.
    pub(crate) fn step(&mut self, op: Op) {
        match op {
            Op::Send { parts, kib } => self.send(u16::from(parts % 4) + 1, kib.into()),
            Op::Deliver { pick } => self.deliver(pick, false),
            Op::Repeat { pick } => self.deliver(pick, true),
            Op::Settle { pick } => self.settle(pick),
            Op::GiveUp { pick, gone } => self.give_up(pick, gone),
            Op::TryAgain { pick } => self.try_again(pick),
            Op::Restart => {
                self.stream += 1;
                self.windows.insert(self.stream, Window::new(self.stream));
            }
            Op::Pass { secs } => {
                self.now = self.now.plus(Duration::from_secs(secs.into()));
                self.expire();
            }
            Op::SetBack { secs } => {
                self.now = self.now.minus(Duration::from_secs(secs.into()));
                self.clock_was_set_back = true;
                self.expire();
            }
            Op::Crash => self.crash_next = true,
            Op::GiveUpGap => {
                let released = self.committed(|receiver, _| receiver.order.give_up_oldest_gap());
                self.publish(&released);
            }
        }
        self.check();
    }

    /// Delivers what is on its way and waits as long as a receiver ever does: everything is published then.
    pub(crate) fn finish(mut self) {
        self.deliver_all();
        self.step(Op::Pass { secs: GAP_PATIENCE_WITH_PARTS.as_secs() as u16 });
        assert_eq!(self.receiver.order.waiting().count(), 0, "held for ever");
        assert_eq!(self.published.len(), self.whole.len());
    }

    /// Delivers what is on its way; no time passes. Everything is published then, in order, if nothing was given up.
    #[allow(dead_code, reason = "the fuzz target always gives up")]
    pub(crate) fn finish_in_order(mut self) {
        self.deliver_all();
        assert_eq!(self.published.len(), self.messages.len(), "nothing is waited for that has come");
        assert!(self.published.values().all(|late| !late), "nothing is late where nothing was given up");
    }

    /// Whether everything that was sent has arrived.
    #[allow(dead_code, reason = "the fuzz target restarts the sender at any time")]
    pub(crate) fn is_quiet(&self) -> bool {
        self.messages.iter().all(|message| message.arrived.len() == usize::from(message.count))
    }

    fn deliver_all(&mut self) {
        while !self.network.is_empty() {
            self.step(Op::Deliver { pick: 0 });
        }
    }

    fn send(&mut self, count: u16, kib: usize) {
        let window = self.windows.get_mut(&self.stream).expect("the current stream has a window");
        let Some(numbered) = window.assign() else { return };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.messages.len() as u64).to_be_bytes());
        let (id, arrived) = (MessageId::from_bytes(id), HashSet::new());
        let (stream, seq) = (numbered.stream, numbered.seq);
        self.messages.push(Sent { id, count, kib, stream, seq, arrived, resolved: false });
        self.put_on_network(self.messages.len() - 1);
    }

    fn put_on_network(&mut self, message: usize) {
        let Sent { stream, seq, count, ref arrived, .. } = self.messages[message];
        let floor_back = self.windows[&stream].floor_back(seq);
        let position = Position { stream, seq, floor_back };
        let missing = (0..count).filter(|index| !arrived.contains(index));
        self.network.extend(missing.map(|index| Payment { message, index, position }));
    }

    fn picked(&self, pick: u16, wanted: impl Fn(&Sent) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.messages.len()).filter(|at| wanted(&self.messages[*at])).collect();
        fitting.get(usize::from(pick) % fitting.len().max(1)).copied()
    }

    fn settle(&mut self, pick: u16) {
        let arrived = |sent: &Sent| !sent.resolved && sent.arrived.len() == usize::from(sent.count);
        if let Some(at) = self.picked(pick, arrived) {
            self.resolve(at);
        }
    }

    fn give_up(&mut self, pick: u16, gone: bool) {
        if let Some(at) = self.picked(pick, |sent| !sent.resolved) {
            self.resolve(at);
            self.network.retain(|payment| payment.message != at || !gone);
        }
    }

    fn try_again(&mut self, pick: u16) {
        let failed = |sent: &Sent| sent.resolved && sent.arrived.len() < usize::from(sent.count);
        let Some(at) = self.picked(pick, failed) else { return };
        let window = self.windows.get_mut(&self.stream).expect("the current stream has a window");
        let Some(numbered) = window.assign() else { return };
        // What is tried again had definitely failed.
        self.network.retain(|payment| payment.message != at);
        let sent = &mut self.messages[at];
        (sent.stream, sent.seq, sent.resolved) = (numbered.stream, numbered.seq, false);
        self.put_on_network(at);
    }

    fn resolve(&mut self, message: usize) {
        let sent = &mut self.messages[message];
        sent.resolved = true;
        let window = self.windows.get_mut(&sent.stream).expect("every stream has a window");
        assert!(window.resolve(sent.seq));
    }

    fn deliver(&mut self, pick: u16, again: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = usize::from(pick) % self.network.len();
        let payment = if again { self.network[at] } else { self.network.swap_remove(at) };
        let sent = &mut self.messages[payment.message];
        sent.arrived.insert(payment.index);
        let Position { stream, seq, floor_back } = payment.position;
        let part = (sent.count > 1).then_some(PartOf { index: payment.index, count: sent.count });
        let header = Header { id: sent.id, stream, seq, floor_back, part, reply_to: None, unordered: false };
        let (sender, bytes) = (self.sender, sent.kib << 10);
        let before = self.receiver.order.snapshot();
        let (position, released) =
            self.committed(|receiver, now| receiver.receive(sender, &header, bytes, now));
        let Some((position, is_whole)) = position else { return };
        if is_whole {
            let place = (position.stream, position.seq);
            assert!(self.whole.insert(place, (header.id, bytes)).is_none(), "no number is given twice");
        }
        self.publish(&released);
        assert_eq!(self.receiver.order.snapshot(), Some(self.naive_next(before, position)));
    }

    fn expire(&mut self) {
        let deadline = self.receiver.order.deadline();
        let released = self.committed(|receiver, now| receiver.order.expire(now));
        if !released.is_empty() && !self.clock_was_set_back {
            assert!(deadline.is_some_and(|deadline| deadline <= self.now), "given up too early");
        }
        self.publish(&released);
        let later = self.receiver.order.deadline();
        assert!(later.is_none_or(|deadline| deadline > self.now), "a gap outlived its deadline");
    }

    /// Does a step of the receiver's. After a crash it is done again, by what was restored from the last commit.
    fn committed<T>(&mut self, step: impl Fn(&mut Receiver, UnixMillis) -> T) -> T {
        if std::mem::take(&mut self.crash_next) {
            let restored = self.receiver.restored();
            step(&mut self.receiver, self.now);
            self.receiver = restored;
        }
        step(&mut self.receiver, self.now)
    }

    fn publish(&mut self, released: &[Release]) {
        for Release { id, late } in released {
            let place = self.whole.iter().find(|(_, (whole, _))| whole == id).map(|(place, _)| *place);
            let place = place.expect("only what came whole is published");
            assert!(self.published.insert(*id, *late).is_none(), "published twice");
            assert!(*late || self.last_published < Some(place), "out of order and not marked as late");
            self.last_published = self.last_published.max(Some(place));
        }
    }

    /// Where the order must stand after an envelope with this position: computed from all that ever came whole.
    fn naive_next(&self, before: Option<Snapshot>, position: Position) -> Snapshot {
        let floor = u64::from(position.seq) - u64::from(position.floor_back);
        let (stream, mut next) = match before {
            Some(before) if before.stream > position.stream => return before,
            Some(before) if before.stream == position.stream => (before.stream, before.next.max(floor)),
            _ => (position.stream, floor),
        };
        loop {
            let held: Vec<(u64, usize)> = self
                .whole
                .range((stream, 0)..=(stream, u32::MAX))
                .map(|((_, seq), (_, bytes))| (u64::from(*seq), *bytes))
                .filter(|(seq, _)| *seq >= next)
                .collect();
            let bytes: usize = held.iter().map(|(_, bytes)| bytes).sum();
            match held.first() {
                Some((first, _)) if *first == next => next += 1,
                Some((first, _)) if held.len() > MAX_HELD || bytes > MAX_HELD_BYTES => next = *first,
                _ => return Snapshot { stream, next },
            }
        }
    }

    fn check(&self) {
        let order = &self.receiver.order;
        let held: Vec<_> = order.waiting().collect();
        assert_eq!(self.published.len() + held.len(), self.whole.len(), "a message is neither out nor held");
        assert!(held.iter().all(|waiting| !self.published.contains_key(&waiting.id)));
        assert_eq!(order.held_bytes(), held.iter().map(|waiting| waiting.bytes).sum::<usize>());
        assert!(held.len() <= MAX_HELD && order.held_bytes() <= MAX_HELD_BYTES, "over the limit");
        let since = held.iter().map(|waiting| waiting.since).min();
        assert_eq!(order.deadline().is_some(), since.is_some());
        if let (Some(deadline), Some(since)) = (order.deadline(), since) {
            assert!(since.plus(GAP_PATIENCE) <= deadline && deadline <= since.plus(GAP_PATIENCE_WITH_PARTS));
        }
    }
}

impl Receiver {
    /// Takes a payment. Its message's position, and whether that is whole now, where the payment was no repeat.
    fn receive(
        &mut self,
        sender: NodeId,
        header: &Header,
        bytes: usize,
        now: UnixMillis,
    ) -> (Option<(Position, bool)>, Vec<Release>) {
        let index = header.part.map_or(0, |part| part.index);
        if !self.taken.insert((header.id, index)) {
            return (None, Vec::new());
        }
        let mut position = header.position().expect("all messages here are ordered");
        if header.part.is_some() {
            let (parts, last) = self.unfinished.entry(header.id).or_insert_with(|| (Parts::new(), now));
            *last = now;
            assert_eq!(parts.add(sender, header, bytes, Msat::from_sat(1)), Ok(Added::New));
            position = parts.position().expect("its parts are ordered");
            if !parts.whole() {
                return (Some((position, false)), self.order.observe(position, now));
            }
            self.unfinished.remove(&header.id);
        }
        let released = self.order.accept(Held { id: header.id, position, bytes }, now);
        (Some((position, true)), released)
    }

    /// What another process makes of what this one has stored.
    fn restored(&self) -> Self {
        let order = match self.order.snapshot() {
            None => Order::new(),
            Some(snapshot) => {
                let unfinished = self.unfinished.values().filter_map(|(parts, last)| {
                    let position = parts.position().filter(|position| position.stream == snapshot.stream)?;
                    Some((position.seq, *last))
                });
                let held = self.order.waiting().copied();
                let (order, released) = Order::restore(snapshot, held, unfinished);
                assert_eq!(released, [], "what was stored together belongs together");
                order
            }
        };
        Self { order, ..self.clone() }
    }
}
