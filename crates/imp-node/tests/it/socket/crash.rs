//! Kills at every commit of a relay's life: it runs with a row, or is gone with an event.

use imp_node::store::sqlite::Crash;

use super::*;

/// Starts, stops, starts again and lets one end by itself, until the node dies at a commit. Whether it came to the end.
async fn killed_at(commit: u64) -> bool {
    let network = network(FakeOptions::default());
    drop(TestNode::start(&network, "alice").await);
    let alice = TestNode::start_dying(&network, "alice", Crash::StopAfterCommit(commit)).await;
    let calls = alice.calling(|services| async move {
        let sockets = sockets(services);
        let mut answered = Vec::new();
        answered.push(sockets.start_default().await?);
        sockets.stop_default().await?;
        answered.push(sockets.start_default().await?);
        answered.push(sockets.start(StartRelay { life_secs: 1, ..StartRelay::default() }).await?);
        Ok::<_, Error>(answered)
    });
    wait_for("the calls and the life to end, or the store to die", async || {
        alice.store_is_dead() || (calls.is_finished() && ends(&alice).await.len() == 2)
    })
    .await;
    let finished = !alice.store_is_dead();
    let alice = alice.restart().await;
    wait_for("a relay of one second to end", async || {
        alice.store.relays().await.unwrap().iter().all(|relay| relay.is_default)
    })
    .await;
    let (running, ended) = (list(&alice).await, ends(&alice).await);
    let kept = alice.store.relays().await.unwrap();
    let ids = |views: &[RelayView]| views.iter().map(|view| view.relay.id).collect::<Vec<_>>();
    assert_eq!(ids(&running), kept.iter().map(|relay| relay.id).collect::<Vec<_>>(), "commit {commit}");
    assert!(running.len() <= 1 && ended.len() <= 2, "commit {commit}: {running:?} {ended:?}");
    let mut seen: HashSet<String> = running.iter().map(|view| view.relay.id.to_string()).collect();
    for end in &ended {
        let reason = end["reason"].as_str().unwrap();
        assert!(["stopped", "life"].contains(&reason), "commit {commit}: {reason}");
        assert!(
            seen.insert(end["id"].as_str().unwrap().to_owned()),
            "commit {commit}: {end} runs or ended twice"
        );
    }
    if finished {
        assert_eq!((running.len(), ended.len()), (1, 2));
    }
    // Whatever was left, the calls work.
    let default = start_default(&alice).await;
    assert!(running.iter().all(|view| view.relay.ports == default.relay.ports));
    let (one, two) = (Program::new().await, Program::new().await);
    join([&one, &two], default.relay.ports).await;
    stop_default(&alice).await;
    assert!(are_free(default.relay.ports));
    finished
}

#[tokio::test]
async fn a_kill_at_any_commit_leaves_a_relay_or_its_end() {
    for commit in 1..30 {
        if killed_at(commit).await {
            assert!(commit > 5, "only {} kills hit", commit - 1);
            return;
        }
    }
    panic!("the walk does not end");
}
