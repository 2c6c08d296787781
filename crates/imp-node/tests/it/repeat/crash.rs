//! Kills of a sender at every commit of calls that are repeated, and of another try: each message once.

use imp_core::delivery::MessageState;
use imp_lightning::fake::FakeOptions;
use imp_node::service::messaging::SendMessage;
use imp_node::store::sqlite::Crash;
use tokio::task::JoinHandle;

use super::{calling, half_sent, is_whole_and_paid_once, keyed, network, retrying, text_to, wait_for};
use crate::lab::TestNode;

/// Waits until all calls have ended, or the node has come to the commit at which it dies; says whether it has not.
async fn finished<T>(node: &TestNode, calls: &[JoinHandle<T>]) -> bool {
    wait_for("the calls to end or the store to die", async || {
        node.store_is_dead() || calls.iter().all(JoinHandle::is_finished)
    })
    .await;
    !node.store_is_dead()
}

#[tokio::test]
async fn a_call_repeated_after_a_kill_at_any_commit_sends_once() {
    let mut died = 0;
    for seed in 0..3 {
        for commit in 1..40 {
            let network = network(FakeOptions { seed, ..FakeOptions::default() });
            let bob = TestNode::start(&network, "bob").await;
            let alice = TestNode::start_dying(&network, "alice", Crash::StopAfterCommit(commit)).await;
            let messages: Vec<SendMessage> = [
                text_to(bob.id, "first"),
                text_to(bob.id, &"long ".repeat(400)),
                text_to(alice.id, "note"),
                SendMessage { keep_secs: 3600, ..text_to(bob.id, "kept") },
            ]
            .into_iter()
            .enumerate()
            .map(|(n, message)| keyed(&n.to_string(), message))
            .collect();
            let calls: Vec<_> = messages.iter().map(|message| calling(&alice, message.clone())).collect();
            let finished = finished(&alice, &calls).await;
            let alice = alice.restart().await;
            let what = format!("seed {seed}, commit {commit}");
            // Under way after the kill or not at all: the calls say the same of it.
            for (message, before) in messages.iter().zip(calls) {
                let sent = calling(&alice, message.clone()).await.unwrap().unwrap();
                assert_eq!(sent.state, MessageState::Settled, "{what}");
                if before.is_finished()
                    && let Ok(Ok(before)) = before.await
                {
                    assert_eq!(before.id, sent.id, "{what}");
                }
            }
            bob.has_published(3).await;
            let mut texts = bob.texts().await;
            texts.sort_unstable();
            assert_eq!(texts, ["first", "kept", &"long ".repeat(400)], "{what}");
            assert_eq!(alice.texts().await, ["note"], "{what}");
            assert_eq!(alice.messages().await.len(), 4, "{what}");
            if finished {
                break;
            }
            died += 1;
        }
    }
    assert!(died >= 15, "only {died} kills hit the calls");
}

#[tokio::test]
async fn another_try_that_is_killed_at_any_commit_pays_no_part_twice() {
    let mut died = 0;
    for commit in 1..20 {
        let network = network(FakeOptions { seed: commit, ..FakeOptions::default() });
        let bob = TestNode::start(&network, "bob").await;
        let alice = TestNode::start(&network, "alice").await;
        let (_, id) = half_sent(&network, &alice, bob.id).await;
        let alice = alice.restart_dying(Crash::StopAfterCommit(commit)).await;
        let finished = finished(&alice, &[retrying(&alice, id)]).await;
        let alice = alice.restart().await;
        assert_eq!(retrying(&alice, id).await.unwrap().unwrap(), id, "commit {commit}");
        is_whole_and_paid_once(&alice, &bob, id).await;
        if finished {
            break;
        }
        died += 1;
    }
    assert!(died >= 5, "only {died} kills hit the try");
}
