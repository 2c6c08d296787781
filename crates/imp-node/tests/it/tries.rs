//! Tries that go wrong in the node itself, and tries that take their time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use imp_core::delivery::MessageState;
use imp_core::id::NodeId;
use imp_core::time::UnixMillis;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_lightning::{LightningNode, SendError};
use imp_node::node::{NodeOptions, Ports, Services};
use imp_node::runtime::clock::{Clock, TestClock};
use imp_node::runtime::tasks::Tasks;
use imp_node::service::messaging::SendMessage;
use imp_node::store::outbox::{MessageQuery, StoredMessage};
use imp_node::store::{OutboxStore, SqliteStore};
use tempfile::TempDir;

use crate::lab::{TestNode, network, open, text_to};

/// As many numbers as are given above one that is not resolved.
const WINDOW: usize = 256;

#[tokio::test]
async fn an_attempt_that_cannot_be_stored_ends_its_message_and_holds_nobody_up() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON outbox_attempt BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    alice.database().execute_batch(full).unwrap();
    let texts: Vec<String> = (0..=WINDOW).map(|n| n.to_string()).collect();
    for sent in alice.send_all(bob.id, &texts).await {
        let error = sent.unwrap_err();
        assert!(error.to_string().contains("failed"), "{error}");
    }
    let failed = alice.messages().await;
    assert!(failed.iter().all(|stored| stored.state == MessageState::Failed), "each row says so");
    assert!(alice.store.open_messages().await.unwrap().is_empty(), "nothing is left to the next run");
    alice.database().execute_batch("DROP TRIGGER full").unwrap();
    alice.send(bob.id, "later").await.unwrap();
    let retried = failed[0].message.id.to_string();
    let again = retried.clone();
    alice.call(|services| async move { services.messages.retry(&again).await }).await.unwrap();
    assert_eq!(bob.journal().await[1].event.id, retried);
}

/// A node whose time stands still unless a test lets it pass.
struct Timed {
    id: NodeId,
    services: Services,
    store: SqliteStore,
    tasks: Tasks,
    _dir: TempDir,
    /// Tokio's clock does not run ahead while a thread is at work: this one is, until this is dropped.
    _standing: mpsc::Sender<()>,
}

impl Timed {
    async fn start(network: &FakeNetwork, name: &str) -> Self {
        Self::start_with(network, name, Arc::new(TestClock::new(UnixMillis(1_700_000_000_000)))).await
    }

    async fn start_with(network: &FakeNetwork, name: &str, clock: Arc<dyn Clock>) -> Self {
        let (standing, ended) = mpsc::channel::<()>();
        drop(tokio::task::spawn_blocking(move || ended.recv()));
        let dir = tempfile::tempdir().unwrap();
        let (store, tasks, lightning) = (open(dir.path(), None), Tasks::new(), network.restart(name));
        let id = lightning.id();
        let ports = Ports {
            store: Arc::new(store.clone()),
            lightning,
            clock,
            tasks: tasks.clone(),
            vpn_keys: imp_node::vpn::PrivateKeys::default(),
            vpn_station: None,
        };
        let services = Services::start(ports, NodeOptions::default()).await.unwrap();
        Self { id, services, store, tasks, _dir: dir, _standing: standing }
    }

    /// Begins to send.
    fn sending(&self, message: SendMessage) {
        let messaging = self.services.messaging.clone();
        drop(tokio::spawn(async move { messaging.send(message).await }));
    }

    /// Every message, in the order of acceptance.
    async fn messages(&self) -> Vec<StoredMessage> {
        let query = MessageQuery { limit: 100, ..MessageQuery::default() };
        let mut messages = self.store.list_messages(query).await.unwrap().messages;
        messages.reverse();
        messages
    }

    /// Lets time pass until the messages stand so, but not more than a while.
    async fn until(&self, what: &str, mut holds: impl FnMut(&[StoredMessage]) -> bool) {
        for _ in 0..1000 {
            let messages = self.messages().await;
            if holds(&messages) {
                return;
            }
            pass(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what}: {:?}", self.messages().await);
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

/// Lets time pass, in steps between which the store has time to answer.
async fn pass(time: Duration) {
    let step = Duration::from_millis(250);
    let mut left = time;
    while !left.is_zero() {
        let now = left.min(step);
        tokio::time::advance(now).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        std::thread::sleep(Duration::from_millis(2));
        left -= now;
    }
}

/// Lets time pass until a payment is held.
async fn holds_one(network: &FakeNetwork) {
    for _ in 0..1000 {
        if !network.held().is_empty() {
            return;
        }
        pass(Duration::from_millis(10)).await;
    }
    panic!("no payment is held");
}

#[tokio::test(start_paused = true)]
async fn a_payment_that_found_no_slot_in_time_is_not_made_later() {
    let network = network(FakeOptions { slots_per_channel: 1, ..FakeOptions::default() });
    let (alice, bob) = (Timed::start(&network, "alice").await, Timed::start(&network, "bob").await);
    network.hold("alice", "bob", true);
    network.refuse_next("alice", 1, SendError::Busy);
    alice.sending(text_to(bob.id, "busy"));
    alice.until("the first attempt", |messages| messages.iter().any(|one| one.tally.attempts == 1)).await;
    alice.sending(text_to(bob.id, "takes the slot"));
    alice.until("the other's", |messages| messages.iter().all(|one| one.tally.attempts == 1)).await;
    holds_one(&network).await;
    pass(Duration::from_secs(50)).await;
    alice.until("its end", |messages| messages[0].state == MessageState::Failed).await;
    network.release_all();
    alice.until("the other's end", |messages| messages[1].state == MessageState::Settled).await;
    pass(Duration::from_secs(5)).await;
    let failed = alice.messages().await.remove(0);
    assert_eq!((failed.state, failed.tally.parts_settled), (MessageState::Failed, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_more_goes_out_under_a_number_that_was_given_up() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (Timed::start(&network, "alice").await, Timed::start(&network, "bob").await);
    let text = "long ".repeat(300);
    for keep_secs in [0, 3600] {
        network.hold("alice", "bob", true);
        alice.sending(SendMessage { keep_secs, ..text_to(bob.id, &text) });
        alice.until("its payment", |all| all.last().is_some_and(|one| one.tally.attempts == 1)).await;
        holds_one(&network).await;
        let number = alice.messages().await.pop().unwrap().number.unwrap();
        pass(Duration::from_secs(50)).await;
        network.release_all();
        let ended = [MessageState::Failed, MessageState::Settled];
        alice.until("an end", |all| ended.contains(&all.last().unwrap().state)).await;
        let stored = alice.messages().await.pop().unwrap();
        if keep_secs == 0 {
            assert_eq!((stored.state, stored.tally.attempts), (MessageState::Failed, 1));
            let why = stored.failure.unwrap().text;
            assert!(why.contains("1 of 2 parts were paid"), "{why}");
            // Whoever worked on it has told its caller before another works on it.
            pass(Duration::from_millis(250)).await;
            let (messages, id) = (alice.services.messages.clone(), stored.message.id.to_string());
            drop(tokio::spawn(async move { messages.retry(&id).await }));
            alice.until("another try", |all| all.last().unwrap().state == MessageState::Settled).await;
        }
        let stored = alice.messages().await.pop().unwrap();
        assert_eq!((stored.state, stored.tally.attempts), (MessageState::Settled, 2));
        assert_ne!(stored.number, Some(number));
    }
}

/// A clock that goes with tokio's, and is set by a test.
#[derive(Debug)]
struct SetClock {
    clock: TestClock,
    back_ms: AtomicU64,
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        self.clock.now().minus(Duration::from_millis(self.back_ms.load(Ordering::Relaxed)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_prolong_a_try() {
    let network = network(FakeOptions::default());
    let clock = TestClock::new(UnixMillis(1_700_000_000_000));
    let clock = Arc::new(SetClock { clock, back_ms: AtomicU64::new(0) });
    let alice = Timed::start_with(&network, "alice", Arc::<SetClock>::clone(&clock)).await;
    let bob = Timed::start(&network, "bob").await;
    network.refuse_next("alice", 10_000, SendError::Unavailable("away".to_owned()));
    alice.sending(text_to(bob.id, "x"));
    alice.until("an attempt", |all| all.last().is_some_and(|one| one.tally.attempts > 0)).await;
    clock.back_ms.store(3_600_000, Ordering::Relaxed);
    pass(Duration::from_secs(46)).await;
    alice.until("its end", |all| all[0].state == MessageState::Failed).await;
}
