//! The peers in memory, and the orders in which they are looked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use imp_core::federation::{Peer, Standing, State};
use imp_core::id::NodeId;
use imp_core::time::UnixMillis;

use crate::store::federate::PeerRow;

/// The peers, by key.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
    names: HashMap<String, NodeId>,
    counts: HashMap<State, usize>,
    /// By when time brings something.
    due: BTreeSet<(UnixMillis, NodeId)>,
    /// Those that everybody could be, by when something last came of them.
    auto: BTreeSet<(UnixMillis, NodeId)>,
    /// Those with which nothing is alive and of which the owner said nothing, by when it ended.
    ended: BTreeSet<(UnixMillis, NodeId)>,
    /// Those that were asked without programs knowing that it was sent.
    untold: BTreeSet<NodeId>,
}

/// Where a peer stands in the orders.
struct Places {
    due: Option<UnixMillis>,
    auto: Option<UnixMillis>,
    ended: Option<UnixMillis>,
    untold: bool,
}

impl Places {
    fn of(peer: &Peer) -> Self {
        let is_auto = peer.state == State::Federated && peer.standing == Some(Standing::Auto);
        Self {
            due: peer.next_due(),
            auto: is_auto.then(|| peer.last_seen.unwrap_or(peer.since)),
            ended: (!peer.is_alive() && !peer.is_marked()).then_some(peer.since),
            untold: peer.asks.iter().any(|ask| !ask.told),
        }
    }
}

impl Peers {
    pub(super) fn new(rows: Vec<PeerRow>) -> Self {
        let mut peers = Self::default();
        for PeerRow { node, peer } in rows {
            peers.put(node, peer);
        }
        peers
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Peer> {
        self.peers.get(node)
    }

    pub(super) fn named(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    /// How many are in a state.
    pub(super) fn count(&self, state: State) -> usize {
        self.counts.get(&state).copied().unwrap_or(0)
    }

    /// Those after a key, in its order.
    pub(super) fn after(&self, node: Option<NodeId>) -> impl Iterator<Item = (&NodeId, &Peer)> {
        let from = node.map_or(Bound::Unbounded, Bound::Excluded);
        self.peers.range((from, Bound::Unbounded))
    }

    /// Puts a peer in the place of the one that there may be, which is returned.
    pub(super) fn put(&mut self, node: NodeId, peer: Peer) -> Option<Peer> {
        let before = self.forget(&node);
        let places = Places::of(&peer);
        self.due.extend(places.due.map(|time| (time, node)));
        self.auto.extend(places.auto.map(|time| (time, node)));
        self.ended.extend(places.ended.map(|time| (time, node)));
        self.untold.extend(places.untold.then_some(node));
        *self.counts.entry(peer.state).or_default() += 1;
        if !peer.name.is_empty() {
            self.names.insert(peer.name.clone(), node);
        }
        self.peers.insert(node, peer);
        before
    }

    pub(super) fn forget(&mut self, node: &NodeId) -> Option<Peer> {
        let before = self.peers.remove(node)?;
        let places = Places::of(&before);
        places.due.map(|time| self.due.remove(&(time, *node)));
        places.auto.map(|time| self.auto.remove(&(time, *node)));
        places.ended.map(|time| self.ended.remove(&(time, *node)));
        self.untold.remove(node);
        if let Some(count) = self.counts.get_mut(&before.state) {
            *count -= 1;
        }
        if self.names.get(&before.name) == Some(node) {
            self.names.remove(&before.name);
        }
        Some(before)
    }

    /// When time brings something next.
    pub(super) fn next_due(&self) -> Option<UnixMillis> {
        self.due.first().map(|(time, _)| *time)
    }

    /// Those to which time brings something now, the earliest first.
    pub(super) fn due(&self, now: UnixMillis, most: usize) -> Vec<NodeId> {
        self.due.iter().take_while(|(time, _)| *time <= now).take(most).map(|(_, node)| *node).collect()
    }

    /// How many there are that everybody could be.
    pub(super) fn autos(&self) -> usize {
        self.auto.len()
    }

    /// The one of them of which nothing came for longest.
    pub(super) fn most_idle(&self) -> Option<NodeId> {
        self.auto.first().map(|(_, node)| *node)
    }

    /// The oldest of those that are beyond so many with which nothing is alive.
    pub(super) fn beyond(&self, most: usize, at_once: usize) -> Vec<NodeId> {
        let too_many = self.ended.len().saturating_sub(most).min(at_once);
        self.ended.iter().take(too_many).map(|(_, node)| *node).collect()
    }

    /// Those that were asked without programs knowing that it was sent.
    pub(super) fn untold(&self) -> Vec<NodeId> {
        self.untold.iter().copied().collect()
    }

    /// Every key.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.peers.keys().copied().collect()
    }
}
