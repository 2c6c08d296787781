//! Routes and rules of a tunnel.
//!
//! For a tunnel that takes the default route, as `ip rule` shows it (with the numbers of the first tunnel):
//!
//! ```text
//! 31100:  from all lookup main suppress_prefixlength 0       whatever is narrower than the default route
//! 31101:  not from all fwmark 0x6d8328 lookup 7177000        all but the tunnel's own packets
//! 32766:  from all lookup main
//! ```
//!
//! The same two stand for IPv6, where the table holds nothing but `unreachable default`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use futures_util::TryStreamExt;
use ipnet::{IpNet, Ipv4Net};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use super::TunnelError;
use super::note::Note;
use super::plan::Plan;
use crate::host::netlink::{index_of, interfaces, to_io};
use crate::host::routes::MAIN;

/// Whether nothing on this machine has the name or the numbers of a tunnel.
pub(super) async fn is_free(kernel: &Handle, note: &Note) -> io::Result<bool> {
    if interfaces(kernel).await?.iter().any(|(_, name)| *name == note.interface()) {
        return Ok(false);
    }
    for family in families() {
        for rule in rules(kernel, family).await? {
            let is_ours = |attribute: &RuleAttribute| match attribute {
                RuleAttribute::Priority(number) => (note.priority()..note.priority() + 2).contains(number),
                RuleAttribute::Table(number) | RuleAttribute::FwMark(number) => *number == note.table(),
                _ => false,
            };
            if rule.attributes.iter().any(is_ours) {
                return Ok(false);
            }
        }
    }
    Ok(table(kernel, note).await?.is_empty())
}

/// Lets packets go into the tunnel.
pub(super) async fn set(kernel: &Handle, note: &Note, plan: &Plan) -> Result<(), TunnelError> {
    let failed =
        |what: String| move |error: io::Error| TunnelError::Routing { what, message: error.to_string() };
    let finding = || failed(format!("find the interface {}", note.interface()));
    let index = index_of(kernel, &note.interface()).await.map_err(finding())?;
    let index = index.ok_or_else(|| finding()(io::ErrorKind::NotFound.into()))?;
    for net in &plan.plain {
        let route = v4(*net).output_interface(index).scope(RouteScope::Link).build();
        match add_route(kernel, route).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(TunnelError::RouteTaken { route: IpNet::V4(*net) });
            }
            done => done.map_err(failed(format!("add the route {net}")))?,
        }
    }
    if plan.own_table.is_empty() {
        return Ok(());
    }
    // The table is complete before anything is asked of it.
    for net in &plan.excepted {
        let route = v4(*net).table_id(note.table()).kind(RouteType::Throw).build();
        add_route(kernel, route).await.map_err(failed(format!("except {net}")))?;
    }
    for net in &plan.own_table {
        let route = v4(*net).table_id(note.table()).output_interface(index).scope(RouteScope::Link).build();
        add_route(kernel, route).await.map_err(failed(format!("add the route {net}")))?;
    }
    if plan.takes_all && has_ipv6() {
        let nowhere = RouteMessageBuilder::<Ipv6Addr>::new()
            .table_id(note.table())
            .kind(RouteType::Unreachable)
            .build();
        add_route(kernel, nowhere).await.map_err(failed("stop IPv6".to_owned()))?;
        add_rules(kernel, note, AddressFamily::Inet6).await.map_err(failed("stop IPv6".to_owned()))?;
    }
    add_rules(kernel, note, AddressFamily::Inet).await.map_err(failed("add rules".to_owned()))
}

/// Takes away whatever of a tunnel there is: rules, its table, and an interface that was left.
pub(super) async fn clear(kernel: &Handle, note: &Note) -> Result<(), TunnelError> {
    let failed = |what: &'static str| {
        move |error: io::Error| TunnelError::Routing { what: what.to_owned(), message: error.to_string() }
    };
    for family in families() {
        let numbers = note.priority()..note.priority() + 2;
        for rule in rules(kernel, family).await.map_err(failed("read rules"))? {
            let is_ours = rule.attributes.iter().any(
                |attribute| matches!(attribute, RuleAttribute::Priority(number) if numbers.contains(number)),
            );
            if is_ours {
                let deleted = kernel.rule().del(rule).execute().await.map_err(to_io);
                unless_gone(deleted).map_err(failed("delete rules"))?;
            }
        }
    }
    for route in table(kernel, note).await.map_err(failed("read routes"))? {
        let deleted = kernel.route().del(route).execute().await.map_err(to_io);
        unless_gone(deleted).map_err(failed("delete routes"))?;
    }
    if let Some(index) = index_of(kernel, &note.interface()).await.map_err(failed("read interfaces"))? {
        let deleted = kernel.link().del(index).execute().await.map_err(to_io);
        unless_gone(deleted).map_err(failed("delete the interface"))?;
    }
    Ok(())
}

fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        // ESRCH for routes, ENOENT for rules, ENODEV for links.
        Err(error) if matches!(error.raw_os_error(), Some(2 | 3 | 19)) => Ok(()),
        done => done,
    }
}

fn v4(net: Ipv4Net) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(net.network(), net.prefix_len())
}

async fn add_route(kernel: &Handle, route: RouteMessage) -> io::Result<()> {
    kernel.route().add(route).execute().await.map_err(to_io)
}

async fn add_rules(kernel: &Handle, note: &Note, family: AddressFamily) -> io::Result<()> {
    let rule = |table, priority| {
        let mut add = kernel.rule().add().table_id(table).action(RuleAction::ToTable).priority(priority);
        add.message_mut().header.family = family;
        add
    };
    let mut narrower = rule(MAIN, note.priority());
    narrower.message_mut().attributes.push(RuleAttribute::SuppressPrefixLen(0));
    narrower.execute().await.map_err(to_io)?;
    let mut others = rule(note.table(), note.priority() + 1).fw_mark(note.table());
    others.message_mut().header.flags |= RuleFlags::Invert;
    others.execute().await.map_err(to_io)
}

async fn rules(kernel: &Handle, family: IpVersion) -> io::Result<Vec<RuleMessage>> {
    kernel.rule().get(family).execute().try_collect().await.map_err(to_io)
}

/// The routes in the table of a tunnel.
async fn table(kernel: &Handle, note: &Note) -> io::Result<Vec<RouteMessage>> {
    let mut routes = Vec::new();
    for family in families() {
        let all = match family {
            IpVersion::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            IpVersion::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        let all: Vec<RouteMessage> = kernel.route().get(all).execute().try_collect().await.map_err(to_io)?;
        let is_ours = |attribute: &RouteAttribute| *attribute == RouteAttribute::Table(note.table());
        routes.extend(all.into_iter().filter(|route| route.attributes.iter().any(is_ours)));
    }
    Ok(routes)
}

fn families() -> Vec<IpVersion> {
    if has_ipv6() { vec![IpVersion::V4, IpVersion::V6] } else { vec![IpVersion::V4] }
}

/// Whether this kernel was not started without IPv6.
fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}
