//! Whole nodes on a simulated Lightning network, each with its own database and runtime, so that one can be killed
//! wherever it stands.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use imp_core::id::{MessageId, NodeId};
use imp_core::time::UnixMillis;
use imp_lightning::LightningNode;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::error::Error;
use imp_node::node::{NodeOptions, Ports, Services};
use imp_node::runtime::clock::{Clock, SystemClock};
use imp_node::runtime::tasks::Tasks;
use imp_node::service::messaging::SendMessage;
use imp_node::store::journal::{Bite, JournalEvent, ServiceSet};
use imp_node::store::outbox::{MessageQuery, StoredMessage};
use imp_node::store::sqlite::{Crash, SqliteOptions};
use imp_node::store::{InboxStore, JournalStore, OutboxStore, SqliteStore};
use imp_node::vpn::PrivateKeys;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// How long a condition is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A network whose payments take a few milliseconds.
pub(crate) fn network(options: FakeOptions) -> FakeNetwork {
    FakeNetwork::new(FakeOptions { latency: Duration::ZERO..=Duration::from_millis(8), ..options })
}

/// A node of the network.
pub(crate) struct TestNode {
    name: String,
    network: FakeNetwork,
    dir: Arc<TempDir>,
    pub(crate) id: NodeId,
    pub(crate) store: SqliteStore,
    running: Option<(Runtime, Services)>,
    options: NodeOptions,
    clock: SetClock,
    tasks: Tasks,
    killed: bool,
}

/// The machine's clock, which tests can set.
#[derive(Clone, Debug, Default)]
pub(crate) struct SetClock(Arc<AtomicI64>);

impl SetClock {
    /// Sets it by so much, forward or back.
    pub(crate) fn step(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(SystemClock.now().0.saturating_add_signed(self.0.load(Ordering::SeqCst)))
    }
}

/// The whole journal in one bite.
pub(crate) const EVERYTHING: Bite = Bite { events: usize::MAX, bytes: usize::MAX, looked_at: usize::MAX };

impl TestNode {
    pub(crate) async fn start(network: &FakeNetwork, name: &str) -> Self {
        Self::start_with(network, name, options()).await
    }

    pub(crate) async fn start_with(network: &FakeNetwork, name: &str, options: NodeOptions) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(network, name, dir, options, SetClock::default(), None).await
    }

    /// A node whose store dies; it may do so while the node starts.
    pub(crate) async fn start_dying(network: &FakeNetwork, name: &str, crash: Crash) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(network, name, dir, options(), SetClock::default(), Some(crash)).await
    }

    /// A node with a clock that tests set, and perhaps a store that dies.
    pub(crate) async fn start_at(
        network: &FakeNetwork,
        name: &str,
        options: NodeOptions,
        clock: SetClock,
        crash: Option<Crash>,
    ) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(network, name, dir, options, clock, crash).await
    }

    async fn start_in(
        network: &FakeNetwork,
        name: &str,
        dir: Arc<TempDir>,
        options: NodeOptions,
        clock: SetClock,
        crash: Option<Crash>,
    ) -> Self {
        let lightning = network.restart(name);
        let id = lightning.id();
        let store = open(dir.path(), crash.clone());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let ports = Ports {
            store: Arc::new(store.clone()),
            lightning,
            clock: Arc::new(clock.clone()),
            tasks: Tasks::new(),
            vpn_keys: PrivateKeys::load(&store).await.unwrap(),
            vpn_station: None,
        };
        let tasks = ports.tasks.clone();
        let started = runtime.spawn(Services::start(ports, options.clone())).await.unwrap();
        let mut node = Self {
            name: name.to_owned(),
            network: network.clone(),
            dir,
            id,
            store,
            running: None,
            options,
            clock,
            tasks,
            killed: false,
        };
        match started {
            Ok(services) => node.running = Some((runtime, services)),
            Err(error) => {
                assert!(crash.is_some(), "the node does not start: {error}");
                network.crash(name);
                runtime.shutdown_background();
            }
        }
        node
    }

    /// Kills the node where it stands.
    pub(crate) fn kill(&mut self) {
        if std::mem::replace(&mut self.killed, true) {
            return;
        }
        self.network.crash(&self.name);
        if let Some((runtime, services)) = self.running.take() {
            close_ports(&runtime, &services);
            drop(services);
            runtime.shutdown_background();
        }
        self.store.close();
    }

    /// Stops the node as the daemon is stopped.
    pub(crate) async fn stop(&mut self) {
        let tasks = self.tasks.clone();
        self.calling(async move |_| tasks.drain(PATIENCE).await).await.unwrap().unwrap();
        self.kill();
    }

    /// Cancelled once the node begins to stop.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.tasks.token()
    }

    /// Starts the node again on what it left.
    pub(crate) async fn restart(self) -> Self {
        let options = self.options.clone();
        self.restart_with(options).await
    }

    pub(crate) async fn restart_with(mut self, options: NodeOptions) -> Self {
        self.kill();
        let (dir, clock) = (Arc::clone(&self.dir), self.clock.clone());
        Self::start_in(&self.network, &self.name, dir, options, clock, None).await
    }

    pub(crate) async fn restart_dying(mut self, crash: Crash) -> Self {
        self.kill();
        let (dir, options, clock) = (Arc::clone(&self.dir), self.options.clone(), self.clock.clone());
        Self::start_in(&self.network, &self.name, dir, options, clock, Some(crash)).await
    }

    /// Begins to send, on the node's own runtime; nothing comes of it where the node dies first.
    pub(crate) fn sending(&self, message: SendMessage) -> tokio::task::JoinHandle<Result<MessageId, Error>> {
        let Some((runtime, services)) = &self.running else {
            return tokio::spawn(std::future::pending());
        };
        let services = services.clone();
        runtime.spawn(async move { services.messaging.send(message).await.map(|sent| sent.id) })
    }

    /// Begins a call on the node's own runtime; nothing comes of it where the node dies first.
    pub(crate) fn calling<F, T>(&self, call: impl FnOnce(Services) -> F) -> tokio::task::JoinHandle<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        match &self.running {
            Some((runtime, services)) => runtime.spawn(call(services.clone())),
            None => tokio::spawn(std::future::pending()),
        }
    }

    /// Makes a call on the node's own runtime.
    pub(crate) async fn call<F, T>(&self, call: impl FnOnce(Services) -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.calling(call).await.unwrap()
    }

    pub(crate) async fn send(&self, to: NodeId, text: &str) -> Result<MessageId, Error> {
        self.sending(text_to(to, text)).await.unwrap()
    }

    /// Sends texts at once, in this order, and waits for all of them.
    pub(crate) async fn send_all(&self, to: NodeId, texts: &[String]) -> Vec<Result<MessageId, Error>> {
        let (runtime, services) = self.running.as_ref().expect("the node runs");
        let messaging = services.messaging.clone();
        let messages: Vec<_> = texts.iter().map(|text| text_to(to, text)).collect();
        let sending = async move {
            futures_util::future::join_all(messages.into_iter().map(|message| messaging.send(message))).await
        };
        let sent = runtime.spawn(sending).await.unwrap();
        sent.into_iter().map(|sent| sent.map(|sent| sent.id)).collect()
    }

    /// Everything that was ever published here.
    pub(crate) async fn journal(&self) -> Vec<JournalEvent> {
        self.store.read_events(0, ServiceSet::all(), EVERYTHING).await.unwrap().events
    }

    pub(crate) async fn texts(&self) -> Vec<String> {
        self.journal().await.into_iter().map(|event| event.event.data).collect()
    }

    /// Waits until so many events are published.
    pub(crate) async fn has_published(&self, count: usize) {
        wait_for(&format!("{count} events at {}", self.name), async || self.journal().await.len() >= count)
            .await;
    }

    /// Every message that was ever accepted here, in the order of acceptance.
    pub(crate) async fn messages(&self) -> Vec<StoredMessage> {
        let mut messages = Vec::new();
        let mut query = MessageQuery { limit: 1000, ..MessageQuery::default() };
        loop {
            let page = self.store.list_messages(query.clone()).await.unwrap();
            messages.extend(page.messages);
            query.before = page.next;
            if page.next.is_none() {
                messages.reverse();
                return messages;
            }
        }
    }

    /// Waits until every message of the outbox has ended.
    pub(crate) async fn outbox_is_done(&self) {
        wait_for(&format!("the outbox of {}", self.name), async || {
            self.store.open_messages().await.unwrap().is_empty()
        })
        .await;
    }

    /// Whether the store has come to the commit at which it dies. Asking makes no commit.
    pub(crate) fn store_is_dead(&self) -> bool {
        self.store.is_dead()
    }

    /// The store of a node that was killed, once more.
    pub(crate) fn reopened(&self) -> SqliteStore {
        open(self.dir.path(), None)
    }

    /// The node's database, for what its store does not do.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("imp.db")).unwrap()
    }

    pub(crate) async fn counter(&self, name: &'static str) -> u64 {
        self.store.counter(name).await.unwrap()
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The defaults, with relays that are reached on this machine.
pub(crate) fn options() -> NodeOptions {
    let mut options = NodeOptions::default();
    options.socket.server_ip = Some(Ipv4Addr::LOCALHOST.into());
    options
}

/// The system closes the ports of a process that is killed before another can start in its place.
fn close_ports(runtime: &Runtime, services: &Services) {
    let Some(sockets) = services.socket.clone() else { return };
    let (closed, wait) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        sockets.abandon().await;
        let _ = closed.send(());
    });
    wait.recv_timeout(PATIENCE).expect("the ports are closed");
}

pub(crate) fn open(dir: &Path, crash: Option<Crash>) -> SqliteStore {
    SqliteStore::open(&SqliteOptions { crash, ..SqliteOptions::in_dir(dir) }).unwrap()
}

pub(crate) fn text_to(to: NodeId, text: &str) -> SendMessage {
    SendMessage { msg: text.to_owned(), pubkey: to.to_string(), ..SendMessage::default() }
}

/// Waits for a state; panics with its name when it does not come.
pub(crate) async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < until, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
