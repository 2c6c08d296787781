//! The inbox under a clock that goes where it likes.

mod receiving;

use std::sync::atomic::{AtomicU64, Ordering};

use imp_core::wire::envelope::{Header, PartOf};
use imp_core::wire::signature::sign_with;
use secp256k1::SecretKey;
use tempfile::TempDir;

use super::*;
use crate::store::sqlite::SqliteOptions;
use crate::store::{JournalStore, SqliteStore};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct SetClock(AtomicU64);

impl SetClock {
    fn go_on(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    fn set_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }
}

fn key(byte: u8) -> SecretKey {
    SecretKey::from_slice(&[byte; 32]).unwrap()
}

fn node(byte: u8) -> NodeId {
    NodeId::from(key(byte).public_key(secp256k1::SECP256K1))
}

struct Lab {
    inbox: Inbox,
    /// Makes the reception of each run.
    reception: fn() -> Box<dyn Reception>,
    clock: Arc<SetClock>,
    store: SqliteStore,
    paid: u64,
    dir: TempDir,
}

impl Lab {
    async fn new() -> Self {
        Self::with(|| Box::new(reception::PublishAll)).await
    }

    async fn with(reception: fn() -> Box<dyn Reception>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let clock = Arc::new(SetClock(AtomicU64::new(1_700_000_000_000)));
        let inbox = Self::open(&store, &clock, reception()).await;
        Self { inbox, reception, clock, store, paid: 0, dir }
    }

    async fn open(store: &SqliteStore, clock: &Arc<SetClock>, reception: Box<dyn Reception>) -> Inbox {
        let (store, clock) = (Arc::new(store.clone()), Arc::clone(clock) as _);
        Inbox::open(store, clock, RecordTable::default(), node(1), [7; 32], reception).await.unwrap()
    }

    async fn restart(&mut self) {
        self.inbox = Self::open(&self.store, &self.clock, (self.reception)()).await;
    }

    /// A payment from the node with this key.
    async fn pay(&mut self, from: u8, header: Header) {
        self.pay_sat(from, Service::Message, header, 1).await;
    }

    /// A payment of so many satoshis with a record of a service.
    async fn pay_sat(&mut self, from: u8, service: Service, header: Header, sat: u64) {
        self.paid += 1;
        let mut preimage = [from; 32];
        preimage[..8].copy_from_slice(&self.paid.to_be_bytes());
        let preimage = Preimage(preimage);
        let record_type = RecordTable::default().record_type(service);
        let carrier = CarrierBinding::keysend(&preimage);
        let binding = Binding { genesis_hash: [7; 32], recipient: node(1), record_type, carrier };
        let signature = sign_with(&key(from), &header.signing_bytes(&binding, b"text"));
        let envelope = Envelope::seal(header, b"text", signature, &node(from)).unwrap();
        let records = vec![(record_type.number(), envelope.encode())];
        let hash = preimage.payment_hash();
        self.inbox.take(Received { hash, amount: Msat::from_sat(sat), preimage, records }).await.unwrap();
    }

    /// How many events there are.
    fn published(&self) -> i64 {
        *self.store.tail().last().borrow()
    }
}

fn whole(n: u32, seq: u32) -> Header {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    Header {
        id: imp_core::id::MessageId::from_random(id),
        stream: 1,
        seq,
        floor_back: 0,
        part: None,
        reply_to: None,
        unordered: false,
    }
}

fn first_of_two(n: u32) -> Header {
    Header { part: Some(PartOf { index: 0, count: 2 }), unordered: true, ..whole(n, 0) }
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_lengthen_a_wait() {
    let mut lab = Lab::new().await;
    lab.pay(2, whole(0, 0)).await;
    lab.pay(2, Header { floor_back: 2, ..whole(2, 2) }).await;
    assert_eq!(lab.published(), 1, "one is missing before it");
    lab.clock.set_back(HOUR);
    lab.inbox.expire().await.unwrap();
    lab.clock.go_on(Duration::from_secs(59));
    lab.inbox.expire().await.unwrap();
    assert_eq!(lab.published(), 1);
    lab.clock.go_on(Duration::from_secs(1));
    lab.inbox.expire().await.unwrap();
    assert_eq!(lab.published(), 2);
}

#[tokio::test]
async fn unfinished_messages_of_many_senders_go_in_bounded_turns() {
    let mut lab = Lab::new().await;
    for n in 0..600 {
        lab.pay(2 + (n % 3) as u8, first_of_two(n)).await;
    }
    assert!(!lab.inbox.keep_house().await.unwrap());
    lab.clock.go_on(24 * HOUR);
    let mut turns = 1;
    while lab.inbox.keep_house().await.unwrap() {
        turns += 1;
    }
    assert_eq!(turns, 3);
    assert_eq!(lab.store.counter("inbox_unfinished_given_up").await, Ok(600));
    assert!(lab.store.waiting_senders().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_part_may_come_again_after_its_payment_was_forgotten() {
    let mut lab = Lab::new().await;
    lab.pay(2, first_of_two(0)).await;
    lab.clock.go_on(9 * 24 * HOUR);
    lab.store.forget_payments_before(lab.clock.now().minus(TAKEN_KNOWN_FOR)).await.unwrap();
    lab.restart().await;
    lab.pay(2, first_of_two(0)).await;
    let second = PartOf { index: 1, count: 2 };
    lab.pay(2, Header { part: Some(second), ..first_of_two(0) }).await;
    assert_eq!(lab.published(), 1);
}

#[tokio::test]
async fn what_is_known_of_a_sender_who_is_silent_for_long_goes() {
    let mut lab = Lab::new().await;
    lab.pay(2, whole(0, 0)).await;
    lab.clock.go_on(9 * 24 * HOUR);
    while lab.inbox.keep_house().await.unwrap() {}
    let rows = lab.store.sender_rows(node(2), Service::Message).await.unwrap();
    assert_eq!(rows.order, None);
    lab.pay(2, whole(1, 1)).await;
    assert_eq!(lab.published(), 2);
}
