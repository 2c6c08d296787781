//! The suite that every store passes.

mod answers;
mod outbox;
mod payments;
mod peers;
mod sockets;
mod vpn;
mod withheld;

use std::sync::Arc;

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, Preimage};
use imp_core::record::{RecordTable, Service};
use imp_core::time::UnixMillis;
use imp_lightning::blob::{BlobKey, BlobStore};
use imp_node::store::inbox::{
    InboxChange, InboxChunk, InboxMessage, InboxPayment, PartName, PaymentOutcome, Seen,
};
use imp_node::store::journal::{FromTail, NewEvent, ServiceSet};
use imp_node::store::{InboxStore, JournalStore, SqliteStore, StoreError};
use tempfile::TempDir;

use crate::lab::{EVERYTHING, open};

fn store() -> (TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), None);
    (dir, store)
}

fn node() -> NodeId {
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap()
}

fn id(n: u8) -> MessageId {
    MessageId::from_random([n; 16])
}

fn inbox_payment(hash: u8, part: u16) -> InboxPayment {
    InboxPayment {
        hash: Preimage([hash; 32]).payment_hash(),
        record_type: RecordTable::default().record_type(Service::Message),
        amount: Msat(1000),
        received: UnixMillis(50),
        outcome: PaymentOutcome::Taken,
        part: Some(PartName { sender: node(), id: id(1), part }),
        service: Service::Message,
        raw: None,
    }
}

#[tokio::test]
async fn a_change_of_the_inbox_is_made_whole_or_not_at_all() {
    let (_dir, store) = store();
    let kept = InboxMessage {
        id: id(1),
        part_count: 2,
        stream: 3,
        seq: 4,
        floor_back: 1,
        unordered: false,
        reply_to: "y".to_owned(),
        begun: UnixMillis(50),
        held: None,
    };
    let chunk = InboxChunk {
        part: 0,
        amount: Msat(1000),
        payment: Some(inbox_payment(1, 0).hash),
        chunk: b"first ".to_vec(),
    };
    let change = InboxChange {
        payment: Some(inbox_payment(1, 0)),
        keep: Some((node(), Service::Message, kept.clone(), Some(chunk.clone()))),
        order: Some((node(), Service::Message, "3:4".to_owned(), UnixMillis(50))),
        count: vec!["a", "a", "b"],
        ..InboxChange::default()
    };
    store.commit_inbox(change.clone()).await.unwrap();
    assert!(store.has_payment(inbox_payment(1, 0).hash).await.unwrap());
    let seen = async |part| store.seen(inbox_payment(1, part).part.unwrap()).await.unwrap();
    assert_eq!(seen(0).await, Seen { part: true, service: Some(Service::Message) });
    assert_eq!(seen(1).await, Seen { part: false, service: Some(Service::Message) });
    assert_eq!(
        (store.counter("a").await, store.counter("b").await, store.counter("c").await),
        (Ok(2), Ok(1), Ok(0))
    );

    // The payment is known, so nothing of the second change may stay.
    assert!(matches!(store.commit_inbox(change).await, Err(StoreError::Database(_))));
    assert_eq!(store.counter("a").await, Ok(2));
    let rows = store.sender_rows(node(), Service::Message).await.unwrap();
    assert_eq!(rows.order.as_deref(), Some("3:4"));
    assert_eq!(rows.messages.len(), 1);
    assert_eq!(rows.messages[0].message, kept);
    assert_eq!(
        rows.messages[0].parts.iter().map(|part| (part.part, part.bytes)).collect::<Vec<_>>(),
        [(0, 6)]
    );
    assert_eq!(store.chunks(node(), id(1)).await.unwrap(), [chunk]);
    assert_eq!(store.waiting_senders().await.unwrap(), [(node(), Service::Message)]);

    let event = NewEvent {
        at: UnixMillis(60),
        id: id(1).to_string(),
        reply_to: String::new(),
        from: node(),
        service: Service::Message.into(),
        data: "first second\0".to_owned(),
        amount_sat: 2,
        late: true,
    };
    let published =
        InboxChange { remove: vec![(node(), id(1))], publish: vec![event.clone()], ..InboxChange::default() };
    store.commit_inbox(published).await.unwrap();
    assert_eq!(store.read_events(0, ServiceSet::all(), EVERYTHING).await.unwrap().events[0].event, event);
    let subscribers_have = store.tail().next_after(0, ServiceSet::original());
    assert!(matches!(subscribers_have, FromTail::Event(_)), "when the call returns");
    assert!(store.waiting_senders().await.unwrap().is_empty());
    assert!(store.chunks(node(), id(1)).await.unwrap().is_empty());
    assert_eq!(store.forget_payments_before(UnixMillis(51)).await, Ok(2), "the order of its sender too");
    assert_eq!(store.forget_payments_before(UnixMillis(51)).await, Ok(0));
    assert!(!store.has_payment(inbox_payment(1, 0).hash).await.unwrap());
}

fn key(key: &str) -> BlobKey {
    BlobKey { primary: "p".to_owned(), secondary: String::new(), key: key.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_written_in_the_order_of_the_calls_and_read_as_last_called() {
    let (dir, store) = store();
    let store = Arc::new(store);
    let mut writes: Vec<_> = (0..50_u8).map(|n| store.write(key("k"), vec![n])).collect();
    let removed = store.remove(key("gone"));
    assert_eq!(store.read_blocking(key("k")).unwrap(), Some(vec![49]), "no future was polled yet");
    // Whatever order they are waited for in.
    writes.reverse();
    for write in writes {
        write.await.unwrap();
    }
    removed.await.unwrap();
    store.write_blocking(key("other"), vec![1; 100_000]).unwrap();
    store.write_blocking(key("k2"), Vec::new()).unwrap();
    store.remove_blocking(key("k2")).unwrap();
    store.close();
    assert!(store.read_blocking(key("k")).is_err());
    let store = open(dir.path(), None);
    assert_eq!(store.read_blocking(key("k")).unwrap(), Some(vec![49]));
    assert_eq!(store.read_blocking(key("k2")).unwrap(), None);
    let mut keys = store.list_blocking("p", "").unwrap();
    keys.sort();
    assert_eq!(keys, ["k", "other"]);
    assert!(store.list_blocking("", "p").unwrap().is_empty());
}
