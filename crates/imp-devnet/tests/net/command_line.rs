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

/// A field of 64 bits, which JSON has as text.
fn number(value: &Value) -> i64 {
    value.as_str().unwrap().parse().unwrap()
}

/// The entry of a list that has this value in a field.
fn find<'a>(list: &'a Value, field: &str, value: &Value) -> &'a Value {
    let entries = list.as_array().unwrap();
    entries.iter().find(|entry| entry[field] == *value).unwrap_or_else(|| panic!("no {value} in {list}"))
}

async fn channel_sat(node: &NodeInfo) -> i64 {
    number(&json(node, &["node", "balance"]).await["channelSat"])
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
    let send = ["message", "send", &bob.pubkey, "from the command line", "--amount", "1_0", "--key", "once"];
    let id = json(alice, &send).await["id"].clone();
    assert_eq!(json(alice, &send).await["id"], id, "the key makes it one message");

    let shown = json(alice, &["message", "show", id.as_str().unwrap()]).await;
    assert_eq!((&shown["state"], &shown["amount"]), (&"settled".into(), &"10".into()));
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1);
    let listed = json(alice, &["message", "list", "--state", "settled", "--to", &bob.pubkey]).await;
    assert_eq!(find(&listed["messages"], "id", &id)["bytes"], "21");

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
    let before_sat = channel_sat(bob).await;
    let invoice =
        json(bob, &["invoice", "new", "1_000", "for the test", "--expiry", "1h"]).await["invoice"].clone();
    let bolt11 = invoice.as_str().unwrap();
    assert_eq!(imp(bob, &["invoice", "check", bolt11]).await.status.code(), Some(4));
    let preimage = json(alice, &["invoice", "pay", bolt11]).await["preimage"].clone();
    wait_for("the invoice to be paid", async || {
        imp(bob, &["invoice", "check", bolt11]).await.status.success().then_some(())
    })
    .await;
    let listed = json(bob, &["invoice", "list", "--state", "paid"]).await;
    assert_eq!(find(&listed["invoices"], "invoice", &invoice)["memo"], "for the test");

    let keysend = json(alice, &["keysend", &bob.pubkey, "2_000"]).await;
    let listed = json(alice, &["payment", "list"]).await;
    let paid = find(&listed["payments"], "preimage", &preimage);
    assert_eq!((&paid["kind"], &paid["state"]), (&"invoice".into(), &"settled".into()));
    let sent = find(&listed["payments"], "paymentHash", &keysend["paymentHash"]);
    assert_eq!((&sent["kind"], &sent["amountMsat"]), (&"keysend".into(), &"2000000".into()));
    wait_for("bob's balance", async || (channel_sat(bob).await >= before_sat + 3000).then_some(())).await;

    let too_much = imp(alice, &["keysend", &bob.pubkey, "1_000_000_000"]).await;
    let told = String::from_utf8(too_much.stderr).unwrap();
    assert!(too_much.status.code() == Some(1) && told.contains("hint: `imp node balance`"), "{told}");
}

async fn node(alice: &NodeInfo, bob: &NodeInfo) {
    assert_eq!(json(alice, &["node", "info"]).await["pubkey"], *alice.pubkey);
    let channels = json(alice, &["channel", "list"]).await;
    assert_eq!(find(&channels["channels"], "pubkey", &bob.pubkey.clone().into())["usable"], true);
    assert!(text(alice, &["channel", "list"]).await.contains(&format!("{}  ", bob.pubkey)));
    let peers = json(alice, &["peer", "list"]).await;
    assert_eq!(find(&peers["peers"], "pubkey", &bob.pubkey.clone().into())["connected"], true);
    let data_dir = alice.data_dir.to_str().unwrap();
    for by in [&["--addr", &alice.grpc.to_string()][..], &["--data-dir", data_dir]] {
        let address = text(bob, &[&["wallet", "address"], by].concat()).await;
        assert!(address.starts_with("address: bcrt1"), "{by:?}: {address}");
    }

    let signature = json(alice, &["sign", "a text"]).await["signature"].clone();
    let signature = signature.as_str().unwrap();
    assert_eq!(text(bob, &["verify", "a text", signature, "--pubkey", &alice.pubkey]).await, "valid: yes\n");
    let other = ["verify", "another text", signature, "--pubkey", &alice.pubkey];
    assert_eq!(imp(bob, &other).await.status.code(), Some(4));
}
