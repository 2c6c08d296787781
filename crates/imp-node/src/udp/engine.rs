//! The threads, and which of them gets the next relay.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use imp_core::relay::Moment;
use imp_core::time::UnixMillis;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::connection::{self, ConnectError, ConnectionHandle, ConnectionSpec};
use super::relay::{self, OpenError, RelayHandle, RelaySpec};
use super::sockets::{Family, OwnPorts};
use crate::runtime::clock::{Clock, Steady, SystemClock};

/// Threads where nothing else is asked for: more would take cores from the rest of the node.
const MOST_THREADS_BY_DEFAULT: usize = 4;

/// How many relays a thread serves before it looks for sockets that have become readable. Tokio's 61 would be 61 batches of
/// relays that never run dry, during which a quiet one waits.
const TURNS_BETWEEN_POLLS: u32 = 4;

/// How an engine is to be.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Threads; 0 for one for each core, at most four.
    pub threads: usize,
    /// Addresses under which this node is reached though they are not this host's (NAT): a packet from there and a port of
    /// ours comes from one of our relays.
    pub own_addresses: Vec<IpAddr>,
    /// What pins that were saved, and snapshots, tell times by.
    pub clock: Arc<dyn Clock>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { threads: 0, own_addresses: Vec::new(), clock: Arc::new(SystemClock) }
    }
}

/// Threads that run relays and connections. Clones are the same engine; the threads end with [`Self::shutdown`], or once the
/// last clone and the last handle are dropped.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    threads: Vec<Thread>,
    family: Family,
    own: Arc<OwnPorts>,
    /// From which connections send to relays.
    ways_out: Arc<OwnPorts>,
    time: Time,
}

struct Thread {
    runtime: Handle,
    load: Arc<AtomicUsize>,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Ends the thread when it is sent to or dropped.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// A place on a thread, held by what runs there.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

/// The engine's time, which never steps back, and the time of day.
#[derive(Clone, Debug)]
pub(super) struct Time {
    steady: Steady,
    clock: Arc<dyn Clock>,
}

impl Engine {
    /// Starts the threads.
    pub fn start(options: EngineOptions) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if options.threads == 0 { cores.min(MOST_THREADS_BY_DEFAULT) } else { options.threads };
        let threads = (0..threads).map(Thread::start).collect::<io::Result<Vec<_>>>()?;
        let steady = Steady::new(options.clock.now());
        Ok(Self(Arc::new(Inner {
            threads,
            family: Family::of_this_host(),
            own: Arc::new(OwnPorts::new(options.own_addresses)),
            ways_out: Arc::new(OwnPorts::new(Vec::new())),
            time: Time { steady, clock: options.clock },
        })))
    }

    /// Opens a relay. It runs until it ends by itself, its handle's last clone is dropped or the engine is shut down.
    pub fn open(&self, spec: RelaySpec) -> Result<RelayHandle, OpenError> {
        let (runtime, place) = self.place();
        let _in_runtime = runtime.enter();
        let (handle, task) = relay::open(spec, self, place)?;
        runtime.spawn(task);
        Ok(handle)
    }

    /// Opens a local end of another node's relay. It runs until its handle's last clone is dropped or the engine is shut
    /// down.
    pub fn connect(&self, spec: ConnectionSpec) -> Result<ConnectionHandle, ConnectError> {
        let (runtime, place) = self.place();
        let _in_runtime = runtime.enter();
        let (handle, task) = connection::open(spec, self, place)?;
        runtime.spawn(task);
        Ok(handle)
    }

    /// Whether an address is this host's, or one under which this node is reached.
    pub fn is_own_address(&self, ip: IpAddr) -> bool {
        self.0.own.is_own_address(ip)
    }

    /// Ends all relays and connections, and the threads. Their ports are closed when this returns.
    pub async fn shutdown(&self) {
        let running: Vec<Running> = self.0.threads.iter().filter_map(Thread::take).collect();
        let threads: Vec<JoinHandle<()>> = running
            .into_iter()
            .map(|running| {
                // It is gone where the thread has panicked, which the join tells.
                let _ = running.stop.send(());
                running.thread
            })
            .collect();
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count()
        });
        match joined.await {
            Ok(0) => {}
            Ok(panicked) => tracing::error!(panicked, "threads of relays had panicked"),
            Err(error) => tracing::error!(%error, "cannot wait for the threads of relays"),
        }
    }

    pub(super) fn family(&self) -> Family {
        self.0.family
    }

    pub(super) fn own_ports(&self) -> &Arc<OwnPorts> {
        &self.0.own
    }

    pub(super) fn ways_out(&self) -> &Arc<OwnPorts> {
        &self.0.ways_out
    }

    pub(super) fn time(&self) -> &Time {
        &self.0.time
    }

    /// The thread with the least to do.
    fn place(&self) -> (&Handle, Place) {
        let threads = &self.0.threads;
        let least = threads.iter().min_by_key(|thread| thread.load.load(Ordering::Relaxed));
        let thread = least.expect("an engine has at least one thread");
        thread.load.fetch_add(1, Ordering::Relaxed);
        (&thread.runtime, Place(Arc::clone(&thread.load)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .event_interval(TURNS_BETWEEN_POLLS)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(format!("udp-{number}")).spawn(move || {
            // An error says that the engine was dropped, which ends its threads too.
            let _ = runtime.block_on(stopped);
        })?;
        let running = Mutex::new(Some(Running { stop, thread }));
        Ok(Self { runtime: handle, load: Arc::default(), running })
    }

    fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Time {
    pub(super) fn now(&self) -> Moment {
        Moment(self.steady.now().0)
    }

    /// When by the clock a moment was.
    pub(super) fn at(&self, moment: Moment) -> UnixMillis {
        self.clock.now().minus(self.now().since(moment))
    }

    /// Which moment a time by the clock was. What lies in its future was now.
    pub(super) fn moment(&self, at: UnixMillis) -> Moment {
        self.now().minus(self.clock.now().since(at))
    }
}
