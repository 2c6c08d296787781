//! Two nodes and a network that loses, repeats and reorders: in the end both remember the same.

use std::collections::HashSet;
use std::time::Duration;

use imp_core::federation::{Due, Incoming, MAX_ASKS, Payload, Peer, Policy, Rules, State};
use imp_core::id::{MessageId, NodeId};
use imp_core::time::UnixMillis;
use proptest::collection::vec;
use proptest::prelude::*;
use secp256k1::{SECP256K1, SecretKey};

const START: UnixMillis = UnixMillis(1_700_000_000_000);

#[derive(Clone, Debug)]
enum Op {
    /// The owner asks.
    Ask {
        of: usize,
    },
    /// The owner leaves.
    Leave {
        of: usize,
    },
    /// The owner decides on what waits.
    Decide {
        of: usize,
        yes: bool,
    },
    /// The owner blocks, or ends a block.
    Block {
        of: usize,
        on: bool,
    },
    Deliver {
        pick: u16,
    },
    Repeat {
        pick: u16,
    },
    /// A message never comes; its sender knows, where `told`.
    Lose {
        pick: u16,
        told: bool,
    },
    Pass {
        secs: u32,
    },
    /// A clock is set.
    Step {
        of: usize,
        secs: i32,
    },
    /// Starts again, after a time without looking at the clock.
    Restart {
        of: usize,
        secs: u32,
    },
}

#[derive(Clone, Debug)]
struct Message {
    to: usize,
    id: MessageId,
    reply_to: String,
    payload: Payload,
    /// Its place among those that are in order.
    number: Option<u64>,
}

struct Node {
    id: NodeId,
    /// What it remembers of the other.
    peer: Peer,
    rules: Rules,
    /// How far its clock is off, in milliseconds.
    off: i64,
    seen: HashSet<MessageId>,
    /// The last number that it gave.
    sent: u64,
    /// The highest number that came.
    taken: u64,
}

struct World {
    nodes: [Node; 2],
    wire: Vec<Message>,
    /// Messages that were delivered, which may come again.
    past: Vec<Message>,
    time: UnixMillis,
    ids: u64,
}

impl World {
    fn new(policies: [Policy; 2], ttls: [u64; 2]) -> Self {
        let ids = [1, 2]
            .map(|byte| NodeId::from(SecretKey::from_slice(&[byte; 32]).unwrap().public_key(SECP256K1)));
        let node = |at: usize| Node {
            id: ids[at],
            peer: Peer::default(),
            rules: Rules {
                policy: policies[at],
                // One of the two is listed with the other.
                allowlist: if at == 0 { [ids[1]].into() } else { [].into() },
                ttl_secs: ttls[at],
                ..Rules::default()
            },
            off: 0,
            seen: HashSet::new(),
            sent: 0,
            taken: 0,
        };
        Self { nodes: [node(0), node(1)], wire: Vec::new(), past: Vec::new(), time: START, ids: 0 }
    }

    fn now(&self, of: usize) -> UnixMillis {
        UnixMillis(self.time.0.saturating_add_signed(self.nodes[of].off))
    }

    fn fresh(&mut self) -> MessageId {
        self.ids += 1;
        let mut bytes = [0; 16];
        // Clear of the bits that a UUID sets.
        bytes[..4].copy_from_slice(&(self.ids as u32).to_be_bytes());
        MessageId::from_random(bytes)
    }

    fn send(&mut self, from: usize, id: MessageId, reply_to: Option<MessageId>, payload: Payload) {
        let reply_to = reply_to.map(|id| id.to_string()).unwrap_or_default();
        let number = matches!(payload, Payload::Request { .. } | Payload::Leave).then(|| {
            self.nodes[from].sent += 1;
            self.nodes[from].sent
        });
        self.wire.push(Message { to: 1 - from, id, reply_to, payload, number });
    }

    fn answer(&mut self, from: usize, to: MessageId, payload: Payload) {
        let id = self.fresh();
        self.send(from, id, Some(to), payload);
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Ask { of } if !self.nodes[of].peer.blocked => {
                let (id, now, random) = (self.fresh(), self.now(of), self.ids);
                let Node { peer, rules, .. } = &mut self.nodes[of];
                let accepted = peer.request(id, rules, now, random);
                let request = Payload::Request { imp_id: String::new(), ttl_secs: rules.ttl_secs };
                let acceptance = peer.acceptance(rules);
                if let Some(accepted) = accepted {
                    self.answer(of, accepted, acceptance);
                }
                self.send(of, id, None, request);
            }
            Op::Ask { .. } => {}
            Op::Leave { of } => {
                let (id, now) = (self.fresh(), self.now(of));
                self.nodes[of].peer.leave(now);
                self.send(of, id, None, Payload::Leave);
            }
            Op::Decide { of, yes } => {
                let (now, random) = (self.now(of), self.ids);
                let Node { peer, rules, .. } = &mut self.nodes[of];
                if yes {
                    let accepted = peer.accept(rules, now, random);
                    let acceptance = peer.acceptance(rules);
                    accepted.into_iter().for_each(|id| self.answer(of, id, acceptance.clone()));
                } else if let Some(rejected) = peer.reject(now) {
                    self.answer(of, rejected, Payload::Reject { reason: "refused".to_owned() });
                }
            }
            Op::Block { of, on } => {
                let now = self.now(of);
                let peer = &mut self.nodes[of].peer;
                if on { peer.block(now) } else { peer.blocked = false }
            }
            Op::Deliver { pick } => self.deliver(pick),
            Op::Repeat { pick } if !self.past.is_empty() => {
                self.wire.push(self.past[usize::from(pick) % self.past.len()].clone());
            }
            Op::Repeat { .. } => {}
            Op::Lose { pick, told } if !self.wire.is_empty() => {
                let lost = self.wire.remove(usize::from(pick) % self.wire.len());
                // A copy of one that has come was not lost.
                if told && !self.nodes[lost.to].seen.contains(&lost.id) {
                    self.nodes[1 - lost.to].peer.request_failed(lost.id);
                }
            }
            Op::Lose { .. } => {}
            Op::Pass { secs } => {
                self.time = self.time.plus(Duration::from_secs(secs.into()));
                (0..2).for_each(|of| self.look_at_the_clock(of));
            }
            Op::Step { of, secs } => {
                self.nodes[of].off += i64::from(secs) * 1_000;
                self.look_at_the_clock(of);
            }
            Op::Restart { of, secs } => {
                self.time = self.time.plus(Duration::from_secs(secs.into()));
                self.look_at_the_clock(of);
            }
        }
        self.check();
    }

    fn deliver(&mut self, pick: u16) {
        if self.wire.is_empty() {
            return;
        }
        let message = self.wire.remove(usize::from(pick) % self.wire.len());
        let (now, random, from) = (self.now(message.to), self.ids, self.nodes[1 - message.to].id);
        let Node { peer, rules, seen, taken, .. } = &mut self.nodes[message.to];
        self.past.push(message.clone());
        if !seen.insert(message.id) {
            return;
        }
        let late = message.number.is_some_and(|number| number < *taken);
        *taken = (*taken).max(message.number.unwrap_or(0));
        if peer.blocked {
            return;
        }
        // What travels is text.
        let payload = Payload::parse(&message.payload.to_json()).unwrap();
        let incoming = Incoming {
            node: from,
            id: message.id,
            reply_to: &message.reply_to,
            payload: &payload,
            late,
            now,
            random,
            room_for_pending: true,
        };
        let received = peer.receive(&incoming, rules);
        assert!(!(received.publish && received.ignored.is_some()));
        if let Some(reply) = received.reply {
            self.answer(message.to, message.id, reply);
        }
    }

    /// What a node's task does.
    fn look_at_the_clock(&mut self, of: usize) {
        let now = self.now(of);
        self.nodes[of].peer.keep_within(now);
        match self.nodes[of].peer.due(now) {
            Some(Due::Expire) => self.nodes[of].peer.expire(now),
            Some(Due::Renew) => {
                let id = self.fresh();
                let Node { peer, rules, .. } = &mut self.nodes[of];
                peer.renew(id, now);
                let renew = Payload::Renew { imp_id: String::new(), ttl_secs: rules.ttl_secs };
                self.send(of, id, None, renew);
            }
            None => {}
        }
    }

    fn check(&self) {
        for (at, Node { peer, rules, .. }) in self.nodes.iter().enumerate() {
            let federated = peer.state == State::Federated;
            assert_eq!(peer.standing.is_some(), federated, "{peer:?}");
            assert_eq!(peer.until.is_some(), peer.is_alive(), "{peer:?}");
            assert_eq!(peer.to_decide.is_some(), peer.state == State::Pending, "{peer:?}");
            assert!(peer.asks.len() <= MAX_ASKS);
            assert!(!(peer.blocked && peer.is_alive()), "{peer:?}");
            assert!(!federated || peer.lasts_secs <= rules.ttl_secs);
            if let Some(until) = peer.until {
                let latest = self.now(at).plus(Duration::from_secs(peer.lasts_secs));
                assert!(until <= latest, "{peer:?}");
            }
        }
    }

    /// Lets the network work and time pass until nothing changes but renewals.
    fn finish(&mut self) {
        let ttl_secs = self.nodes.iter().map(|node| node.rules.ttl_secs).min().unwrap();
        // Longer than any federation lasts without an answer to its renewal.
        let long = Duration::from_secs(3 * ttl_secs);
        let mut end = self.time.plus(long);
        while self.time < end {
            let asks = |node: &Node| matches!(node.peer.state, State::Requested | State::Pending);
            if self.nodes.iter().any(asks) {
                end = self.time.plus(long);
            }
            while !self.wire.is_empty() {
                self.deliver(0);
                self.check();
            }
            let due = (0..2).filter_map(|of| {
                let due = self.nodes[of].peer.next_due()?;
                Some(due.since(self.now(of)).as_millis() as u64)
            });
            let next = due.min().unwrap_or(24 * 3_600_000).clamp(1, 24 * 3_600_000);
            self.time = self.time.plus(Duration::from_millis(next));
            (0..2).for_each(|of| self.look_at_the_clock(of));
            self.check();
        }
        while !self.wire.is_empty() {
            self.deliver(0);
        }
        let states = [0, 1].map(|of| self.nodes[of].peer.state);
        let federated = states.map(|state| state == State::Federated);
        assert_eq!(federated[0], federated[1], "{states:?}");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let of = || 0..2_usize;
    prop_oneof![
        5 => of().prop_map(|of| Op::Ask { of }),
        2 => of().prop_map(|of| Op::Leave { of }),
        2 => (of(), any::<bool>()).prop_map(|(of, yes)| Op::Decide { of, yes }),
        1 => (of(), any::<bool>()).prop_map(|(of, on)| Op::Block { of, on }),
        16 => any::<u16>().prop_map(|pick| Op::Deliver { pick }),
        2 => any::<u16>().prop_map(|pick| Op::Repeat { pick }),
        2 => (any::<u16>(), any::<bool>()).prop_map(|(pick, told)| Op::Lose { pick, told }),
        3 => (0..400_u32).prop_map(|secs| Op::Pass { secs }),
        1 => (0..1_000_000_u32).prop_map(|secs| Op::Pass { secs }),
        1 => (of(), -100_000..100_000_i32).prop_map(|(of, secs)| Op::Step { of, secs }),
        1 => (of(), 0..100_000_u32).prop_map(|(of, secs)| Op::Restart { of, secs }),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![Just(Policy::Auto), Just(Policy::Manual), Just(Policy::Allowlist)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn both_sides_end_federated_or_both_do_not(
        policies in (policy(), policy()),
        ttls in (2..100_000_u64, 2..100_000_u64),
        ops in vec(op(), 0..60),
    ) {
        let mut world = World::new(policies.into(), ttls.into());
        for op in ops {
            world.step(op);
        }
        world.finish();
    }
}

#[test]
fn two_requests_that_cross_are_one_federation_on_both_sides() {
    for policy in Policy::ALL {
        let mut world = World::new([policy; 2], [1_000, 700]);
        world.step(Op::Ask { of: 0 });
        world.step(Op::Ask { of: 1 });
        while !world.wire.is_empty() {
            world.step(Op::Deliver { pick: 0 });
        }
        for node in &world.nodes {
            assert_eq!(node.peer.state, State::Federated, "{policy:?}");
            assert_eq!(node.peer.until, Some(START.plus(Duration::from_secs(700))));
            assert!(node.peer.asks.is_empty());
        }
        world.finish();
        for node in &world.nodes {
            assert_eq!(node.peer.state, State::Federated, "renewed: {:?}", node.peer);
        }
    }
}
