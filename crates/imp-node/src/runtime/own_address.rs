//! The address under which this node is reached, as others are told.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Addresses of a root name server: somewhere that the default route leads to. Nothing is sent there.
const FAR_AWAY: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)), 53),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)), 53),
];

/// What an address is told for.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// The configuration key that sets it.
    pub key: &'static str,
    /// The environment variable that sets it.
    pub env: &'static str,
    /// What is done with it, as a sentence that goes on with the address.
    pub told: &'static str,
}

/// Says under which address this node is reached.
#[derive(Debug)]
pub struct OwnAddress {
    purpose: Purpose,
    configured: Option<IpAddr>,
    /// What was warned of last.
    warned: Mutex<Option<IpAddr>>,
}

impl OwnAddress {
    /// The address that is configured, if one is.
    pub fn new(purpose: Purpose, configured: Option<IpAddr>) -> Self {
        Self { purpose, configured: configured.map(|ip| ip.to_canonical()), warned: Mutex::default() }
    }

    /// The address to tell now. Without a configured one this is the machine's own on its way out, or,
    /// where it has no way out, loopback; and the log says so, once for each address.
    pub fn find(&self) -> IpAddr {
        if let Some(configured) = self.configured {
            return configured;
        }
        let found = FAR_AWAY.into_iter().find_map(on_the_way_to);
        let ip = found.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.replace(ip) != Some(ip) {
            let whose = if found.is_some() {
                "this machine's address towards the default route, which nodes behind it may not reach"
            } else {
                "which only this machine reaches: it has no default route"
            };
            let Purpose { key, env, told } = self.purpose;
            tracing::warn!(
                "{key} is not set: {told} {ip}, {whose}. Set {key} (environment {env}) to the address under \
                 which others reach this node"
            );
        }
        ip
    }
}

/// The machine's own address in packets to somewhere.
fn on_the_way_to(far: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if far.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    // For UDP this looks up the route and sends nothing.
    socket.connect(far).ok()?;
    let ip = socket.local_addr().ok()?.ip().to_canonical();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURPOSE: Purpose = Purpose { key: "a.key", env: "A_KEY", told: "it is told as" };

    #[test]
    fn a_configured_address_is_told_whether_or_not_it_is_this_machines() {
        for (configured, told) in
            [("203.0.113.5", "203.0.113.5"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::1")]
        {
            let address = OwnAddress::new(PURPOSE, Some(configured.parse().unwrap()));
            assert_eq!(address.find(), told.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn without_a_configured_address_one_of_this_machine_is_told() {
        let found = OwnAddress::new(PURPOSE, None).find();
        UdpSocket::bind((found, 0)).expect("only own addresses can be bound");
    }

    #[test]
    fn the_way_to_loopback_is_no_way_out() {
        assert_eq!(on_the_way_to("127.0.0.1:9".parse().unwrap()), None);
        assert_eq!(on_the_way_to("[::1]:9".parse().unwrap()), None);
    }
}
