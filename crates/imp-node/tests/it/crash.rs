//! Kills at every commit of either side: every message once, or reported failed or unknown and then at most once.

use std::collections::HashMap;

use imp_core::delivery::MessageState;
use imp_core::id::MessageId;
use imp_lightning::fake::{FakeOptions, Moment};
use imp_node::store::sqlite::Crash;

use crate::lab::{TestNode, network, text_to, wait_for};

/// Messages in flight when a node dies; the second one has three parts.
fn texts() -> [String; 4] {
    ["first".to_owned(), "long ".repeat(400), "third".to_owned(), "fourth".to_owned()]
}

/// Networks, whose payments overtake each other differently, for each commit.
const SEEDS: u64 = 5;

/// How often each text was published, and that what was published is in the order of `texts`.
async fn published(node: &TestNode) -> HashMap<String, usize> {
    let mut count = HashMap::new();
    for text in node.texts().await {
        *count.entry(text).or_default() += 1;
    }
    count
}

/// What the sender's rows say must be what the recipient saw.
async fn check(alice: &TestNode, bob: &TestNode, what: &str) {
    alice.outbox_is_done().await;
    // Lets out what waits for the number of a message that the kill kept from being sent.
    alice.send(bob.id, "the end").await.unwrap();
    let ids = ids_of(alice).await;
    let settled = ids.values().filter(|state| **state == MessageState::Settled).count();
    bob.has_published(settled).await;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for event in bob.journal().await {
        *seen.entry(event.event.id).or_default() += 1;
    }
    for (id, state) in &ids {
        let times = seen.remove(&id.to_string()).unwrap_or(0);
        match state {
            MessageState::Settled => assert_eq!(times, 1, "{what}: {id} is settled"),
            MessageState::Failed => assert_eq!(times, 0, "{what}: {id} failed"),
            MessageState::Unknown => assert!(times <= 1, "{what}: {id} is unknown"),
            MessageState::Queued | MessageState::Sending => panic!("{what}: {id} has not ended"),
        }
    }
    assert!(seen.is_empty(), "{what}: published and never sent: {seen:?}");
}

/// Every message that the sender took in, with how it stands.
async fn ids_of(alice: &TestNode) -> HashMap<MessageId, MessageState> {
    alice.messages().await.into_iter().map(|stored| (stored.message.id, stored.state)).collect()
}

#[tokio::test]
async fn a_sender_killed_at_any_commit_sends_each_message_once_or_says_that_it_did_not() {
    let mut died = 0;
    for seed in 0..SEEDS {
        for commit in 1..40 {
            let network = network(FakeOptions { seed, ..FakeOptions::default() });
            let bob = TestNode::start(&network, "bob").await;
            let alice = TestNode::start_dying(&network, "alice", Crash::StopAfterCommit(commit)).await;
            let sending: Vec<_> = texts().iter().map(|text| alice.sending(text_to(bob.id, text))).collect();
            let finished = finish_or_die(&alice, sending).await;
            let alice = alice.restart().await;
            check(&alice, &bob, &format!("sender, seed {seed}, commit {commit}")).await;
            alice.send(bob.id, "after").await.unwrap();
            if finished {
                break;
            }
            died += 1;
        }
    }
    assert!(died >= 5 * SEEDS, "only {died} kills hit the messages");
}

/// Waits until all calls have ended, or the node has come to the commit at which it dies. Whether all ended well.
async fn finish_or_die(
    node: &TestNode,
    sending: Vec<tokio::task::JoinHandle<Result<MessageId, imp_node::error::Error>>>,
) -> bool {
    wait_for("the calls to end or the store to die", async || {
        node.store_is_dead() || sending.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    if node.store_is_dead() {
        return false;
    }
    for sent in sending {
        sent.await.unwrap().unwrap();
    }
    true
}

#[tokio::test]
async fn a_recipient_killed_at_any_commit_publishes_each_message_once_and_in_order() {
    for (seed, commit) in (0..SEEDS).flat_map(|seed| (1..12).map(move |commit| (seed, commit))) {
        let network = network(FakeOptions { seed: 100 + seed, ..FakeOptions::default() });
        let alice = TestNode::start(&network, "alice").await;
        let bob = TestNode::start_dying(&network, "bob", Crash::StopAfterCommit(commit)).await;
        let sending: Vec<_> = texts().iter().map(|text| alice.sending(text_to(bob.id, text))).collect();
        // What bob has not stored is not acknowledged, and comes again once he is back.
        wait_for("bob to die or to have it all", async || {
            bob.store_is_dead() || bob.texts().await.len() == 4
        })
        .await;
        let bob = bob.restart().await;
        for sent in sending {
            sent.await.unwrap().unwrap();
        }
        bob.has_published(4).await;
        assert_eq!(bob.texts().await, texts(), "recipient, commit {commit}");
        check(&alice, &bob, &format!("recipient, commit {commit}")).await;
    }
}

#[tokio::test]
async fn a_kill_around_a_call_to_the_backend_loses_and_doubles_nothing() {
    for (n, moment) in
        [Moment::BeforeSend, Moment::AfterSend, Moment::BeforeAcknowledge, Moment::AfterAcknowledge]
            .into_iter()
            .enumerate()
    {
        for skip in 0..4 {
            let network = network(FakeOptions { seed: 1000 + n as u64, ..FakeOptions::default() });
            let bob = TestNode::start(&network, "bob").await;
            let alice = TestNode::start(&network, "alice").await;
            network.crash_at("alice", moment, skip);
            let sending: Vec<_> = texts().iter().map(|text| alice.sending(text_to(bob.id, text))).collect();
            network.crashed("alice").await;
            drop(sending);
            let alice = alice.restart().await;
            check(&alice, &bob, &format!("sender, {moment:?} after {skip}")).await;
            let bob_dies = network.clone();
            bob_dies.crash_at("bob", Moment::BeforeAcknowledge, 0);
            let sending = alice.sending(text_to(bob.id, "to the dying"));
            network.crashed("bob").await;
            let bob = bob.restart().await;
            sending.await.unwrap().unwrap();
            wait_for("the message to the dying", async || {
                published(&bob).await.get("to the dying") == Some(&1)
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_new_run_does_not_wait_for_ever_for_the_numbers_of_the_last_one() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = TestNode::start(&network, "alice").await;
    alice.send(bob.id, "settled in the first run").await.unwrap();
    network.hold("alice", "bob", true);
    let held = alice.sending(text_to(bob.id, "held over the restart"));
    let payments = network.holds(1).await;
    drop(held);
    let alice = alice.restart().await;
    network.hold("alice", "bob", false);
    let waiting = alice.sending(text_to(bob.id, "of the second run"));
    network.release(payments[0]);
    waiting.await.unwrap().unwrap();
    bob.has_published(3).await;
    assert_eq!(bob.texts().await, ["settled in the first run", "held over the restart", "of the second run"]);
    check(&alice, &bob, "restart with a held payment").await;
}
