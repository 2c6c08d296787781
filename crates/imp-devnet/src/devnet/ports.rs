//! Which ports the nodes get. All are looked at before anything is started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, bail};

use super::options::{Ports, node_name};

/// Free ports are looked for from here..
const FREE_FIRST: u16 = 10_240;

/// ..to here: below what systems give to outgoing connections (Linux: from 32,768), so that a node that is started again
/// finds its port as it left it.
const FREE_LAST: u16 = 32_000;

/// Where one node listens.
///
/// The ports are looked at on this machine's loopback interface, also where the node is on a host of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodePorts {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) lightning: SocketAddr,
}

/// The ports of as many nodes as `kept` has entries: the port at which each listened for other Lightning nodes in an
/// earlier run, which it gets again if nobody else has it.
pub(super) fn choose(ports: Ports, kept: &[Option<u16>]) -> anyhow::Result<Vec<NodePorts>> {
    let mut search = Search::new()?;
    let wanted = wanted(ports, kept.len())?;
    let taken: Vec<String> = wanted
        .iter()
        .flatten()
        .filter(|(port, _)| !search.take(*port))
        .map(|(port, what)| format!("port {port} ({what}) is taken by another program"))
        .collect();
    if !taken.is_empty() {
        bail!(
            "{}. Choose other ports: --ports free for any, or --ports FIRST for FIRST and those after it",
            taken.join(", ")
        );
    }
    let mut chosen = Vec::with_capacity(kept.len());
    for (place, kept) in kept.iter().enumerate() {
        let lightning = match kept.filter(|port| search.take(*port)) {
            Some(port) => port,
            None => search.any()?,
        };
        let (grpc, http) = match wanted.get(place) {
            Some([(grpc, _), (http, _)]) => (*grpc, *http),
            None => (search.any()?, search.any()?),
        };
        let [grpc, http, lightning] = [grpc, http, lightning].map(loopback);
        chosen.push(NodePorts { grpc, http, lightning });
    }
    Ok(chosen)
}

/// The ports that were asked for, and what for; none if any will do.
fn wanted(ports: Ports, nodes: usize) -> anyhow::Result<Vec<[(u16, String); 2]>> {
    let mut wanted = Vec::new();
    if ports == Ports::Free {
        return Ok(wanted);
    }
    for place in 0..nodes {
        let grpc = match (ports, place) {
            (Ports::From(first), _) => usize::from(first) + 2 * place,
            (_, 0) => 8881,
            (_, 1) => 9991,
            (_, further) => 10_001 + 2 * (further - 2),
        };
        let http =
            u16::try_from(grpc + 1).context("there are no ports beyond 65535: name a lower --ports")?;
        let name = node_name(place);
        wanted.push([(http - 1, format!("gRPC of {name}")), (http, format!("HTTP of {name}"))]);
    }
    Ok(wanted)
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Finds free ports. What it has found it holds until dropped, so that it finds nothing twice.
struct Search {
    held: Vec<TcpListener>,
    next: u16,
}

impl Search {
    /// Begins at a random place, so that nets that start at the same time seldom look at the same port.
    fn new() -> anyhow::Result<Self> {
        let mut bytes = [0; 2];
        getrandom::fill(&mut bytes)?;
        let next = FREE_FIRST + u16::from_le_bytes(bytes) % (FREE_LAST - FREE_FIRST);
        Ok(Self { held: Vec::new(), next })
    }

    fn take(&mut self, port: u16) -> bool {
        let listener = TcpListener::bind(loopback(port));
        listener.map(|listener| self.held.push(listener)).is_ok()
    }

    fn any(&mut self) -> anyhow::Result<u16> {
        for _ in FREE_FIRST..=FREE_LAST {
            let port = self.next;
            self.next = if port == FREE_LAST { FREE_FIRST } else { port + 1 };
            if self.take(port) {
                return Ok(port);
            }
        }
        bail!("no port from {FREE_FIRST} to {FREE_LAST} is free")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn customary_ports_are_those_of_the_documentation() {
        let wanted = wanted(Ports::Customary, 4).unwrap();
        let ports: Vec<u16> = wanted.iter().flatten().map(|(port, _)| *port).collect();
        assert_eq!(ports, [8881, 8882, 9991, 9992, 10_001, 10_002, 10_003, 10_004]);
    }

    #[test]
    fn ports_beyond_the_last_one_are_refused() {
        assert!(wanted(Ports::From(65_533), 1).is_ok());
        assert!(wanted(Ports::From(65_533), 2).unwrap_err().to_string().contains("--ports"));
        assert!(wanted(Ports::From(65_535), 1).is_err());
    }

    #[test]
    fn free_ports_differ() {
        let chosen = choose(Ports::Free, &[None; 20]).unwrap();
        let ports: HashSet<u16> = chosen
            .iter()
            .flat_map(|node| [node.grpc, node.http, node.lightning])
            .map(|addr| addr.port())
            .collect();
        assert_eq!(ports.len(), 60);
    }

    #[test]
    fn every_taken_port_is_named_with_who_wants_it() {
        let mut search = Search::new().unwrap();
        // The second and third of four ports in a row, so that the first and last are free.
        let first = loop {
            let first = search.any().unwrap();
            if search.take(first + 1) && search.take(first + 2) && search.take(first + 3) {
                break first;
            }
        };
        search.held.retain(|held| {
            let port = held.local_addr().unwrap().port();
            port == first + 1 || port == first + 2
        });
        let error = choose(Ports::From(first), &[None; 2]).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} (HTTP of alice)", first + 1)), "{error}");
        assert!(error.contains(&format!("port {} (gRPC of bob)", first + 2)), "{error}");
        assert!(error.contains("--ports free") && !error.contains(&format!("port {first} ")), "{error}");
    }

    #[test]
    fn a_kept_port_is_used_again_unless_it_is_taken() {
        let free = Search::new().unwrap().any().unwrap();
        let busy = TcpListener::bind(loopback(0)).unwrap();
        let taken = busy.local_addr().unwrap().port();
        let chosen = choose(Ports::Free, &[Some(free), Some(taken)]).unwrap();
        assert_eq!(chosen[0].lightning.port(), free);
        assert_ne!(chosen[1].lightning.port(), taken);
    }
}
