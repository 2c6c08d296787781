//! The kernel's leave to forward packets that come in by an interface: `net.ipv4.conf.<interface>.forwarding`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use imp_core::vpn::reach::Reach;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::{ExitError, ExitSpec};
use crate::host::routes::Route;

/// What stands for the machine as a whole, in place of an interface.
pub(super) const MACHINE: &str = "all";

/// Where the kernel has the settings of its interfaces.
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";

/// What was changed for an interface of buyers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Interfaces that forwarded nothing before, and are to forward nothing again.
    pub(super) opened: BTreeSet<String>,
    /// Whether the machine as a whole forwarded already (`net.ipv4.ip_forward`).
    pub(super) machine_forwards: bool,
    /// What the table of this interface is marked with.
    pub(super) mark: String,
    /// The index of the interface that was opened: another one of the same name is not this node's.
    pub(super) interface: Option<u32>,
}

/// The interfaces by which answers to buyers come in: those of all routes that lead to what buyers reach.
pub(super) fn ways_out(spec: &ExitSpec, routes: &[Route]) -> BTreeSet<String> {
    let reach = Reach::new(&spec.allowed);
    let within = |net: &IpNet, to: Ipv4Net| net.contains(&IpNet::V4(to));
    let overlaps = |nets: &[IpNet], to: Ipv4Net| {
        nets.iter().any(|net| within(net, to) || matches!(net, IpNet::V4(net) if to.contains(net)))
    };
    let is_reached = |to: Ipv4Net| {
        let is_denied = reach.denied().iter().any(|net| within(net, to));
        overlaps(reach.named(), to) || (!is_denied && overlaps(reach.open(), to))
    };
    let out = routes.iter().filter(|route| route.is_unicast && is_reached(route.to));
    let interfaces = out.flat_map(|route| &route.interfaces);
    interfaces.filter(|name| **name != spec.interface && *name != "lo").cloned().collect()
}

/// Whether an interface forwards. Nothing if there is no such interface.
pub(super) async fn get(interface: &str) -> Result<Option<bool>, ExitError> {
    let path = setting(interface);
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(Some(text.trim() != "0")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ExitError::Setting { path, source }),
    }
}

/// Has an interface forward or not. One that is gone needs neither.
pub(super) async fn set(interface: &str, forwards: bool) -> Result<(), ExitError> {
    let path = setting(interface);
    match tokio::fs::write(&path, if forwards { "1" } else { "0" }).await {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ExitError::Setting { path, source }),
        _ => Ok(()),
    }
}

fn setting(interface: &str) -> PathBuf {
    Path::new(SETTINGS).join(interface).join("forwarding")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, interface: &str) -> Route {
        Route {
            to: to.parse().unwrap(),
            table: 254,
            interfaces: vec![interface.to_owned()],
            gateway: None,
            is_unicast: true,
            is_link: true,
        }
    }

    fn out(allowed: &[&str]) -> Vec<String> {
        let spec = ExitSpec {
            interface: "imp0".to_owned(),
            subnet: "10.7.0.0/24".parse().unwrap(),
            earlier: Vec::new(),
            allowed: allowed.iter().map(|net| net.parse().unwrap()).collect(),
            bytes_per_sec: None,
        };
        let routes = [
            route("0.0.0.0/0", "eth0"),
            route("198.51.100.0/24", "eth1"),
            route("172.17.0.0/16", "docker0"),
            route("10.7.0.0/24", "imp0"),
            route("127.0.0.0/8", "lo"),
        ];
        ways_out(&spec, &routes).into_iter().collect()
    }

    #[test]
    fn the_internet_is_reached_by_the_default_route_and_by_public_networks() {
        assert_eq!(out(&["0.0.0.0/0"]), ["eth0", "eth1"]);
        assert_eq!(out(&["203.0.113.0/24"]), ["eth0"]);
    }

    #[test]
    fn private_networks_are_opened_only_where_they_are_named() {
        assert_eq!(out(&["0.0.0.0/0", "172.17.0.9/32"]), ["docker0", "eth0", "eth1"]);
        assert_eq!(out(&["172.16.0.0/12"]), ["docker0", "eth0"]);
        assert_eq!(out(&[]), [""; 0]);
    }
}
