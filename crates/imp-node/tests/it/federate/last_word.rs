//! Of what a node says to another, the last word counts: what waits to be sent does not undo what was said since.

use imp_api::error::Code;
use imp_core::delivery::MessageState;
use imp_core::federation::State;
use imp_core::id::MessageId;
use imp_core::record::Service;
use imp_lightning::FailureReason;
use imp_node::idempotency::CallKey;
use imp_node::store::OutboxStore;

use super::{has_said, is, kinds, leave, peer, request, said, state, two};
use crate::lab::{TestNode, options, wait_for};

/// How a message stands, and why it failed.
async fn end(node: &TestNode, id: MessageId) -> (MessageState, String) {
    let stored = node.store.message(id).await.unwrap().unwrap();
    (stored.state, stored.failure.map(|failure| failure.reason).unwrap_or_default())
}

async fn has_state(node: &TestNode, id: MessageId, wanted: MessageState) {
    wait_for(&format!("a message that is {wanted:?}"), async || end(node, id).await.0 == wanted).await;
}

/// Alice and bob, federated by her request.
async fn federated() -> (imp_lightning::fake::FakeNetwork, TestNode, TestNode) {
    let (network, alice, bob) = two(options(), options()).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    has_said(&alice, "REQUEST", 1).await;
    (network, alice, bob)
}

#[tokio::test]
async fn a_leave_that_is_kept_does_not_end_what_was_asked_for_since() {
    let (network, alice, bob) = federated().await;
    network.set_route("alice", "bob", false);
    let left = leave(&alice, bob.id).await.unwrap();
    has_state(&alice, left, MessageState::Queued).await;
    network.set_route("alice", "bob", true);
    // The way is free, and the line has not found that out.
    request(&alice, bob.id).await.unwrap();
    alice.outbox_is_done().await;
    assert_eq!(end(&alice, left).await, (MessageState::Failed, "OVERTAKEN".to_owned()));
    assert_eq!(state(&bob, alice.id).await, State::Federated);
    is(&alice, bob.id, State::Federated).await;
    assert!(!kinds(&bob).await.contains(&"LEAVE".to_owned()));
}

#[tokio::test]
async fn a_leave_that_is_kept_is_sent_where_the_request_on_its_way_fails() {
    let (network, alice, bob) = federated().await;
    network.set_route("alice", "bob", false);
    let left = leave(&alice, bob.id).await.unwrap();
    has_state(&alice, left, MessageState::Queued).await;
    network.set_route("alice", "bob", true);
    network.hold("alice", "bob", true);
    let to = bob.id.to_string();
    let call = alice.calling(move |services| async move { services.federate.request(&to, None).await });
    let asked = network.holds(1).await[0];
    network.set_route("alice", "bob", false);
    network.hold("alice", "bob", false);
    network.fail_held(asked, FailureReason::NoRoute);
    call.await.unwrap().unwrap_err();
    assert_eq!(state(&alice, bob.id).await, State::Left);
    network.set_route("alice", "bob", true);
    is(&bob, alice.id, State::Left).await;
    has_state(&alice, left, MessageState::Settled).await;
}

#[tokio::test]
async fn a_leave_is_sent_all_the_same_where_the_request_after_it_fails() {
    let (network, alice, bob) = federated().await;
    network.set_online("bob", false);
    let left = leave(&alice, bob.id).await.unwrap();
    request(&alice, bob.id).await.unwrap_err();
    assert_eq!(state(&alice, bob.id).await, State::Left);
    network.set_online("bob", true);
    is(&bob, alice.id, State::Left).await;
    has_state(&alice, left, MessageState::Settled).await;
}

#[tokio::test]
async fn a_leave_that_is_kept_is_given_up_once_the_other_has_asked_and_is_accepted() {
    let (network, alice, bob) = federated().await;
    network.set_route("alice", "bob", false);
    let left = leave(&alice, bob.id).await.unwrap();
    has_state(&alice, left, MessageState::Queued).await;
    request(&bob, alice.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    network.set_route("alice", "bob", true);
    alice.outbox_is_done().await;
    let (ended, why) = end(&alice, left).await;
    assert_eq!((ended, why.as_str()), (MessageState::Failed, "WITHDRAWN"));
    assert_eq!(state(&bob, alice.id).await, State::Federated);
    assert!(!kinds(&bob).await.contains(&"LEAVE".to_owned()));
}

#[tokio::test]
async fn nothing_that_is_kept_is_sent_to_a_node_after_its_block() {
    let (network, alice, bob) = federated().await;
    network.set_route("alice", "bob", false);
    let left = leave(&alice, bob.id).await.unwrap();
    has_state(&alice, left, MessageState::Queued).await;
    let of = bob.id.to_string();
    alice.call(async move |services| services.federate.block(&of).await).await.unwrap();
    assert_eq!(end(&alice, left).await, (MessageState::Failed, "WITHDRAWN".to_owned()));
    network.set_route("alice", "bob", true);
    // What is sent now comes behind it, or instead of it.
    alice.send(bob.id, "still there").await.unwrap();
    bob.has_published(3).await;
    let alice = alice.restart().await;
    alice.send(bob.id, "and now").await.unwrap();
    bob.has_published(4).await;
    assert_eq!(kinds(&bob).await, ["REQUEST", "ACCEPT"]);
    assert_eq!(state(&bob, alice.id).await, State::Federated, "it is not told");
}

#[tokio::test]
async fn a_repetition_of_a_request_waits_for_its_end_and_asks_once_more_if_that_failed() {
    let (network, alice, bob) = two(options(), options()).await;
    let to = bob.id.to_string();
    let method = "federate.Federate/RequestFederate";
    let calling = || {
        let (to, key) = (to.clone(), CallKey::of_call(method, Some(b"k"), [], to.as_bytes()).unwrap());
        alice.calling(move |services| async move { services.federate.request(&to, key).await })
    };
    network.hold("alice", "bob", true);
    let first = calling();
    let held = network.holds(1).await[0];
    // One that comes now finds it on its way.
    let second = calling();
    network.hold("alice", "bob", false);
    network.refuse_next("alice", 1, imp_lightning::SendError::Invalid("no more of this".to_owned()));
    network.fail_held(held, FailureReason::NoRoute);
    first.await.unwrap().unwrap_err();
    second.await.unwrap().unwrap();
    is(&bob, alice.id, State::Federated).await;
    is(&alice, bob.id, State::Federated).await;
    has_said(&alice, "ACCEPT", 1).await;
    assert_eq!(kinds(&alice).await, ["REQUEST", "ACCEPT"]);
    assert!(peer(&alice, bob.id).await.unwrap().view.peer.asks.is_empty());
}

#[tokio::test]
async fn a_leave_that_nobody_hears_where_nothing_was_changes_nothing() {
    let (network, alice, bob) = two(options(), options()).await;
    network.set_online("bob", false);
    let error = leave(&alice, bob.id).await.unwrap_err();
    assert!(error.code() == Code::Unavailable && error.to_string().contains("failed"), "{error}");
    assert!(peer(&alice, bob.id).await.is_none() && said(&alice).await.is_empty());
    network.set_online("bob", true);
    leave(&alice, bob.id).await.unwrap();
    assert_eq!((state(&alice, bob.id).await, kinds(&alice).await), (State::Left, vec!["LEAVE".to_owned()]));
}

#[tokio::test]
async fn programs_learn_of_a_request_that_was_sent_though_the_peer_left_meanwhile() {
    let (network, alice, bob) = federated().await;
    network.hold("alice", "bob", true);
    let to = bob.id.to_string();
    let call = alice.calling(move |services| async move { services.federate.request(&to, None).await });
    network.holds(1).await;
    leave(&bob, alice.id).await.unwrap();
    is(&alice, bob.id, State::Left).await;
    network.release_all();
    let id = call.await.unwrap().unwrap();
    let asked = async || said(&alice).await.iter().filter(|said| said.id == id.to_string()).count();
    wait_for("word of the request", async || asked().await == 1).await;
}

#[tokio::test]
async fn a_request_that_failed_is_not_sent_again_by_its_id() {
    let (network, alice, bob) = two(options(), options()).await;
    network.refuse_next("alice", 1, imp_lightning::SendError::Invalid("no".to_owned()));
    request(&alice, bob.id).await.unwrap_err();
    let row = alice.messages().await.pop().unwrap();
    assert_eq!((row.message.service, row.state), (Service::Federate, MessageState::Failed));
    let id = row.message.id.to_string();
    let error = alice.call(async move |services| services.messages.retry(&id).await).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.to_string().contains("failed") && error.to_string().contains("RequestFederate"), "{error}");
}
