//! UDP relays of this node, and local ends of other nodes' relays.
//!
//! ```text
//! start ── ports bound ── row (commit) ── runs ── ends: stop, idle, life, limit ── row out, event in (commit)
//!                           ^               │
//!                  next run of the node <── node stops: ports closed, who is known saved
//! ```
//!
//! A relay is one row from its start to its end, whatever becomes of the node in between: each start of the node opens
//! those that it finds, with the same ports, and ends those that cannot go on. The packets are the engine's,
//! [`crate::udp`].

mod connect;
mod keeper;
mod reopen;
mod run;
mod send;
mod wish;

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imp_api::error::Code;
use imp_core::id::NodeId;
use imp_core::relay::Limits;
use imp_core::socket::{Offer, RelayId};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::error::Error;
use crate::idempotency::Keys;
use crate::outbox::Outbox;
use crate::runtime::clock::Clock;
use crate::runtime::own_address::{OwnAddress, Purpose};
use crate::runtime::tasks::Tasks;
use crate::store::socket::StoredRelay;
use crate::store::{SocketStore, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::udp::{Engine, EngineOptions};

use connect::Connections;
use run::{Running, Table};
use wish::Wish;

pub use crate::udp::SideSnapshot;
pub use connect::{Connect, ConnectionView};
pub use wish::StartRelay;

/// Who starts relays by the API: the programs of this node.
const LOCAL_OWNER: &str = "local";

/// What this node's address is told for.
const ADDRESS: Purpose =
    Purpose { key: "socket.server_ip", env: "IMP_SOCKET_SERVER_IP", told: "relays are offered at" };

/// Settings of the service. What says how a relay is to be holds for each that is started without its own wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Whether relays run; without, there are no threads for them, and those that are kept wait.
    pub active: bool,
    /// The address under which this node is reached; nothing for that of the default route.
    pub server_ip: Option<IpAddr>,
    /// UDP ports that relays may use.
    pub ports: RangeInclusive<u16>,
    /// Let in private and link-local addresses though this node is reached under a public one.
    pub allow_private: bool,
    /// Without a packet for so long, a side is forgotten; whole seconds.
    pub idle: Duration,
    /// A relay ends after this time.
    pub life: Duration,
    /// Relays that may run at once.
    pub max_relays: usize,
    /// How much may go through a relay.
    pub limits: Limits,
}

impl Default for SocketOptions {
    /// As the configuration has it where nothing is set.
    fn default() -> Self {
        Self {
            active: true,
            server_ip: None,
            ports: 20_000..=29_999,
            allow_private: false,
            idle: Duration::from_secs(120),
            life: Duration::from_secs(86_400),
            max_relays: 2_000,
            limits: Limits {
                max_packets: 10_000_000_000,
                max_bytes: 1_000_000_000_000,
                max_packets_per_sec: 1_000_000,
                max_bytes_per_sec: 1_250_000_000,
            },
        }
    }
}

/// What the service stands on.
pub struct SocketPorts {
    /// Its relays.
    pub store: Arc<dyn SocketStore>,
    /// What sends offers.
    pub outbox: Outbox,
    /// Keys of calls that send.
    pub keys: Keys,
    /// This node.
    pub own: NodeId,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its tasks run.
    pub tasks: Tasks,
    /// Where relays are counted.
    pub metrics: Metrics,
}

impl fmt::Debug for SocketPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketPorts").field("own", &self.own).finish_non_exhaustive()
    }
}

/// A relay that runs, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayView {
    /// How it is.
    pub relay: StoredRelay,
    /// The address under which this node is reached: the same as long as the node runs.
    pub ip: IpAddr,
    /// Its sides. The numbers begin anew with each run of the node.
    pub sides: [SideSnapshot; 2],
    /// Packets that were dropped, by reason.
    pub drops: Vec<(&'static str, u64)>,
}

impl RelayView {
    /// What other nodes are told of it.
    pub fn offer(&self) -> Offer {
        let StoredRelay { id, ports, token, .. } = &self.relay;
        Offer { ip: self.ip, port1: ports[0], port2: ports[1], id: Some(*id), token: Some(token.clone()) }
    }
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Sockets {
    inner: Arc<Inner>,
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sockets")
    }
}

struct Inner {
    engine: Engine,
    ports: SocketPorts,
    options: SocketOptions,
    address: OwnAddress,
    table: Mutex<Table>,
    connections: Connections,
    /// How many more relays may run.
    places: Arc<Semaphore>,
    /// Held while the default relay is started or ended: there is one.
    default: AsyncMutex<()>,
}

impl Sockets {
    /// Starts the service: relays of earlier runs are opened again, or ended where they cannot go on.
    ///
    /// # Errors
    ///
    /// If the store cannot be read or written. Where the system gives no threads, as [`StoreError::File`].
    pub async fn open(ports: SocketPorts, options: SocketOptions) -> Result<Self, StoreError> {
        let engine = Engine::start(EngineOptions {
            own_addresses: options.server_ip.into_iter().collect(),
            clock: Arc::clone(&ports.clock),
            ..EngineOptions::default()
        })
        .map_err(|error| StoreError::File {
            path: "threads of UDP relays".to_owned(),
            reason: error.to_string(),
        })?;
        let inner = Arc::new(Inner {
            engine,
            address: OwnAddress::new(ADDRESS, options.server_ip),
            table: Mutex::default(),
            connections: Connections::default(),
            places: Arc::new(Semaphore::new(options.max_relays)),
            default: AsyncMutex::default(),
            ports,
            options,
        });
        inner.reopen().await?;
        inner.count();
        let keeping = Arc::clone(&inner);
        inner.ports.tasks.spawn_service("relays", move || keeper::keep(Arc::clone(&keeping)));
        Ok(Self { inner })
    }

    /// Starts the relay of StartSocket, or finds it where it runs. It ends when it is stopped or its limits are used up.
    ///
    /// Dropping the future does not keep it from being started.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` where no two ports are free or too many relays run.
    pub async fn start_default(&self) -> Result<RelayView, Error> {
        Ok(self.default().await?.view())
    }

    async fn default(&self) -> Result<Arc<Running>, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let _alone = inner.default.lock().await;
            let running = inner.table().default();
            if let Some(running) = running {
                if !running.has_ended() {
                    return Ok(running);
                }
                inner.end_alone(&running).await?;
            }
            match inner.open_waiting_default().await? {
                Some(running) => Ok(running),
                None => inner.start(Wish::default_relay(&inner.options)).await,
            }
        })
        .await
    }

    /// Stops the relay of StartSocket, if it runs. Its ports are closed when this returns.
    ///
    /// Dropping the future does not keep it from being stopped.
    pub async fn stop_default(&self) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let _alone = inner.default.lock().await;
            let running = inner.table().default();
            match running {
                Some(running) => inner.end_alone(&running).await?,
                None => inner.stop_waiting(|relay| relay.is_default).await?,
            };
            Ok(())
        })
        .await
    }

    /// Starts a relay. Dropping the future does not keep it from being started.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense, `RESOURCE_EXHAUSTED` where no two ports are free or too many
    /// relays run.
    pub async fn start(&self, request: StartRelay) -> Result<RelayView, Error> {
        let wish = request.check(&self.inner.options)?;
        let inner = Arc::clone(&self.inner);
        let running = self.detached(async move { inner.start(wish).await }).await?;
        Ok(running.view())
    }

    /// The relays that run, oldest first; where an owner is named, only its.
    pub fn list(&self, owner: &str) -> Vec<RelayView> {
        let running: Vec<_> = self.inner.table().relays().collect();
        let wanted = running.iter().filter(|running| owner.is_empty() || running.relay.owner == owner);
        wanted.map(|running| running.view()).collect()
    }

    /// A relay that runs, by its id as the caller wrote it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no id, `NOT_FOUND` for a relay that does not run.
    pub fn get(&self, id: &str) -> Result<RelayView, Error> {
        Ok(self.find(id)?.view())
    }

    /// Stops a relay. Its ports are closed when this returns. Dropping the future does not keep it from being stopped.
    ///
    /// # Errors
    ///
    /// As [`Self::get`]; `NOT_FOUND` also where it came to its end meanwhile.
    pub async fn stop(&self, id: &str) -> Result<(), Error> {
        let id = relay_id("id", id)?;
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let running = inner.table().find(id);
            let is_stopped = match running {
                Some(running) => inner.end(&running).await?,
                None => {
                    let _alone = inner.default.lock().await;
                    inner.stop_waiting(|relay| relay.id == id).await?
                }
            };
            if is_stopped { Ok(()) } else { Err(not_found(id)) }
        })
        .await
    }

    /// Closes all ports, and saves and ends nothing: what a kill of the process does.
    pub async fn abandon(&self) {
        self.inner.engine.shutdown().await;
    }

    fn find(&self, id: &str) -> Result<Arc<Running>, Error> {
        let id = relay_id("id", id)?;
        let running = self.inner.table().find(id);
        running.filter(|running| !running.has_ended()).ok_or_else(|| not_found(id))
    }

    /// Runs what must not stop halfway when its caller goes away.
    async fn detached<F, T>(&self, work: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let tasks = &self.inner.ports.tasks;
        match tasks.run_detached("relay call", work).await {
            Ok(result) => result,
            Err(_) if tasks.token().is_cancelled() => Err(Error::unavailable("the node is stopping")),
            Err(error) => Err(Error::internal(error.to_string())),
        }
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An id of a relay or a connection out of a request.
fn relay_id(field: &'static str, text: &str) -> Result<RelayId, Error> {
    RelayId::parse(text).ok_or_else(|| {
        Error::invalid(field, format!("{:?} is no UUID: take it from the list", shortened(text)))
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn not_found(id: RelayId) -> Error {
    let text = format!("there is no relay {id}: it never ran, or has ended; ListRelays names those that run");
    Error::new(Code::NotFound, "RELAY_NOT_FOUND", text)
}
