//! The daemon's phases: each stands on those before it, and they end in the opposite order.
//!
//! ```text
//! store ── listeners (503 on /ready) ── Lightning node ── services ── ready ... draining ── all back again
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::record::Service;
use imp_core::relay::Limits;
use imp_lightning::ldk::{self, LdkNode, StartError};
use imp_lightning::{LightningNode, blob::BlobStore};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::readiness::watch_readiness;
use super::{NodeOptions, Ports, Services, vpn};
use crate::api::Edge;
use crate::api::grpc::{self, Calls};
use crate::api::guard::Guard;
use crate::api::health::NodeState;
use crate::api::unix::{self, OwnerSocket};
use crate::api::{docs, metrics, rest, serve};
use crate::config::{ChainSource, Config};
use crate::events::Events;
use crate::federation::FederationOptions;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::shutdown::{Shutdown, StopCause};
use crate::runtime::tasks::Tasks;
use crate::seed::Seed;
use crate::service::socket::SocketOptions;
use crate::store::sqlite::{Crash, SqliteOptions};
use crate::store::{SqliteStore, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::vpn::{PrivateKeys, Station, VpnOptions, clean_up_tunnels};

/// How long calls under way may take to end by themselves once the node stops.
const FINISH_CALLS: Duration = Duration::from_secs(2);

/// How long the pump and the outbox may take to come to a commit.
const FINISH_WORK: Duration = Duration::from_secs(2);

/// How long calls may then take to answer that the node is stopping.
const ANSWER_CALLS: Duration = Duration::from_secs(1);

/// When connections are cut off that are still open: after all of that.
const CONNECTION_GRACE: Duration = Duration::from_secs(5);

/// How long the Lightning node may take: what is left of the daemon's 15 s, with some to spare.
const STOP_LIGHTNING: Duration = Duration::from_secs(8);

/// Pauses between tries to start the Lightning node: doubled from the first to the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Why the daemon cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address is not to be had.
    #[error("cannot listen on {address}: {source}. Set {key} (environment {env}) to another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The configuration key that names it.
        key: &'static str,
        /// The environment variable that names it.
        env: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// The Lightning node cannot start, now or later.
    #[error(transparent)]
    Lightning(#[from] StartError),
    /// The chain source's password cannot be read.
    #[error("the cookie file of the bitcoind cannot be read: {0}")]
    Cookie(std::io::Error),
}

/// Runs the daemon on a locked data directory until it is asked to stop, or cannot go on.
pub async fn run(
    config: &Config,
    dir: &Path,
    seed: &Seed,
    shutdown: &Shutdown,
) -> Result<StopCause, RunError> {
    let metrics = Metrics::new(SystemClock.now());
    let store = open_store(dir, metrics.clone()).await?;
    let (work, edges) = (Tasks::new(), Tasks::new());
    let (state, states) = watch::channel(NodeState::Starting);
    let (found, services) = watch::channel(None);
    // Before the listeners: events are replayed while the Lightning node starts.
    let vpn_keys = PrivateKeys::load(&store).await?;
    let calls = Calls {
        events: Events::new(Arc::new(store.clone()), Arc::new(vpn_keys.clone())),
        services,
        inactive: config.services.inactive.clone(),
        shutdown: edges.token(),
        tasks: edges.clone(),
    };
    let ran = async {
        let edge = Edge {
            guard: Arc::new(Guard::new(&config.server.allowed_hosts, &config.server.allowed_origins)),
            max_request_bytes: config.server.max_body_bytes,
            metrics: metrics.clone(),
            state: states,
            shutdown: edges.token(),
        };
        listen(config, dir, edge, &store, calls, &edges).await?;
        // Contracts that stand are carried, and cut off at their end, while the Lightning node is away.
        let vpn = vpn::options(config, dir);
        // Through a tunnel that a killed run has left nothing is reached, and the Lightning node needs its chain.
        clean_up_tunnels(&*vpn.hosts.tunnels).await;
        let clock = Arc::new(SystemClock);
        let station = Station::open(&store, &vpn.hosts, vpn.seller.clone(), clock, work.clone()).await?;
        let start = Start { config, dir, seed, store: &store, work: &work, metrics, vpn, vpn_keys, station };
        let lightning = tokio::select! {
            started = start.lightning() => started?,
            cause = shutdown.wait(&edges) => return Ok((cause, None)),
        };
        let services = start.services(&lightning).await?;
        found.send_replace(Some(Arc::new(services)));
        work.spawn_essential(
            "readiness",
            watch_readiness(Arc::clone(&lightning), state.clone(), work.token()),
        );
        let cause = tokio::select! {
            cause = shutdown.wait(&work) => cause,
            failure = edges.failed() => { shutdown.request(); StopCause::Failed(failure) }
        };
        Ok((cause, Some(lightning)))
    };
    let ran = ran.await;
    state.send_replace(NodeState::Draining);
    // Calls that wait for a payment answer once the outbox stops, so their connections outlive it.
    let finished = edges.drain(FINISH_CALLS).await.is_ok();
    if let Err(late) = work.drain(FINISH_WORK).await {
        tracing::warn!("the work of the node: {late}");
    }
    if !finished && let Err(late) = edges.drain(ANSWER_CALLS).await {
        tracing::warn!("connections are cut off: {late}");
    }
    let (cause, lightning) = match ran {
        Ok((cause, lightning)) => (Ok(cause), lightning),
        Err(error) => (Err(error), None),
    };
    // Meanwhile the machine's network becomes what it was before, if that takes longer.
    let (_, _) = tokio::join!(stop_lightning(lightning), work.drain(STOP_LIGHTNING));
    // Blocks until the queue is worked off; nothing else runs by now.
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    tracing::info!(clean = closed.is_ok(), "the store is closed");
    cause
}

async fn stop_lightning(lightning: Option<Arc<dyn LightningNode>>) {
    let Some(lightning) = lightning else { return };
    tracing::info!("the Lightning node stops");
    if tokio::time::timeout(STOP_LIGHTNING, lightning.shutdown()).await.is_err() {
        tracing::warn!(
            "the Lightning node did not stop in time: it recovers at the next start, as after a crash"
        );
    }
}

async fn open_store(dir: &Path, metrics: Metrics) -> Result<SqliteStore, StoreError> {
    let mut options = SqliteOptions { metrics, ..SqliteOptions::in_dir(dir) };
    options.crash = crash_of_tests();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options)).await;
    let store = opened.map_err(|_| StoreError::Closed)??;
    tracing::info!("the store is open");
    Ok(store)
}

/// Tests of crashes let a real daemon die at a commit, which they name in the environment.
fn crash_of_tests() -> Option<Crash> {
    Crash::parse(&std::env::var("IMP_TEST_ABORT_AFTER").ok()?)
}

async fn listen(
    config: &Config,
    dir: &Path,
    edge: Edge,
    store: &SqliteStore,
    calls: Calls,
    edges: &Tasks,
) -> Result<(), RunError> {
    let server = &config.server;
    if !server.enabled {
        tracing::warn!("server.enabled is false: no address is listened on");
        return Ok(());
    }
    let grpc_listener = bind(server.grpc_addr, "server.grpc_addr", "IMP_SERVER_GRPC_ADDR").await?;
    let http_listener = bind(server.http_addr, "server.http_addr", "IMP_SERVER_HTTP_ADDR").await?;
    let calls = Arc::new(calls);
    let routes = grpc::Services::new(&edge)
        .messages(Arc::clone(&calls))
        .messaging(Arc::clone(&calls))
        .websocket(Arc::clone(&calls))
        .events(Arc::clone(&calls))
        .federate(Arc::clone(&calls))
        .peers(Arc::clone(&calls))
        .lightning(Arc::clone(&calls))
        .payments(Arc::clone(&calls))
        .signing(Arc::clone(&calls))
        .socket(Arc::clone(&calls))
        .relays(Arc::clone(&calls))
        .vpn(Arc::clone(&calls))
        .contracts(Arc::clone(&calls))
        .node(calls)
        .into_routes();
    let journal = Arc::new(store.clone());
    let more = docs::router().merge(metrics::router(edge.metrics.clone(), journal, edge.state.clone()));
    let router = rest::router(&edge, routes.clone(), more);
    if server.unix_socket {
        match OwnerSocket::bind(dir) {
            Ok(socket) => {
                tracing::info!(path = %socket.path().display(), "the owner's socket is listened on");
                let (edge, router, routes) = (edge.clone(), router.clone(), routes.clone());
                edges.spawn_essential("owner's socket", async move {
                    unix::serve(socket, &edge, router, routes, CONNECTION_GRACE).await;
                });
            }
            Err(error) => tracing::warn!("there is no socket for the owner: {error}"),
        }
    }
    let http_edge = edge.clone();
    edges.spawn_essential("http", async move {
        serve::http(&http_edge, http_listener, router, CONNECTION_GRACE).await;
    });
    edges.spawn_essential("grpc", async move {
        if let Err(error) = grpc::serve(&edge, grpc_listener, routes, CONNECTION_GRACE).await {
            tracing::error!("gRPC: {error}");
        }
    });
    Ok(())
}

async fn bind(address: SocketAddr, key: &'static str, env: &'static str) -> Result<TcpListener, RunError> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, key, env, source })?;
    let bound = listener.local_addr().unwrap_or(address);
    tracing::info!(address = %bound, "{key} is listened on");
    Ok(listener)
}

/// What it takes to start the Lightning node and the services on it.
struct Start<'s> {
    config: &'s Config,
    dir: &'s Path,
    seed: &'s Seed,
    store: &'s SqliteStore,
    work: &'s Tasks,
    metrics: Metrics,
    vpn: VpnOptions,
    vpn_keys: PrivateKeys,
    station: Station,
}

impl Start<'_> {
    async fn services(&self, lightning: &Arc<dyn LightningNode>) -> Result<Services, RunError> {
        tracing::info!(pubkey = %lightning.id(), network = %lightning.network(), "the Lightning node runs");
        let ports = Ports {
            store: Arc::new(self.store.clone()),
            lightning: Arc::clone(lightning),
            clock: Arc::new(SystemClock),
            tasks: self.work.clone(),
            vpn_keys: self.vpn_keys.clone(),
            vpn_station: Some(self.station.clone()),
        };
        let options = NodeOptions {
            records: self.config.services.records.clone(),
            fee_limit: self.config.lightning.fee_limit,
            answers: Msat::from_sat(self.config.answers.daily_sat),
            federate: FederationOptions {
                active: self.config.services.is_active(Service::Federate),
                rules: self.config.federate.clone(),
                ..FederationOptions::default()
            },
            keep_events: Duration::from_secs(u64::from(self.config.journal.keep_days) * 24 * 3600),
            max_event_bytes: self.config.journal.max_mb.saturating_mul(1_000_000),
            socket: self.socket(),
            vpn: self.vpn.clone(),
            metrics: self.metrics.clone(),
        };
        match Services::start(ports, options).await {
            Ok(services) => {
                tracing::info!("the services run");
                Ok(services)
            }
            Err(error) => {
                lightning.shutdown().await;
                Err(error.into())
            }
        }
    }

    fn socket(&self) -> SocketOptions {
        let socket = &self.config.socket;
        SocketOptions {
            active: self.config.services.is_active(Service::Socket),
            server_ip: socket.server_ip,
            ports: socket.ports.clone(),
            allow_private: socket.allow_private,
            idle: socket.idle,
            life: socket.life,
            max_relays: socket.max_relays,
            limits: Limits {
                max_packets: socket.max_packets,
                max_bytes: socket.max_bytes,
                max_packets_per_sec: socket.max_packets_per_sec,
                max_bytes_per_sec: socket.max_bytes_per_sec,
            },
        }
    }

    /// Starts the Lightning node, and tries again while what it needs is away.
    async fn lightning(&self) -> Result<Arc<dyn LightningNode>, RunError> {
        let mut pause = FIRST_RETRY;
        loop {
            let blobs: Arc<dyn BlobStore> = Arc::new(self.store.clone());
            match LdkNode::start(self.ldk_config()?, blobs).await {
                Ok(node) => return Ok(node),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(
                        again_in_secs = pause.as_secs(),
                        "the Lightning node does not start yet: {error}"
                    );
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_RETRY);
        }
    }

    fn ldk_config(&self) -> Result<ldk::LdkConfig, RunError> {
        let config = &self.config.lightning.ldk;
        Ok(ldk::LdkConfig {
            network: config.network,
            chain: chain_source(&config.chain)?,
            listen: config.listen.clone(),
            announce: config.announce.clone(),
            alias: config.alias.clone(),
            storage_dir: self.dir.to_owned(),
            seed: ldk::Seed(*self.seed.to_bytes()),
            trusted_peers: Vec::new(),
            reserve_sat: ldk::LdkConfig::DEFAULT_RESERVE_SAT,
        })
    }
}

fn chain_source(source: &ChainSource) -> Result<ldk::ChainSource, RunError> {
    Ok(match source {
        ChainSource::Bitcoind { host, port, auth } => {
            let (user, password) = auth.credentials().map_err(RunError::Cookie)?;
            let password = password.expose().clone();
            ldk::ChainSource::Bitcoind { host: host.clone(), port: *port, user, password }
        }
        ChainSource::Esplora { url } => ldk::ChainSource::Esplora { url: url.expose().clone() },
        ChainSource::Electrum { url } => ldk::ChainSource::Electrum { url: url.expose().clone() },
    })
}
