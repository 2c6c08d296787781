//! What a net can be told before it starts.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

/// The most nodes of one net: what a laptop carries, and few enough for every node to be proven reachable at the start.
pub const MAX_NODES: usize = 50;

/// To how many others a node of a star shows that it knows the way; more would take long in a large star.
const MOST_PROOFS: usize = 8;

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// How a net is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes, 1 to [`MAX_NODES`]. The default is 2.
    pub nodes: usize,
    /// Where chain and nodes are kept between runs. The default is `.devnet` in the working folder.
    pub dir: PathBuf,
    /// Begin with a new chain and new nodes; what an earlier run left in the directory is deleted.
    pub fresh: bool,
    /// Where the nodes serve gRPC and HTTP.
    pub ports: Ports,
    /// Which nodes have channels with each other.
    pub topology: Topology,
    /// Put each node on a host of its own (see [`netns`](crate::netns)), and have the last one sell a VPN into an internet
    /// that only its host reaches, at [`INTERNET`](super::INTERNET). Linux only.
    pub vpn: bool,
    /// Origins of web pages that may call the nodes, such as `http://localhost:8000`.
    pub allowed_origins: Vec<String>,
    /// Where the ready file is written; `ready.json` in the directory if absent.
    pub ready_file: Option<PathBuf>,
    /// Start a node again that dies.
    pub restart: bool,
    /// How often the chain mines if transactions wait; `None` for only when the net itself needs blocks.
    pub mine_interval: Option<Duration>,
    /// The program `impd`.
    pub impd: Option<PathBuf>,
    /// The program `imp-devnet`, by which nodes are started so that they end when this process does, however it ends.
    /// Without it a process that is killed leaves its nodes behind, until a net is started in the same directory.
    pub launcher: Option<PathBuf>,
    /// Where progress is told.
    pub report: Report,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 2,
            dir: ".devnet".into(),
            fresh: false,
            ports: Ports::Customary,
            topology: Topology::Line,
            vpn: false,
            allowed_origins: Vec::new(),
            ready_file: None,
            restart: true,
            mine_interval: Some(Duration::from_secs(1)),
            impd: env::var_os("IMPD").map(PathBuf::from).or_else(|| built_program("impd")),
            launcher: built_program("imp-devnet"),
            report: Report::default(),
        }
    }
}

/// A program that cargo has put beside this one; tests and benches run one folder deeper.
pub fn built_program(name: &str) -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let folder = own.parent()?;
    [Some(folder), folder.parent()]
        .into_iter()
        .flatten()
        .map(|at: &Path| at.join(name))
        .find(|it| it.is_file())
}

/// Where the nodes serve gRPC and HTTP, always on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// 8881 and 8882, 9991 and 9992, 10001 and 10002, and so on upwards.
    Customary,
    /// Any that are free.
    Free,
    /// This one and those after it: gRPC and HTTP of the first node, of the second, and so on.
    From(u16),
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "free" => Ok(Self::Free),
            number => match number.parse() {
                Ok(first) if first > 0 => Ok(Self::From(first)),
                _ => Err("write free, or the first port, 1 to 65535".to_owned()),
            },
        }
    }
}

/// Which nodes have channels with each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// Each with the next.
    #[default]
    Line,
    /// All with the first.
    Star,
    /// All with all.
    Full,
}

/// A channel that the net keeps open, named by the places of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Edge {
    /// Who opens it.
    pub(super) opener: usize,
    pub(super) acceptor: usize,
}

impl Topology {
    /// The channels of a net of so many nodes. Openers are spread, since one node opens one channel at a time.
    pub(super) fn edges(self, nodes: usize) -> Vec<Edge> {
        let edge = |opener, acceptor| Edge { opener, acceptor };
        match self {
            Self::Line => (1..nodes).map(|node| edge(node - 1, node)).collect(),
            Self::Star => (1..nodes).map(|node| edge(node, 0)).collect(),
            Self::Full => {
                (0..nodes).flat_map(|node| (node + 1..nodes).map(move |other| edge(node, other))).collect()
            }
        }
    }

    /// Messages whose arrival shows that the nodes know the way to each other: senders, and to whom each sends. The first
    /// sender is alice.
    ///
    /// In a line those between its ends are enough: what the last node knows of the channels of the first has come
    /// through all nodes between.
    pub(super) fn proofs(self, nodes: usize) -> Vec<(usize, Vec<usize>)> {
        match (self, nodes) {
            (_, 0 | 1) => Vec::new(),
            (_, 2) | (Self::Full, _) => vec![(0, vec![1]), (1, vec![0])],
            (Self::Line, _) => vec![(0, vec![nodes - 1]), (nodes - 1, vec![0])],
            (Self::Star, _) => {
                let leaves = nodes - 1;
                let others = |leaf: usize| {
                    (1..leaves.min(MOST_PROOFS + 1)).map(move |by| (leaf - 1 + by) % leaves + 1)
                };
                let from_leaves = (1..nodes).map(|leaf| (leaf, others(leaf).collect()));
                std::iter::once((0, vec![1])).chain(from_leaves).collect()
            }
        }
    }
}

/// What the node at a place is called: alice, bob, carol, dave, erin, node6, node7, ..
pub fn node_name(place: usize) -> String {
    NAMES.get(place).map_or_else(|| format!("node{}", place + 1), |name| (*name).to_owned())
}

/// Takes lines that tell people how the net gets on.
#[derive(Clone, Default)]
pub struct Report(Option<Arc<Listener>>);

type Listener = dyn Fn(&str) + Send + Sync;

impl Report {
    /// Tells `listener`, which must not wait.
    pub fn to(listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(super) fn say(&self, line: impl AsRef<str>) {
        if let Some(listener) = &self.0 {
            listener(line.as_ref());
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(topology: Topology, nodes: usize) -> Vec<(usize, usize)> {
        topology.edges(nodes).into_iter().map(|edge| (edge.opener, edge.acceptor)).collect()
    }

    #[test]
    fn each_topology_has_its_channels() {
        assert_eq!(pairs(Topology::Line, 4), [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(pairs(Topology::Star, 4), [(1, 0), (2, 0), (3, 0)]);
        assert_eq!(pairs(Topology::Full, 3), [(0, 1), (0, 2), (1, 2)]);
        for topology in Topology::value_variants() {
            assert_eq!(pairs(*topology, 1), []);
            assert_eq!(pairs(*topology, 2).len(), 1);
        }
    }

    #[test]
    fn a_proof_goes_from_one_node_to_another() {
        for topology in Topology::value_variants() {
            assert_eq!(topology.proofs(1), []);
            for nodes in 2..20 {
                let proofs = topology.proofs(nodes);
                assert_eq!(proofs[0].0, 0, "the first message comes from alice");
                for (from, receivers) in proofs {
                    assert!(!receivers.is_empty() && receivers.len() <= MOST_PROOFS);
                    assert!(receivers.iter().all(|to| *to != from && *to < nodes), "{topology:?} {nodes}");
                    assert!(from < nodes);
                }
            }
        }
        let leaf_to_leaf = [(0, vec![1]), (1, vec![2, 3]), (2, vec![3, 1]), (3, vec![1, 2])];
        assert_eq!(Topology::Star.proofs(4), leaf_to_leaf);
    }

    #[test]
    fn ports_are_read() {
        assert_eq!("free".parse(), Ok(Ports::Free));
        assert_eq!("9000".parse(), Ok(Ports::From(9000)));
        for text in ["", "0", "65536", "-1", "some"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_go_on_with_numbers() {
        assert_eq!([0, 4, 5].map(node_name), ["alice", "erin", "node6"]);
    }
}
