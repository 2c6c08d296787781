//! Embedded nodes on a chain of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::{Address, Amount};
use imp_core::amount::Msat;
use imp_devnet::chain::{ChainOptions, ChainServer, DevChain};
use imp_lightning::ldk::{ChainSource, LdkConfig, LdkNode, Seed};
use imp_lightning::{LightningEvent, LightningNode, Network, OpenChannel};

use crate::conformance::{Lab, Side, event, until};
use crate::memory::MemoryBlobs;

pub(crate) struct LdkLab {
    pub(crate) chain: DevChain,
    pub(crate) server: ChainServer,
    pub(crate) nodes: Vec<Member>,
    directory: tempfile::TempDir,
}

/// A node and what it is started from.
pub(crate) struct Member {
    pub(crate) node: Arc<LdkNode>,
    pub(crate) config: LdkConfig,
    pub(crate) blobs: Arc<MemoryBlobs>,
}

/// A port that nothing listens on at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl LdkLab {
    /// A chain without nodes.
    pub(crate) async fn without_nodes() -> Self {
        let chain = DevChain::new(ChainOptions { mine_interval: None, ..ChainOptions::default() }).unwrap();
        let server = chain.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { chain, server, nodes: Vec::new(), directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn chain_source(&self) -> ChainSource {
        ChainSource::Bitcoind {
            host: self.server.addr().ip().to_string(),
            port: self.server.addr().port(),
            user: self.server.user().to_owned(),
            password: self.server.password().to_owned(),
        }
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The configuration of a node that is named by a number.
    pub(crate) fn config(&self, number: u8) -> LdkConfig {
        LdkConfig {
            network: Network::Regtest,
            chain: self.chain_source(),
            listen: vec![free_address()],
            announce: Vec::new(),
            alias: Some(format!("node-{number}")),
            storage_dir: self.directory().join(number.to_string()),
            seed: Seed([number + 1; 64]),
            trusted_peers: Vec::new(),
            reserve_sat: LdkConfig::DEFAULT_RESERVE_SAT,
        }
    }

    /// Starts one more node and puts 0.05 BTC into its wallet.
    pub(crate) async fn add_node(&mut self) {
        let config = self.config(self.nodes.len() as u8);
        let blobs = Arc::new(MemoryBlobs::default());
        let node = LdkNode::start(config.clone(), blobs.clone()).await.unwrap();
        let address: Address<_> = node.new_address().await.unwrap().parse().unwrap();
        self.nodes.push(Member { node, config, blobs });
        self.chain.fund(&address.assume_checked(), Amount::from_sat(5_000_000)).unwrap();
        self.mine(1).await;
    }

    /// Opens an announced channel of 1,000,000 sat, half on each side, and waits until both ends can use it.
    pub(crate) async fn connect(&self, from: usize, to: usize) {
        let (opener, acceptor) = (&self.nodes[from], &self.nodes[to]);
        let channel = OpenChannel {
            peer: acceptor.node.id(),
            address: acceptor.config.listen[0].to_string(),
            capacity_sat: 1_000_000,
            push: Msat::from_sat(500_000),
            announce: true,
        };
        opener.node.open_channel(channel).await.unwrap();
        until("the funding is sent", async || (!self.chain.mempool().is_empty()).then_some(())).await;
        self.mine(6).await;
        for end in [opener, acceptor] {
            event(&*end.node, "the channel is ready", |event| {
                matches!(event, LightningEvent::ChannelReady { .. }).then_some(())
            })
            .await;
            until("the channel is usable", async || {
                end.node.channels().await.unwrap().iter().all(|channel| channel.usable).then_some(())
            })
            .await;
        }
    }
}

impl Lab for LdkLab {
    async fn new() -> Self {
        let mut lab = Self::without_nodes().await;
        lab.add_node().await;
        lab.add_node().await;
        lab.connect(0, 1).await;
        lab
    }

    fn node(&self, side: Side) -> Arc<dyn LightningNode> {
        self.nodes[side as usize].node.clone()
    }

    fn address(&self, side: Side) -> String {
        self.nodes[side as usize].config.listen[0].to_string()
    }

    async fn stop(&mut self, side: Side) {
        self.nodes[side as usize].node.shutdown().await;
    }

    async fn start(&mut self, side: Side) {
        let member = &mut self.nodes[side as usize];
        member.node = LdkNode::start(member.config.clone(), member.blobs.clone()).await.unwrap();
    }

    async fn add_third(&mut self) {
        self.add_node().await;
        self.connect(1, 2).await;
    }

    async fn mine(&self, blocks: u32) {
        self.chain.mine(blocks).unwrap();
        for member in &self.nodes {
            // One that is stopped does not look.
            let _ = member.node.sync_chain().await;
        }
    }

    async fn down(self) {
        for member in &self.nodes {
            member.node.shutdown().await;
        }
        self.server.shutdown().await;
    }
}
