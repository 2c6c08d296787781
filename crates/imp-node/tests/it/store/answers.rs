//! What the node sends by itself, and what it costs.

use std::sync::Arc;

use imp_core::amount::Msat;
use imp_core::delivery::MessageState;
use imp_core::id::NodeId;
use imp_core::time::UnixMillis;
use imp_node::store::inbox::InboxChange;
use imp_node::store::outbox::{Answer, AnswerCost, AttemptEnd, OutboxMessage};
use imp_node::store::{InboxStore, OutboxStore, SqliteStore, StoreError};

use super::outbox::{attempt, failure, message};
use super::{id, inbox_payment, node, store};

const DAY: UnixMillis = UnixMillis(1_000);

/// A message of the node itself that may cost 11 sat, accepted at `at`.
fn answer(n: u8, at: u64) -> Answer {
    let message = message(n, 1);
    let message = OutboxMessage {
        unordered: true,
        accepted: UnixMillis(at),
        keep_until: Some(UnixMillis(at + 7_000)),
        answer: Some(Msat::from_sat(11)),
        ..message
    };
    Answer { message, body: Arc::from(*b"text") }
}

async fn take_in(store: &SqliteStore, answers: Vec<Answer>) {
    store.commit_inbox(InboxChange { answers, ..InboxChange::default() }).await.unwrap();
}

async fn cost(store: &SqliteStore, to: NodeId) -> (u64, u64) {
    let AnswerCost { in_all, to_one } = store.answers_since(DAY, to).await.unwrap();
    (in_all.0, to_one.0)
}

fn other() -> NodeId {
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5".parse().unwrap()
}

#[tokio::test]
async fn an_answer_is_stored_with_what_it_answers_or_not_at_all() {
    let (_dir, store) = store();
    let change =
        InboxChange { payment: Some(inbox_payment(1, 0)), answers: vec![answer(1, 5)], ..Default::default() };
    store.commit_inbox(change).await.unwrap();
    let stored = store.open_messages().await.unwrap().remove(0);
    assert_eq!((&stored.message, stored.state), (&answer(1, 5).message, MessageState::Queued));
    assert_eq!(store.message_body(id(1)).await, Ok(Some(b"text".to_vec())));
    assert_eq!(store.attempts(id(1)).await, Ok(Vec::new()));

    let known =
        InboxChange { payment: Some(inbox_payment(1, 0)), answers: vec![answer(2, 5)], ..Default::default() };
    assert!(matches!(store.commit_inbox(known).await, Err(StoreError::Database(_))));
    assert_eq!(store.message(id(2)).await, Ok(None));
    assert_eq!(store.message_body(id(2)).await, Ok(None));
}

#[tokio::test]
async fn an_answer_costs_what_it_may_cost_until_it_is_known_what_it_did() {
    let (_dir, store) = store();
    take_in(&store, vec![answer(1, 1_500)]).await;
    let own = OutboxMessage { answer: None, ..message(9, 1) };
    store.accept_message(own, Arc::from(*b"text"), None).await.unwrap();
    assert_eq!(cost(&store, node()).await, (11_000, 11_000), "and what a caller sends is no answer");
    assert_eq!(cost(&store, other()).await, (11_000, 0));

    store.begin_attempt(attempt(1, 0, 1), None).await.unwrap();
    let failed = AttemptEnd::Failed { reason: "no route".to_owned() };
    store.end_attempt(attempt(1, 0, 1).hash, failed, UnixMillis(1_600)).await.unwrap();
    assert_eq!(cost(&store, node()).await, (11_000, 11_000), "it may be tried again");
    store.begin_attempt(attempt(1, 0, 2), None).await.unwrap();
    let settled = AttemptEnd::Settled { fee: Some(Msat(7)) };
    store.end_attempt(attempt(1, 0, 2).hash, settled, UnixMillis(1_700)).await.unwrap();
    assert_eq!(cost(&store, node()).await, (1_007, 1_007));
}

#[tokio::test]
async fn an_answer_that_failed_cost_nothing_and_one_whose_outcome_or_fee_is_unknown_all_it_may() {
    let (_dir, store) = store();
    take_in(&store, (1..=3).map(|n| answer(n, 1_500)).collect()).await;
    let now = UnixMillis(1_600);
    store.end_message(id(1), MessageState::Failed, failure("no"), now).await.unwrap();
    assert_eq!(cost(&store, node()).await, (22_000, 22_000));
    store.begin_attempt(attempt(2, 0, 2), None).await.unwrap();
    let unknown = AttemptEnd::Unknown { reason: "a channel closed".to_owned() };
    store.end_attempt(attempt(2, 0, 2).hash, unknown, now).await.unwrap();
    store.end_message(id(2), MessageState::Unknown, failure("unknown"), now).await.unwrap();
    store.begin_attempt(attempt(3, 0, 3), None).await.unwrap();
    store.end_attempt(attempt(3, 0, 3).hash, AttemptEnd::Settled { fee: None }, now).await.unwrap();
    assert_eq!(cost(&store, node()).await, (22_000, 22_000));
}

#[tokio::test]
async fn an_answer_counts_from_its_acceptance_and_from_its_end_and_for_its_recipient_while_it_is_open() {
    let (_dir, store) = store();
    take_in(&store, vec![answer(1, 999), answer(2, 1_000), answer(3, 100)]).await;
    assert_eq!(cost(&store, node()).await, (11_000, 33_000), "two of them were accepted before");
    for (n, end) in [(1, 999), (3, 1_000)] {
        store.begin_attempt(attempt(n, 0, n), None).await.unwrap();
        let settled = AttemptEnd::Settled { fee: Some(Msat::ZERO) };
        store.end_attempt(attempt(n, 0, n).hash, settled, UnixMillis(end)).await.unwrap();
    }
    assert_eq!(cost(&store, node()).await, (12_000, 12_000), "one was paid before, one within the day");
}
