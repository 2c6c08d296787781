//! Whole IMP nodes on a chain of their own: processes of `impd` with funded wallets and open channels.
//!
//! ```text
//! Devnet ─┬─ chain: blocks, RPC, miner, in this process
//!         ├─ supervise: one task for each node, which owns its process
//!         ├─ connect, prove: wallets, channels and a first message, at the start
//!         ├─ heal: channels that a crash has closed
//!         ├─ hosts: where a VPN is sold, one for each node and an internet
//!         └─ files: the ready file for programs, the control file for `imp-devnet`
//! ```
//!
//! A net has a directory, holds its lock, and is kept there: the next one starts with the same chain, nodes and channels.
//! However this process ends, its nodes end as well, see [`Options::launcher`].

mod channels;
mod dir;
mod files;
mod greet;
mod heal;
mod hosts;
mod leftover;
mod node;
mod options;
mod ports;
mod process;
mod supervise;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use imp_api::client::Client;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use dir::is_running;
pub use files::{ChainControl, ChainInfo, Control, NodeControl, NodeInfo, Ready};
pub use greet::Arrival;
pub use hosts::{INTERNET, SELLER_OUTSIDE};
pub use options::{MAX_NODES, Options, Ports, Report, Topology, built_program, node_name};
pub use process::{CHILD_COMMAND, ask_to_stop, become_child};

use crate::chain::{ChainOptions, ChainServer, DevChain};
use crate::netns::Namespace;
use channels::EdgeState;
use dir::{Kept, KeptNode, NetDir};
use files::ReadyFile;
use hosts::Hosts;
use node::{Node, NodeSpec, NodeState};
use options::Edge;
use process::{Programs, Spawner};
use supervise::{Order, Supervisor, Surroundings};

/// How long the nodes may take to answer for the first time.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long wallets and channels may take at the start.
const CONNECT_PATIENCE: Duration = Duration::from_secs(90);

/// Orders to one node that wait.
const ORDERS: usize = 8;

/// A net that runs.
///
/// End it with [`stop`](Self::stop). Dropped, it lets its nodes be killed.
#[derive(Debug)]
pub struct Devnet {
    net: Arc<Net>,
    server: ChainServer,
    ready: Arc<ReadyFile>,
    around: Arc<Surroundings>,
    tasks: TaskTracker,
    mine_interval: Option<Duration>,
    hosts: Option<Hosts>,
    stop: DropGuard,
    // Last, so that the directory is free only when all else is gone.
    dir: NetDir,
}

/// Nodes, chain and what is between them.
struct Net {
    nodes: Vec<Node>,
    chain: DevChain,
    chain_rpc: SocketAddr,
    edges: Vec<Edge>,
    proofs: Vec<(usize, Vec<usize>)>,
    report: Report,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("nodes", &self.nodes).field("edges", &self.edges).finish_non_exhaustive()
    }
}

impl Devnet {
    /// Starts a net and waits until all of it is usable: [`launch`](Self::launch), then [`bring_up`](Self::bring_up).
    /// After an error nothing runs any more. Must be called in a multi-threaded runtime.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let devnet = Self::launch(options).await?;
        match devnet.bring_up(&mut |_| {}).await {
            Ok(()) => Ok(devnet),
            Err(error) => {
                devnet.stop().await;
                Err(error)
            }
        }
    }

    /// Starts chain and nodes and does not wait for the nodes.
    ///
    /// Before anything is started it is an error if the directory is in use, a port is taken or a program is missing.
    pub async fn launch(options: Options) -> anyhow::Result<Self> {
        let Options { nodes, ports, topology, restart, mine_interval, report, .. } = options;
        ensure!((1..=MAX_NODES).contains(&nodes), "a net has 1 to {MAX_NODES} nodes, not {nodes}");
        let programs = programs(options.impd.as_deref(), options.launcher)?;
        let dir = NetDir::open(&options.dir)?;
        let mut kept = dir.kept()?;
        for name in kept.nodes.keys() {
            leftover::end(name, &dir.path().join(name), &report).await?;
        }
        let names: Vec<String> = (0..nodes).map(node_name).collect();
        let kept_port = |name| kept.nodes.get(name).map(|node: &KeptNode| node.lightning_port);
        let mut ports = ports::choose(ports, &names.iter().map(kept_port).collect::<Vec<_>>())?;
        let ready = Arc::new(ReadyFile::new(&options.ready_file.unwrap_or_else(|| dir.ready_file()))?);
        if options.fresh {
            dir.clear(&kept)?;
            kept = Kept::default();
        }
        let mut hosts = options.vpn.then(|| Hosts::build(&names)).transpose()?;
        for (name, ports) in names.iter().zip(&ports) {
            kept.nodes.insert(name.clone(), KeptNode { lightning_port: ports.lightning.port() });
        }
        dir.keep(&kept)?;

        report.say("starting the chain");
        let (chain, server) = serve_chain(&dir).await?;
        if let Some(hosts) = &mut hosts {
            hosts.forward(server.addr(), &ports)?;
            for (place, ports) in ports.iter_mut().enumerate() {
                ports.lightning.set_ip(hosts::node_address(place).into());
            }
        }
        let around = Arc::new(Surroundings {
            spawner: Spawner::new(programs)?,
            report: report.clone(),
            restart,
            stop: CancellationToken::new(),
            stop_at_once: CancellationToken::new(),
        });
        let mut specs = Vec::with_capacity(nodes);
        for (place, (name, ports)) in names.into_iter().zip(ports).enumerate() {
            let host = hosts.as_ref().map(|hosts| hosts.node(place).clone());
            let sells_at = host.as_ref().filter(|_| place + 1 == nodes).map(|_| ports.lightning.ip());
            let spec = NodeSpec { data_dir: dir.node(&name)?, name, ports, host, sells_at };
            spec.write_config(server.addr(), &dir.chain().join("rpc-cookie"), &options.allowed_origins)?;
            specs.push(spec);
        }
        dir.write_control(&control(&server, &ready, &specs))?;
        let (parts, nodes): (Vec<_>, Vec<_>) = specs.into_iter().map(node).unzip();
        report.say(format!("starting {}", nodes.iter().map(Node::name).collect::<Vec<_>>().join(", ")));
        let net = Arc::new(Net {
            edges: topology.edges(nodes.len()),
            proofs: topology.proofs(nodes.len()),
            nodes,
            chain,
            chain_rpc: server.addr(),
            report,
        });
        let tasks = TaskTracker::new();
        for (spec, state, orders) in parts {
            let changed = renewal(&net, &ready);
            let around = Arc::clone(&around);
            tasks.spawn(Supervisor { spec, around, state, orders, changed }.run());
        }
        let stop = around.stop.clone().drop_guard();
        Ok(Self { net, server, ready, around, tasks, mine_interval, hosts, stop, dir })
    }

    /// Funds the nodes, opens the channels that are missing, proves by messages that all nodes reach each other, and then
    /// writes the ready file. Each of the messages is given to `seen` as it arrives; the first goes from alice to the
    /// last node of a line, or to bob.
    ///
    /// Dropping the future leaves the net running as far as it has come.
    pub async fn bring_up(&self, seen: &mut (dyn FnMut(&Arrival) + Send)) -> anyhow::Result<()> {
        let net = &self.net;
        for node in &net.nodes {
            node.wait_up(START_PATIENCE).await?;
        }
        net.report.say("all nodes answer");
        let missing: Vec<Edge> = {
            let states = net.survey().await;
            states
                .into_iter()
                .filter(|(_, state)| *state == EdgeState::Missing)
                .map(|(edge, _)| edge)
                .collect()
        };
        net.fund(&missing).await?;
        net.connect(&net.edges, CONNECT_PATIENCE).await?;
        net.introduce(&net.edges).await;
        if !net.edges.is_empty() {
            net.report.say("all channels can be used");
        }
        net.prove(seen).await?;
        net.chain.set_mine_interval(self.mine_interval);
        self.ready.publish(|| net.ready())?;
        self.tasks.spawn(heal::keep_channels(Arc::clone(net), self.around.stop.clone()));
        Ok(())
    }

    /// The nodes, alice first, with their processes as they are now.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.net.ready().nodes
    }

    /// The node of this name.
    pub fn node(&self, name: &str) -> anyhow::Result<NodeInfo> {
        let nodes = self.nodes().into_iter();
        nodes.into_iter().find(|node| node.name == name).with_context(|| format!("there is no node {name}"))
    }

    /// A connection to the gRPC of a node.
    pub async fn client(&self, name: &str) -> anyhow::Result<Client> {
        self.net.node(name)?.client().await
    }

    /// The chain.
    pub fn chain(&self) -> &DevChain {
        &self.net.chain
    }

    /// The host of a node, where it has one of its own.
    pub fn host(&self, name: &str) -> anyhow::Result<Option<Namespace>> {
        Ok(self.net.node(name)?.spec.host.clone())
    }

    /// The host with the web page that only the seller reaches, in a net in which a VPN is sold.
    pub fn internet(&self) -> Option<&Namespace> {
        self.hosts.as_ref().map(Hosts::internet)
    }

    /// The ready file, absolute.
    pub fn ready_file(&self) -> &Path {
        self.ready.path()
    }

    /// The directory, absolute.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills the process of a node as a crash would; when this returns, it is gone. The node is started again at once,
    /// unless [`Options::restart`] is off.
    pub async fn kill(&self, name: &str) -> anyhow::Result<()> {
        let node = self.net.node(name)?;
        let (done, gone) = oneshot::channel();
        let stopping = || format!("{name} is being stopped");
        node.orders.send(Order::Kill(done)).await.ok().with_context(stopping)?;
        gone.await.with_context(stopping)
    }

    /// Starts a node that has ended and is not started again by itself.
    pub async fn start_node(&self, name: &str) -> anyhow::Result<()> {
        let node = self.net.node(name)?;
        node.orders.send(Order::Start).await.ok().with_context(|| format!("{name} is being stopped"))
    }

    /// Waits until all nodes answer and all channels can be used.
    pub async fn wait_usable(&self, patience: Duration) -> anyhow::Result<()> {
        self.net.wait_usable(patience).await
    }

    /// Cancel it to make a [`stop`](Self::stop) under way kill what has not ended yet.
    pub fn stop_at_once(&self) -> CancellationToken {
        self.around.stop_at_once.clone()
    }

    /// Stops the nodes, each within 15 seconds, and then the chain. What they have is kept for the next net in the same
    /// directory.
    pub async fn stop(self) {
        let Self { server, ready, tasks, stop, dir, hosts, .. } = self;
        ready.withdraw();
        drop(stop);
        tasks.close();
        tasks.wait().await;
        server.shutdown().await;
        drop(hosts);
        dir.remove_control();
    }
}

impl Net {
    fn node(&self, name: &str) -> anyhow::Result<&Node> {
        self.nodes.iter().find(|node| node.name() == name).with_context(|| format!("there is no node {name}"))
    }

    fn ready(&self) -> Ready {
        let info = |node: &Node| {
            let NodeState { pid, pubkey, .. } = node.now();
            let NodeSpec { name, data_dir, ports, .. } = node.spec.clone();
            NodeInfo { name, pubkey, http: ports.http, grpc: ports.grpc, pid, data_dir }
        };
        Ready { chain: ChainInfo { rpc: self.chain_rpc }, nodes: self.nodes.iter().map(info).collect() }
    }
}

fn programs(impd: Option<&Path>, launcher: Option<std::path::PathBuf>) -> anyhow::Result<Programs> {
    let Some(impd) = impd else {
        bail!(
            "the program impd is not beside this one: build it with `cargo build -p imp-node`, or name it with --impd or \
             the variable IMPD"
        );
    };
    // The nodes run in directories of their own.
    let absolute = |program: &Path| {
        ensure!(program.is_file(), "there is no program {}", program.display());
        std::path::absolute(program).with_context(|| format!("{} is no path", program.display()))
    };
    let launcher = launcher.map(|launcher| absolute(&launcher)).transpose()?;
    Ok(Programs { impd: absolute(impd)?, launcher })
}

/// The chain, which does not mine by itself yet: until the channels stand, blocks come when they are needed.
async fn serve_chain(dir: &NetDir) -> anyhow::Result<(DevChain, ChainServer)> {
    let options = ChainOptions { dir: Some(dir.chain()), mine_interval: None, ..ChainOptions::default() };
    let chain = tokio::task::spawn_blocking(|| DevChain::new(options)).await?.context("there is no chain")?;
    let server = chain.serve((Ipv4Addr::LOCALHOST, 0).into()).await.context("the chain cannot be served")?;
    Ok((chain, server))
}

fn control(server: &ChainServer, ready: &ReadyFile, specs: &[NodeSpec]) -> Control {
    let node = |spec: &NodeSpec| NodeControl { name: spec.name.clone(), grpc: spec.ports.grpc };
    Control {
        pid: std::process::id(),
        chain: ChainControl {
            rpc: server.addr(),
            user: server.user().to_owned(),
            password: server.password().to_owned(),
        },
        ready_file: ready.path().to_owned(),
        nodes: specs.iter().map(node).collect(),
    }
}

/// What its supervisor has of a node, and what all others have.
fn node(spec: NodeSpec) -> ((NodeSpec, watch::Sender<NodeState>, mpsc::Receiver<Order>), Node) {
    let (state_sender, state) = watch::channel(NodeState::default());
    let (orders, incoming) = mpsc::channel(ORDERS);
    ((spec.clone(), state_sender, incoming), Node { spec, state, orders })
}

/// Brings the ready file up to date.
fn renewal(net: &Arc<Net>, ready: &Arc<ReadyFile>) -> Box<dyn Fn() + Send + Sync> {
    let (net, ready) = (Arc::clone(net), Arc::clone(ready));
    Box::new(move || {
        if let Err(error) = ready.renew(|| net.ready()) {
            net.report.say(format!("the ready file is out of date: {error:#}"));
        }
    })
}
