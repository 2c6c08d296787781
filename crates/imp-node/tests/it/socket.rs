//! Relays of whole nodes: real UDP ports, the real store, a simulated Lightning network.

mod connect;
mod crash;
mod edge;
mod many;
mod restart;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use imp_api::error::Code;
use imp_core::delivery::MessageState;
use imp_core::socket::Offer;
use imp_lightning::fake::FakeOptions;
use imp_node::error::Error;
use imp_node::idempotency::CallKey;
use imp_node::node::Services;
use imp_node::service::socket::{RelayView, Sockets, StartRelay};
use imp_node::store::SocketStore;
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::lab::{TestNode, network, wait_for};

/// How long is waited for a packet that may have been lost, or must not come.
const A_WHILE: Duration = Duration::from_millis(50);

/// The service of a node.
fn sockets(services: Services) -> Sockets {
    services.socket.expect("the service is active")
}

async fn start_default(node: &TestNode) -> RelayView {
    node.call(|services| async move { sockets(services).start_default().await }).await.unwrap()
}

async fn stop_default(node: &TestNode) {
    node.call(|services| async move { sockets(services).stop_default().await }).await.unwrap();
}

async fn start(node: &TestNode, request: StartRelay) -> Result<RelayView, Error> {
    node.call(|services| async move { sockets(services).start(request).await }).await
}

async fn stop(node: &TestNode, relay: &RelayView) -> Result<(), Error> {
    let id = relay.relay.id.to_string();
    node.call(|services| async move { sockets(services).stop(&id).await }).await
}

async fn list(node: &TestNode) -> Vec<RelayView> {
    node.call(|services| async move { sockets(services).list("") }).await
}

/// The texts of the ends that a node published.
async fn ends(node: &TestNode) -> Vec<Value> {
    let mut ends = Vec::new();
    for event in node.journal().await {
        let data: Value = serde_json::from_str(&event.event.data).unwrap();
        if data["type"] == "ENDED" {
            assert_eq!((data["recordId"].as_str(), event.event.from), (Some("SOCKET"), node.id));
            assert_eq!((event.event.service.name(), event.event.amount_sat), ("socket", 0));
            ends.push(data);
        }
    }
    ends
}

/// Waits for the only end that a node publishes, and gives its reason.
async fn reason_of_end(node: &TestNode, relay: &RelayView) -> String {
    wait_for("the end of a relay", async || !ends(node).await.is_empty()).await;
    let ends = ends(node).await;
    let [end] = &ends[..] else { panic!("one end, not {ends:?}") };
    let [port1, port2] = relay.relay.ports.map(|port| format!(":{port}"));
    assert_eq!(end["id"].as_str(), Some(relay.relay.id.to_string().as_str()));
    assert_eq!((end["port1"].as_str(), end["port2"].as_str()), (Some(&*port1), Some(&*port2)));
    assert!(node.store.relays().await.unwrap().is_empty(), "its row is gone with the event");
    end["reason"].as_str().unwrap().to_owned()
}

/// A plain UDP program.
struct Program(UdpSocket);

impl Program {
    async fn new() -> Self {
        Self(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
    }

    async fn send(&self, to: u16, payload: &[u8]) {
        self.0.send_to(payload, (Ipv4Addr::LOCALHOST, to)).await.unwrap();
    }

    /// What comes within a while.
    async fn receive(&self) -> Option<Vec<u8>> {
        let mut packet = vec![0; 65_536];
        let received = timeout(A_WHILE, self.0.recv_from(&mut packet)).await.ok()?;
        // A port that was closed is told by an error of the next call.
        let (bytes, _) = received.ok()?;
        packet.truncate(bytes);
        Some(packet)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}

/// Both send until each has heard the other.
async fn join(programs: [&Program; 2], ports: [u16; 2]) {
    for (me, other) in [(0, 1), (1, 0)] {
        wait_for("a packet to pass", async || {
            programs[other].send(ports[other], b"").await;
            programs[me].send(ports[me], b"probe").await;
            while let Some(packet) = programs[other].receive().await {
                if packet == b"probe" {
                    return true;
                }
            }
            false
        })
        .await;
    }
    for program in programs {
        while program.receive().await.is_some() {}
    }
}

/// Whether both of a relay's ports can be bound, on every address.
fn are_free(ports: [u16; 2]) -> bool {
    ports.into_iter().all(|port| std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok())
}

#[tokio::test]
async fn there_is_one_relay_however_often_it_is_started() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let starts: Vec<_> = (0..8)
        .map(|_| node.calling(|services| async move { sockets(services).start_default().await }))
        .collect();
    let mut ports = HashSet::new();
    for started in starts {
        ports.insert(started.await.unwrap().unwrap().relay.ports);
    }
    let again = start_default(&node).await;
    ports.insert(again.relay.ports);
    assert_eq!(ports.len(), 1);
    assert_eq!(list(&node).await.len(), 1);
    assert_eq!(again.ip, Ipv4Addr::LOCALHOST);
    let [port1, port2] = again.relay.ports;
    assert!(port1 != port2 && (20_000..=29_999).contains(&port1) && (20_000..=29_999).contains(&port2));
    assert!(again.relay.is_default && again.relay.ends.is_none() && again.relay.owner == "local");
}

#[tokio::test]
async fn packets_go_through_a_relay_until_it_is_stopped() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let relay = start_default(&node).await;
    let (one, two) = (Program::new().await, Program::new().await);
    join([&one, &two], relay.relay.ports).await;
    one.send(relay.relay.ports[0], b"over").await;
    assert_eq!(two.receive().await.as_deref(), Some(&b"over"[..]));
    let seen = &list(&node).await[0];
    assert_eq!(seen.sides[0].source, Some(one.address()));
    assert!(seen.sides[0].is_firm && seen.sides[0].packets > 0);

    assert!(!are_free(relay.relay.ports));
    stop_default(&node).await;
    assert!(are_free(relay.relay.ports), "closed before the answer");
    one.send(relay.relay.ports[0], b"after").await;
    assert_eq!(two.receive().await, None);
    assert_eq!(reason_of_end(&node, &relay).await, "stopped");
    stop_default(&node).await;
    assert_eq!(ends(&node).await.len(), 1, "what does not run ends no more");

    let next = start_default(&node).await;
    assert_ne!(next.relay.id, relay.relay.id);
    join([&one, &two], next.relay.ports).await;
}

#[tokio::test]
async fn starts_and_stops_at_once_leave_what_the_last_one_says() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(node.calling(|services| async move {
            let sockets = sockets(services);
            sockets.start_default().await.unwrap();
            sockets.stop_default().await.unwrap();
        }));
        calls.push(node.calling(|services| async move {
            sockets(services).start_default().await.unwrap();
        }));
    }
    for call in calls {
        call.await.unwrap();
    }
    assert!(list(&node).await.len() <= 1);
    let last = start_default(&node).await;
    stop_default(&node).await;
    assert!(list(&node).await.is_empty() && are_free(last.relay.ports));
    assert!(node.store.relays().await.unwrap().is_empty());
    let ended: Vec<_> = ends(&node).await.into_iter().map(|end| end["id"].to_string()).collect();
    assert_eq!(ended.iter().collect::<HashSet<_>>().len(), ended.len(), "each ends once");
    assert!(ended.contains(&format!("\"{}\"", last.relay.id)));
}

#[tokio::test]
async fn sending_starts_the_relay_and_is_an_event_at_the_far_node() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let bob = TestNode::start(&network, "bob").await;
    let to = bob.id.to_string();
    let id = alice.call(|s| async move { sockets(s).send_default(&to, None).await }).await.unwrap();
    bob.has_published(1).await;
    let event = &bob.journal().await[0].event;
    assert_eq!((event.id.clone(), event.from, event.amount_sat), (id.to_string(), alice.id, 1));
    assert_eq!(event.service.name(), "socket");
    let relay = &list(&alice).await[0];
    assert_eq!(Offer::parse(&event.data), Ok(relay.offer()));
    assert!(alice.texts().await.is_empty(), "the sender has no event of it");
    let message = &alice.messages().await[0];
    assert_eq!((message.state, message.message.unordered), (MessageState::Settled, false));
}

#[tokio::test]
async fn an_offer_to_the_node_itself_is_published_there_and_not_paid() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let to = alice.id.to_string();
    alice.call(|s| async move { sockets(s).send_default(&to, None).await }).await.unwrap();
    let event = &alice.journal().await[0].event;
    assert_eq!((event.from, event.amount_sat), (alice.id, 0));
    assert_eq!(Offer::parse(&event.data), Ok(list(&alice).await[0].offer()));
}

#[tokio::test]
async fn a_call_that_is_repeated_under_its_key_sends_once() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let bob = TestNode::start(&network, "bob").await;
    let send = async |asked: &'static [u8]| {
        let key = CallKey::of_call("socket.Socket/SendSocket", Some(b"key"), [], asked).unwrap();
        let to = bob.id.to_string();
        alice.call(|s| async move { sockets(s).send_default(&to, key).await }).await
    };
    let first = send(b"1").await.unwrap();
    stop_default(&alice).await;
    assert_eq!(send(b"1").await.unwrap(), first);
    assert!(list(&alice).await.is_empty(), "what was sent needs no other relay");
    assert_eq!(send(b"2").await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(alice.messages().await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_says_failed() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let bob = TestNode::start(&network, "bob").await;
    let send =
        async |to: String| alice.call(|s| async move { sockets(s).send_default(&to, None).await }).await;
    let error = send("02".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.to_string().contains("failed") && error.to_string().contains("pubkey"), "{error}");
    assert!(list(&alice).await.is_empty(), "nothing was started for it");
    network.set_route("alice", "bob", false);
    let error = send(bob.id.to_string()).await.unwrap_err();
    assert!(error.to_string().contains("failed"), "{error}");
    let (to, id) = (bob.id.to_string(), "abababab-abab-4bab-abab-abababababab");
    let error = alice.call(move |s| async move { sockets(s).send(id, &to, None).await }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.to_string().contains("failed"), "{error}");
}

#[tokio::test]
async fn a_stop_that_cannot_be_kept_is_made_good_by_the_next_call() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let database = node.database();
    let fails = "CREATE TRIGGER fails BEFORE DELETE ON relay BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    for next_is_a_start in [false, true] {
        let relay = start_default(&node).await;
        database.execute_batch(fails).unwrap();
        let stopped = node.call(|services| async move { sockets(services).stop_default().await }).await;
        assert!(stopped.is_err());
        assert_eq!(node.store.relays().await.unwrap().len(), 1);
        assert_eq!(list(&node).await.len(), 1, "the list says what is kept");
        database.execute_batch("DROP TRIGGER fails").unwrap();
        if next_is_a_start {
            assert_ne!(start_default(&node).await.relay.id, relay.relay.id);
        }
        stop_default(&node).await;
        assert!(list(&node).await.is_empty() && node.store.relays().await.unwrap().is_empty());
        let id = relay.relay.id.to_string();
        let told = ends(&node).await.into_iter().filter(|end| end["id"] == id.as_str()).count();
        assert_eq!(told, 1);
    }
}
