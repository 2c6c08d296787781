//! Messages that are kept for whoever is away.

mod crash;
mod limits;
mod outbox;

use std::time::{Duration, Instant};

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::error::Error;
use imp_node::outbox::Sent;
use imp_node::service::messaging::SendMessage;
use imp_node::store::OutboxStore;
use imp_node::store::outbox::StoredMessage;
use tokio::task::JoinHandle;

use crate::lab::{TestNode, network, text_to, wait_for};

const HOUR: i64 = 3600;

fn kept(to: NodeId, text: &str) -> SendMessage {
    SendMessage { keep_secs: HOUR, ..text_to(to, text) }
}

fn keeping(node: &TestNode, message: SendMessage) -> JoinHandle<Result<Sent, Error>> {
    node.calling(|services| async move { services.messaging.send(message).await })
}

/// Sends a message that cannot arrive yet.
async fn keep(node: &TestNode, message: SendMessage) -> MessageId {
    let sent = keeping(node, message).await.unwrap().unwrap();
    assert_eq!(sent.state, MessageState::Queued);
    sent.id
}

async fn stored(node: &TestNode, id: MessageId) -> StoredMessage {
    node.store.message(id).await.unwrap().unwrap()
}

async fn two(options: FakeOptions) -> (FakeNetwork, TestNode, TestNode) {
    let network = network(options);
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    (network, alice, bob)
}

#[tokio::test]
async fn a_message_for_whoever_is_away_is_queued_and_arrives_once_they_are_back() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.set_online("bob", false);
    let error = alice.send(bob.id, "not kept").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
    let id = keep(&alice, kept(bob.id, "kept")).await;
    let waiting = stored(&alice, id).await;
    assert_eq!((waiting.state, waiting.ended, waiting.tally.attempts), (MessageState::Queued, None, 0));
    let until = waiting.message.keep_until.unwrap();
    assert_eq!(until.since(waiting.message.accepted), Duration::from_secs(3600));
    network.set_online("bob", true);
    bob.has_published(1).await;
    alice.outbox_is_done().await;
    assert_eq!(bob.texts().await, ["kept"]);
    assert_eq!(bob.journal().await[0].event.id, id.to_string());
    assert_eq!(stored(&alice, id).await.state, MessageState::Settled);
}

#[tokio::test]
async fn one_recipient_who_stays_away_leaves_room_for_the_others() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let carol = TestNode::start(&network, "carol").await;
    for name in ["bob", "carol"] {
        network.set_online(name, false);
    }
    let calls: Vec<_> = (0..1000).map(|n| keeping(&alice, kept(bob.id, &n.to_string()))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().state, MessageState::Queued);
    }
    let error = keeping(&alice, kept(bob.id, "one too many")).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.to_string().contains("1000 messages are kept for this recipient"), "{error}");
    keep(&alice, kept(carol.id, "another")).await;
}

#[tokio::test]
async fn a_message_that_settles_at_once_is_not_kept() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let sent = keeping(&alice, kept(bob.id, "hello")).await.unwrap().unwrap();
    assert_eq!(sent.state, MessageState::Settled);
    let to_oneself = keeping(&alice, kept(alice.id, "note")).await.unwrap().unwrap();
    assert_eq!(to_oneself.state, MessageState::Settled);
    assert!(alice.store.open_messages().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_line_arrives_in_the_order_of_acceptance_and_later_messages_may_overtake_it() {
    let (network, alice, bob) = two(FakeOptions { seed: 5, ..FakeOptions::default() }).await;
    network.set_online("bob", false);
    let keeping: Vec<_> = (0..30).map(|n| keeping(&alice, kept(bob.id, &n.to_string()))).collect();
    for call in keeping {
        assert_eq!(call.await.unwrap().unwrap().state, MessageState::Queued);
    }
    let in_line: Vec<String> =
        alice.messages().await.into_iter().map(|one| one.message.id.to_string()).collect();
    network.set_online("bob", true);
    let later = alice.send(bob.id, "later").await.unwrap();
    bob.has_published(31).await;
    alice.outbox_is_done().await;
    let arrived: Vec<String> = bob.journal().await.into_iter().map(|event| event.event.id).collect();
    let of_line: Vec<String> = arrived.iter().filter(|id| **id != later.to_string()).cloned().collect();
    assert_eq!(of_line, in_line);
    assert_eq!(bob.counter("inbox_late").await, 0);
}

#[tokio::test]
async fn a_payment_that_settles_brings_the_line_along() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.set_route("alice", "bob", false);
    let id = keep(&alice, kept(bob.id, "kept")).await;
    // After three passes in vain the line rests for eight seconds.
    wait_for("three tries more", async || {
        let stored = stored(&alice, id).await;
        stored.tally.attempts >= 12 && stored.state == MessageState::Queued
    })
    .await;
    network.set_route("alice", "bob", true);
    let begun = Instant::now();
    alice.send(bob.id, "fresh").await.unwrap();
    bob.has_published(2).await;
    assert_eq!(bob.texts().await, ["fresh", "kept"]);
    assert!(begun.elapsed() < Duration::from_secs(6), "it did not wait for its time");
}

#[tokio::test]
async fn parts_that_are_paid_are_not_paid_again() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.hold("alice", "bob", true);
    let text = "long ".repeat(700);
    let call = keeping(&alice, SendMessage { amount: 10, ..kept(bob.id, &text) });
    let first = network.holds(1).await;
    network.release(first[0]);
    let rest = network.holds(3).await;
    network.set_rejects("bob", true);
    network.hold("alice", "bob", false);
    for hash in rest {
        network.release(hash);
    }
    let sent = call.await.unwrap().unwrap();
    assert_eq!(sent.state, MessageState::Queued);
    let half = stored(&alice, sent.id).await;
    assert_eq!((half.tally.parts_settled, half.number), (1, None));
    network.set_rejects("bob", false);
    bob.has_published(1).await;
    alice.outbox_is_done().await;
    let event = bob.journal().await.remove(0).event;
    assert_eq!((event.id, event.data == text, event.amount_sat), (sent.id.to_string(), true, 10));
    let full = alice.store.full_message(sent.id).await.unwrap().unwrap();
    let settled: Vec<_> = full
        .attempts
        .iter()
        .filter(|one| one.attempt.state == imp_core::attempt::AttemptState::Settled)
        .collect();
    assert_eq!(settled.len(), 4, "one payment for each part");
    assert_eq!(settled.iter().map(|one| one.attempt.amount).sum::<Msat>(), Msat::from_sat(10));
}

#[tokio::test]
async fn a_message_that_is_too_large_for_the_balance_holds_nobody_up() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.set_online("bob", false);
    let large = keeping(&alice, SendMessage { amount: 300_000, ..kept(bob.id, "large") });
    let large = large.await.unwrap().unwrap().id;
    let small = keep(&alice, kept(bob.id, "small")).await;
    assert!(stored(&alice, large).await.place < stored(&alice, small).await.place);
    network.set_balance("alice", "bob", Msat::from_sat(100_000));
    network.set_online("bob", true);
    bob.has_published(1).await;
    assert_eq!(bob.texts().await, ["small"]);
    wait_for("the large one to be tried", async || stored(&alice, large).await.failure.is_some()).await;
    let failure = stored(&alice, large).await.failure.unwrap();
    assert!(failure.text.contains("not enough balance"), "{}", failure.text);
    network.set_balance("alice", "bob", Msat::from_sat(500_000));
    bob.has_published(2).await;
    alice.outbox_is_done().await;
    assert_eq!(bob.texts().await, ["small", "large"]);
}

#[tokio::test]
async fn a_message_whose_time_is_over_fails_and_says_why() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.set_route("alice", "bob", false);
    let id = keep(&alice, SendMessage { keep_secs: 6, ..text_to(bob.id, "kept") }).await;
    alice.outbox_is_done().await;
    let ended = stored(&alice, id).await;
    assert_eq!(ended.state, MessageState::Failed);
    let failure = ended.failure.unwrap();
    assert!(failure.text.starts_with("send failed: "), "{}", failure.text);
    assert!(failure.text.contains("no route"), "{}", failure.text);
    network.set_route("alice", "bob", true);
    alice.send(bob.id, "after").await.unwrap();
    bob.has_published(1).await;
    assert_eq!(bob.texts().await, ["after"]);
}

#[tokio::test]
async fn what_can_never_be_sent_is_not_kept() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let cases = [
        (SendMessage { keep_secs: -1, ..text_to(bob.id, "x") }, Code::InvalidArgument, "keep_secs: -1"),
        (
            SendMessage { keep_secs: 604_801, ..text_to(bob.id, "x") },
            Code::InvalidArgument,
            "keep_secs: 604801",
        ),
        (
            SendMessage { amount: 600_000, ..kept(bob.id, "x") },
            Code::FailedPrecondition,
            "not enough balance",
        ),
    ];
    for (message, code, text) in cases {
        let error = keeping(&alice, message).await.unwrap().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text) && error.to_string().contains("failed"), "{error}");
    }
    let senseless = imp_lightning::SendError::Invalid("of no sense".to_owned());
    network.refuse_next("alice", 1, senseless);
    let error = keeping(&alice, kept(bob.id, "x")).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(alice.store.open_messages().await.unwrap().is_empty());
    assert!(bob.journal().await.is_empty());
}

#[tokio::test]
async fn a_message_that_may_have_arrived_is_not_kept() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.hold("alice", "bob", true);
    let call = keeping(&alice, kept(bob.id, "perhaps"));
    network.holds(1).await;
    network.close_channels("alice", "bob");
    network.mine();
    let error = call.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("may have arrived"), "{error}");
    assert!(alice.store.open_messages().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_restart_takes_the_line_up_again_in_its_order() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    network.set_online("bob", false);
    let keeping: Vec<_> = (0..10).map(|n| keeping(&alice, kept(bob.id, &n.to_string()))).collect();
    for call in keeping {
        call.await.unwrap().unwrap();
    }
    let in_line: Vec<String> =
        alice.messages().await.into_iter().map(|one| one.message.id.to_string()).collect();
    let alice = alice.restart().await;
    network.set_online("bob", true);
    bob.has_published(10).await;
    alice.outbox_is_done().await;
    let arrived: Vec<String> = bob.journal().await.into_iter().map(|event| event.event.id).collect();
    assert_eq!(arrived, in_line);
}
