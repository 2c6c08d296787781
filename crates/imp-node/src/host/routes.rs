//! The IPv4 routes of this machine.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::netlink::{interfaces, to_io};

/// The table of routes that no rule names (rt_tables).
pub(crate) const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// A route, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: Ipv4Net,
    pub(crate) table: u32,
    /// Where it leads: one interface, or several that share the load; none for one that leads nowhere.
    pub(crate) interfaces: Vec<String>,
    pub(crate) gateway: Option<IpAddr>,
    /// Whether packets are forwarded by it, rather than taken in, sent to all, or refused.
    pub(crate) is_unicast: bool,
    /// Whether those that it leads to are neighbours, in a network that this machine is in.
    pub(crate) is_link: bool,
}

impl Route {
    pub(crate) fn is_default(&self) -> bool {
        self.to.prefix_len() == 0
    }

    /// Whether it leads to this interface and to no other.
    pub(crate) fn is_only_by(&self, interface: &str) -> bool {
        !self.interfaces.is_empty() && self.interfaces.iter().all(|name| name == interface)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        for interface in &self.interfaces {
            write!(f, " dev {interface}")?;
        }
        match self.table {
            MAIN => Ok(()),
            table => write!(f, " table {table}"),
        }
    }
}

/// All IPv4 routes of all tables.
pub(crate) async fn all(kernel: &Handle) -> io::Result<Vec<Route>> {
    let names: HashMap<u32, String> = interfaces(kernel).await?.into_iter().collect();
    let wanted = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let messages: Vec<RouteMessage> =
        kernel.route().get(wanted).execute().try_collect().await.map_err(to_io)?;
    Ok(messages.iter().filter_map(|message| read(message, &names)).collect())
}

fn read(message: &RouteMessage, names: &HashMap<u32, String>) -> Option<Route> {
    let mut route = Route {
        to: Ipv4Net::default(),
        table: message.header.table.into(),
        interfaces: Vec::new(),
        gateway: None,
        is_unicast: message.header.kind == RouteType::Unicast,
        is_link: message.header.scope == RouteScope::Link,
    };
    let mut to = Ipv4Addr::UNSPECIFIED;
    let name = |index: &u32| names.get(index).cloned().unwrap_or_else(|| format!("#{index}"));
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = *address,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Oif(index) => route.interfaces.push(name(index)),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => route.gateway = Some((*address).into()),
            RouteAttribute::MultiPath(hops) => {
                route.interfaces.extend(hops.iter().map(|hop| name(&hop.interface_index)));
            }
            _ => {}
        }
    }
    route.to = Ipv4Net::new(to, message.header.destination_prefix_length).ok()?;
    Some(route)
}
