//! UDP relays.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use super::address;
use super::settings::Settings;

/// The `socket` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Public address that is told to those who are to use a relay.
    pub server_ip: Option<IpAddr>,
    /// UDP ports that relays may use; two for each.
    pub ports: RangeInclusive<u16>,
}

/// The sample file's address, which belongs to a DNS service and never to an IMP node.
const SAMPLE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));

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
    SocketConfig { server_ip, ports: min..=max }
}
