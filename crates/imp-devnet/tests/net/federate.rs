//! Federation between daemons on real Lightning nodes, over the interfaces that programs use.

use std::fs;

use imp_api::client::{Client, ClientError};
use imp_api::proto::federate::{LeaveFederationRequest, RequestFederateRequest};
use imp_api::proto::imp::federate::v1::{
    AcceptFederatedPeerRequest, BlockPeerRequest, FederatedPeer, GetFederatedPeerRequest,
    ListWithheldMessagesRequest, UnblockPeerRequest,
};
use imp_api::proto::messaging::SendMessageRequest;
use imp_devnet::devnet::Options;
use serde_json::Value;

use crate::commits::stop;
use crate::lab::{Lab, PATIENCE, options, wait_for};

/// What parts the configuration that the net wrote from that of a test.
const MARK: &str = "# Of the test.\n";

async fn lab() -> Lab {
    Lab::with(|dir| Options { restart: false, ..options(dir, 2) }).await
}

/// Starts a node again, with this in its section `federate`.
async fn restart_with(lab: &Lab, name: &str, section: &str) -> Client {
    stop(&lab.net, name).await;
    let file = lab.node(name).data_dir.join("config.yml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.split(MARK).next().unwrap();
    fs::write(&file, format!("{text}{MARK}federate: {section}\n")).unwrap();
    start(lab, name).await
}

async fn start(lab: &Lab, name: &str) -> Client {
    lab.net.start_node(name).await.unwrap();
    lab.net.wait_usable(PATIENCE).await.unwrap();
    client(lab, name).await
}

async fn client(lab: &Lab, name: &str) -> Client {
    wait_for("the node to answer", || async { lab.net.client(name).await.ok() }).await
}

async fn request(from: &Client, to: &str) -> String {
    let request = RequestFederateRequest { pubkey: to.to_owned(), ..RequestFederateRequest::default() };
    // A channel that has just come back is not always found at once.
    wait_for("a request that is sent", || async { from.request_federate(request.clone()).await.ok() })
        .await
        .id
}

async fn leave(from: &Client, to: &str) {
    let request = LeaveFederationRequest { pubkey: to.to_owned(), ..LeaveFederationRequest::default() };
    from.leave_federation(request).await.unwrap();
}

async fn peer(of: &Client, pubkey: &str) -> Option<FederatedPeer> {
    of.get_federated_peer(GetFederatedPeerRequest { pubkey: pubkey.to_owned() }).await.ok()
}

async fn is(of: &Client, pubkey: &str, state: &str) -> FederatedPeer {
    let what = format!("a peer that is {state}");
    wait_for(&what, || async { peer(of, pubkey).await.filter(|peer| peer.state == state) }).await
}

/// The events of federation in a node's journal, up to the `nth` of this type: type, id and replyToId.
async fn events_until(lab: &Lab, name: &str, kind: &str, nth: usize) -> Vec<(String, String, String)> {
    let mut stream = lab.api(name).events_after(0).await;
    let (mut events, mut seen) = (Vec::new(), 0);
    loop {
        let event = stream.next().await;
        if event.service_type != "federate" {
            continue;
        }
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(data["recordId"], "FEDERATE");
        let found = data["type"].as_str().unwrap().to_owned();
        seen += usize::from(found == kind);
        events.push((found, event.id, event.reply_to_id));
        if seen == nth {
            return events;
        }
    }
}

async fn send(from: &Client, to: &str, msg: &str, amount: i64) {
    let message = SendMessageRequest {
        msg: msg.to_owned(),
        pubkey: to.to_owned(),
        amount,
        ..SendMessageRequest::default()
    };
    wait_for("a message that is sent", || async { from.send_message(message.clone()).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_federate_cross_leave_and_remember_over_restarts() {
    let lab = lab().await;
    let (alice, bob) = (client(&lab, "alice").await, client(&lab, "bob").await);
    let (a, b) = (lab.node("alice").pubkey, lab.node("bob").pubkey);

    let id = request(&alice, &b).await;
    let to_bob = is(&alice, &b, "federated").await;
    assert_eq!((to_bob.asked_by.as_str(), to_bob.standing.as_str()), ("us", "request"));
    assert!(to_bob.until_ms > to_bob.since_ms && to_bob.their_terms.is_some());
    for name in ["alice", "bob"] {
        let events = events_until(&lab, name, "ACCEPT", 1).await;
        assert_eq!(events[0].0, "REQUEST");
        assert_eq!((&events[0].1, &events[1].2), (&id, &id), "{name}: {events:?}");
    }

    stop(&lab.net, "bob").await;
    drop(bob);
    let bob = start(&lab, "bob").await;
    let to_alice = is(&bob, &a, "federated").await;
    assert_eq!((to_alice.asked_by.as_str(), to_alice.standing.as_str()), ("them", "auto"));

    // It leaves while the other is away, which learns of it when it is back.
    stop(&lab.net, "bob").await;
    drop(bob);
    leave(&alice, &b).await;
    assert_eq!(peer(&alice, &b).await.unwrap().state, "left");
    let bob = start(&lab, "bob").await;
    is(&bob, &a, "left").await;

    tokio::join!(request(&alice, &b), request(&bob, &a));
    for (node, other) in [(&alice, &b), (&bob, &a)] {
        let peer = is(node, other, "federated").await;
        wait_for("both to have asked", || async {
            let now = crate::federate::peer(node, other).await?;
            (now.asked_by == "both").then_some(())
        })
        .await;
        assert!(peer.until_ms.is_some());
    }
    let own = RequestFederateRequest { pubkey: a.clone(), ..RequestFederateRequest::default() };
    let ClientError::Refused(refused) = alice.request_federate(own).await.unwrap_err() else {
        panic!("the node does not answer");
    };
    assert!(refused.message.contains("failed"), "{}", refused.message);
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_federation_is_renewed_and_expires_on_both_sides_once_one_is_gone() {
    let lab = lab().await;
    let alice = restart_with(&lab, "alice", "{ttl: 8}").await;
    let bob = restart_with(&lab, "bob", "{ttl: 3600, imp_id: bob}").await;
    let (a, b) = (lab.node("alice").pubkey, lab.node("bob").pubkey);
    request(&alice, &b).await;
    assert_eq!(is(&alice, &b, "federated").await.imp_id, "bob");
    let first = is(&bob, &a, "federated").await;

    // Two renewals that were answered: longer than one federation lasts.
    let events = events_until(&lab, "alice", "ACCEPT", 3).await;
    let renewals: Vec<_> = events.iter().filter(|event| event.0 == "RENEW").collect();
    assert!(renewals.len() >= 2, "{events:?}");
    for renewal in &renewals[..2] {
        assert!(events.iter().any(|event| event.0 == "ACCEPT" && event.2 == renewal.1), "{events:?}");
    }
    let now = is(&bob, &a, "federated").await;
    assert!(now.until_ms.unwrap() > first.until_ms.unwrap() && now.since_ms == first.since_ms);

    stop(&lab.net, "bob").await;
    drop(bob);
    is(&alice, &b, "expired").await;
    events_until(&lab, "alice", "EXPIRED", 1).await;
    let bob = start(&lab, "bob").await;
    is(&bob, &a, "expired").await;
    events_until(&lab, "bob", "EXPIRED", 1).await;
    lab.net.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_the_spam_floor_and_blocks_hold_on_real_payments() {
    let lab = lab().await;
    let alice = client(&lab, "alice").await;
    let (a, b) = (lab.node("alice").pubkey, lab.node("bob").pubkey);
    let bob = restart_with(&lab, "bob", "{accept: manual, stranger_min_sat: 3}").await;

    // One satoshi is too little for a stranger; three parts bring three.
    send(&alice, &b, "too little", 0).await;
    let long = "long ".repeat(400);
    send(&alice, &b, &long, 0).await;
    let journal = lab.api("bob").journal_until(&long).await;
    assert!(journal.iter().all(|event| event.data != "too little"), "{journal:?}");
    let withheld = bob.list_withheld_messages(ListWithheldMessagesRequest::default()).await.unwrap();
    let of_alice: Vec<_> = withheld
        .messages
        .iter()
        .map(|row| (row.from_pubkey.as_str(), row.reason.as_str(), row.amount))
        .collect();
    assert_eq!(of_alice[0], (a.as_str(), "below_minimum", 1), "{of_alice:?}");

    request(&alice, &b).await;
    is(&bob, &a, "pending").await;
    assert_eq!(peer(&alice, &b).await.unwrap().state, "requested");
    bob.accept_federated_peer(AcceptFederatedPeerRequest { pubkey: a.clone() }).await.unwrap();
    is(&alice, &b, "federated").await;
    let to_alice = is(&bob, &a, "federated").await;
    assert_eq!((to_alice.standing.as_str(), to_alice.withheld_count), ("manual", 1));
    send(&alice, &b, "as a peer", 0).await;
    lab.api("bob").journal_until("as a peer").await;

    let blocked = bob.block_peer(BlockPeerRequest { pubkey: a.clone() }).await.unwrap();
    assert_eq!((blocked.state.as_str(), blocked.blocked), ("left", true));
    send(&alice, &b, "not heard", 100).await;
    wait_for("the message to be withheld", || async {
        let rows = bob.list_withheld_messages(ListWithheldMessagesRequest::default()).await.ok()?;
        (rows.messages.first()?.reason == "blocked").then_some(())
    })
    .await;
    bob.unblock_peer(UnblockPeerRequest { pubkey: a.clone() }).await.unwrap();
    send(&alice, &b, "heard again", 3).await;
    let journal = lab.api("bob").journal_until("heard again").await;
    assert!(journal.iter().all(|event| event.data != "not heard"), "{journal:?}");

    drop(bob);
    let nobody = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let bob = restart_with(&lab, "bob", &format!("{{accept: allowlist, allowlist: [\"{nobody}\"]}}")).await;
    let id = request(&alice, &b).await;
    is(&alice, &b, "rejected").await;
    let events = events_until(&lab, "alice", "REJECT", 1).await;
    assert_eq!(events.last().unwrap().2, id);
    drop(bob);
    let bob = restart_with(&lab, "bob", &format!("{{accept: allowlist, allowlist: [\"{a}\"]}}")).await;
    request(&alice, &b).await;
    is(&alice, &b, "federated").await;
    assert_eq!(is(&bob, &a, "federated").await.standing, "allowlist");
    lab.net.stop().await;
}
