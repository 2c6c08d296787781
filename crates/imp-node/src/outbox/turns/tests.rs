use std::cell::RefCell;

use futures_util::FutureExt;
use proptest::prelude::*;
use secp256k1::{SECP256K1, SecretKey};

use super::super::TEXT_BYTES;
use super::*;

fn node(n: u8) -> NodeId {
    SecretKey::from_slice(&[n; 32]).unwrap().public_key(SECP256K1).into()
}

/// Queues whose recipients' limits are told after each entry, as they are in the outbox.
struct Queues {
    turns: Turns,
    limits: RefCell<HashMap<NodeId, (usize, bool)>>,
}

impl Queues {
    fn new() -> Self {
        Self { turns: Turns::new(7, TEXT_BYTES), limits: RefCell::default() }
    }

    fn set_limit(&self, recipient: NodeId, limit: usize, direct: bool) {
        self.limits.borrow_mut().insert(recipient, (limit, direct));
        self.turns.set_limit(recipient, limit, direct);
    }

    fn enter(&self, recipient: NodeId, line: Option<Service>) -> Ticket {
        self.enter_with(recipient, line, 4)
    }

    fn enter_with(&self, recipient: NodeId, line: Option<Service>, text_bytes: usize) -> Ticket {
        let ticket = self.turns.enter(recipient, line, text_bytes);
        let (limit, direct) = self.limits.borrow()[&recipient];
        self.turns.set_limit(recipient, limit, direct);
        ticket
    }

    fn again(&self, recipient: NodeId) -> Ticket {
        let ticket = self.turns.again(recipient);
        let (limit, direct) = self.limits.borrow()[&recipient];
        self.turns.set_limit(recipient, limit, direct);
        ticket
    }

    fn remembers_nobody(&self) -> bool {
        let state = self.turns.lock();
        state.recipients.is_empty() && state.text_bytes == 0 && state.shared_in_flight == 0
    }
}

fn turns(limit: usize) -> Queues {
    let turns = Queues::new();
    turns.set_limit(node(1), limit, true);
    turns
}

/// The slot of a ticket whose turn it is.
fn granted(ticket: &mut Ticket) -> Option<Slot> {
    (&mut ticket.0).now_or_never().map(|slot| slot.unwrap())
}

fn message(turns: &Queues, to: u8) -> Ticket {
    turns.enter(node(to), Some(Service::Message))
}

#[test]
fn numbers_follow_the_order_of_the_queue() {
    let turns = turns(2);
    let mut tickets: Vec<_> = (0..4).map(|_| message(&turns, 1)).collect();
    let mut seqs = Vec::new();
    let mut slots = Vec::new();
    for ticket in &mut tickets {
        if let Some(mut slot) = granted(ticket) {
            seqs.push(slot.take_number().unwrap().number().seq);
            slots.push(slot);
        }
    }
    assert_eq!(seqs, [0, 1], "two slots, two numbers");
    drop(slots);
    let third = granted(&mut tickets[2]).unwrap().take_number().unwrap();
    assert_eq!(third.number(), Number { stream: 7, seq: 2 });
}

#[test]
fn parts_of_messages_that_were_begun_go_before_new_messages() {
    let turns = turns(1);
    let mut first = message(&turns, 1);
    let slot = granted(&mut first).unwrap();
    let mut new = message(&turns, 1);
    let mut part = turns.again(node(1));
    drop(slot);
    assert!(granted(&mut new).is_none());
    assert!(granted(&mut part).is_some());
}

#[test]
fn recipients_that_share_channels_take_turns() {
    let turns = Queues::new();
    for to in [1, 2, 3] {
        turns.set_limit(node(to), 2, false);
    }
    let mut first: Vec<_> = (0..5).map(|_| message(&turns, 1)).collect();
    let mut slots: Vec<_> = first.iter_mut().filter_map(granted).collect();
    assert_eq!(slots.len(), 2);
    let (mut second, mut third) = (message(&turns, 2), message(&turns, 3));
    assert!(granted(&mut second).is_none(), "two are in flight, and more the channels do not take");
    slots.pop();
    let of_second = granted(&mut second);
    assert!(of_second.is_some(), "whoever has nothing in flight comes before who has");
    assert!(granted(&mut third).is_none());
    drop(of_second);
    assert!(granted(&mut third).is_some());
}

#[test]
fn whoever_holds_payments_up_does_not_hold_up_others() {
    let turns = Queues::new();
    turns.set_limit(node(1), 50, false);
    turns.set_limit(node(2), 50, false);
    turns.set_limit(node(3), 50, true);
    let mut to_the_holder: Vec<_> = (0..100).map(|_| message(&turns, 1)).collect();
    let held: Vec<_> = to_the_holder.iter_mut().filter_map(granted).collect();
    assert_eq!(held.len(), 45);
    assert!(granted(&mut message(&turns, 2)).is_some(), "a slot is left for whoever shares the channels");
    let mut direct: Vec<_> = (0..60).map(|_| message(&turns, 3)).collect();
    let slots: Vec<_> = direct.iter_mut().filter_map(granted).collect();
    assert_eq!(slots.len(), 50, "and a channel of one's own is one's own");
}

#[test]
fn whoever_leaves_the_queue_costs_nobody_a_turn() {
    let turns = turns(1);
    let mut first = message(&turns, 1);
    let slot = granted(&mut first).unwrap();
    let gone = message(&turns, 1);
    let mut next = message(&turns, 1);
    drop(gone);
    drop(slot);
    let number = granted(&mut next).unwrap().take_number().unwrap();
    assert_eq!(
        number.number().seq,
        1,
        "the first number was granted and never taken, the second is this one's"
    );
}

#[test]
fn a_number_that_nobody_took_is_no_gap() {
    let turns = turns(1);
    drop(message(&turns, 1));
    let mut next = message(&turns, 1);
    let number = granted(&mut next).unwrap().take_number().unwrap();
    assert_eq!(number.floor_back(), 0);
}

#[test]
fn at_most_256_numbers_are_out_above_the_floor() {
    let turns = turns(1000);
    let mut tickets: Vec<_> = (0..300).map(|_| message(&turns, 1)).collect();
    let mut slots: Vec<_> = tickets.iter_mut().filter_map(granted).collect();
    assert_eq!(slots.len(), 256);
    let mut numbers: Vec<_> = slots.iter_mut().filter_map(Slot::take_number).collect();
    let mut unordered = turns.enter(node(1), None);
    assert!(granted(&mut unordered).is_some(), "what has no number does not wait for one");
    drop(numbers.remove(1));
    assert!(tickets.iter_mut().skip(256).find_map(granted).is_none(), "the floor has not moved");
    drop(numbers.remove(0));
    assert_eq!(tickets.iter_mut().skip(256).filter_map(granted).count(), 2);
}

#[test]
fn the_numbers_of_a_run_wait_for_the_messages_of_earlier_ones() {
    let turns = turns(10);
    let earlier = Number { stream: 3, seq: 40 };
    let (earlier, barrier) = turns.turns.take_up(node(1), Service::Message, earlier);
    let (number, later) = turns.turns.take_up(node(1), Service::Message, Number { stream: 3, seq: 42 });
    assert_eq!(number.floor_back(), 2);
    let mut waiting = message(&turns, 1);
    assert!(granted(&mut waiting).is_none());
    drop(earlier);
    assert_eq!(number.floor_back(), 0);
    drop(barrier);
    assert!(granted(&mut waiting).is_none());
    drop(later);
    let first = granted(&mut waiting).unwrap().take_number().unwrap();
    assert_eq!(first.number(), Number { stream: 7, seq: 0 });
}

/// What happens in a history of queues.
#[derive(Clone, Copy, Debug)]
enum Op {
    Enter(u8, bool),
    Again(u8),
    Leave(usize),
    Release(usize),
    Limit(u8, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..4_u8, any::<bool>()).prop_map(|(to, ordered)| Op::Enter(to, ordered)),
        1 => (1..4_u8).prop_map(Op::Again),
        1 => any::<usize>().prop_map(Op::Leave),
        4 => any::<usize>().prop_map(Op::Release),
        1 => (1..4_u8, 0..6_usize).prop_map(|(to, limit)| Op::Limit(to, limit)),
    ]
}

proptest! {
    #[test]
    fn slots_are_bounded_and_nobody_waits_while_one_is_free(ops in prop::collection::vec(op(), 1..200)) {
        let turns = Queues::new();
        // The first has a channel of its own, the others share.
        let direct = |to: u8| to == 1;
        let mut limits = [0, 3, 3, 3];
        for to in 1..4 {
            turns.set_limit(node(to), 3, direct(to));
        }
        let mut tickets: Vec<(u8, Ticket)> = Vec::new();
        let mut slots: Vec<(u8, Slot)> = Vec::new();
        for op in ops {
            match op {
                Op::Enter(to, ordered) => {
                    tickets.push((to, turns.enter(node(to), ordered.then_some(Service::Message))));
                }
                Op::Again(to) => tickets.push((to, turns.again(node(to)))),
                Op::Leave(at) if !tickets.is_empty() => drop(tickets.remove(at % tickets.len())),
                Op::Release(at) if !slots.is_empty() => {
                    drop(slots.remove(at % slots.len()));
                }
                Op::Limit(to, limit) => {
                    limits[usize::from(to)] = limit;
                    turns.set_limit(node(to), limit, direct(to));
                }
                Op::Leave(_) | Op::Release(_) => {}
            }
            let mut waiting = Vec::new();
            for (to, mut ticket) in tickets.drain(..) {
                match granted(&mut ticket) {
                    Some(slot) => slots.push((to, slot)),
                    None => waiting.push((to, ticket)),
                }
            }
            tickets = waiting;
            let shared = slots.iter().filter(|(to, _)| !direct(*to)).count();
            let shared_limit = *limits[2..].iter().max().unwrap();
            for (to, _) in &tickets {
                let taken = slots.iter().filter(|(other, _)| other == to).count();
                let full = taken >= limits[usize::from(*to)] || !direct(*to) && shared >= shared_limit;
                prop_assert!(full, "{to} waits though {taken} of {} are taken", limits[usize::from(*to)]);
            }
        }
    }
}

#[test]
fn texts_in_memory_are_bounded_and_messages_that_were_begun_go_on() {
    let turns = turns(10);
    let large = || turns.enter_with(node(1), None, TEXT_BYTES / 2);
    let mut slots: Vec<_> = (0..2).map(|_| granted(&mut large()).unwrap()).collect();
    let mut third = large();
    assert!(granted(&mut third).is_none());
    assert!(granted(&mut turns.again(node(1))).is_some(), "another payment brings no further text");
    let room = slots[0].take_room();
    drop(slots.remove(0));
    assert!(granted(&mut third).is_none(), "the slot is free, the text is not gone");
    drop(room);
    assert!(granted(&mut third).is_some());
}

#[test]
fn a_recipient_is_forgotten_when_nothing_goes_to_it_and_its_numbers_are_not() {
    let turns = turns(1);
    let mut slot = granted(&mut message(&turns, 1)).unwrap();
    let (number, room) = (slot.take_number().unwrap(), slot.take_room());
    drop(slot);
    drop(room);
    assert!(!turns.remembers_nobody(), "its number is not resolved");
    drop(number);
    assert!(turns.remembers_nobody());
    let next = granted(&mut message(&turns, 1)).unwrap().take_number().unwrap();
    assert_eq!((next.number(), next.floor_back()), (Number { stream: 7, seq: 1 }, 0));
    drop(next);
    drop(turns.enter(node(1), None));
    assert_eq!(turns.turns.lock().resting.len(), 1);
}

#[test]
fn messages_outside_of_the_order_leave_nothing_behind() {
    let turns = turns(1);
    drop(granted(&mut turns.enter(node(1), None)));
    assert!(turns.remembers_nobody());
    assert!(turns.turns.lock().resting.is_empty());
}

/// What happens to messages that have their turn.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(u8, Option<Service>),
    Again(u8),
    Leave(usize),
    EndPayment(usize),
    Resolve(usize),
    Finish(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let line = prop_oneof![Just(None), Just(Some(Service::Message)), Just(Some(Service::Federate))];
    prop_oneof![
        4 => (1..4_u8, line).prop_map(|(to, line)| Step::Enter(to, line)),
        1 => (1..4_u8).prop_map(Step::Again),
        1 => any::<usize>().prop_map(Step::Leave),
        4 => any::<usize>().prop_map(Step::EndPayment),
        4 => any::<usize>().prop_map(Step::Resolve),
        4 => any::<usize>().prop_map(Step::Finish),
    ]
}

fn drop_one<T>(of: &mut Vec<T>, at: usize) {
    if !of.is_empty() {
        drop(of.remove(at % of.len()));
    }
}

proptest! {
    #[test]
    fn numbers_rise_however_often_a_recipient_is_forgotten(steps in prop::collection::vec(step(), 1..200)) {
        let turns = Queues::new();
        for to in 1..4 {
            turns.set_limit(node(to), 3, to == 1);
        }
        let (mut tickets, mut slots, mut numbers, mut rooms) = (vec![], vec![], vec![], vec![]);
        let mut last = HashMap::new();
        for step in steps {
            match step {
                Step::Enter(to, line) => tickets.push((to, turns.enter(node(to), line))),
                Step::Again(to) => tickets.push((to, turns.again(node(to)))),
                Step::Leave(at) => drop_one(&mut tickets, at),
                Step::EndPayment(at) => drop_one(&mut slots, at),
                Step::Resolve(at) => drop_one(&mut numbers, at),
                Step::Finish(at) => drop_one(&mut rooms, at),
            }
            for (to, mut ticket) in std::mem::take(&mut tickets) {
                let Some(mut slot) = granted(&mut ticket) else {
                    tickets.push((to, ticket));
                    continue;
                };
                rooms.extend(slot.take_room());
                if let Some(number) = slot.take_number() {
                    let next = number.number();
                    prop_assert_eq!(next.stream, 7);
                    let before = last.insert((to, number.line), next.seq);
                    prop_assert!(before.is_none_or(|before| before < next.seq), "{before:?}, then {next:?}");
                    prop_assert!(u32::from(number.floor_back()) <= next.seq);
                    numbers.push(number);
                }
                slots.push(slot);
            }
        }
        drop((tickets, numbers, rooms));
        drop(slots);
        prop_assert!(turns.remembers_nobody());
    }
}
