//! The command line `imp` as its users run it, against nodes with a channel.
//!
//! Needs the program `imp`: `cargo build -p imp-cli`.

use std::process::{Output, Stdio};

use imp_devnet::devnet::{NodeInfo, built_program};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE, wait_for};

async fn imp(node: &NodeInfo, args: &[&str]) -> Output {
    let program = built_program("imp").expect("imp is not built: run `cargo build -p imp-cli` first");
    let mut command = Command::new(program);
    command.args(args).env("IMP_ADDR", node.grpc.to_string()).stdin(Stdio::null()).kill_on_drop(true);
    timeout(PATIENCE, command.output()).await.expect("imp ends").unwrap()
}

/// What a command that succeeds prints for people.
async fn text(node: &NodeInfo, args: &[&str]) -> String {
    let done = imp(node, args).await;
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert_eq!((done.status.code(), err.as_str()), (Some(0), ""), "{args:?} printed {out}");
    out
}

/// What a command that succeeds prints for programs.
async fn json(node: &NodeInfo, args: &[&str]) -> Value {
    serde_json::from_str(&text(node, &[args, &["--json"]].concat()).await).unwrap()
}

/// The entry of a list that has this value in a field.
fn find<'a>(list: &'a Value, field: &str, value: &Value) -> &'a Value {
    let entries = list.as_array().unwrap();
    entries.iter().find(|entry| entry[field] == *value).unwrap_or_else(|| panic!("no {value} in {list}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_what_it_says() {
    let lab = Lab::start(2).await;
    let (alice, bob) = (lab.node("alice"), lab.node("bob"));
    messages(&alice, &bob).await;
    payments(&alice, &bob).await;
    node(&alice, &bob).await;
    lab.net.stop().await;
}

async fn messages(alice: &NodeInfo, bob: &NodeInfo) {
    let send = ["message", "send", &bob.pubkey, "from the command line", "--amount", "1_0"];
    let id = json(alice, &send).await["id"].clone();
    let events = wait_for("the event", async || {
        let events = json(bob, &["events", "list", "--all"]).await;
        let arrived = events["events"].as_array().unwrap().iter().any(|event| event["id"] == id);
        arrived.then_some(events)
    })
    .await;
    let event = find(&events["events"], "id", &id);
    assert_eq!((&event["data"], &event["amount"]), (&"from the command line".into(), &"10".into()));
}

async fn payments(alice: &NodeInfo, bob: &NodeInfo) {
    let invoice =
        json(bob, &["invoice", "new", "1_000", "for the test", "--expiry", "1h"]).await["invoice"].clone();
    let bolt11 = invoice.as_str().unwrap();
    assert_eq!(imp(bob, &["invoice", "check", bolt11]).await.status.code(), Some(4));
    let preimage = json(alice, &["invoice", "pay", bolt11]).await["preimage"].clone();
    wait_for("the invoice to be paid", async || {
        imp(bob, &["invoice", "check", bolt11]).await.status.success().then_some(())
    })
    .await;
    assert_eq!(preimage.as_str().unwrap().len(), 64);
}

async fn node(alice: &NodeInfo, bob: &NodeInfo) {
    assert_eq!(json(alice, &["node", "info"]).await["pubkey"], *alice.pubkey);
    let channels = json(alice, &["channel", "list"]).await;
    assert_eq!(find(&channels["channels"], "pubkey", &bob.pubkey.clone().into())["usable"], true);
    assert!(text(alice, &["channel", "list"]).await.contains(&format!("{}  ", bob.pubkey)));
    assert!(text(alice, &["wallet", "address"]).await.starts_with("address: bcrt1"));

    let signature = json(alice, &["sign", "a text"]).await["signature"].clone();
    let signature = signature.as_str().unwrap();
    assert_eq!(text(alice, &["verify", "a text", signature]).await, "valid: yes\n");
    assert_eq!(imp(alice, &["verify", "another text", signature]).await.status.code(), Some(4));
}
