//! The state of the simulated network. Nothing here waits: what is to happen later is put on the agenda.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};

use crate::fake::FakeOptions;
use crate::fake::backend::{Backend, Payment};
use crate::fake::channel::{ChannelState, FakeChannel};
use crate::fake::rng::Rng;
use crate::port::LightningEvent;

/// Something that happens after a while.
#[derive(Debug)]
pub(super) enum Step {
    /// A payment reaches its recipient.
    Arrive(PaymentName),
    /// The recipient's answer reaches the sender.
    Return(PaymentName),
    /// A channel's funding is deep enough.
    Confirm(usize),
    /// Both ends have agreed to close a channel.
    Close(usize),
    /// An event is told once more.
    Repeat(NodeId, LightningEvent),
}

/// One sending of a payment.
#[derive(Clone, Copy, Debug)]
pub(super) struct PaymentName {
    pub(super) sender: NodeId,
    pub(super) hash: PaymentHash,
    pub(super) attempt: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) options: FakeOptions,
    pub(super) rng: Rng,
    pub(super) nodes: BTreeMap<NodeId, Backend>,
    pub(super) names: BTreeMap<String, NodeId>,
    pub(super) channels: Vec<FakeChannel>,
    /// Directions (from, to) in which no path is found.
    pub(super) blocked: BTreeSet<(NodeId, NodeId)>,
    /// What the nodes between two others take for forwarding a payment; those that are not in it pay each other directly.
    pub(super) forwarding: BTreeMap<(NodeId, NodeId), Msat>,
    /// Directions (from, to) in which payments are held at the recipient.
    pub(super) held: BTreeSet<(NodeId, NodeId)>,
    /// Pairs of nodes, the lesser key first, that are connected whenever both can be reached.
    pub(super) links: BTreeSet<(NodeId, NodeId)>,
    /// Who has which address.
    pub(super) addresses: BTreeMap<String, NodeId>,
    /// What was paid to miners and to addresses of nobody here.
    pub(super) spent: Msat,
    pub(super) height: u32,
    /// What is to happen, and after how long; taken out and timed by the network.
    pub(super) agenda: Vec<(Duration, Step)>,
    /// Steps that are timed and have not happened.
    pub(super) under_way: usize,
    user_channel_ids: u128,
}

impl World {
    pub(super) fn new(options: FakeOptions) -> Self {
        Self {
            rng: Rng::new(options.seed),
            options,
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            channels: Vec::new(),
            blocked: BTreeSet::new(),
            forwarding: BTreeMap::new(),
            held: BTreeSet::new(),
            links: BTreeSet::new(),
            addresses: BTreeMap::new(),
            spent: Msat::ZERO,
            height: 101,
            agenda: Vec::new(),
            under_way: 0,
            user_channel_ids: 0,
        }
    }

    /// The node with this name; it is made, with its channels, when it is first named.
    pub(super) fn named(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let backend = Backend::new(name, self.options.seed, Msat::from_sat(self.options.onchain_sat));
        let id = backend.id();
        if self.options.connect_all {
            let balance = self.options.balance;
            let others: Vec<NodeId> = self.nodes.keys().copied().collect();
            for other in others {
                let channel = self.add_channel(other, id, [balance, balance], true);
                self.channels[channel].make_ready();
            }
        }
        self.names.insert(name.to_owned(), id);
        self.nodes.insert(id, backend);
        id
    }

    /// The state of a node of this network. Ids in the world's own tables always have one.
    pub(super) fn node(&self, id: &NodeId) -> &Backend {
        self.nodes.get(id).expect("ids in the world's tables come from its own nodes")
    }

    pub(super) fn node_mut(&mut self, id: &NodeId) -> &mut Backend {
        self.nodes.get_mut(id).expect("ids in the world's tables come from its own nodes")
    }

    pub(super) fn add_channel(&mut self, a: NodeId, b: NodeId, balance: [Msat; 2], announced: bool) -> usize {
        let index = self.channels.len();
        let funding = sha256::Hash::hash(&[&b"funding"[..], &index.to_be_bytes()].concat());
        self.user_channel_ids += 2;
        self.links.insert(link(&a, &b));
        self.channels.push(FakeChannel {
            ends: [a, b],
            balance,
            user_ids: [self.user_channel_ids - 1, self.user_channel_ids],
            capacity_sat: (balance[0] + balance[1]).to_sat_ceil(),
            slots: self.options.slots_per_channel,
            announced,
            funding: format!("{funding}:0"),
            state: ChannelState::Opening,
            was_ready: false,
        });
        index
    }

    /// Both can be reached, so that they can talk to each other.
    pub(super) fn connected(&self, one: &NodeId, other: &NodeId) -> bool {
        self.node(one).reachable() && self.node(other).reachable()
    }

    /// The channel can carry a payment now.
    pub(super) fn usable(&self, channel: &FakeChannel) -> bool {
        channel.is_ready() && self.connected(&channel.ends[0], &channel.ends[1])
    }

    /// A node's channels that can carry a payment now.
    pub(super) fn usable_channels<'w>(
        &'w self,
        node: &'w NodeId,
    ) -> impl Iterator<Item = (usize, &'w FakeChannel)> + 'w {
        self.channels
            .iter()
            .enumerate()
            .filter(move |(_, channel)| channel.end(node).is_some() && self.usable(channel))
    }

    /// How many payments of `sender` are in flight on a channel.
    pub(super) fn slots_taken(&self, sender: &NodeId, channel: usize) -> usize {
        let payments = self.node(sender).payments.values();
        payments.filter(|payment| payment.channel == channel && payment.in_flight()).count()
    }

    pub(super) fn later(&mut self, step: Step) {
        let after = self.rng.within(&self.options.latency);
        self.agenda.push((after, step));
    }

    /// Queues an event, and now and then a second telling of it.
    pub(super) fn tell(&mut self, node: &NodeId, event: LightningEvent) {
        if self.rng.chance(self.options.duplicates) {
            self.later(Step::Repeat(*node, event.clone()));
        }
        self.node_mut(node).events.push_back(event);
    }

    /// Does what has become due.
    pub(super) fn happen(&mut self, step: Step, now: Duration) {
        self.under_way -= 1;
        match step {
            Step::Arrive(payment) => self.arrive(payment, now),
            Step::Return(payment) => self.answer(payment),
            Step::Confirm(channel) => self.confirm(channel),
            Step::Close(channel) => self.close_if_quiet(channel),
            Step::Repeat(node, event) => self.node_mut(&node).events.push_back(event),
        }
    }

    fn confirm(&mut self, index: usize) {
        let channel = &mut self.channels[index];
        if channel.state != ChannelState::Opening {
            return;
        }
        channel.make_ready();
        let [a, b] = channel.ends;
        self.tell(&a, LightningEvent::ChannelReady { peer: Some(b) });
        self.tell(&b, LightningEvent::ChannelReady { peer: Some(a) });
    }

    /// Goes on with the payments that waited for a node to come back.
    pub(super) fn wake(&mut self) {
        let mut steps = Vec::new();
        for (sender, node) in &self.nodes {
            for (hash, payment) in &node.payments {
                let closed = self.channels[payment.channel].state == ChannelState::Closed;
                if payment.parked && !closed && self.connected(sender, &payment.recipient) {
                    steps.push(PaymentName { sender: *sender, hash: *hash, attempt: payment.attempt });
                }
            }
        }
        for name in steps {
            let Some(payment) = self.payment_mut(name) else { continue };
            payment.parked = false;
            let step = payment.next_step(name);
            self.later(step);
        }
    }

    /// The sending with this name, unless a later one took its place.
    pub(super) fn payment_mut(&mut self, name: PaymentName) -> Option<&mut Payment> {
        let payment = self.nodes.get_mut(&name.sender)?.payments.get_mut(&name.hash)?;
        (payment.attempt == name.attempt).then_some(payment)
    }

    /// Closes a channel; what each end has in it comes to its wallet after so many blocks. What is in flight on it stays
    /// so until the next block.
    pub(super) fn close(&mut self, index: usize, blocks: [u32; 2], reason: &str) {
        let channel = &mut self.channels[index];
        channel.state = ChannelState::Closed;
        let (ends, balance) = (channel.ends, std::mem::take(&mut channel.balance));
        let was_ready = channel.was_ready;
        for (at, end) in ends.iter().enumerate() {
            let due = self.height + blocks[at];
            self.node_mut(end).wallet.closing.push((due, balance[at]));
            if was_ready {
                let reason = reason.to_owned();
                self.tell(end, LightningEvent::ChannelClosed { peer: Some(ends[1 - at]), reason });
            }
        }
    }

    /// Closes a channel that both ends want closed, once nothing is in flight on it.
    pub(super) fn close_if_quiet(&mut self, index: usize) {
        if self.channels[index].state != ChannelState::Closing {
            return;
        }
        let ends = self.channels[index].ends;
        if ends.iter().all(|end| self.slots_taken(end, index) == 0) {
            self.close(index, [1, 1], "both ends have agreed to close it");
        }
    }

    /// All the money there is: on chain, in channels, in flight, spent.
    pub(super) fn total(&self) -> Msat {
        let in_channels = self.channels.iter().flat_map(|channel| channel.balance);
        let at_nodes = self.nodes.values().flat_map(|node| {
            let in_flight = node.payments.values().map(Payment::amount_in_flight);
            in_flight.chain([node.wallet.total(), node.wallet.closing()])
        });
        in_channels.chain(at_nodes).chain([self.spent]).sum()
    }
}

/// The name of the connection between two nodes.
pub(super) fn link(one: &NodeId, other: &NodeId) -> (NodeId, NodeId) {
    (*one.min(other), *one.max(other))
}
