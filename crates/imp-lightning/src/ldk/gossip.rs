//! Sees to it that the node's announced channels can be found by others.
//!
//! A path over a channel needs an update from each of its ends in the sender's graph. Now and then the library does not
//! pass one on when a channel is new: the channel then works between its ends and for nobody else. Ends that connect
//! again tell each other, and so everybody.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use imp_core::id::NodeId;
use ldk_node::{ChannelDetails, Node};
use tokio::time::Instant;
use tracing::info;

use crate::ldk::Shared;
use crate::ldk::names::public_key;

/// Confirmations from which on a channel is announced (BOLT 7).
const ANNOUNCEMENT_DEPTH: u32 = 6;

/// How long updates may take before something is done; the last pause repeats.
const PAUSES_SECS: [u64; 4] = [2, 15, 60, 600];

/// The end with the greater key waits this much longer: one of them is enough.
const COURTESY: Duration = Duration::from_secs(3);

/// Peers with a channel that this node itself knows only half.
#[derive(Debug, Default)]
pub(super) struct HalfKnown {
    peers: HashMap<NodeId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    repairs: usize,
    next: Instant,
}

impl HalfKnown {
    /// The peers to connect to again, of those with whom a channel `lacking` updates is shared.
    pub(super) fn due(&mut self, own: &NodeId, lacking: &HashSet<NodeId>, now: Instant) -> Vec<NodeId> {
        self.peers.retain(|peer, _| lacking.contains(peer));
        let mut due = Vec::new();
        for peer in lacking {
            let courtesy = if own > peer { COURTESY } else { Duration::ZERO };
            let pause = |repairs: usize| {
                Duration::from_secs(PAUSES_SECS[repairs.min(PAUSES_SECS.len() - 1)]) + courtesy
            };
            let waiting =
                self.peers.entry(*peer).or_insert_with(|| Waiting { repairs: 0, next: now + pause(0) });
            if now >= waiting.next {
                waiting.repairs += 1;
                waiting.next = now + pause(waiting.repairs);
                due.push(*peer);
            }
        }
        due
    }
}

/// The peers with whom this node shares a channel that it knows only half.
pub(super) fn lacking(node: &Node) -> HashSet<NodeId> {
    let channels = node.list_channels();
    let lacking = channels.iter().filter(|channel| lacks_updates(node, channel));
    lacking.map(|channel| NodeId::from(channel.counterparty_node_id)).collect()
}

/// The channel should be known to everybody, and not even this node has heard both ends.
fn lacks_updates(node: &Node, channel: &ChannelDetails) -> bool {
    let deep_enough = channel.confirmations.is_some_and(|depth| depth >= ANNOUNCEMENT_DEPTH);
    let (true, true, Some(name)) =
        (channel.is_announced && channel.is_usable, deep_enough, channel.short_channel_id)
    else {
        return false;
    };
    let known = node.network_graph().channel(name);
    !known.is_some_and(|channel| channel.one_to_two.is_some() && channel.two_to_one.is_some())
}

/// Hangs up on a peer: the dialler of either end calls again, and where this end knows no address the other one does,
/// which had called. Blocks.
pub(super) fn reconnect(shared: &Shared, peer: &NodeId) {
    let Ok(node) = shared.node() else { return };
    info!(%peer, "a channel is only half known: connecting again");
    // Not connected any more is as good.
    let _ = node.disconnect(public_key(peer));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_that_stays_half_known_is_repaired_ever_more_seldom() {
        let keys = [1_u8, 2].map(|byte| {
            let key = secp256k1::SecretKey::from_slice(&[byte; 32]).unwrap();
            NodeId::from(key.public_key(secp256k1::SECP256K1))
        });
        let (lesser, greater) = (keys.into_iter().min().unwrap(), keys.into_iter().max().unwrap());
        let start = Instant::now();
        let repairs = |own: NodeId, peer: NodeId| {
            let mut half_known = HalfKnown::default();
            let lacking = HashSet::from([peer]);
            let at =
                |secs: &u64| !half_known.due(&own, &lacking, start + Duration::from_secs(*secs)).is_empty();
            (0..800_u64).filter(at).collect::<Vec<u64>>()
        };
        assert_eq!(repairs(lesser, greater), [2, 17, 77, 677]);
        assert_eq!(repairs(greater, lesser), [5, 23, 86, 689]);
    }

    #[test]
    fn a_channel_that_is_known_again_starts_over() {
        let key = secp256k1::SecretKey::from_slice(&[1; 32]).unwrap();
        let peer = NodeId::from(key.public_key(secp256k1::SECP256K1));
        let own = peer;
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let lacking = HashSet::from([peer]);
        let mut half_known = HalfKnown::default();
        assert!(half_known.due(&own, &lacking, start).is_empty());
        assert!(half_known.due(&own, &HashSet::new(), start + second).is_empty());
        assert!(half_known.due(&own, &lacking, start + 3 * second).is_empty());
        assert_eq!(half_known.due(&own, &lacking, start + 5 * second), [peer]);
    }
}
