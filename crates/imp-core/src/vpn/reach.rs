//! What buyers reach through a seller: the internet, and of the seller's surroundings only what is named.
//!
//! The seller's firewall and the buyer's routes follow the same list: what a seller does not forward unless it is named, a
//! buyer does not send into the tunnel unless its owner says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// TCP port that buyers never reach: mail, for spam would be the seller's.
pub const DENIED_TCP_PORT: u16 = 25;

/// IPv4 that is no part of the internet (RFC 6890; 224/3 is multicast and what is reserved).
pub const DENIED_V4: [Ipv4Net; 10] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([224, 0, 0, 0], 3),
];

/// IPv6 that is no part of the internet (RFC 6890), and what leads to IPv4 by another name (RFC 6052, RFC 3056).
pub const DENIED_V6: [Ipv6Net; 7] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
];

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// All that is denied unless it is named: [`DENIED_V4`], then [`DENIED_V6`].
pub fn denied() -> impl Iterator<Item = IpNet> {
    DENIED_V4.into_iter().map(IpNet::V4).chain(DENIED_V6.into_iter().map(IpNet::V6))
}

/// What a list of networks lets through, as three sets that are asked one after another: the first that holds an address
/// decides, and an address in none is denied. No set has overlaps within itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    named: Vec<IpNet>,
    denied: Vec<IpNet>,
    open: Vec<IpNet>,
}

impl Reach {
    /// The reach of those who may go to `allowed`.
    pub fn new(allowed: &[IpNet]) -> Self {
        let (named, open) = allowed.iter().map(|net| canonical(*net)).partition(is_denied);
        Self { named: IpNet::aggregate(&named), denied: denied().collect(), open: IpNet::aggregate(&open) }
    }

    /// Networks inside a denied range that are named, and so allowed: asked first.
    pub fn named(&self) -> &[IpNet] {
        &self.named
    }

    /// The denied ranges: asked second.
    pub fn denied(&self) -> &[IpNet] {
        &self.denied
    }

    /// The other networks that are allowed: asked last.
    pub fn open(&self) -> &[IpNet] {
        &self.open
    }

    /// Whether packets may go to this address. An IPv4 address in IPv6's spelling counts as IPv4.
    pub fn permits(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let holds = |set: &[IpNet]| set.iter().any(|net| net.contains(&ip));
        holds(&self.named) || (!holds(&self.denied) && holds(&self.open))
    }
}

/// Whether a network lies wholly inside a denied range.
fn is_denied(net: &IpNet) -> bool {
    denied().any(|range| range.contains(net))
}

/// What a buyer sends into a tunnel without its owner's leave for private ranges: the networks of `allowed` to route, and
/// those left out since they lie inside a denied range. One that is wider than such a range, as 0.0.0.0/0, stays whole: the
/// buyer's own networks have narrower routes.
pub fn split_private(allowed: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    let (left_out, routes) = allowed.iter().map(|net| canonical(*net)).partition(is_denied);
    (routes, left_out)
}

/// The network without bits behind its prefix, and as IPv4 where it is IPv4 in IPv6's spelling.
pub fn canonical(net: IpNet) -> IpNet {
    let net = net.trunc();
    let IpNet::V6(wide) = net else { return net };
    let mapped = wide.addr().to_ipv4_mapped().zip(wide.prefix_len().checked_sub(96));
    mapped.and_then(|(ip, prefix)| Ipv4Net::new(ip, prefix).ok()).map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests;
