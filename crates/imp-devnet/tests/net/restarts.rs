//! Nets that start again, and nodes that do.

use std::fs;
use std::process::Command;

use imp_devnet::devnet::{Devnet, Options, Ready};
use rustix::process::{Pid, Signal, kill_process};

use crate::api::Api;
use crate::lab::{Lab, PATIENCE, impd, options, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_net_is_kept_until_a_fresh_one_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let keys = |net: &Devnet| net.nodes().into_iter().map(|node| node.pubkey).collect::<Vec<_>>();

    let first = Devnet::start(options(dir.path(), 2)).await.unwrap();
    let (alice, bob) = (Api::new(&first.nodes()[0]), Api::new(&first.nodes()[1]));
    alice.send(&bob.pubkey, "before").await.unwrap();
    let (first_keys, height) = (keys(&first), first.chain().height());
    first.stop().await;

    let second = Devnet::start(options(dir.path(), 2)).await.unwrap();
    assert_eq!(keys(&second), first_keys);
    assert_eq!(second.chain().height(), height, "nothing was opened or paid anew");
    let (alice, bob) = (Api::new(&second.nodes()[0]), Api::new(&second.nodes()[1]));
    alice.send(&bob.pubkey, "after").await.unwrap();
    let journal = bob.journal_until("after").await;
    assert!(journal.iter().any(|event| event.data == "before"), "{journal:?}");
    second.stop().await;

    // One more node: what there is stays, what is missing comes.
    let third = Devnet::start(options(dir.path(), 3)).await.unwrap();
    assert_eq!(keys(&third)[..2], first_keys);
    let (alice, carol) = (Api::new(&third.nodes()[0]), Api::new(&third.nodes()[2]));
    alice.send(&carol.pubkey, "welcome").await.unwrap();
    third.stop().await;

    let fresh = Devnet::start(Options { fresh: true, ..options(dir.path(), 2) }).await.unwrap();
    assert!(keys(&fresh).iter().all(|key| !first_keys.contains(key)));
    let (alice, bob) = (Api::new(&fresh.nodes()[0]), Api::new(&fresh.nodes()[1]));
    alice.send(&bob.pubkey, "anew").await.unwrap();
    assert!(bob.journal_until("anew").await.iter().all(|event| event.data != "before"));
    assert!(!dir.path().join("carol").exists());
    fresh.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_started_again_and_stands_in_the_ready_file() {
    let lab = Lab::start(2).await;
    let ready = || -> Ready { serde_json::from_slice(&fs::read(lab.net.ready_file()).unwrap()).unwrap() };
    assert_eq!(ready().nodes, lab.net.nodes());
    for _ in 0..3 {
        let pid = ready().nodes[1].pid.unwrap();
        // From outside, as a user would do it.
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
        wait_for("another process in the ready file", || async {
            ready().nodes[1].pid.filter(|now| *now != pid)
        })
        .await;
    }
    lab.net.wait_usable(PATIENCE).await.unwrap();
    assert_eq!(ready().nodes, lab.net.nodes());
    let file = lab.net.ready_file().to_owned();
    lab.net.stop().await;
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_left_dead_is_left_dead() {
    let lab = Lab::with(|dir| Options { restart: false, ..options(dir, 2) }).await;
    lab.net.kill("bob").await.unwrap();
    wait_for("word of it", || async { lab.told("not started again").then_some(()) }).await;
    let ready: Ready = serde_json::from_slice(&fs::read(lab.net.ready_file()).unwrap()).unwrap();
    assert_eq!(ready.nodes[1].pid, None);
    lab.net.start_node("bob").await.unwrap();
    lab.net.wait_usable(PATIENCE).await.unwrap();
    assert!(lab.node("bob").pid.is_some());
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_a_data_directory_is_refused() {
    let lab = Lab::start(1).await;
    let alice = lab.node("alice");
    let config = alice.data_dir.join("config.yml");
    let second = Command::new(impd())
        .args(["run", "--server-grpc-addr=127.0.0.1:0", "--server-http-addr=127.0.0.1:0", "--config"])
        .arg(config)
        .output()
        .unwrap();
    let text = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("process {}", alice.pid.unwrap())), "{text}");
    let api = lab.api("alice");
    api.send(&api.pubkey, "still here").await.unwrap();
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_start_ends_the_start_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("impd");
    fs::write(&program, "#!/bin/sh\necho 'no disk today' >&2\nexit 3\n").unwrap();
    Command::new("chmod").arg("+x").arg(&program).status().unwrap();
    let options = Options { impd: Some(program), ..options(&dir.path().join("net"), 2) };
    let error = Devnet::start(options).await.unwrap_err().to_string();
    assert!(error.contains("has ended with exit code 3") && error.contains("no disk today"), "{error}");
}
