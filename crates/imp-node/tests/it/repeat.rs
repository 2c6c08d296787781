//! Calls that are repeated under a key, and messages that are sent again.

mod crash;

use std::time::Duration;

use imp_api::error::Code;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_core::time::UnixMillis;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::error::Error;
use imp_node::idempotency::CallKey;
use imp_node::outbox::Sent;
use imp_node::runtime::clock::{Clock, SystemClock};
use imp_node::service::messaging::SendMessage;
use imp_node::store::OutboxStore;
use imp_node::store::outbox::SendFailure;
use tokio::task::JoinHandle;

use crate::lab::{TestNode, network, text_to, wait_for};

/// A message with a key; what the key stands for is the message itself.
pub(crate) fn keyed(key: &str, message: SendMessage) -> SendMessage {
    let request = format!("{message:?}");
    let key =
        CallKey::of_call("messaging.Messaging/SendMessage", Some(key.as_bytes()), [], request.as_bytes());
    SendMessage { key: key.unwrap(), ..message }
}

pub(crate) fn calling(node: &TestNode, message: SendMessage) -> JoinHandle<Result<Sent, Error>> {
    node.calling(|services| async move { services.messaging.send(message).await })
}

pub(crate) fn retrying(node: &TestNode, id: MessageId) -> JoinHandle<Result<MessageId, Error>> {
    node.calling(move |services| async move { services.messages.retry(&id.to_string()).await })
}

async fn two(options: FakeOptions) -> (FakeNetwork, TestNode, TestNode) {
    let network = network(options);
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    (network, alice, bob)
}

async fn state(node: &TestNode, id: MessageId) -> MessageState {
    node.store.message(id).await.unwrap().unwrap().state
}

/// A text of three parts of which the first is paid when its call fails.
async fn half_sent(network: &FakeNetwork, alice: &TestNode, to: NodeId) -> (SendMessage, MessageId) {
    let message = keyed("half", text_to(to, &"long ".repeat(400)));
    network.hold("alice", "bob", true);
    let call = calling(alice, message.clone());
    let first = network.holds(1).await;
    network.release(first[0]);
    let rest = network.holds(2).await;
    network.set_rejects("bob", true);
    network.hold("alice", "bob", false);
    for hash in rest {
        network.release(hash);
    }
    let error = call.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("1 of 3 parts were paid before"), "{error}");
    network.set_rejects("bob", false);
    let failed = alice.messages().await.pop().unwrap();
    assert_eq!((failed.state, failed.tally.parts_settled), (MessageState::Failed, 1));
    (message, failed.message.id)
}

async fn is_whole_and_paid_once(alice: &TestNode, bob: &TestNode, id: MessageId) {
    bob.has_published(1).await;
    let event = bob.journal().await.remove(0).event;
    assert_eq!((event.id, event.data), (id.to_string(), "long ".repeat(400)));
    let full = alice.store.full_message(id).await.unwrap().unwrap();
    let settled = full.attempts.iter().filter(|one| one.attempt.state == AttemptState::Settled);
    assert_eq!((full.stored.state, settled.count()), (MessageState::Settled, 3));
    assert_eq!(bob.journal().await.len(), 1);
}

#[tokio::test]
async fn twenty_calls_at_once_under_one_key_are_one_message() {
    for seed in 0..5 {
        let (network, alice, bob) = two(FakeOptions { seed, ..FakeOptions::default() }).await;
        let before = network.total();
        let message = keyed("k", SendMessage { amount: 7, ..text_to(bob.id, "once") });
        let calls: Vec<_> = (0..20).map(|_| calling(&alice, message.clone())).collect();
        let mut ids = Vec::new();
        for call in calls {
            ids.push(call.await.unwrap().unwrap().id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
        bob.has_published(1).await;
        let message = alice.messages().await.remove(0);
        assert_eq!((message.state, message.tally.attempts), (MessageState::Settled, 1));
        assert_eq!((bob.journal().await.len(), network.total()), (1, before));
    }
}

#[tokio::test]
async fn a_call_is_repeated_also_after_a_restart_and_another_request_under_its_key_is_refused() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let message = keyed("k", text_to(bob.id, "once"));
    let id = calling(&alice, message.clone()).await.unwrap().unwrap().id;
    let alice = alice.restart().await;
    assert_eq!(calling(&alice, message).await.unwrap().unwrap().id, id);
    let other = calling(&alice, keyed("k", text_to(bob.id, "other"))).await.unwrap().unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "{other}");
    assert!(other.to_string().contains("failed"), "{other}");
    assert_ne!(calling(&alice, keyed("l", text_to(bob.id, "once"))).await.unwrap().unwrap().id, id);
    bob.has_published(2).await;
    assert_eq!(bob.journal().await.len(), 2);
}

#[tokio::test]
async fn a_repeated_call_waits_for_the_first_though_its_caller_went_away() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.hold("alice", "bob", true);
    let message = keyed("k", text_to(bob.id, "once"));
    let first = calling(&alice, message.clone());
    network.holds(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = calling(&alice, message);
    let id = alice.messages().await[0].message.id;
    assert!(!second.is_finished());
    network.release_all();
    assert_eq!(second.await.unwrap().unwrap().id, id);
    bob.has_published(1).await;
    assert_eq!(alice.messages().await.len(), 1);
}

#[tokio::test]
async fn errors_before_anything_is_paid_leave_the_key_as_it_was() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let bad = keyed("k", SendMessage { amount: -1, ..text_to(bob.id, "x") });
    assert_eq!(calling(&alice, bad).await.unwrap().unwrap_err().code(), Code::InvalidArgument);
    let dear = keyed("k", SendMessage { amount: 600_000, ..text_to(bob.id, "x") });
    assert_eq!(calling(&alice, dear).await.unwrap().unwrap_err().code(), Code::FailedPrecondition);
    network.set_online("bob", false);
    let away = keyed("k", text_to(bob.id, "x"));
    assert_eq!(calling(&alice, away).await.unwrap().unwrap_err().code(), Code::Unavailable);
    network.set_online("bob", true);
    calling(&alice, keyed("k", text_to(bob.id, "another"))).await.unwrap().unwrap();
    bob.has_published(1).await;
    assert_eq!(bob.texts().await, ["another"]);
}

#[tokio::test]
async fn a_repeated_call_sends_only_what_is_missing() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let (message, id) = half_sent(&network, &alice, bob.id).await;
    let calls: Vec<_> = (0..5).map(|_| calling(&alice, message.clone())).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().id, id);
    }
    is_whole_and_paid_once(&alice, &bob, id).await;
}

#[tokio::test]
async fn a_message_that_failed_is_sent_again_where_it_was_left() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let (_, id) = half_sent(&network, &alice, bob.id).await;
    let alice = alice.restart().await;
    let tries: Vec<_> = (0..5).map(|_| retrying(&alice, id)).collect();
    for again in tries {
        assert_eq!(again.await.unwrap().unwrap(), id);
    }
    assert_eq!(retrying(&alice, id).await.unwrap().unwrap(), id, "settled: nothing is sent");
    is_whole_and_paid_once(&alice, &bob, id).await;
}

#[tokio::test]
async fn a_message_that_fails_again_says_so_to_everyone_and_may_be_tried_once_more() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let (message, id) = half_sent(&network, &alice, bob.id).await;
    network.set_online("bob", false);
    let (again, repeated) = (retrying(&alice, id), calling(&alice, message));
    for error in [again.await.unwrap().unwrap_err(), repeated.await.unwrap().unwrap_err()] {
        assert_eq!(error.code(), Code::Unavailable, "{error}");
        assert!(error.to_string().contains("failed"), "{error}");
    }
    assert_eq!(state(&alice, id).await, MessageState::Failed);
    network.set_online("bob", true);
    assert_eq!(retrying(&alice, id).await.unwrap().unwrap(), id);
    is_whole_and_paid_once(&alice, &bob, id).await;
}

#[tokio::test]
async fn what_failed_too_long_ago_is_not_sent_again() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let (message, id) = half_sent(&network, &alice, bob.id).await;
    let failure =
        SendFailure { code: 14, reason: "NO_ROUTE".to_owned(), text: "send failed: so it was".to_owned() };
    let long_ago = SystemClock.now().minus(Duration::from_secs(25 * 3600));
    alice.store.end_message(id, MessageState::Failed, failure, long_ago).await.unwrap();
    let error = calling(&alice, message).await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, "NO_ROUTE"));
    assert_eq!(error.to_string(), "send failed: so it was");
    let error = retrying(&alice, id).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert!(error.to_string().contains("failed"), "{error}");
    assert!(bob.journal().await.is_empty());
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.hold("alice", "bob", true);
    let message = keyed("k", text_to(bob.id, "perhaps"));
    let call = calling(&alice, message.clone());
    network.holds(1).await;
    network.close_channels("alice", "bob");
    network.mine();
    let first = call.await.unwrap().unwrap_err();
    let again = calling(&alice, message).await.unwrap().unwrap_err();
    assert_eq!((again.code(), again.to_string()), (Code::Unknown, first.to_string()));
    let id = alice.messages().await[0].message.id;
    let error = retrying(&alice, id).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    assert_eq!(alice.messages().await[0].tally.attempts, 1);
}

#[tokio::test]
async fn a_message_that_is_unknown_or_waits_by_itself_is_not_sent_again() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let unknown = MessageId::from_random([7; 16]);
    let error = retrying(&alice, unknown).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    let no_id = alice.call(|services| async move { services.messages.retry("x").await }).await.unwrap_err();
    assert_eq!(no_id.code(), Code::InvalidArgument, "{no_id}");
    network.set_online("bob", false);
    let message = keyed("k", SendMessage { keep_secs: 3600, ..text_to(bob.id, "kept") });
    let sent = calling(&alice, message.clone()).await.unwrap().unwrap();
    let again = calling(&alice, message).await.unwrap().unwrap();
    assert_eq!((again, again.state), (sent, MessageState::Queued));
    let error = retrying(&alice, sent.id).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
    network.set_online("bob", true);
    bob.has_published(1).await;
    wait_for("the end", async || state(&alice, sent.id).await == MessageState::Settled).await;
}

#[tokio::test]
async fn messages_to_oneself_are_repeated_and_looked_up_like_others() {
    let (_network, alice, _bob) = two(FakeOptions::default()).await;
    let message = keyed("k", SendMessage { amount: 7, ..text_to(alice.id, "note") });
    let calls: Vec<_> = (0..20).map(|_| calling(&alice, message.clone())).collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await.unwrap().unwrap().id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let alice = alice.restart().await;
    assert_eq!(calling(&alice, message).await.unwrap().unwrap().id, ids[0]);
    assert_eq!(alice.texts().await, ["note"]);
    let id = ids[0].to_string();
    let full = alice.call(|services| async move { services.messages.get(&id).await }).await.unwrap();
    assert_eq!((full.stored.state, full.stored.message.parts), (MessageState::Settled, 0));
    assert!(full.attempts.is_empty());
    assert_ne!(full.stored.ended, Some(UnixMillis(0)));
}
