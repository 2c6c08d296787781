//! A small internet.
//!
//! ```text
//!                       core, which forwards everything, also from addresses that are not their sender's
//!       ┌──────────────────┬──────────────────┬─────────────────┐
//!     relay            router A           router B           stranger
//!   203.0.113.1      198.51.100.1        192.0.2.1        198.51.100.129
//!   203.0.113.2        masquerade        masquerade
//!                          │                  │
//!                        user A             user B
//!                       10.1.0.1           10.2.0.1
//! ```
//!
//! With IPv6, users have public addresses, and routers forward.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use imp_devnet::netns::{Namespace, cable};

/// The relay's addresses.
pub(crate) const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
pub(crate) const RELAY_SECOND: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2));
pub(crate) const RELAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1));

/// What user A is seen as from outside, and what its provider gives it when it is asked for another address.
pub(crate) const ROUTER_A: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
pub(crate) const ROUTER_A_LATER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));

/// What user B is seen as from outside.
pub(crate) const ROUTER_B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Somebody else.
pub(crate) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 129));

/// User B's own address, behind its router.
pub(crate) const USER_B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 2, 0, 1));

/// The users' addresses with IPv6.
pub(crate) const USER_A_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 1));
pub(crate) const USER_B_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1));

/// The hosts, each in a namespace of its own.
#[derive(Debug)]
pub(crate) struct Internet {
    pub(crate) relay: Namespace,
    pub(crate) router_a: Namespace,
    pub(crate) user_a: Namespace,
    pub(crate) user_b: Namespace,
    pub(crate) stranger: Namespace,
    /// Whether all of them have IPv6.
    pub(crate) has_ipv6: bool,
    _core: Namespace,
    _router_b: Namespace,
}

impl Internet {
    /// Makes all of it. What stands when this fails is deleted.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let has_ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        let host = |name: &str| host(name, has_ipv6);
        let (core, relay, stranger) = (host("core")?, host("relay")?, host("stranger")?);
        let (router_a, user_a) = (host("router-a")?, host("user-a")?);
        let (router_b, user_b) = (host("router-b")?, host("user-b")?);
        for router in [&core, &router_a, &router_b] {
            router.set("ipv4/ip_forward", "1")?;
            if has_ipv6 {
                router.set("ipv6/conf/all/forwarding", "1")?;
            }
        }

        cable((&relay, "wan"), (&core, "relay"))?;
        cable((&router_a, "wan"), (&core, "a"))?;
        cable((&router_b, "wan"), (&core, "b"))?;
        cable((&stranger, "wan"), (&core, "stranger"))?;
        cable((&user_a, "wan"), (&router_a, "home"))?;
        cable((&user_b, "wan"), (&router_b, "home"))?;

        let v4 = [
            (&core, "relay", "203.0.113.254/24"),
            (&core, "a", "198.51.100.126/25"),
            (&core, "b", "192.0.2.254/24"),
            (&core, "stranger", "198.51.100.254/25"),
            (&relay, "wan", "203.0.113.1/24"),
            (&relay, "wan", "203.0.113.2/24"),
            (&router_a, "wan", "198.51.100.1/25"),
            (&router_a, "home", "10.1.0.254/24"),
            (&user_a, "wan", "10.1.0.1/24"),
            (&router_b, "wan", "192.0.2.1/24"),
            (&router_b, "home", "10.2.0.254/24"),
            (&user_b, "wan", "10.2.0.1/24"),
            (&stranger, "wan", "198.51.100.129/25"),
        ];
        let v6 = [
            (&core, "relay", "2001:db8:1::ff/64"),
            (&core, "a", "2001:db8:2::ff/64"),
            (&core, "b", "2001:db8:3::ff/64"),
            (&core, "stranger", "2001:db8:4::ff/64"),
            (&relay, "wan", "2001:db8:1::1/64"),
            (&router_a, "wan", "2001:db8:2::1/64"),
            (&router_a, "home", "2001:db8:a::ff/64"),
            (&user_a, "wan", "2001:db8:a::1/64"),
            (&router_b, "wan", "2001:db8:3::1/64"),
            (&router_b, "home", "2001:db8:b::ff/64"),
            (&user_b, "wan", "2001:db8:b::1/64"),
            (&stranger, "wan", "2001:db8:4::1/64"),
        ];
        for (host, interface, address) in v4 {
            host.ip(&format!("addr add {address} dev {interface}"))?;
        }
        for (host, interface, address) in v6.into_iter().filter(|_| has_ipv6) {
            // Nobody else can have it, and looking for a second owner takes a second.
            host.ip(&format!("addr add {address} dev {interface} nodad"))?;
        }
        for (host, by_v4, by_v6) in [
            (&relay, "203.0.113.254", "2001:db8:1::ff"),
            (&router_a, "198.51.100.126", "2001:db8:2::ff"),
            (&router_b, "192.0.2.254", "2001:db8:3::ff"),
            (&stranger, "198.51.100.254", "2001:db8:4::ff"),
            (&user_a, "10.1.0.254", "2001:db8:a::ff"),
            (&user_b, "10.2.0.254", "2001:db8:b::ff"),
        ] {
            host.ip(&format!("route add default via {by_v4}"))?;
            if has_ipv6 {
                host.ip(&format!("-6 route add default via {by_v6}"))?;
            }
        }
        if has_ipv6 {
            core.ip("-6 route add 2001:db8:a::/64 via 2001:db8:2::1")?;
            core.ip("-6 route add 2001:db8:b::/64 via 2001:db8:3::1")?;
        }
        for router in [&router_a, &router_b] {
            router.masquerade("wan")?;
        }
        Ok(Self { relay, router_a, user_a, user_b, stranger, has_ipv6, _core: core, _router_b: router_b })
    }

    /// Router A loses its address and gets another, as homes do over night. The kernel forgets its translations.
    pub(crate) fn change_address_of_router_a(&self, from: IpAddr, to: IpAddr) -> anyhow::Result<()> {
        self.router_a.ip(&format!("addr del {from}/25 dev wan"))?;
        self.router_a.ip(&format!("addr add {to}/25 dev wan"))?;
        self.router_a.ip("route replace default via 198.51.100.126")
    }

    /// Lets the stranger send from an address that is not its own.
    pub(crate) fn let_stranger_pose_as(&self, address: IpAddr) -> anyhow::Result<()> {
        let (family, bits) = if address.is_ipv4() { ("-4", 32) } else { ("-6", 128) };
        let nodad = if address.is_ipv6() { "nodad" } else { "" };
        self.stranger.ip(&format!("{family} addr replace {address}/{bits} dev lo {nodad}"))
    }
}

/// A host that takes packets from whoever they say that they are, whatever this machine's own settings are.
fn host(name: &str, has_ipv6: bool) -> anyhow::Result<Namespace> {
    let host = Namespace::new(name)?;
    for interfaces in ["all", "default"] {
        host.set(&format!("ipv4/conf/{interfaces}/rp_filter"), "0")?;
        if has_ipv6 {
            host.set(&format!("ipv6/conf/{interfaces}/disable_ipv6"), "0")?;
            host.set(&format!("ipv6/conf/{interfaces}/accept_dad"), "0")?;
        }
    }
    Ok(host)
}
