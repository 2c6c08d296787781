//! Kills at every commit of either side: in the end both remember the same, and nothing is told twice.

use std::collections::HashMap;

use imp_core::delivery::MessageState;
use imp_core::federation::State;
use imp_core::record::Service;
use imp_lightning::fake::FakeOptions;
use imp_node::store::sqlite::Crash;

use super::{Said, has_said, is, request, said, state};
use crate::lab::{TestNode, network, wait_for};

/// Each event is there once.
fn each_once(said: &[Said], what: &str) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for event in said {
        *seen.entry(event.id.as_str()).or_default() += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "{what}: {said:?}");
}

#[tokio::test]
async fn a_requester_killed_at_any_commit_is_federated_or_has_not_asked() {
    let (mut died, mut asked) = (0, 0);
    for commit in 1..30 {
        let network = network(FakeOptions { seed: commit, ..FakeOptions::default() });
        let bob = TestNode::start(&network, "bob").await;
        let alice = TestNode::start_dying(&network, "alice", Crash::StopAfterCommit(commit)).await;
        let to = bob.id.to_string();
        let call = alice.calling(move |services| async move { services.federate.request(&to, None).await });
        wait_for("the federation or the kill", async || {
            alice.store_is_dead() || (call.is_finished() && state(&alice, bob.id).await == State::Federated)
        })
        .await;
        let finished = !alice.store_is_dead();
        let alice = alice.restart().await;
        alice.outbox_is_done().await;
        let what = format!("commit {commit}");
        let rows = alice.messages().await;
        let row = rows.iter().find(|row| row.message.service == Service::Federate);
        match row.map(|row| row.state) {
            Some(MessageState::Settled) => {
                asked += 1;
                is(&alice, bob.id, State::Federated).await;
                is(&bob, alice.id, State::Federated).await;
                wait_for("word of the request", async || {
                    said(&alice).await.iter().any(|said| said.kind == "REQUEST")
                })
                .await;
            }
            None | Some(MessageState::Failed) => {
                is(&alice, bob.id, State::None).await;
                assert!(said(&bob).await.is_empty(), "{what}");
            }
            Some(state) => panic!("{what}: {state:?}"),
        }
        each_once(&said(&alice).await, &what);
        each_once(&said(&bob).await, &what);
        if finished {
            break;
        }
        died += 1;
    }
    assert!(died >= 6 && asked >= 3, "{died} kills, {asked} of them after it was sent");
}

#[tokio::test]
async fn a_node_killed_at_any_commit_answers_what_it_was_asked_once() {
    let mut died = 0;
    for commit in 1..12 {
        let network = network(FakeOptions { seed: 50 + commit, ..FakeOptions::default() });
        let alice = TestNode::start(&network, "alice").await;
        let bob = TestNode::start_dying(&network, "bob", Crash::StopAfterCommit(commit)).await;
        let to = bob.id.to_string();
        let call = alice.calling(move |services| async move { services.federate.request(&to, None).await });
        wait_for("the federation or the kill", async || {
            bob.store_is_dead() || state(&alice, bob.id).await == State::Federated
        })
        .await;
        died += u32::from(bob.store_is_dead());
        let bob = bob.restart().await;
        call.await.unwrap().unwrap();
        is(&alice, bob.id, State::Federated).await;
        is(&bob, alice.id, State::Federated).await;
        bob.outbox_is_done().await;
        let what = format!("commit {commit}");
        for node in [&alice, &bob] {
            let said = said(node).await;
            each_once(&said, &what);
            let mut kinds: Vec<_> = said.iter().map(|said| said.kind.as_str()).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, ["ACCEPT", "REQUEST"], "{what}");
        }
    }
    assert!(died >= 4, "only {died} kills");
}

#[tokio::test]
async fn a_node_killed_at_any_commit_of_leaving_is_federated_or_left_on_both_sides() {
    let (mut died, mut left) = (0, 0);
    for commit in 1..20 {
        let network = network(FakeOptions { seed: 90 + commit, ..FakeOptions::default() });
        let bob = TestNode::start(&network, "bob").await;
        let alice = TestNode::start(&network, "alice").await;
        request(&alice, bob.id).await.unwrap();
        is(&alice, bob.id, State::Federated).await;
        has_said(&alice, "REQUEST", 1).await;
        let alice = alice.restart_dying(Crash::StopAfterCommit(commit)).await;
        let to = bob.id.to_string();
        let call = alice.calling(move |services| async move { services.federate.leave(&to, None).await });
        wait_for("the end of the call or the kill", async || alice.store_is_dead() || call.is_finished())
            .await;
        let finished = !alice.store_is_dead();
        let alice = alice.restart().await;
        if state(&alice, bob.id).await == State::Left {
            left += 1;
            is(&bob, alice.id, State::Left).await;
        } else {
            assert_eq!(state(&bob, alice.id).await, State::Federated, "commit {commit}");
        }
        alice.outbox_is_done().await;
        let what = format!("commit {commit}");
        each_once(&said(&alice).await, &what);
        each_once(&said(&bob).await, &what);
        if finished {
            break;
        }
        died += 1;
    }
    assert!(died >= 3 && left >= 3, "{died} kills, and it left {left} times");
}
