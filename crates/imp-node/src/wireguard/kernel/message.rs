//! What is said to the kernel and what it says, in netlink's attributes (linux/wireguard.h).

use std::net::IpAddr;
use std::time::Duration;

use imp_core::time::UnixMillis;
use imp_core::vpn::{PresharedKey, PublicKey};
use ipnet::IpNet;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardDeviceFlags, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use rtnetlink::packet_core::Emitable;

use crate::wireguard::port::{DevicePeer, DeviceSpec, PeerStatus};

pub(super) type Message = WireguardMessage;

/// The most that the peers of one message may take: their length is told in 16 bits.
const MOST_PEER_BYTES: usize = 60_000;

/// What the kernel says of an interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) key: Option<PublicKey>,
    pub(super) listen_port: u16,
    pub(super) peers: Vec<PeerStatus>,
}

/// Asks for all of an interface.
pub(super) fn get(name: &str) -> Message {
    let attributes = vec![WireguardAttribute::IfName(name.to_owned())];
    Message { cmd: WireguardCmd::GetDevice, attributes }
}

/// Gives an interface its key and its port; without peers.
pub(super) fn set_up(spec: &DeviceSpec) -> Message {
    let attributes = vec![
        WireguardAttribute::Flags(WireguardDeviceFlags::ReplacePeers),
        WireguardAttribute::PrivateKey(*spec.private_key.as_bytes()),
        WireguardAttribute::ListenPort(spec.listen_port),
        WireguardAttribute::Fwmark(spec.fwmark.unwrap_or(0)),
    ];
    set(&spec.name, attributes)
}

/// Adds or changes peers.
pub(super) fn put(name: &str, peers: &[DevicePeer]) -> Vec<Message> {
    in_messages(name, peers.iter().map(put_one))
}

/// Removes peers.
pub(super) fn remove(name: &str, keys: &[PublicKey]) -> Vec<Message> {
    let remove = |key: &PublicKey| {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(*key.as_bytes()),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
        ])
    };
    in_messages(name, keys.iter().map(remove))
}

fn set(name: &str, attributes: Vec<WireguardAttribute>) -> Message {
    let mut all = vec![WireguardAttribute::IfName(name.to_owned())];
    all.extend(attributes);
    Message { cmd: WireguardCmd::SetDevice, attributes: all }
}

fn put_one(peer: &DevicePeer) -> WireguardPeer {
    let mut attributes = vec![
        WireguardPeerAttribute::PublicKey(*peer.key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
        WireguardPeerAttribute::PresharedKey(*peer.psk.as_bytes()),
        WireguardPeerAttribute::PersistentKeepalive(peer.keepalive_secs.unwrap_or(0)),
    ];
    attributes.extend(peer.endpoint.map(WireguardPeerAttribute::Endpoint));
    attributes.push(WireguardPeerAttribute::AllowedIps(peer.allowed.iter().map(allowed_ip).collect()));
    WireguardPeer(attributes)
}

fn allowed_ip(network: &IpNet) -> WireguardAllowedIp {
    let family = match network {
        IpNet::V4(_) => WireguardAddressFamily::Ipv4,
        IpNet::V6(_) => WireguardAddressFamily::Ipv6,
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(network.network()),
        WireguardAllowedIpAttr::Cidr(network.prefix_len()),
    ])
}

/// As few messages as peers fit in.
fn in_messages(name: &str, peers: impl Iterator<Item = WireguardPeer>) -> Vec<Message> {
    let mut messages: Vec<Vec<WireguardPeer>> = Vec::new();
    let mut room = 0;
    for peer in peers {
        let bytes = peer.buffer_len();
        match messages.last_mut() {
            Some(message) if bytes <= room => message.push(peer),
            _ => {
                messages.push(vec![peer]);
                room = MOST_PEER_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    messages.into_iter().map(|peers| set(name, vec![WireguardAttribute::Peers(peers)])).collect()
}

/// Reads what the kernel said: an interface with many peers comes in parts, and a peer with many networks can be the last
/// of one and the first of the next.
pub(super) fn read(messages: Vec<Message>, now: UnixMillis) -> Interface {
    let mut interface = Interface::default();
    for attribute in messages.into_iter().flat_map(|message| message.attributes) {
        match attribute {
            WireguardAttribute::PublicKey(key) => interface.key = Some(PublicKey::from_bytes(key)),
            WireguardAttribute::ListenPort(port) => interface.listen_port = port,
            WireguardAttribute::Peers(peers) => {
                for peer in peers.into_iter().filter_map(|peer| read_peer(peer, now)) {
                    match interface.peers.last_mut() {
                        Some(last) if last.key == peer.key => last.allowed.extend(peer.allowed),
                        _ => interface.peers.push(peer),
                    }
                }
            }
            _ => {}
        }
    }
    interface.peers.iter_mut().for_each(|peer| peer.allowed.sort());
    interface.peers.sort_unstable_by_key(|peer| peer.key);
    interface
}

/// Nothing for a peer without a name.
fn read_peer(peer: WireguardPeer, now: UnixMillis) -> Option<PeerStatus> {
    let (mut key, mut psk) = (None, None);
    let (mut allowed, mut endpoint, mut rx_bytes, mut tx_bytes, mut last_handshake) = Default::default();
    for attribute in peer.0 {
        match attribute {
            WireguardPeerAttribute::PublicKey(bytes) => key = Some(PublicKey::from_bytes(bytes)),
            // All zero stands for none.
            WireguardPeerAttribute::PresharedKey(bytes) if bytes != [0; 32] => {
                psk = Some(PresharedKey::from_bytes(bytes));
            }
            WireguardPeerAttribute::Endpoint(address) => endpoint = Some(address),
            WireguardPeerAttribute::RxBytes(bytes) => rx_bytes = bytes,
            WireguardPeerAttribute::TxBytes(bytes) => tx_bytes = bytes,
            WireguardPeerAttribute::LastHandshake(time) => {
                last_handshake = ago(time.seconds, time.nano_seconds, now);
            }
            WireguardPeerAttribute::AllowedIps(networks) => {
                allowed = networks.into_iter().filter_map(read_network).collect();
            }
            _ => {}
        }
    }
    Some(PeerStatus { key: key?, psk, allowed, endpoint, rx_bytes, tx_bytes, last_handshake })
}

fn read_network(network: WireguardAllowedIp) -> Option<IpNet> {
    let (mut address, mut prefix_length): (Option<IpAddr>, Option<u8>) = (None, None);
    for attribute in network.0 {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(ip) => address = Some(ip),
            WireguardAllowedIpAttr::Cidr(length) => prefix_length = Some(length),
            _ => {}
        }
    }
    IpNet::new(address?, prefix_length?).ok()
}

/// How long ago a time of day was; the kernel says zero for never. Nothing is longer ago for a clock that was set back.
fn ago(seconds: i64, nanoseconds: i64, now: UnixMillis) -> Option<Duration> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanoseconds = u32::try_from(nanoseconds).ok()?;
    let then = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds.into()));
    (!then.is_zero()).then(|| Duration::from_millis(now.0).saturating_sub(then))
}

#[cfg(test)]
mod tests;
