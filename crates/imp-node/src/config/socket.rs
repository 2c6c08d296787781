//! UDP relays.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::address;
use super::settings::Settings;

/// The `socket` section. What says how a relay is to be holds for each that is started without its own wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Public address that is told to those who are to use a relay; nothing for that of the default route.
    pub server_ip: Option<IpAddr>,
    /// UDP ports that relays may use; two for each.
    pub ports: RangeInclusive<u16>,
    /// Let in private and link-local addresses, too.
    pub allow_private: bool,
    /// Without a packet for so long, a side is forgotten.
    pub idle: Duration,
    /// A relay ends after this time.
    pub life: Duration,
    /// Relays that may run at once.
    pub max_relays: usize,
    /// A relay ends after so many packets of both sides.
    pub max_packets: u64,
    /// A relay ends after so many bytes of payload of both sides.
    pub max_bytes: u64,
    /// Packets that a relay passes on in a second.
    pub max_packets_per_sec: u64,
    /// Bytes of payload that a relay passes on in a second.
    pub max_bytes_per_sec: u64,
}

/// The sample file's address, which belongs to a DNS service and never to an IMP node.
const SAMPLE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));

/// Largest limit of packets and bytes: more than any machine comes to, and sums of two do not overflow.
const MOST: u64 = 1_000_000_000_000_000_000;

pub(super) fn build(settings: &mut Settings) -> SocketConfig {
    let server_ip = settings.lenient("socket.server_ip", |text| match address::public_ip(text) {
        Ok(SAMPLE_IP) => Err("the sample file's address, which belongs to somebody else".to_owned()),
        other => other,
    });
    let (min, max) = (settings.port("socket.port_min"), settings.port("socket.port_max"));
    if min >= max {
        settings.fault(
            settings.source("socket.port_min"),
            "socket.port_min",
            Some(&min.to_string()),
            &format!("a relay needs two ports, and socket.port_max is {max}"),
            "Set port_max above port_min",
        );
    }
    SocketConfig {
        server_ip,
        ports: min..=max,
        allow_private: settings.bool("socket.allow_private"),
        idle: Duration::from_secs(settings.number("socket.idle_secs", 1..=86_400)),
        life: Duration::from_secs(settings.number("socket.life_secs", 1..=31_536_000)),
        // The range makes the conversion exact; two ports for each is as many as there are.
        max_relays: settings.number("socket.max_relays", 1..=32_767) as usize,
        max_packets: settings.number("socket.max_packets", 1..=MOST),
        max_bytes: settings.number("socket.max_bytes", 1..=MOST),
        max_packets_per_sec: settings.number("socket.max_packets_per_sec", 1..=MOST),
        max_bytes_per_sec: settings.number("socket.max_bytes_per_sec", 1..=MOST),
    }
}
