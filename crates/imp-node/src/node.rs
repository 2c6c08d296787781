//! A node that runs: the services on top of a store and a Lightning node, and the pump between them.

mod daemon;
mod journal;
mod pump;
mod readiness;
mod retention;
mod vpn;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::record::RecordTable;
use imp_lightning::LightningNode;
use tokio::sync::Notify;

use crate::events::Events;
use crate::federation::{Federation, FederationOptions, FederationPorts};
use crate::idempotency::Keys;
use crate::inbox::Inbox;
use crate::outbox::{Outbox, OutboxOptions, TEXT_BYTES};
use crate::runtime::clock::Clock;
use crate::runtime::tasks::Tasks;
use crate::service::federate::Federate;
use crate::service::lightning::{Lightning, LightningOptions};
use crate::service::messages::Messages;
use crate::service::messaging::Messaging;
use crate::service::node::Node;
use crate::service::signing::Signing;
use crate::service::socket::{SocketOptions, SocketPorts, Sockets};
use crate::service::vpn::VpnService;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metrics;
use crate::vpn::{PrivateKeys, Station, Vpn, VpnOptions, VpnPorts};

pub use daemon::{RunError, run};

/// What a node runs on.
pub struct Ports {
    /// Everything that it keeps.
    pub store: Arc<dyn Store>,
    /// The Lightning node.
    pub lightning: Arc<dyn LightningNode>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its tasks run.
    pub tasks: Tasks,
    /// What completes events of the VPN, also for who reads them before the services run.
    pub vpn_keys: PrivateKeys,
    /// The interface by which buyers of the VPN come in, where it was opened before the Lightning node; nothing to have it
    /// opened with the services.
    pub vpn_station: Option<Station>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").field("lightning", &self.lightning).finish_non_exhaustive()
    }
}

/// Settings of the services.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Which record carries which service.
    pub records: RecordTable,
    /// The most that a payment may pay to forwarding nodes; nothing for 10 sat or 1 %, whichever is more.
    pub fee_limit: Option<Msat>,
    /// The most that messages may cost within 24 hours that nobody at this node asked for, fees included.
    pub answers: Msat,
    /// How long events are kept, and messages that ended; those at least for 7 days.
    pub keep_events: Duration,
    /// What events may take, in bytes; the oldest go first.
    pub max_event_bytes: u64,
    /// Who is federated, and who may do what.
    pub federate: FederationOptions,
    /// UDP relays.
    pub socket: SocketOptions,
    /// WireGuard contracts, bought and sold.
    pub vpn: VpnOptions,
    /// Where it is counted what the services do.
    pub metrics: Metrics,
}

impl Default for NodeOptions {
    /// 1,000 sat a day for answers, events of a year, or of 4 GiB.
    fn default() -> Self {
        Self {
            records: RecordTable::default(),
            fee_limit: None,
            answers: Msat::from_sat(1000),
            keep_events: Duration::from_secs(365 * 24 * 3600),
            max_event_bytes: 4 << 30,
            federate: FederationOptions::default(),
            socket: SocketOptions::default(),
            vpn: VpnOptions::default(),
            metrics: Metrics::default(),
        }
    }
}

/// The services of a node that runs.
#[derive(Clone, Debug)]
pub struct Services {
    /// Messages.
    pub messaging: Messaging,
    /// Federation with other nodes.
    pub federate: Federate,
    /// What became of them.
    pub messages: Messages,
    /// Payments and invoices.
    pub lightning: Lightning,
    /// Signatures.
    pub signing: Signing,
    /// The node itself.
    pub node: Node,
    /// Events.
    pub events: Events,
    /// UDP relays; nothing where the service is switched off.
    pub socket: Option<Sockets>,
    /// WireGuard contracts; nothing where the service is switched off.
    pub vpn: Option<VpnService>,
}

impl Services {
    /// Starts the services: what an earlier run left is taken up, and what the Lightning node has to tell is worked off
    /// by a task that the node cannot do without.
    pub async fn start(ports: Ports, options: NodeOptions) -> Result<Self, StoreError> {
        let Ports { store, lightning, clock, tasks, vpn_keys, vpn_station } = ports;
        let outbox_options = OutboxOptions {
            fee_limit: options.fee_limit,
            records: options.records.clone(),
            answers: options.answers,
            text_bytes: TEXT_BYTES,
        };
        let lightning_options =
            LightningOptions { fee_limit: options.fee_limit, records: options.records.clone() };
        let keys = Keys::new(Arc::clone(&store) as _);
        let outbox = Outbox::open(
            Arc::clone(&store) as _,
            Arc::clone(&lightning),
            Arc::clone(&clock),
            tasks.clone(),
            outbox_options,
        )
        .await?;
        let federation = Federation::open(
            FederationPorts {
                store: Arc::clone(&store),
                outbox: outbox.clone(),
                clock: Arc::clone(&clock),
                tasks: tasks.clone(),
            },
            lightning.id(),
            options.federate,
        )
        .await?;
        let vpn_arrived = Arc::new(Notify::new());
        let inbox = Inbox::open(
            Arc::clone(&store) as _,
            Arc::clone(&clock),
            options.records,
            lightning.id(),
            lightning.network().genesis_hash(),
            Box::new(federation.front(Arc::clone(&vpn_arrived))),
        )
        .await?;
        let station = match vpn_station {
            Some(station) => station,
            None => {
                let VpnOptions { hosts, seller, .. } = &options.vpn;
                Station::open(&*store, hosts, seller.clone(), Arc::clone(&clock), tasks.clone()).await?
            }
        };
        let vpn_is_active = options.vpn.active;
        let vpn = Vpn::open(
            VpnPorts {
                store: Arc::clone(&store),
                outbox: outbox.clone(),
                federation: federation.clone(),
                idempotency: keys.clone(),
                keys: vpn_keys.clone(),
                station,
                own: lightning.id(),
                clock: Arc::clone(&clock),
                tasks: tasks.clone(),
                metrics: options.metrics.clone(),
                arrived: vpn_arrived,
            },
            options.vpn,
        )
        .await?;
        let services = Self {
            messaging: Messaging::new(outbox.clone(), keys.clone(), lightning.id()),
            federate: Federate::new(
                federation.clone(),
                outbox.clone(),
                keys.clone(),
                Arc::clone(&store) as _,
                lightning.id(),
            ),
            messages: Messages::new(Arc::clone(&store) as _, outbox.clone()),
            lightning: Lightning::new(
                Arc::clone(&store),
                Arc::clone(&lightning),
                Arc::clone(&clock),
                tasks.clone(),
                keys.clone(),
                lightning_options,
            ),
            signing: Signing::new(Arc::clone(&lightning)),
            node: Node::new(
                Arc::clone(&lightning),
                Arc::clone(&store) as _,
                Arc::clone(&clock),
                tasks.clone(),
                keys.clone(),
            ),
            events: Events::new(Arc::clone(&store) as _, Arc::new(vpn_keys)),
            socket: if options.socket.active {
                let ports = SocketPorts {
                    store: Arc::clone(&store) as _,
                    outbox: outbox.clone(),
                    keys,
                    own: lightning.id(),
                    clock: Arc::clone(&clock),
                    tasks: tasks.clone(),
                    metrics: options.metrics,
                };
                Some(Sockets::open(ports, options.socket).await?)
            } else {
                None
            },
            vpn: vpn_is_active.then(|| VpnService::new(vpn.clone(), lightning.id())),
        };
        outbox.recover().await?;
        federation.start();
        vpn.start();
        services.lightning.recover().await?;
        let pump = pump::Pump {
            lightning,
            inbox,
            outbox,
            payments: services.lightning.clone(),
            clock: Arc::clone(&clock),
        };
        tasks.spawn_essential("pump", pump.run(tasks.token()));
        let (keep, max_bytes) = (options.keep_events, options.max_event_bytes);
        let (messages, message_clock, stopped) = (Arc::clone(&store), Arc::clone(&clock), tasks.token());
        tasks.spawn_service("retention", move || {
            let (store, clock) = (Arc::clone(&messages), Arc::clone(&message_clock));
            retention::let_old_rows_go(store, clock, keep, stopped.clone())
        });
        let stopped = tasks.token();
        tasks.spawn_service("journal", move || {
            journal::let_old_events_go(
                Arc::clone(&store) as _,
                Arc::clone(&clock),
                keep,
                max_bytes,
                stopped.clone(),
            )
        });
        Ok(services)
    }
}
