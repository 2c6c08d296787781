//! Which sources may be let in on a side at all, whoever is or is not there.
//!
//! A relay sends to whoever sent to it, and the source of a UDP packet is easily forged: without these rules a stranger
//! could have the relay send into the networks that only its host can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::Dropped;

/// The same address in one form: v4-mapped IPv6 addresses as IPv4, without a flow label.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id())),
        },
    }
}

/// Why nothing from this source is ever let in; nothing where it may be. `is_own` says whether it is a relay socket of
/// this node.
pub fn refused(source: SocketAddr, allow_private: bool, is_own: impl FnOnce() -> bool) -> Option<Dropped> {
    let source = canonical(source);
    if source.port() == 0 {
        Some(Dropped::PortZero)
    } else if is_broadcast(source.ip()) {
        Some(Dropped::Broadcast)
    } else if carried(source.ip()).is_multicast() {
        Some(Dropped::Multicast)
    } else if !allow_private && is_private(source.ip()) {
        Some(Dropped::PrivateSource)
    } else if is_own() {
        Some(Dropped::OwnRelay)
    } else {
        None
    }
}

/// Whether an address is private or link-local: 10/8, 172.16/12, 192.168/16 (RFC 1918), 100.64/10 (RFC 6598), 169.254/16
/// (RFC 3927), fc00::/7 (RFC 4193), fe80::/10 (RFC 4291), fec0::/10 (RFC 3879), or an IPv6 address by which such an IPv4
/// address is reached. Loopback is not; another machine's, as it is written for a translator or tunnel, is.
pub fn is_private(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    match carried(ip) {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || (first == 100 && second & 0b1100_0000 == 64)
                // It would be the loopback of whoever takes it out of its IPv6 address.
                || (v4.is_loopback() && ip.is_ipv6())
        }
        IpAddr::V6(v6) => {
            v6.is_unique_local()
                || v6.is_unicast_link_local()
                // Site-local: deprecated, and routed like fc00::/7 by what is old enough to know it.
                || v6.segments()[0] & 0xffc0 == 0xfec0
                // NAT64 for local use (RFC 8215): where it leads, only the network knows.
                || v6.segments()[..3] == [0x64, 0xff9b, 1]
        }
    }
}

/// 240/4 (RFC 1112 section 4), of which 255.255.255.255 is one and which no machine has; or 0/8 (RFC 1122 section 3.2.1.3),
/// of whose address 0.0.0.0 section 3.3.6 has hosts take it for a broadcast.
fn is_broadcast(ip: IpAddr) -> bool {
    match carried(ip) {
        IpAddr::V4(v4) => matches!(v4.octets()[0], 0 | 240..=255),
        IpAddr::V6(v6) => v6.is_unspecified(),
    }
}

/// The IPv4 address that an IPv6 address stands for: v4-mapped, v4-compatible (RFC 4291 section 2.5.5), NAT64 (RFC 6052) or
/// 6to4 (RFC 3056); else the address itself.
pub fn carried(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if v6 != Ipv6Addr::LOCALHOST && v6 != Ipv6Addr::UNSPECIFIED => {
            v4(high, low)
        }
        _ => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ip: &str) -> Option<Dropped> {
        refused(SocketAddr::new(ip.parse().unwrap(), 9), false, || false)
    }

    #[test]
    fn public_and_loopback_sources_pass() {
        let passes = [
            "1.1.1.1",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "2606:4700::1111",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "192.167.255.255",
            "11.0.0.0",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "fe00::1",
        ];
        for ip in passes {
            assert_eq!(of(ip), None, "{ip}");
        }
    }

    #[test]
    fn private_and_link_local_sources_do_not() {
        let private = [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:a00:1::1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
        ];
        for ip in private {
            assert_eq!(of(ip), Some(Dropped::PrivateSource), "{ip}");
            let source = SocketAddr::new(ip.parse().unwrap(), 9);
            assert_eq!(refused(source, true, || false), None, "{ip} allowed");
        }
    }

    #[test]
    fn some_sources_never_pass() {
        let never = [
            ("255.255.255.255", Dropped::Broadcast),
            ("0.0.0.0", Dropped::Broadcast),
            ("::", Dropped::Broadcast),
            ("::ffff:255.255.255.255", Dropped::Broadcast),
            ("224.0.0.1", Dropped::Multicast),
            ("239.255.255.255", Dropped::Multicast),
            ("ff02::1", Dropped::Multicast),
            ("::ffff:224.0.0.1", Dropped::Multicast),
            ("0.1.2.3", Dropped::Broadcast),
            ("::ffff:0.1.2.3", Dropped::Broadcast),
            ("240.0.0.1", Dropped::Broadcast),
            ("64:ff9b::f000:1", Dropped::Broadcast),
            ("64:ff9b::1:203", Dropped::Broadcast),
            ("64:ff9b::", Dropped::Broadcast),
            ("2002:f000:1::1", Dropped::Broadcast),
            ("2002:1:203::1", Dropped::Broadcast),
            ("2002:e000:1::1", Dropped::Multicast),
            ("::240.0.0.1", Dropped::Broadcast),
            ("::ffff:240.0.0.1", Dropped::Broadcast),
        ];
        for (ip, why) in never {
            let source = SocketAddr::new(ip.parse().unwrap(), 9);
            assert_eq!(refused(source, true, || false), Some(why), "{ip}");
        }
        let zero = SocketAddr::new("1.1.1.1".parse().unwrap(), 0);
        assert_eq!(refused(zero, true, || false), Some(Dropped::PortZero));
        let own = SocketAddr::new("1.1.1.1".parse().unwrap(), 9);
        assert_eq!(refused(own, true, || true), Some(Dropped::OwnRelay));
    }

    #[test]
    fn one_address_has_one_form() {
        let mapped: SocketAddr = "[::ffff:1.2.3.4]:5".parse().unwrap();
        assert_eq!(canonical(mapped), "1.2.3.4:5".parse().unwrap());
        let labelled = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 5, 77, 0));
        assert_eq!(canonical(labelled), "[::1]:5".parse().unwrap());
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 5, 0, 3));
        assert_eq!(canonical(scoped), scoped, "the interface belongs to a link-local address");
    }
}
