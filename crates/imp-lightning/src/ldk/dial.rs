//! Keeps the node connected to the peers that it has channels with.
//!
//! ldk-node redials once a minute, and only the peers that it once dialled itself. Messages wait for a peer that was
//! restarted, so both ends dial here, at the start and while the other is away.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use imp_core::id::NodeId;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::debug;

use crate::ldk::Shared;
use crate::ldk::gossip::{self, HalfKnown};
use crate::ldk::names::public_key;

/// How often the connections are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How often, in looks, the announced addresses of all channel peers are noted: where a peer was never dialled they are
/// the only ones, and a graph that is read again at the next start may not have them.
const LOOKS_PER_NOTE: u64 = 40;

/// Pauses between calls to a peer that is away; the last one repeats.
const PAUSES_SECS: [u64; 5] = [1, 2, 4, 8, 15];

/// The node with the greater key waits this much longer: where both ends dial at the same moment, each may take the
/// other's connection for the second one and drop it.
const COURTESY: Duration = Duration::from_millis(400);

/// A peer that is not connected.
struct Away {
    calls: usize,
    next: Instant,
    call: Option<JoinHandle<()>>,
}

/// Runs until the node is stopped.
pub(super) async fn keep_connected(shared: Arc<Shared>, handle: Handle) {
    let mut away: HashMap<NodeId, Away> = HashMap::new();
    let mut half_known = HalfKnown::default();
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for look in 0_u64.. {
        looks.tick().await;
        let Ok(missing) = missing_peers(&shared) else { return };
        if look % LOOKS_PER_NOTE == 0 {
            let shared = Arc::clone(&shared);
            handle.spawn_blocking(move || note_announced(&shared));
        }
        let lacking = shared.node().map(|node| gossip::lacking(&node)).unwrap_or_default();
        for peer in half_known.due(&shared.id, &lacking, Instant::now()) {
            let shared = Arc::clone(&shared);
            handle.spawn_blocking(move || gossip::reconnect(&shared, &peer));
        }
        // A peer that is connected starts over with short pauses when it goes away again.
        away.retain(|peer, _| missing.contains(peer));
        for peer in missing {
            let courtesy = if shared.id > peer { COURTESY } else { Duration::ZERO };
            let now = Instant::now();
            let state =
                away.entry(peer).or_insert_with(|| Away { calls: 0, next: now + courtesy, call: None });
            let calling = state.call.as_ref().is_some_and(|call| !call.is_finished());
            if calling || now < state.next {
                continue;
            }
            let pause = PAUSES_SECS[state.calls.min(PAUSES_SECS.len() - 1)];
            state.next = now + Duration::from_secs(pause) + courtesy;
            let (shared, turn) = (Arc::clone(&shared), state.calls);
            state.calls += 1;
            // The library's call blocks, up to ten seconds where nothing answers at the address.
            state.call = Some(handle.spawn_blocking(move || call(&shared, &peer, turn)));
        }
    }
}

fn note_announced(shared: &Shared) {
    let Ok(node) = shared.node() else { return };
    for channel in node.list_channels() {
        shared.peers.note_announced(&node, &NodeId::from(channel.counterparty_node_id));
    }
}

/// The other ends of this node's channels that are not connected.
fn missing_peers(shared: &Shared) -> Result<HashSet<NodeId>, super::Stopped> {
    let node = shared.node()?;
    let connected: HashSet<NodeId> = node
        .list_peers()
        .into_iter()
        .filter(|peer| peer.is_connected)
        .map(|peer| NodeId::from(peer.node_id))
        .collect();
    let wanted = node.list_channels().into_iter().map(|channel| NodeId::from(channel.counterparty_node_id));
    Ok(wanted.filter(|peer| !connected.contains(peer)).collect())
}

fn call(shared: &Shared, peer: &NodeId, turn: usize) {
    let Ok(node) = shared.node() else { return };
    let candidates = shared.peers.candidates(&node, peer);
    let Some(address) = candidates.get(turn % candidates.len().max(1)) else {
        debug!(%peer, "no address of a channel peer is known: it has to call");
        return;
    };
    let Ok(socket_address) = address.parse() else { return };
    match node.connect(public_key(peer), socket_address, false) {
        Ok(()) => shared.peers.remember(peer, address),
        Err(fault) => debug!(%peer, address, %fault, "a channel peer does not answer"),
    }
}
