//! What goes through a tunnel, and by which table of routes.
//!
//! Most networks become routes like any others. Those that are as wide as to hold the seller's own address, or networks that
//! are nobody's business but this machine's, have a table of their own, which rules ask after all narrower routes of
//! this machine and only for packets that are not the tunnel's own. In that table stand, as exceptions that lead on to
//! the rules that follow:
//! - the seller's address, so that what this node itself says to the seller (Lightning, for example) stays outside: a
//!   seller's own services are not reached through its tunnel. It is also what the tunnel's packets are sent by where
//!   the kernel checks, without knowing their mark, by which way answers come in (`rp_filter`);
//! - private networks, which go where they went before.

use std::net::{IpAddr, Ipv4Addr};

use imp_core::vpn::Config;
use imp_core::vpn::reach::{DENIED_V4, split_private};
use ipnet::{IpNet, Ipv4Net};

use crate::host::routes::{MAIN, Route};

/// What a tunnel changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Networks with routes like any others.
    pub(super) plain: Vec<Ipv4Net>,
    /// Networks with routes in the table of the tunnel.
    pub(super) own_table: Vec<Ipv4Net>,
    /// What is excepted in that table.
    pub(super) excepted: Vec<Ipv4Net>,
    /// What the seller names and does not go through.
    pub(super) left_out: Vec<IpNet>,
    /// Whether all IPv4 goes through: then IPv6, for which tunnels have no address, is stopped rather than let past it.
    pub(super) takes_all: bool,
    /// The seller's DNS server, if it is reached through the tunnel.
    pub(super) dns: Option<IpAddr>,
}

impl Plan {
    /// Works out what goes through the tunnel of `config` on a machine with these routes.
    pub(super) fn new(config: &Config, allow_private: bool, routes: &[Route]) -> Self {
        let seller = match config.server.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        };
        let (named, private) =
            if allow_private { (config.allowed.clone(), Vec::new()) } else { split_private(&config.allowed) };
        let mut plan = Self { left_out: private, ..Self::default() };
        for net in named {
            match net {
                IpNet::V4(net) if seller.is_some_and(|ip| net == Ipv4Net::from(ip)) => {
                    plan.left_out.push(net.into());
                }
                IpNet::V4(net) if !allow_private && is_own_network(net, routes) => {
                    plan.left_out.push(net.into());
                }
                IpNet::V4(net) => plan.add(net, seller),
                IpNet::V6(_) => plan.left_out.push(net),
            }
        }
        let holds = |net: &Ipv4Net| plan.own_table.iter().any(|wide| wide.contains(net));
        let mut excepted: Vec<Ipv4Net> = seller.map(Ipv4Net::from).into_iter().collect();
        if !allow_private {
            excepted.extend(DENIED_V4);
        }
        excepted.retain(holds);
        plan.excepted = excepted;
        plan.takes_all = Ipv4Net::aggregate(&plan.all()).iter().any(|net| net.prefix_len() == 0);
        plan.dns = Some(config.dns).filter(|dns| plan.carries(*dns));
        plan
    }

    /// Everything that goes through.
    pub(super) fn all(&self) -> Vec<Ipv4Net> {
        self.own_table.iter().chain(&self.plain).copied().collect()
    }

    fn add(&mut self, net: Ipv4Net, seller: Option<Ipv4Addr>) {
        let is_wide = seller.is_some_and(|ip| net.contains(&ip))
            || DENIED_V4.iter().any(|range| range.prefix_len() > net.prefix_len() && net.contains(range));
        if is_wide { self.own_table.push(net) } else { self.plain.push(net) }
    }

    /// Whether packets to this address go through.
    fn carries(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        let holds = |nets: &[Ipv4Net]| nets.iter().any(|net| net.contains(&ip));
        holds(&self.plain) || (holds(&self.own_table) && !holds(&self.excepted))
    }
}

/// Whether a network is part of one that this machine is in.
fn is_own_network(net: Ipv4Net, routes: &[Route]) -> bool {
    let own = routes.iter().filter(|route| route.table == MAIN && route.is_unicast && route.is_link);
    own.filter(|route| !route.is_default()).any(|route| route.to.contains(&net))
}

#[cfg(test)]
mod tests;
