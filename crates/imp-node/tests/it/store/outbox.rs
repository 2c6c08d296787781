//! Messages, their attempts, and the keys of the calls that brought them.

use std::sync::Arc;

use imp_core::amount::Msat;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{NodeId, Preimage};
use imp_core::record::{RecordTable, Service};
use imp_core::time::UnixMillis;
use imp_node::store::federate::{FederateChange, FederateStore};
use imp_node::store::idempotency::NewKey;
use imp_node::store::journal::{FromTail, NewEvent, ServiceSet};
use imp_node::store::outbox::{
    Attempt, AttemptEnd, Begun, MessageQuery, Number, OutboxMessage, SendFailure, StoredMessage, Withdrawal,
};
use imp_node::store::{IdempotencyStore, JournalStore, OutboxStore, SqliteStore, StoreError};

use super::{id, node, store};
use crate::lab::open;

const NUMBER: Option<Number> = Some(Number { stream: 9, seq: 4 });

pub(super) fn message(n: u8, parts: u16) -> OutboxMessage {
    OutboxMessage {
        id: id(n),
        service: Service::Message,
        record_type: RecordTable::default().record_type(Service::Message),
        recipient: node(),
        body_bytes: 4,
        reply_to: "x".to_owned(),
        amount_sat: parts.into(),
        parts,
        unordered: false,
        accepted: UnixMillis(5),
        keep_until: None,
        answer: None,
        fee_limit: None,
    }
}

pub(super) fn attempt(n: u8, part: u16, preimage: u8) -> Attempt {
    let preimage = Preimage([preimage; 32]);
    Attempt {
        hash: preimage.payment_hash(),
        message: id(n),
        part,
        preimage,
        envelope: vec![n, part as u8],
        amount: Msat(1000),
        begun: UnixMillis(6),
        state: AttemptState::Ready,
    }
}

fn key(text: &str, subject: u8) -> NewKey {
    NewKey {
        method: "messaging.Messaging/SendMessage",
        key: text.to_owned(),
        request_digest: [7; 32],
        subject: id(subject).as_bytes().to_vec(),
        created: UnixMillis(5),
    }
}

pub(super) fn failure(text: &str) -> SendFailure {
    SendFailure { code: 14, reason: "NO_ROUTE".to_owned(), text: text.to_owned() }
}

fn settled() -> AttemptEnd {
    AttemptEnd::Settled { fee: Some(Msat(7)) }
}

async fn accept(store: &SqliteStore, message: OutboxMessage) -> u64 {
    store.accept_message(message, Arc::from(*b"text"), None).await.unwrap()
}

async fn stored(store: &SqliteStore, n: u8) -> StoredMessage {
    store.message(id(n)).await.unwrap().unwrap()
}

async fn state(store: &SqliteStore, n: u8) -> MessageState {
    stored(store, n).await.state
}

#[tokio::test]
async fn a_message_is_open_until_each_of_its_parts_is_settled() {
    let (_dir, store) = store();
    let place = accept(&store, message(1, 2)).await;
    assert_eq!(state(&store, 1).await, MessageState::Queued);
    store.begin_attempt(attempt(1, 0, 1), NUMBER).await.unwrap();
    store.begin_attempt(attempt(1, 1, 2), NUMBER).await.unwrap();
    let open = store.open_messages().await.unwrap();
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0].message, open[0].number, open[0].place), (&message(1, 2), NUMBER, place));
    let full = store.full_message(id(1)).await.unwrap().unwrap();
    let attempts: Vec<_> = full.attempts.into_iter().map(|stored| stored.attempt).collect();
    assert_eq!((full.body, attempts), (b"text".to_vec(), vec![attempt(1, 0, 1), attempt(1, 1, 2)]));

    let first = attempt(1, 0, 1).hash;
    assert_eq!(store.end_attempt(first, settled(), UnixMillis(8)).await, Ok(Some(id(1))));
    assert_eq!(store.end_attempt(first, settled(), UnixMillis(9)).await, Ok(Some(id(1))), "told twice");
    let half = stored(&store, 1).await;
    assert_eq!((half.state, half.tally.parts_settled, half.tally.attempts), (MessageState::Sending, 1, 2));
    store.end_attempt(attempt(1, 1, 2).hash, settled(), UnixMillis(9)).await.unwrap();
    let whole = stored(&store, 1).await;
    assert_eq!((whole.state, whole.ended), (MessageState::Settled, Some(UnixMillis(9))));
    assert_eq!((whole.tally.parts_settled, whole.tally.fee), (2, Msat(14)));
    assert!(store.open_messages().await.unwrap().is_empty());
    let stranger = attempt(9, 9, 9).hash;
    assert_eq!(store.end_attempt(stranger, settled(), UnixMillis(9)).await, Ok(None));
}

#[tokio::test]
async fn settled_stays_settled_and_unknown_may_still_settle() {
    let (_dir, store) = store();
    let unknown = || AttemptEnd::Unknown { reason: "a channel closed".to_owned() };
    for n in [1, 2] {
        accept(&store, message(n, 1)).await;
        store.begin_attempt(attempt(n, 0, n), NUMBER).await.unwrap();
    }
    store.end_attempt(attempt(1, 0, 1).hash, settled(), UnixMillis(8)).await.unwrap();
    store.end_attempt(attempt(1, 0, 1).hash, unknown(), UnixMillis(9)).await.unwrap();
    store.end_message(id(1), MessageState::Failed, failure("no"), UnixMillis(9)).await.unwrap();
    store.requeue_message(id(1), failure("no")).await.unwrap();
    assert_eq!(store.reopen_message(id(1)).await, Ok(false));
    assert_eq!((state(&store, 1).await, stored(&store, 1).await.failure), (MessageState::Settled, None));
    assert_eq!(
        store.attempt(attempt(1, 0, 1).hash).await.unwrap().map(|row| row.state),
        Some(AttemptState::Settled)
    );

    store.end_attempt(attempt(2, 0, 2).hash, unknown(), UnixMillis(8)).await.unwrap();
    store.end_message(id(2), MessageState::Unknown, failure("perhaps"), UnixMillis(8)).await.unwrap();
    let doubtful = stored(&store, 2).await;
    assert_eq!((doubtful.state, doubtful.failure), (MessageState::Unknown, Some(failure("perhaps"))));
    store.end_attempt(attempt(2, 0, 2).hash, settled(), UnixMillis(9)).await.unwrap();
    assert_eq!((state(&store, 2).await, stored(&store, 2).await.failure), (MessageState::Settled, None));
}

#[tokio::test]
async fn a_message_that_waits_for_another_try_is_queued_without_a_number() {
    let (_dir, store) = store();
    let kept = OutboxMessage { keep_until: Some(UnixMillis(100)), ..message(1, 1) };
    accept(&store, kept).await;
    store.begin_attempt(attempt(1, 0, 1), NUMBER).await.unwrap();
    store.requeue_message(id(1), failure("away")).await.unwrap();
    let open = store.open_messages().await.unwrap().remove(0);
    assert_eq!((open.state, open.number, open.ended), (MessageState::Queued, None, None));
    assert_eq!((open.failure, open.message.keep_until), (Some(failure("away")), Some(UnixMillis(100))));
    let renewed = Some(Number { stream: 10, seq: 0 });
    store.begin_attempt(attempt(1, 0, 2), renewed).await.unwrap();
    assert_eq!((state(&store, 1).await, stored(&store, 1).await.number), (MessageState::Sending, renewed));

    store.end_message(id(1), MessageState::Failed, failure("over"), UnixMillis(101)).await.unwrap();
    assert_eq!(stored(&store, 1).await.ended, Some(UnixMillis(101)));
    assert_eq!(store.reopen_message(id(1)).await, Ok(true));
    let open = store.open_messages().await.unwrap().remove(0);
    assert_eq!((open.state, open.number, open.failure), (MessageState::Queued, None, None));
    assert_eq!(open.tally.attempts, 2);
}

#[tokio::test]
async fn a_key_is_stored_with_its_message_or_not_at_all() {
    let (_dir, store) = store();
    let brought = key("k", 1);
    store.accept_message(message(1, 1), Arc::from(*b"text"), Some(brought.clone())).await.unwrap();
    assert!(stored(&store, 1).await.has_key);
    let found = store.find_key(brought.method, "k".to_owned()).await.unwrap().unwrap();
    assert_eq!((found.request_digest, found.subject), (brought.request_digest, brought.subject.clone()));
    assert_eq!(store.find_key(brought.method, "other".to_owned()).await, Ok(None));
    assert_eq!(store.find_key("another.Service/Method", "k".to_owned()).await, Ok(None));

    let again = store.accept_message(message(2, 1), Arc::from(*b"text"), Some(key("k", 2))).await;
    assert!(matches!(again, Err(StoreError::Database(_))), "{again:?}");
    assert_eq!(store.message(id(2)).await, Ok(None), "the message went with its key");

    assert_eq!(store.forget_keys_before(UnixMillis(5)).await, Ok(0));
    assert_eq!(store.forget_keys_before(UnixMillis(6)).await, Ok(1));
    assert_eq!(store.find_key(brought.method, "k".to_owned()).await, Ok(None));
}

#[tokio::test]
async fn a_message_to_oneself_is_published_with_its_row_and_its_key() {
    let (_dir, store) = store();
    let event = NewEvent {
        at: UnixMillis(5),
        id: id(1).to_string(),
        reply_to: String::new(),
        from: node(),
        service: Service::Message.into(),
        data: "note".to_owned(),
        amount_sat: 0,
        late: false,
    };
    store.publish_own(message(1, 0), event.clone(), Some(key("k", 1))).await.unwrap();
    let own = stored(&store, 1).await;
    assert_eq!((own.state, own.ended, own.tally.attempts), (MessageState::Settled, Some(UnixMillis(5)), 0));
    assert!(store.open_messages().await.unwrap().is_empty());
    let FromTail::Event(seen) = store.tail().next_after(0, ServiceSet::original()) else {
        panic!("subscribers have it when the call returns")
    };
    assert_eq!(seen.event, event);
    assert!(store.publish_own(message(2, 0), event, Some(key("k", 2))).await.is_err());
    assert_eq!(store.tail().last().borrow().to_owned(), seen.cursor, "nothing came of the second");
}

#[tokio::test]
async fn lists_show_the_newest_first_and_only_what_is_wanted() {
    let (_dir, store) = store();
    let other: NodeId = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5".parse().unwrap();
    for n in 1..=60 {
        let recipient = if n % 2 == 0 { other } else { node() };
        let service = if n % 3 == 0 { Service::Vpn } else { Service::Message };
        accept(&store, OutboxMessage { recipient, service, ..message(n, 1) }).await;
        if n % 7 == 0 {
            store.begin_attempt(attempt(n, 0, n), NUMBER).await.unwrap();
        }
        if n % 5 == 0 {
            store.end_message(id(n), MessageState::Failed, failure("no"), UnixMillis(9)).await.unwrap();
        }
        if n % 7 == 0 {
            store.end_attempt(attempt(n, 0, n).hash, settled(), UnixMillis(9)).await.unwrap();
        }
    }
    use MessageState::{Failed, Settled};
    for states in [vec![], vec![Failed], vec![Settled], vec![Failed, Settled]] {
        for recipient in [None, Some(other)] {
            for services in [vec![], vec![Service::Vpn]] {
                let wanted: Vec<u8> = (1..=60)
                    .rev()
                    .filter(|n| {
                        // 35 failed first and settled late.
                        let state = if n % 7 == 0 { Some(Settled) } else { (n % 5 == 0).then_some(Failed) };
                        (states.is_empty() || state.is_some_and(|state| states.contains(&state)))
                            && (recipient.is_none() || n % 2 == 0)
                            && (services.is_empty() || n % 3 == 0)
                    })
                    .collect();
                let mut query = MessageQuery {
                    before: None,
                    limit: 4,
                    states: states.clone(),
                    recipient,
                    services: services.clone(),
                };
                let mut found = Vec::new();
                loop {
                    let page = store.list_messages(query.clone()).await.unwrap();
                    assert!(page.messages.len() == 4 || page.next.is_none());
                    found.extend(page.messages);
                    query.before = page.next;
                    if page.next.is_none() {
                        break;
                    }
                }
                let found: Vec<_> = found.into_iter().map(|stored| stored.message.id).collect();
                let wanted: Vec<_> = wanted.into_iter().map(id).collect();
                assert_eq!(found, wanted, "{states:?} {recipient:?} {services:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_ended_is_let_go_in_time_and_what_is_open_is_not() {
    let (_dir, store) = store();
    for n in 1..=4 {
        accept(&store, message(n, 30)).await;
        for part in 0..30 {
            store.begin_attempt(attempt(n, part, n * 30 + part as u8), NUMBER).await.unwrap();
        }
    }
    store.end_message(id(1), MessageState::Failed, failure("no"), UnixMillis(10)).await.unwrap();
    store.end_message(id(2), MessageState::Unknown, failure("perhaps"), UnixMillis(19)).await.unwrap();
    store.end_message(id(3), MessageState::Failed, failure("no"), UnixMillis(20)).await.unwrap();
    assert_eq!(store.forget_messages_before(UnixMillis(20)).await, Ok(2));
    assert_eq!(store.message(id(1)).await, Ok(None));
    assert_eq!(store.attempt(attempt(1, 29, 59).hash).await, Ok(None));
    assert_eq!(state(&store, 3).await, MessageState::Failed);
    assert_eq!(store.full_message(id(4)).await.unwrap().unwrap().attempts.len(), 30);
    assert_eq!(store.forget_messages_before(UnixMillis(u64::MAX)).await, Ok(1));
    assert_eq!(store.open_messages().await.unwrap().len(), 1);
}

#[tokio::test]
async fn numbers_of_runs_rise_whatever_the_clock_says() {
    let (dir, store) = store();
    assert_eq!(store.next_stream(1000).await, Ok(1000));
    assert_eq!(store.next_stream(500).await, Ok(1001));
    store.close();
    let store = open(dir.path(), None);
    assert_eq!(store.next_stream(1000).await, Ok(1002));
    assert_eq!(store.next_stream(2000).await, Ok(2000));
}

#[tokio::test]
async fn whether_a_channel_closed_since_an_attempt_was_begun_does_not_go_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), None);
    store.accept_message(message(1, 2), Arc::from(*b"text"), None).await.unwrap();
    let of_later = Attempt { begun: UnixMillis(1 << 50), ..attempt(1, 0, 1) };
    let of_earlier = Attempt { begun: UnixMillis(0), ..attempt(1, 1, 2) };
    store.note_channel_closed().await.unwrap();
    store.begin_attempt(of_later.clone(), NUMBER).await.unwrap();
    assert_eq!(store.closed_since_attempt(of_later.hash).await.unwrap(), Some(false));
    store.note_channel_closed().await.unwrap();
    store.begin_attempt(of_earlier.clone(), NUMBER).await.unwrap();
    assert_eq!(store.closed_since_attempt(of_later.hash).await.unwrap(), Some(true));
    assert_eq!(store.closed_since_attempt(of_earlier.hash).await.unwrap(), Some(false));
    assert_eq!(store.closed_since_attempt(attempt(1, 0, 9).hash).await.unwrap(), None);
}

/// A message of federation; one that is kept is a LEAVE.
fn said(n: u8, is_kept: bool) -> OutboxMessage {
    OutboxMessage {
        service: Service::Federate,
        keep_until: is_kept.then_some(UnixMillis(100)),
        ..message(n, 1)
    }
}

const fn number(seq: u32) -> Option<Number> {
    Some(Number { stream: 9, seq })
}

#[tokio::test]
async fn of_federation_the_last_word_counts() {
    let (_dir, store) = store();
    accept(&store, said(1, true)).await;
    accept(&store, said(2, false)).await;
    let leave = |seq| store.begin_attempt(attempt(1, 0, 50 + seq as u8), number(seq));
    assert_eq!(leave(1).await, Ok(Begun::Yes), "the younger gets a higher number");
    assert_eq!(store.requeue_message(id(1), failure("away")).await, Ok(true));
    assert_eq!(store.begin_attempt(attempt(2, 0, 2), number(2)).await, Ok(Begun::Yes));
    assert_eq!(leave(3).await, Ok(Begun::Behind));
    assert_eq!(
        (state(&store, 1).await, store.attempts(id(1)).await.unwrap().len()),
        (MessageState::Queued, 1)
    );

    // What failed says nothing.
    store.end_message(id(2), MessageState::Failed, failure("no"), UnixMillis(9)).await.unwrap();
    assert_eq!(leave(4).await, Ok(Begun::Yes));
    store.requeue_message(id(1), failure("away")).await.unwrap();
    accept(&store, said(3, false)).await;
    store.begin_attempt(attempt(3, 0, 3), number(5)).await.unwrap();
    store.end_attempt(attempt(3, 0, 3).hash, settled(), UnixMillis(9)).await.unwrap();
    assert_eq!(leave(6).await, Ok(Begun::Overtaken));
    assert_eq!(store.begin_attempt(attempt(2, 0, 4), number(7)).await, Ok(Begun::Ended));

    // Texts are not overtaken, and answers are not either.
    let text = OutboxMessage { keep_until: Some(UnixMillis(100)), ..message(4, 1) };
    accept(&store, text).await;
    accept(&store, OutboxMessage { unordered: true, ..said(5, true) }).await;
    for n in [6, 7] {
        accept(
            &store,
            OutboxMessage { service: [Service::Message, Service::Federate][n - 6], ..said(n as u8, true) },
        )
        .await;
    }
    for n in [4, 5] {
        assert_eq!(store.begin_attempt(attempt(n, 0, n + 20), number(8)).await, Ok(Begun::Yes));
    }
}

#[tokio::test]
async fn what_is_withdrawn_is_not_begun_and_not_tried_again() {
    let (_dir, store) = store();
    for (n, message) in [
        (1, said(1, true)),
        (2, said(2, true)),
        (3, OutboxMessage { unordered: true, ..said(3, true) }),
        (4, said(4, false)),
        (5, OutboxMessage { keep_until: Some(UnixMillis(100)), ..message(5, 1) }),
    ] {
        assert_eq!(message.id, id(n));
        accept(&store, message).await;
    }
    store.begin_attempt(attempt(2, 0, 2), None).await.unwrap();
    let withdraw = |only_ordered| {
        let (recipient, service, failure) = (node(), Service::Federate, failure("given up"));
        let withdrawal = Withdrawal { recipient, service, only_ordered, failure, at: UnixMillis(7) };
        store.commit_federation(FederateChange { withdraw: vec![withdrawal], ..FederateChange::default() })
    };
    withdraw(true).await.unwrap();
    let ended = stored(&store, 1).await;
    assert_eq!((ended.state, ended.ended), (MessageState::Failed, Some(UnixMillis(7))));
    assert_eq!(ended.failure, Some(failure("given up")));
    assert_eq!(store.begin_attempt(attempt(1, 0, 1), None).await, Ok(Begun::Ended));
    assert_eq!(store.requeue_message(id(1), failure("away")).await, Ok(false));
    assert_eq!(state(&store, 2).await, MessageState::Sending, "it may arrive");
    assert_eq!(store.requeue_message(id(2), failure("away")).await, Ok(false), "and is not tried again");
    for n in [3, 4, 5] {
        assert_eq!(state(&store, n).await, MessageState::Queued);
    }
    withdraw(false).await.unwrap();
    assert_eq!(state(&store, 3).await, MessageState::Failed);
    assert_eq!(state(&store, 4).await, MessageState::Queued, "its call waits for it");
    assert_eq!(state(&store, 5).await, MessageState::Queued, "it belongs to another service");
}
