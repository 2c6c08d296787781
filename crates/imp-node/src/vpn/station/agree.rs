//! Compares the device with what is wanted, repairs it, and tells what was seen.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imp_core::time::UnixMillis;
use imp_core::vpn::{PublicKey, Reading};
use ipnet::IpNet;

use super::{Inner, Look, Wanted};
use crate::wireguard::{DeviceError, DevicePeer, PeerStatus, TunnelDevice};

/// Times of handshakes are said as how long they are ago: differences below this are none.
const SAME_HANDSHAKE: Duration = Duration::from_millis(1500);

impl Inner {
    /// Makes the device agree with what is wanted, and says what was there.
    pub(super) async fn agree(&self, device: &dyn TunnelDevice) -> Result<(), DeviceError> {
        let (revision, wanted) = self.wanted();
        let there = device.peers().await?;
        let wrong = Wrong::between(&wanted, &there);
        if wrong.is_nothing() {
            self.saw(revision, &there);
            return Ok(());
        }
        if !wrong.surplus.is_empty() {
            device.remove_peers(&wrong.surplus).await?;
        }
        if !wrong.lacking.is_empty() {
            device.put_peers(&wrong.lacking).await?;
        }
        // Only what the device says itself counts as done.
        let after = device.peers().await?;
        let revision = if Wrong::between(&wanted, &after).is_nothing() { revision } else { 0 };
        self.saw(revision, &after);
        Ok(())
    }

    pub(super) fn saw(&self, revision: u64, there: &[PeerStatus]) {
        let now = self.clock.now();
        self.looks.send_if_modified(|last| {
            let peers = there.iter().map(|peer| {
                let before = last.peers.get(&peer.key).and_then(|reading| reading.last_handshake);
                (peer.key, reading(peer, before, now))
            });
            let look = Look { revision: revision.max(last.revision), peers: peers.collect() };
            let is_news = **last != look;
            if is_news {
                self.count(last, &look);
                *last = Arc::new(look);
            }
            is_news
        });
    }

    /// Adds up what peers carried between two looks. A device counts anew from where it got a peer.
    fn count(&self, before: &Look, now: &Look) {
        let more = |before: u64, now: u64| if now >= before { now - before } else { now };
        let mut shared = self.shared();
        for (key, reading) in &now.peers {
            let before = before.peers.get(key).copied().unwrap_or_default();
            shared.carried.0 += more(before.rx_bytes, reading.rx_bytes);
            shared.carried.1 += more(before.tx_bytes, reading.tx_bytes);
        }
    }
}

/// What on a device is not as it should be.
struct Wrong {
    surplus: Vec<PublicKey>,
    lacking: Vec<DevicePeer>,
}

impl Wrong {
    fn between(wanted: &[Wanted], there: &[PeerStatus]) -> Self {
        let by_key: HashMap<_, _> = wanted.iter().map(|peer| (peer.key, peer)).collect();
        let there_by_key: HashMap<_, _> = there.iter().map(|peer| (peer.key, peer)).collect();
        let surplus = there.iter().map(|peer| peer.key).filter(|key| !by_key.contains_key(key)).collect();
        let lacking = wanted.iter().filter(|peer| {
            let address = IpNet::from(IpAddr::V4(peer.address));
            let there = there_by_key.get(&peer.key);
            there.is_none_or(|there| there.allowed != [address] || there.psk.as_ref() != Some(&peer.psk))
        });
        let lacking = lacking.map(|peer| DevicePeer {
            key: peer.key,
            psk: peer.psk.clone(),
            allowed: vec![IpNet::from(IpAddr::V4(peer.address))],
            endpoint: None,
            keepalive_secs: None,
        });
        Self { surplus, lacking: lacking.collect() }
    }

    const fn is_nothing(&self) -> bool {
        self.surplus.is_empty() && self.lacking.is_empty()
    }
}

/// What a peer carried. `before` is the newest handshake that was seen earlier.
pub(in crate::vpn) fn reading(peer: &PeerStatus, before: Option<UnixMillis>, now: UnixMillis) -> Reading {
    let handshake = peer.last_handshake.map(|ago| now.minus(ago));
    let is_same = |before: UnixMillis, now: UnixMillis| {
        now.since(before) < SAME_HANDSHAKE && before.since(now) < SAME_HANDSHAKE
    };
    let last_handshake = match (before, handshake) {
        (Some(before), Some(now)) if is_same(before, now) => Some(before),
        (_, handshake) => handshake,
    };
    Reading { rx_bytes: peer.rx_bytes, tx_bytes: peer.tx_bytes, last_handshake }
}
