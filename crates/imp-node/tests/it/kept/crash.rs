//! Kills of a sender at every commit while messages are kept: none is lost, each arrives once.

use std::collections::HashMap;

use futures_util::stream::{self, StreamExt};
use imp_core::delivery::MessageState;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::store::OutboxStore;
use imp_node::store::sqlite::Crash;

use super::{keeping, kept, network, wait_for};
use crate::lab::TestNode;

/// How a recipient can be away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// No channel to it can be used.
    Offline,
    /// No way to it is found.
    NoRoute,
    /// It refuses what is sent.
    Refusing,
}

impl Away {
    fn set(self, network: &FakeNetwork, away: bool) {
        match self {
            Self::Offline => network.set_online("bob", !away),
            Self::NoRoute => network.set_route("alice", "bob", !away),
            Self::Refusing => network.set_rejects("bob", away),
        }
    }
}

/// Whether the walk came to its end before the commit.
async fn killed_at(commit: u64, away: Away) -> bool {
    let network = network(FakeOptions { seed: commit, ..FakeOptions::default() });
    drop(TestNode::start(&network, "alice").await);
    let bob = TestNode::start(&network, "bob").await;
    away.set(&network, true);
    let alice = TestNode::start_dying(&network, "alice", Crash::StopAfterCommit(commit)).await;
    let texts = ["first".to_owned(), "long ".repeat(400)];
    let calls: Vec<_> = texts.iter().map(|text| keeping(&alice, kept(bob.id, text))).collect();
    wait_for("the calls to end or the store to die", async || {
        alice.store_is_dead() || calls.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    let mut answered = Vec::new();
    for call in calls {
        if call.is_finished()
            && let Ok(sent) = call.await.unwrap()
        {
            answered.push(sent.id);
        }
    }
    away.set(&network, false);
    wait_for("the line to be sent or the store to die", async || {
        alice.store_is_dead() || alice.store.open_messages().await.is_ok_and(|open| open.is_empty())
    })
    .await;
    let finished = !alice.store_is_dead();
    let alice = alice.restart().await;
    alice.outbox_is_done().await;
    let what = format!("{away:?}, commit {commit}");
    let rows = alice.messages().await;
    let settled = rows.iter().filter(|row| row.state == MessageState::Settled).count();
    // Its number says that nobody need wait for that of a message whose outcome is unknown.
    let last = alice.send(bob.id, "the end").await.unwrap();
    let arrived = async || bob.journal().await.len() > settled;
    wait_for(&format!("all that was kept to arrive: {what}"), arrived).await;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for event in bob.journal().await {
        *seen.entry(event.event.id).or_default() += 1;
    }
    assert_eq!(seen.remove(&last.to_string()), Some(1), "{what}");
    for row in &rows {
        let id = row.message.id;
        let times = seen.remove(&id.to_string());
        if row.state == MessageState::Settled {
            assert_eq!(times, Some(1), "{what}: {id}");
        } else {
            // A refusal of what was under way when the sender died does not prove that the first of it was refused too.
            assert!(matches!(away, Away::Refusing), "{what}: {id}: {:?}", row.failure);
            let reason = row.failure.as_ref().map(|failure| failure.reason.as_str());
            assert_eq!((reason, times), (Some("OUTCOME_UNKNOWN"), None), "{what}: {id}: {:?}", row.failure);
        }
        answered.retain(|answered| *answered != id);
    }
    assert!(seen.is_empty(), "{what}: nobody sent {seen:?}");
    assert!(answered.is_empty(), "{what}: {answered:?} were promised and are gone");
    finished
}

#[tokio::test]
async fn a_kept_message_outlives_a_kill_at_any_commit() {
    for (away, commits) in [(Away::Offline, 16), (Away::NoRoute, 60), (Away::Refusing, 60)] {
        // Mostly they wait, so many can go at once.
        let walks = stream::iter(1..=commits).map(|commit| killed_at(commit, away)).buffer_unordered(12);
        let died = walks.filter(|finished| std::future::ready(!finished)).count().await;
        assert!(died >= 8, "{away:?}: only {died} kills hit the walk");
    }
}
