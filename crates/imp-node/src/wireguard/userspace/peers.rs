//! Peers of a device: what is wanted, in gotatun's words.

use std::collections::HashMap;

use gotatun::device::configure::{DeviceWrite, PeerMut};
use gotatun::device::{DeviceTransports, Error, Peer};
use gotatun::x25519;
use imp_core::vpn::{PresharedKey, PublicKey};
use ipnet::IpNet;
use ipnetwork::IpNetwork;

use super::Wireguard;
use crate::wireguard::port::{DevicePeer, PeerStatus};

pub(super) async fn look(wireguard: &Wireguard) -> Vec<PeerStatus> {
    let mut peers: Vec<_> = wireguard
        .peers()
        .await
        .into_iter()
        .map(|found| PeerStatus {
            key: PublicKey::from_bytes(found.peer.public_key.to_bytes()),
            psk: found.peer.preshared_key.map(PresharedKey::from_bytes),
            allowed: networks(&found.peer.allowed_ips),
            endpoint: found.peer.endpoint,
            rx_bytes: found.stats.rx_bytes as u64,
            tx_bytes: found.stats.tx_bytes as u64,
            last_handshake: found.stats.last_handshake,
        })
        .collect();
    peers.sort_unstable_by_key(|peer| peer.key);
    peers
}

pub(super) async fn put(wireguard: &Wireguard, wanted: Vec<DevicePeer>) -> Result<(), Error> {
    wireguard.write(async move |device| put_all(device, wanted).await).await
}

pub(super) async fn remove(wireguard: &Wireguard, keys: &[PublicKey]) -> Result<(), Error> {
    wireguard
        .write(async |device| {
            for key in keys {
                device.remove_peer(&x25519::PublicKey::from(*key.as_bytes())).await;
            }
        })
        .await
}

async fn put_all<T: DeviceTransports>(device: &mut DeviceWrite<'_, T>, wanted: Vec<DevicePeer>) {
    let mut there: HashMap<[u8; 32], Peer> = HashMap::new();
    let mut owners: HashMap<IpNetwork, [u8; 32]> = HashMap::new();
    for found in device.peers().await {
        let key = found.peer.public_key.to_bytes();
        owners.extend(found.peer.allowed_ips.iter().map(|network| (*network, key)));
        there.insert(key, found.peer);
    }
    for peer in wanted {
        let mut peer = translate(&peer);
        let key = peer.public_key.to_bytes();
        for network in &peer.allowed_ips {
            let before = owners.insert(*network, key).filter(|before| *before != key);
            if let Some(other) = before.and_then(|before| there.get_mut(&before)) {
                give_up(device, other, network).await;
            }
        }
        let known = there.get(&key);
        peer.endpoint = peer.endpoint.or(known.and_then(|known| known.endpoint));
        match known {
            None => {
                device.add_peer(peer.clone());
            }
            Some(known) if is_same(known, &peer) => continue,
            Some(_) => {
                device.modify_peer(&peer.public_key, |change| become_like(change, &peer)).await;
            }
        }
        there.insert(key, peer);
    }
}

/// Takes a network from a peer: it belongs to another from now on.
async fn give_up<T: DeviceTransports>(device: &mut DeviceWrite<'_, T>, peer: &mut Peer, network: &IpNetwork) {
    peer.allowed_ips.retain(|allowed| allowed != network);
    device
        .modify_peer(&peer.public_key, |change| {
            change.clear_allowed_ips();
            change.add_allowed_ips(peer.allowed_ips.iter().copied());
        })
        .await;
}

fn become_like(change: &mut PeerMut, peer: &Peer) {
    change.clear_allowed_ips();
    change.add_allowed_ips(peer.allowed_ips.iter().copied());
    change.set_preshared_key(peer.preshared_key);
    change.set_keepalive(peer.keepalive);
    change.set_endpoint(peer.endpoint);
}

fn is_same(known: &Peer, peer: &Peer) -> bool {
    let sorted = |networks: &[IpNetwork]| {
        let mut networks = networks.to_vec();
        networks.sort_unstable();
        networks
    };
    known.preshared_key == peer.preshared_key
        && known.keepalive == peer.keepalive
        && known.endpoint == peer.endpoint
        && sorted(&known.allowed_ips) == sorted(&peer.allowed_ips)
}

fn translate(peer: &DevicePeer) -> Peer {
    let allowed = peer.allowed.iter().filter_map(|network| {
        // Only its length could be wrong, and both count to 32 and 128.
        IpNetwork::new(network.network(), network.prefix_len()).ok()
    });
    let mut translated = Peer::new(x25519::PublicKey::from(*peer.key.as_bytes()))
        .with_allowed_ips(allowed)
        .with_preshared_key(*peer.psk.as_bytes());
    translated.endpoint = peer.endpoint;
    translated.keepalive = peer.keepalive_secs.filter(|secs| *secs != 0);
    translated
}

fn networks(allowed: &[IpNetwork]) -> Vec<IpNet> {
    let network = |network: &IpNetwork| IpNet::new(network.network(), network.prefix()).ok();
    let mut networks: Vec<IpNet> = allowed.iter().filter_map(network).collect();
    networks.sort();
    networks
}
