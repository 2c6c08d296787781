//! A simulated Lightning network for tests.
//!
//! [`FakeNetwork`] is the network, [`FakeNode`] a daemon's handle to its node on it. Payments go over direct channels and
//! take a random time each way, so that they overtake each other. What a node knows (payments, events that were not
//! acknowledged) belongs to the network and outlives the daemon: [`FakeNetwork::restart`] gives a fresh handle, as after a
//! crash. Keys, signatures and invoices are real.
//!
//! Time is tokio's, so tests may pause it. With a paused clock and a single-threaded runtime the same seed gives the same
//! run. A network belongs to the runtime that it was first used in.
//!
//! ```
//! # use imp_lightning::fake::{FakeNetwork, FakeOptions};
//! # use imp_lightning::LightningNode;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let network = FakeNetwork::new(FakeOptions { seed: 7, ..FakeOptions::default() });
//! let (alice, bob) = (network.node("alice"), network.node("bob"));
//! assert!(alice.send_room(&bob.id()).await.unwrap().max_in_flight > 0);
//! # }
//! ```

mod backend;
mod channel;
mod knobs;
mod node;
mod payment;
mod peers;
mod rng;
mod wallet;
mod world;

use std::fmt;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use imp_core::amount::Msat;
use imp_core::id::NodeId;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use node::FakeNode;

use crate::fake::world::{Step, World};
use crate::port::Network;

/// How a simulated network behaves.
#[derive(Clone, Debug)]
pub struct FakeOptions {
    /// Seed of everything random, the nodes' keys too. Default 0.
    pub seed: u64,
    /// The network that the nodes say they are on. Default regtest.
    pub network: Network,
    /// How long a payment takes, each way. Default 10 to 100 ms.
    pub latency: RangeInclusive<Duration>,
    /// Share of payments (0 to 1) that fail on the way with
    /// [`RetriesExhausted`](crate::FailureReason::RetriesExhausted). Default 0.
    pub loss: f64,
    /// Share of events (0 to 1) that are told twice. Default 0.
    pub duplicates: f64,
    /// Each new node gets a channel with every other one. Default true.
    pub connect_all: bool,
    /// Each side's balance in those channels. Default 500,000 sat.
    pub balance: Msat,
    /// Payments that may be in flight at once in a channel, each direction. Default 50, as with LDK.
    pub slots_per_channel: usize,
    /// On-chain balance of a new node in satoshis. Default 10,000,000.
    pub onchain_sat: u64,
    /// What a node keeps on chain for each of its channels, in satoshis. Default 25,000, as with LDK.
    pub reserve_sat: u64,
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self {
            seed: 0,
            network: Network::Regtest,
            latency: Duration::from_millis(10)..=Duration::from_millis(100),
            loss: 0.0,
            duplicates: 0.0,
            connect_all: true,
            balance: Msat::from_sat(500_000),
            slots_per_channel: 50,
            onchain_sat: 10_000_000,
            reserve_sat: 25_000,
        }
    }
}

/// A point at which [`FakeNetwork::crash_at`] can end a daemon's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A payment was asked for, and the node has not heard of it.
    BeforeSend,
    /// The node has begun the payment, and the daemon has not heard so.
    AfterSend,
    /// An event was handed out, and its acknowledgement is lost.
    BeforeAcknowledge,
    /// The node has taken the event off its queue, and the daemon has not heard so.
    AfterAcknowledge,
}

/// A simulated Lightning network; clones are the same network.
#[derive(Clone)]
pub struct FakeNetwork {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    /// Told after every change of the world.
    changed: Notify,
    /// The runtime of the first use: daemons that run in runtimes of their own are killed with these.
    runtime: OnceLock<Handle>,
    started: Instant,
    /// Time of the start since the Unix epoch.
    epoch: Duration,
}

impl fmt::Debug for FakeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeNetwork").finish_non_exhaustive()
    }
}

impl FakeNetwork {
    /// A network without nodes.
    pub fn new(options: FakeOptions) -> Self {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            shared: Arc::new(Shared {
                world: Mutex::new(World::new(options)),
                changed: Notify::new(),
                runtime: OnceLock::new(),
                started: Instant::now(),
                epoch,
            }),
        }
    }

    /// A handle to the node with this name, which is made when it is first named.
    pub fn node(&self, name: &str) -> Arc<FakeNode> {
        self.act(|world| {
            let id = world.named(name);
            let run = world.node(&id).run;
            Arc::new(FakeNode::new(self.clone(), id, run))
        })
    }

    /// The key of the node with this name.
    pub fn id(&self, name: &str) -> NodeId {
        self.act(|world| world.named(name))
    }

    /// Time since the Unix epoch, as the nodes of this network have it: it moves with tokio's clock.
    pub fn now(&self) -> Duration {
        self.shared.epoch + self.shared.started.elapsed()
    }

    /// All the money there is, on chain, in channels and in flight, with what was paid to miners and to others' addresses:
    /// no payment changes it.
    pub fn total(&self) -> Msat {
        self.look().total()
    }

    /// Waits until nothing is on its way. Payments that are held, or wait for a node to come back, do not count.
    pub async fn idle(&self) {
        self.wait_for(|world| (world.under_way == 0).then_some(())).await;
    }

    fn look(&self) -> MutexGuard<'_, World> {
        // A test that panicked while it held the lock has failed already; the others may go on.
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world, and lets happen later what the change put on the agenda.
    fn act<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let (result, agenda) = {
            let mut world = self.look();
            let result = change(&mut world);
            let agenda = std::mem::take(&mut world.agenda);
            world.under_way += agenda.len();
            (result, agenda)
        };
        self.schedule(agenda);
        self.shared.changed.notify_waiters();
        result
    }

    fn schedule(&self, agenda: Vec<(Duration, Step)>) {
        let runtime = self.shared.runtime.get_or_init(Handle::current);
        for (after, step) in agenda {
            let network = self.clone();
            runtime.spawn(async move {
                tokio::time::sleep(after).await;
                let now = network.now();
                network.act(|world| world.happen(step, now));
            });
        }
    }

    async fn wait_for<R>(&self, mut look: impl FnMut(&mut World) -> Option<R>) -> R {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            // From here on a change is not missed, also one that comes before the await.
            changed.as_mut().enable();
            if let Some(found) = look(&mut self.look()) {
                return found;
            }
            changed.await;
        }
    }
}
