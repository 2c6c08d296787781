//! Daemons on real Lightning nodes, killed at each commit of outbox and inbox: the process ends right after the commit,
//! before anything that follows from it.

use std::process::Stdio;
use std::time::Duration;

use imp_api::client::Client;
use imp_api::proto::messaging::SendMessageRequest;
use imp_api::proto::websocket::SubscribeRequest;
use imp_devnet::devnet::{Devnet, Options, Ports};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who dies at which commit, and how often bob then has the message in the end.
const CASES: [(&str, &str, usize); 4] = [
    // Taken in and never attempted: given up at the next start.
    ("alice", "accept_message", 0),
    // Perhaps sent, perhaps not: followed to the end.
    ("alice", "begin_attempt", 1),
    ("alice", "end_attempt", 1),
    // Published, and not acknowledged to the Lightning node: it comes again and counts once.
    ("bob", "commit_inbox", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_each_commit_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        Options { dir: dir.path().join("net"), ports: Ports::Free, restart: false, ..Options::default() };
    let net = Devnet::start(options).await.unwrap();
    let bob = net.node("bob").unwrap().pubkey;
    for (victim, commit, times) in CASES {
        let text = format!("{victim} dies after {commit}");
        stop(&net, victim).await;
        let mut dying = start_dying(&net, victim, commit).await;
        let sent = send(&net, &bob, &text).await;
        let died = timeout(PATIENCE, dying.wait()).await.expect("the daemon comes to the commit").unwrap();
        assert!(!died.success(), "{text}: {died}");
        if victim == "alice" {
            assert!(sent.is_err(), "{text}: whoever died gave no answer");
        }
        net.start_node(victim).await.unwrap();
        net.wait_usable(PATIENCE).await.unwrap();
        // The last of the line: what is before it in the journal is all there will be.
        let fence = format!("after {text}");
        send(&net, &bob, &fence).await.unwrap();
        let journal = journal_until(&net, &fence).await;
        let found = journal.iter().filter(|data| **data == text).count();
        assert_eq!(found, times, "{text}: {journal:?}");
    }
    net.stop().await;
}

/// Stops a node. A kill could cost its channel, which only a net's own start opens again.
pub(crate) async fn stop(net: &Devnet, name: &str) {
    let pid = net.node(name).unwrap().pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    kill_process(pid.expect("the node runs"), Signal::TERM).unwrap();
    let until = Instant::now() + PATIENCE;
    while net.node(name).unwrap().pid.is_some() {
        assert!(Instant::now() < until, "{name} does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts a node's daemon by hand, with the commit at which it dies, and waits until it can pay.
async fn start_dying(net: &Devnet, name: &str, commit: &str) -> Child {
    let node = net.node(name).unwrap();
    let impd = imp_devnet::devnet::built_program("impd").expect("impd is built: cargo build -p imp-node");
    let child = Command::new(impd)
        .arg("--config")
        .arg(net.dir().join(name).join("config.yml"))
        .env("IMP_TEST_ABORT_AFTER", format!("{commit}:1"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while !can_pay(&node.grpc.to_string()).await {
        assert!(Instant::now() < until, "{name} does not come up to die after {commit}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child
}

async fn can_pay(grpc: &str) -> bool {
    let Ok(client) = Client::connect(grpc).await else { return false };
    let Ok(channels) = client.list_channels(Default::default()).await else { return false };
    channels.channels.iter().any(|channel| channel.usable)
}

async fn send(net: &Devnet, to: &str, text: &str) -> Result<String, String> {
    let client = Client::connect(&net.node("alice").unwrap().grpc.to_string()).await.unwrap();
    let request =
        SendMessageRequest { msg: text.to_owned(), pubkey: to.to_owned(), ..SendMessageRequest::default() };
    let sent = timeout(PATIENCE, client.send_message(request)).await.expect("the call ends");
    sent.map(|sent| sent.id).map_err(|error| error.to_string())
}

/// Everything that bob ever published, up to an event.
async fn journal_until(net: &Devnet, last: &str) -> Vec<String> {
    let client = Client::connect(&net.node("bob").unwrap().grpc.to_string()).await.unwrap();
    let all = SubscribeRequest { after: Some(0), ..SubscribeRequest::default() };
    let mut events = client.subscribe(all).await.unwrap();
    let mut journal = Vec::new();
    while journal.last().is_none_or(|data| data != last) {
        let event = timeout(PATIENCE, events.next()).await.expect("the event comes").unwrap();
        journal.push(event.expect("the stream goes on").data);
    }
    journal
}
