//! Access to the internet through WireGuard: contracts that this node sells, and contracts that it buys.
//!
//! ```text
//! message ── inbox ── row of what came in (commit) ─┐
//! call ── service ─────────────────────────────────┤
//! ends of messages ── outbox ──────────────────────┼── lock ── imp_core::vpn ── commit ── memory ── unlock ─┬─ send, pay
//! clock ───────────────────────────────────────────┤                                                       ├─ station
//! station, tunnels: what was seen on devices ──────┘                                                       └─ tunnels
//! ```
//!
//! What is in memory is what is committed: a step is decided by the rules of `imp-core`, stored with the messages that it
//! sends and the events that it publishes, and then applied. All of it happens under one lock, which is never held while a
//! payment is made. Only meters are ahead of the store, by half a minute.
//!
//! A payment of a buyer stands in the store from the commit that took it in; whatever the node dies of afterwards, the next
//! run takes the row again and comes to the same end, which is a contract or a refund.

mod buy;
mod change;
mod inbound;
mod keys;
mod list;
mod options;
mod station;
mod tunnels;
mod up;
mod view;
mod worker;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use imp_core::id::NodeId;
use imp_core::vpn::Limits;
use imp_core::vpn::buyer::Purchases;
use imp_core::vpn::seller::{Book, Terms};
use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;

use crate::error::Error;
use crate::federation::Federation;
use crate::idempotency::Keys;
use crate::outbox::Outbox;
use crate::outbox::under_way::UnderWay;
use crate::runtime::clock::Clock;
use crate::runtime::own_address::{OwnAddress, Purpose};
use crate::runtime::tasks::Tasks;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::{Metrics, VpnTotals};

pub use keys::PrivateKeys;
pub use list::{ContractPlace, ContractQuery, PaymentQuery};
pub use options::{Hosts, SellerOptions, VpnOptions};
pub use station::Station;
pub(crate) use tunnels::clean_up_tunnels;
pub use view::{
    ConfigFile, ContractPage, ContractView, PaymentPage, PaymentView, QuoteView, Role, SellerView, TunnelView,
};

use tunnels::Tunnels;

/// How often it is saved what has gone through tunnels: a kill of the node forgets at most so much of it.
const SAVE_METERS_EVERY: Duration = Duration::from_secs(30);

/// How long contracts and payments that are done with are read into memory at start: buyers may still ask for answers.
const REMEMBERED: Duration = imp_core::vpn::seller::ANSWERS_KEPT;

/// What the server's address is told for.
const ADDRESS: Purpose =
    Purpose { key: "vpn.server_ip", env: "IMP_VPN_SERVER_IP", told: "buyers of the VPN are told to send to" };

/// What the service stands on.
pub struct VpnPorts {
    /// Contracts, quotes and payments, and what came in for them.
    pub store: Arc<dyn Store>,
    /// What sends.
    pub outbox: Outbox,
    /// Who is blocked, and whom somebody here chose.
    pub federation: Federation,
    /// Keys of calls that pay.
    pub idempotency: Keys,
    /// What completes events.
    pub keys: PrivateKeys,
    /// The seller's interface.
    pub station: Station,
    /// This node.
    pub own: NodeId,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its work runs.
    pub tasks: Tasks,
    /// Where contracts are counted.
    pub metrics: Metrics,
    /// Told of every commit that kept a message for this service.
    pub arrived: Arc<Notify>,
}

impl fmt::Debug for VpnPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VpnPorts").field("own", &self.own).finish_non_exhaustive()
    }
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Vpn {
    inner: Arc<Inner>,
}

impl fmt::Debug for Vpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vpn").field("station", &self.inner.station).finish_non_exhaustive()
    }
}

struct Inner {
    store: Arc<dyn Store>,
    outbox: Outbox,
    federation: Federation,
    idempotency: Keys,
    keys: PrivateKeys,
    station: Station,
    own: NodeId,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    arrived: Arc<Notify>,
    options: VpnOptions,
    address: OwnAddress,
    memory: AsyncMutex<Memory>,
    tunnels: Tunnels,
    /// Deadlines changed.
    changed: Notify,
    /// Messages ended of which nobody was told, or may have.
    look_again: Notify,
    /// Other tunnels are wanted.
    tunnels_changed: Notify,
    /// Payments that somebody is making, and finds out about.
    under_way: UnderWay,
    totals: Arc<Mutex<VpnTotals>>,
}

/// What is committed, and meters.
struct Memory {
    book: Book,
    purchases: Purchases,
    meters_saved: Instant,
}

impl Vpn {
    /// Reads what an earlier run left. [`Self::start`] sets it going.
    pub async fn open(ports: VpnPorts, options: VpnOptions) -> Result<Self, StoreError> {
        let VpnPorts {
            store,
            outbox,
            federation,
            idempotency,
            keys,
            station,
            own,
            clock,
            tasks,
            metrics,
            arrived,
        } = ports;
        let address = OwnAddress::new(ADDRESS, options.seller.server_ip);
        let terms = terms(&options, &station, &address);
        let since = clock.now().minus(REMEMBERED);
        let book = Book::new(
            terms,
            store.vpn_offers().await?,
            store.vpn_contracts(since).await?,
            store.vpn_payments(since).await?,
        );
        let purchases = Purchases::new(store.vpn_quotes().await?, store.vpn_purchases().await?, clock.now());
        let totals = Arc::new(Mutex::new(VpnTotals::default()));
        let (counted, device) = (Arc::downgrade(&totals), station.clone());
        metrics.count_vpn(Box::new(move || {
            let counted = counted.upgrade()?;
            let counted = counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (received_bytes, sent_bytes) = device.carried();
            Some(VpnTotals { is_open: device.is_open(), received_bytes, sent_bytes, ..counted })
        }));
        let inner = Inner {
            store,
            outbox,
            federation,
            idempotency,
            keys,
            station,
            own,
            clock,
            tasks,
            arrived,
            address,
            memory: AsyncMutex::new(Memory { book, purchases, meters_saved: Instant::now() }),
            tunnels: Tunnels::new(Arc::clone(&options.hosts.tunnels)),
            options,
            changed: Notify::new(),
            look_again: Notify::new(),
            tunnels_changed: Notify::new(),
            under_way: UnderWay::default(),
            totals,
        };
        {
            let memory = inner.memory.lock().await;
            memory.purchases.purchases().for_each(|purchase| inner.keys.follow(purchase));
            inner.show(&memory);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes what came in, follows messages and the clock, and keeps tunnels, from here on. To be called once the outbox has
    /// taken up what an earlier run left.
    pub fn start(&self) {
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn_service("VPN", move || worker::run(Arc::clone(&inner)));
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn_service("VPN tunnels", move || up::keep(Arc::clone(&inner)));
    }

    /// Makes a change that goes on when its caller is gone: what is in the store and in memory must stay the same.
    async fn detached<F, T>(&self, work: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let tasks = &self.inner.tasks;
        match tasks.run_detached("VPN call", work).await {
            Ok(result) => result,
            Err(_) if tasks.token().is_cancelled() => Err(Error::unavailable("the node is stopping")),
            Err(error) => Err(Error::internal(error.to_string())),
        }
    }
}

impl Inner {
    /// What this node sells now.
    fn terms(&self) -> Terms {
        terms(&self.options, &self.station, &self.address)
    }
}

/// What a node with these settings sells now.
fn terms(options: &VpnOptions, station: &Station, address: &OwnAddress) -> Terms {
    let seller = &options.seller;
    Terms {
        selling: options.active && seller.sell && station.is_open(),
        carrying: station.is_open(),
        price_sat: seller.price_sat,
        duration_secs: seller.duration.as_secs(),
        rest: seller.rest,
        max_secs: seller.max_left.as_secs(),
        limits: Limits { data_bytes: seller.data_limit_bytes, bytes_per_sec: seller.bytes_per_sec },
        subnet: seller.subnet,
        // The log tells only those who sell that an address was guessed.
        server: SocketAddr::new(
            if seller.sell { address.find() } else { seller.tunnel_ip().into() },
            seller.server_port,
        ),
        server_key: station.public_key(),
        allowed: seller.allowed.clone(),
        dns: seller.dns,
        mtu: seller.mtu,
    }
}
