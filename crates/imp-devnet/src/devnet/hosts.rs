//! The hosts of a net in which a VPN is sold: each node on one of its own, and an internet that only the seller reaches.
//!
//! ```text
//!   alice ..            core            seller          internet
//!   203.0.113.1 .. ── forwards ── 203.0.113.N
//!                    everything   198.51.100.1 ──── 198.51.100.254
//!                                                   192.0.2.1: a web page
//! ```
//!
//! Nodes speak Lightning over the core. Chain, gRPC and HTTP stay on loopback addresses, and TCP forwards take them from
//! host to host: those of all nodes are reached at the same addresses on this machine and on the first node's host,
//! where the command of `--exec` runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::task::JoinHandle;

use super::ports::NodePorts;
use crate::netns::{self, Forward, Namespace, cable};

/// Where the web page is that buyers reach through the tunnel, and not without it.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The seller's address on the internet, which is what its buyers are seen as there.
pub const SELLER_OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Addresses of the buyers in the tunnel: a network that people seldom have at home.
pub(super) const TUNNEL_NETWORK: &str = "10.157.83.0/24";

const INTERNET_SIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);
const CORE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);
const NODES_NETWORK: &str = "203.0.113.0/24";

/// The interface of a node's host to the core, and of the seller's to the internet.
const TO_CORE: &str = "wan";
const TO_INTERNET: &str = "world";

/// The hosts. They end with the last process in them once this is dropped.
#[derive(Debug)]
pub(super) struct Hosts {
    nodes: Vec<Namespace>,
    internet: Namespace,
    _core: Namespace,
    page: JoinHandle<()>,
    forwards: Vec<Forward>,
}

/// The address of the node at this place, by which the others reach it.
pub(super) fn node_address(place: usize) -> Ipv4Addr {
    let last = u8::try_from(place + 1).expect("a net has at most 50 nodes");
    Ipv4Addr::new(203, 0, 113, last)
}

impl Hosts {
    /// Makes a host for each name; the last one sells. Must be called in a tokio runtime.
    pub(super) fn build(names: &[String]) -> anyhow::Result<Self> {
        netns::can_be_made().context("a net with a VPN needs hosts of its own")?;
        let (core, internet) = (Namespace::new("core")?, Namespace::new("internet")?);
        core.set("ipv4/ip_forward", "1")?;
        let mut nodes = Vec::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            let (host, address) = (Namespace::new(name)?, node_address(place));
            let far_end = format!("node{place}");
            cable((&host, TO_CORE), (&core, &far_end))?;
            host.ip(&format!("addr add {address} peer {CORE} dev {TO_CORE}"))?;
            core.ip(&format!("addr add {CORE} peer {address} dev {far_end}"))?;
            nodes.push(host);
        }
        let (seller, buyers) = nodes.split_last().context("a net has nodes")?;
        for buyer in buyers {
            buyer.ip(&format!("route add default via {CORE}"))?;
        }
        seller.ip(&format!("route add {NODES_NETWORK} via {CORE}"))?;
        cable((seller, TO_INTERNET), (&internet, "seller"))?;
        seller.ip(&format!("addr add {SELLER_OUTSIDE}/24 dev {TO_INTERNET}"))?;
        internet.ip(&format!("addr add {INTERNET_SIDE}/24 dev seller"))?;
        internet.ip(&format!("addr add {INTERNET}/32 dev lo"))?;
        seller.ip(&format!("route add default via {INTERNET_SIDE}"))?;
        let page = web_page(&internet)?;
        Ok(Self { nodes, internet, _core: core, page, forwards: Vec::new() })
    }

    /// The host of the node at this place.
    pub(super) fn node(&self, place: usize) -> &Namespace {
        &self.nodes[place]
    }

    pub(super) fn internet(&self) -> &Namespace {
        &self.internet
    }

    /// Lets nodes reach the chain, and programs on this machine and on the first host reach nodes.
    pub(super) fn forward(&mut self, chain_rpc: SocketAddr, ports: &[NodePorts]) -> anyhow::Result<()> {
        let here = Namespace::here();
        let mut forwards = Vec::new();
        let mut forward = |from: &Namespace, into: &Namespace, at: SocketAddr| {
            let started = Forward::start((from, at), (into, at));
            started
                .map(|started| forwards.push(started))
                .with_context(|| format!("cannot listen at {at} on {}", from.name()))
        };
        for (place, (host, ports)) in self.nodes.iter().zip(ports).enumerate() {
            forward(host, &here, chain_rpc)?;
            for at in [ports.grpc, ports.http] {
                forward(&here, host, at)?;
                if place > 0 {
                    forward(&self.nodes[0], host, at)?;
                }
            }
        }
        self.forwards = forwards;
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.page.abort();
    }
}

/// Serves the internet's only page, which says by which address its reader has come.
fn web_page(internet: &Namespace) -> anyhow::Result<JoinHandle<()>> {
    let listener = internet.listen((IpAddr::from(INTERNET), 80).into()).context("no web page")?;
    let page = |ConnectInfo(from): ConnectInfo<SocketAddr>| async move {
        format!("This is the internet. You come from {}.\n", from.ip())
    };
    let app = Router::new().route("/", get(page)).into_make_service_with_connect_info::<SocketAddr>();
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::warn!(%error, "the internet has no page any more");
        }
    }))
}
