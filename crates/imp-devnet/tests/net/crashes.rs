//! Nodes that are killed while messages are under way.
//!
//! The rule: a message whose call returned an id is in the receiver's journal once; one whose call failed is there at
//! most once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use imp_api::proto::imp::node::v1::ListChannelsRequest;
use imp_devnet::devnet::Options;
use rusqlite::{Connection, params};
use tokio::task::JoinSet;

use crate::api::Api;
use crate::lab::{Lab, PATIENCE, options, wait_for};

/// Calls of one burst, and how many are under way at the same time.
const CALLS: usize = 150;
const CALLERS: usize = 16;

/// How many calls have succeeded when the node is killed.
const CALLS_BEFORE_KILL: usize = 40;

/// A text and what came of sending it.
type Sent = (String, Result<String, String>);

/// Sends a burst from alice to bob, and kills a node in the middle of it.
async fn burst(lab: &Lab, victim: &str) -> Vec<Sent> {
    let (alice, bob) = (lab.api("alice"), lab.api("bob"));
    let (next, succeeded) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut callers: JoinSet<Vec<Sent>> = JoinSet::new();
    for _ in 0..CALLERS {
        let (alice, to, next, succeeded) =
            (alice.clone(), bob.pubkey.clone(), next.clone(), succeeded.clone());
        callers.spawn(async move {
            let mut sent = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= CALLS {
                    return sent;
                }
                let text = format!("number {number}");
                let answer = alice.send(&to, &text).await;
                if answer.is_err() {
                    wait_for("a node that can pay", || async { alice.is_ready().await.then_some(()) }).await;
                }
                succeeded.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
                sent.push((text, answer));
            }
        });
    }
    wait_for("calls that succeed", || {
        let enough = succeeded.load(Ordering::Relaxed) >= CALLS_BEFORE_KILL;
        async move { enough.then_some(()) }
    })
    .await;
    lab.net.kill(victim).await.unwrap();
    callers.join_all().await.into_iter().flatten().collect()
}

/// Sends until it succeeds, as one does after a failure.
async fn insist(from: &Api, to: &Api, text: &str) {
    wait_for(text, || async { from.send(&to.pubkey, text).await.ok() }).await;
}

/// Checks the rule against the journal of bob.
async fn check(lab: &Lab, sent: Vec<Sent>) {
    lab.net.wait_usable(PATIENCE).await.unwrap();
    let (alice, bob) = (lab.api("alice"), lab.api("bob"));
    insist(&alice, &bob, "the end").await;
    let mut arrived: HashMap<String, Vec<String>> = HashMap::new();
    for event in bob.journal_until("the end").await {
        arrived.entry(event.data).or_default().push(event.id);
    }
    let mut failed = 0;
    for (text, answer) in sent {
        let ids = arrived.remove(&text).unwrap_or_default();
        match answer {
            Ok(id) => assert_eq!(ids, [id], "{text}"),
            Err(error) => {
                failed += 1;
                assert!(ids.len() <= 1, "{text} arrived {} times: {error}", ids.len());
            }
        }
    }
    println!("{failed} of {CALLS} calls failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_killed_has_every_message_once() {
    let lab = Lab::start(2).await;
    let pid = lab.node("bob").pid;
    let sent = burst(&lab, "bob").await;
    for error in sent.iter().filter_map(|(_, answer)| answer.as_ref().err()) {
        assert!(error.contains("failed"), "{error}");
    }
    check(&lab, sent).await;
    assert!(lab.told("bob was killed"));
    assert_ne!(lab.node("bob").pid, pid);
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_is_killed_sends_no_message_twice() {
    let lab = Lab::start(2).await;
    let sent = burst(&lab, "alice").await;
    assert!(sent.iter().any(|(_, answer)| answer.is_err()), "the calls of the moment lose their connection");
    check(&lab, sent).await;
    lab.net.stop().await;
}

/// The channels of alice, by their funding transactions.
async fn channels(lab: &Lab) -> Vec<String> {
    let client = lab.net.client("alice").await.unwrap();
    let channels = client.list_channels(ListChannelsRequest {}).await.unwrap().channels;
    channels.into_iter().map(|channel| channel.funding).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_a_crash_has_closed_is_opened_again() {
    let lab = Lab::with(|dir| Options { restart: false, ..options(dir, 2) }).await;
    let (alice, bob) = (lab.api("alice"), lab.api("bob"));
    let before = channels(&lab).await;

    // What a crash does by bad luck: bob's manager of channels on disk is older than what it manages.
    let database = lab.node("bob").data_dir.join("imp.db");
    let key = "namespace = '' AND subspace = '' AND key = 'manager'";
    lab.net.kill("bob").await.unwrap();
    let manager: Vec<u8> = Connection::open(&database)
        .unwrap()
        .query_row(&format!("SELECT value FROM blob WHERE {key}"), [], |row| row.get(0))
        .unwrap();
    lab.net.start_node("bob").await.unwrap();
    lab.net.wait_usable(PATIENCE).await.unwrap();
    for number in 0..5 {
        insist(&alice, &bob, &format!("number {number}")).await;
    }
    lab.net.kill("bob").await.unwrap();
    let changed = Connection::open(&database)
        .unwrap()
        .execute(&format!("UPDATE blob SET value = ?1 WHERE {key}"), params![manager])
        .unwrap();
    assert_eq!(changed, 1);
    lab.net.start_node("bob").await.unwrap();

    let after = wait_for("another channel", || async {
        lab.net.wait_usable(PATIENCE).await.unwrap();
        let now = channels(&lab).await;
        (now != before).then_some(now)
    })
    .await;
    assert_eq!(after.len(), 1, "the old one is gone: {after:?}");
    assert!(lab.told("channel alice - bob was closed"));
    insist(&alice, &bob, "over the new channel").await;
    insist(&bob, &alice, "and back").await;
    let journal = bob.journal_until("over the new channel").await;
    for number in 0..5 {
        let text = format!("number {number}");
        assert_eq!(journal.iter().filter(|event| event.data == text).count(), 1, "{text}");
    }
    lab.net.stop().await;
}
