//! Building and starting the node.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use imp_core::id::{NodeId, PaymentHash};
use ldk_node::config::{AnchorChannelsConfig, Config};
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{BuildError, Builder, DynStore, Node, NodeError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::address;
use crate::blob::{BlobError, BlobStore};
use crate::ldk::config::{ChainSource, LdkConfig, Seed, StartError};
use crate::ldk::dial;
use crate::ldk::events::EventGate;
use crate::ldk::in_flight::InFlight;
use crate::ldk::log::LdkLog;
use crate::ldk::names::public_key;
use crate::ldk::peers::AddressBook;
use crate::ldk::preflight;
use crate::ldk::ready::ReadyChannels;
use crate::ldk::store::LdkStore;
use crate::ldk::{Engine, LdkNode, Phase, SeenAt, Shared};

/// How long building and starting may take once the chain source answers. Reading the state of a busy node takes
/// seconds; waiting longer than this hides a fault.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Threads of the library's runtime. Its writes block them, and one that is late makes the library drop its peers.
const WORKER_THREADS: usize = 4;

/// Calls into the library at once; more wait. A call to a peer that is away can take ten seconds of one.
const MAX_CALLS: usize = 64;

/// The longest alias (BOLT 7).
const MAX_ALIAS_BYTES: usize = 32;

impl LdkNode {
    /// Starts a node on its stored state; a new one where there is none.
    ///
    /// A chain source that is away, refuses the credentials or follows another network is an error within about 10
    /// seconds; it may go away later. The node is stopped again if the returned future is dropped.
    pub async fn start(config: LdkConfig, blobs: Arc<dyn BlobStore>) -> Result<Arc<Self>, StartError> {
        let setup = Setup::of(&config)?;
        for address in &config.listen {
            // The library does not say which address failed, nor why.
            let cause =
                |fault: std::io::Error| StartError::Listen { address: *address, cause: fault.to_string() };
            TcpListener::bind(address).map_err(cause)?;
        }
        preflight::check(&config.chain, config.network).await?;

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .max_blocking_threads(MAX_CALLS)
            .thread_name("ldk")
            .enable_all()
            .build()
            .map_err(|fault| StartError::Failed(format!("no threads for it: {fault}")))?;
        let handle = runtime.handle().clone();
        let store = Arc::new(LdkStore::new(Arc::clone(&blobs)));
        let task = {
            let (handle, store) = (handle.clone(), Arc::clone(&store));
            runtime.spawn_blocking(move || {
                let unread = |BlobError(_)| StartError::Store;
                let peers = AddressBook::open(Arc::clone(&blobs)).map_err(unread)?;
                let ready = ReadyChannels::open(blobs).map_err(unread)?;
                let (node, seen_before) = setup.start(handle, store)?;
                for channel in node.list_channels().iter().filter(|channel| channel.is_channel_ready) {
                    ready.note(channel.user_channel_id.0).map_err(unread)?;
                }
                Ok(Started { node, seen_before, peers, ready })
            })
        };
        let mut starting = Starting { task, engine: Some(Engine { runtime, store }) };
        let Started { node, seen_before, peers, ready } =
            match tokio::time::timeout(START_PATIENCE, &mut starting.task).await {
                Ok(Ok(started)) => started?,
                Ok(Err(_)) => return Err(StartError::Failed("the Lightning library failed".to_owned())),
                Err(_) => return Err(StartError::TimedOut(START_PATIENCE)),
            };
        let id = NodeId::from(node.node_id());
        info!(%id, network = %config.network, chain = %config.chain.url(), "the Lightning node runs");
        let shared = Arc::new(Shared {
            id,
            network: config.network,
            alias: config.alias.unwrap_or_default(),
            listen: config.listen,
            seen_before,
            in_flight: InFlight::new(pending_payments(&node).into_iter()),
            node: RwLock::new(Some(Arc::new(node))),
            back_since: Mutex::default(),
            phase: watch::Sender::new(Phase::Running),
            events: EventGate::default(),
            peers,
            ready,
            chain: config.chain,
            transfers: Mutex::default(),
            closed_together: Mutex::default(),
        });
        handle.spawn(dial::keep_connected(Arc::clone(&shared), handle.clone()));
        let engine = starting.engine.take();
        Ok(Arc::new(Self { shared, handle, engine: Mutex::new(engine) }))
    }
}

/// A start under way. If it is given up, what was started must not run on beside the next try.
struct Starting {
    task: JoinHandle<Result<Started, StartError>>,
    engine: Option<Engine>,
}

/// A node that runs, and what was read along with it.
struct Started {
    node: Node,
    seen_before: SeenAt,
    peers: AddressBook,
    ready: ReadyChannels,
}

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        // First of all: two nodes that write the same state would lose its channels.
        engine.store.close();
        let undo = move || {
            // The runtime waits for the call that builds the node, and the node stops when it is dropped there.
            engine.runtime.shutdown_timeout(START_PATIENCE);
        };
        if let Err(fault) = std::thread::Builder::new().name("ldk-undo".to_owned()).spawn(undo) {
            error!(%fault, "no thread to undo the start of the Lightning node with");
        }
    }
}

/// A checked configuration, in the library's terms.
struct Setup {
    config: Config,
    alias: Option<String>,
    chain: ChainSource,
    seed: Seed,
}

impl Setup {
    fn of(config: &LdkConfig) -> Result<Self, StartError> {
        let alias = config.alias.clone().filter(|alias| !alias.is_empty());
        if let Some(alias) = alias.as_ref().filter(|alias| alias.len() > MAX_ALIAS_BYTES) {
            let fault = format!("has {} bytes, an alias has {MAX_ALIAS_BYTES} at most", alias.len());
            return Err(StartError::Config { what: "alias", value: alias.clone(), fault });
        }
        let mut announce = Vec::new();
        for text in &config.announce {
            let refused =
                |fault: String| StartError::Config { what: "announced address", value: text.clone(), fault };
            address::check(text).map_err(|_| refused("is not host:port".to_owned()))?;
            announce.push(
                text.parse::<SocketAddress>().map_err(|fault| refused(format!("is refused: {fault}")))?,
            );
        }
        let storage_dir = config.storage_dir.to_str().ok_or_else(|| StartError::Config {
            what: "directory",
            value: config.storage_dir.display().to_string(),
            fault: "is not UTF-8".to_owned(),
        })?;
        let listen: Vec<SocketAddress> = config.listen.iter().copied().map(SocketAddress::from).collect();
        let reserve = AnchorChannelsConfig {
            trusted_peers_no_reserve: config.trusted_peers.iter().map(public_key).collect(),
            per_channel_reserve_sats: config.reserve_sat,
        };
        let mut library = Config {
            storage_dir_path: storage_dir.to_owned(),
            network: config.network.into(),
            listening_addresses: Some(listen).filter(|listen| !listen.is_empty()),
            announcement_addresses: Some(announce).filter(|announce| !announce.is_empty()),
            anchor_channels_config: Some(reserve),
            ..Config::default()
        };
        // The library takes a name or announced addresses for a mistake in a node that cannot announce itself.
        let announces = alias.is_some() && library.listening_addresses.is_some();
        if !announces {
            library.announcement_addresses = None;
        }
        let alias = alias.filter(|_| announces);
        Ok(Self { config: library, alias, chain: config.chain.clone(), seed: config.seed.clone() })
    }

    /// Builds and starts the node; gives the last look at the chain of an earlier run, too. Blocks on the store and on
    /// the chain source.
    fn start(self, handle: Handle, store: Arc<LdkStore>) -> Result<(Node, SeenAt), StartError> {
        let url = self.chain.url();
        let mut builder = Builder::from_config(self.config);
        builder.set_runtime(handle).set_custom_logger(Arc::new(LdkLog)).set_entropy_seed_bytes(self.seed.0);
        if let Some(alias) = self.alias {
            builder.set_node_alias(alias).map_err(|fault| StartError::Failed(fault.to_string()))?;
        }
        match self.chain {
            ChainSource::Bitcoind { host, port, user, password } => {
                builder.set_chain_source_bitcoind_rpc(host, port, user, password)
            }
            ChainSource::Esplora { url } => builder.set_chain_source_esplora(url, None),
            ChainSource::Electrum { url } => builder.set_chain_source_electrum(url, None),
        };
        let store: Arc<DynStore> = store;
        let node = builder.build_with_store(store).map_err(|fault| match fault {
            BuildError::NetworkMismatch | BuildError::WalletSetupFailed => StartError::OtherState,
            BuildError::ReadFailed | BuildError::WriteFailed => StartError::Store,
            other => StartError::Failed(other.to_string()),
        })?;
        let seen_before = node.status().latest_lightning_wallet_sync_timestamp;
        node.start().map_err(|fault| match fault {
            NodeError::FeerateEstimationUpdateFailed | NodeError::FeerateEstimationUpdateTimeout => {
                StartError::ChainAway { url, cause: "it estimates no fee rates".to_owned() }
            }
            NodeError::ConnectionFailed => StartError::ChainAway { url, cause: "no connection".to_owned() },
            other => StartError::Failed(other.to_string()),
        })?;
        Ok((node, seen_before))
    }
}

/// The payments that earlier runs left pending.
fn pending_payments(node: &Node) -> Vec<PaymentHash> {
    let is_pending = |record: &&PaymentDetails| {
        record.direction == PaymentDirection::Outbound
            && record.status == PaymentStatus::Pending
            && !matches!(record.kind, PaymentKind::Onchain { .. })
    };
    node.list_payments_with_filter(is_pending).iter().map(|record| PaymentHash(record.id.0)).collect()
}
