//! The far end: a node behind a router, which joins the relay that another node offered to it.

use std::net::SocketAddr;
use std::sync::Arc;

use imp_api::proto::imp::node::v1::GetNodeRequest;
use imp_api::proto::imp::socket::v1::{
    CloseConnectionRequest, ConnectSocketRequest, ListConnectionsRequest, SendRelayRequest, StartRelayRequest,
};
use imp_devnet::devnet::Ready;
use imp_devnet::netns::{Forward, Namespace};

use crate::internet::{RELAY, ROUTER_B};
use crate::lab::{Lab, PATIENCE, source, wait_for};
use crate::program::{Program, to};

/// Where a node of the net listens for Lightning.
async fn lightning(lab: &Lab, name: &str) -> SocketAddr {
    let node = lab.client(name).await.get_node(GetNodeRequest {}).await.unwrap();
    node.listen[0].parse().unwrap()
}

/// Starts bob anew as user B. Chain, channels and calls go by TCP forwards; the rest of the world is behind the router.
async fn move_bob(lab: &Lab) -> Vec<Forward> {
    let ready: Ready = serde_json::from_slice(&std::fs::read(lab.net.ready_file()).unwrap()).unwrap();
    let bob = lab.node("bob");
    let (alice_lightning, bob_lightning) = (lightning(lab, "alice").await, lightning(lab, "bob").await);
    let (relay, user_b) = (&lab.internet.relay, &lab.internet.user_b);
    let forward = |from: &Namespace, into: &Namespace, at| Forward::start((from, at), (into, at)).unwrap();
    let mut forwards: Vec<Forward> =
        [ready.chain.rpc, alice_lightning].into_iter().map(|at| forward(user_b, relay, at)).collect();
    lab.settings("bob", &[("NAMESPACE", user_b.path().to_str().unwrap())]);
    lab.net.kill("bob").await.unwrap();
    // Now that he has gone, his ports here are free.
    for at in [bob.grpc, bob.http, bob_lightning] {
        forwards.push(forward(relay, user_b, at));
    }
    lab.net.wait_usable(PATIENCE).await.unwrap();
    forwards
}

pub(crate) async fn a_node_behind_a_router_joins_a_relay_for_a_local_program(lab: Arc<Lab>) {
    let _forwards = move_bob(&lab).await;
    let (alice, bob) = (lab.alice().await, lab.client("bob").await);
    let bob_pubkey = lab.node("bob").pubkey;
    for require_token in [false, true] {
        let mut events = lab.events("bob").await;
        let relay = lab.relay(StartRelayRequest { require_token, ..StartRelayRequest::default() }).await;
        let request =
            SendRelayRequest { id: relay.id.clone(), pubkey: bob_pubkey.clone(), ..Default::default() };
        let sent = alice.send_relay(request).await.unwrap();
        let offer = tokio::time::timeout(PATIENCE, events.next()).await.expect("an offer in time");
        let offer = offer.unwrap().expect("the stream goes on");
        assert_eq!((&offer.id, &offer.from_pubkey), (&sent.id, &lab.node("alice").pubkey));

        let request = ConnectSocketRequest { event_id: offer.id, ..ConnectSocketRequest::default() };
        let connection = bob.connect_socket(request).await.unwrap();
        assert_eq!(connection.remote, to(RELAY, relay.ports.1).to_string());
        let local: SocketAddr = connection.local.parse().unwrap();
        // The first packet goes out by itself, from behind the router.
        let now = lab.wait(&relay, "bob is known", |now| source(now, 1).is_some()).await;
        assert_eq!(source(&now, 1).unwrap().0, ROUTER_B);
        let state = || async {
            let open = bob.list_connections(ListConnectionsRequest {}).await.unwrap().connections;
            open.into_iter().find(|open| open.id == connection.id).expect("it is open").state
        };
        wait_for("the relay has answered", || async { (state().await == "joined").then_some(()) }).await;

        // A program on bob's machine knows a port of its own machine, and one at user A the relay.
        let program = Program::at(&lab.internet.user_b, "127.0.0.1:0".parse().unwrap());
        let (a, to_a) = (Program::on(&lab.internet.user_a), to(RELAY, relay.ports.0));
        if require_token {
            a.send(relay.token.as_bytes(), to_a).await;
            a.expect(relay.token.as_bytes()).await;
        } else {
            a.send(b"before anybody listens", to_a).await;
        }
        lab.wait(&relay, "a is known", |now| source(now, 0).is_some()).await;
        program.send(b"from bob's program", local).await;
        assert_eq!(a.expect(b"from bob's program").await, to_a);
        for payload in [&b"to bob's program"[..], b"", b"and more"] {
            a.send(payload, to_a).await;
            assert_eq!(program.expect(payload).await, local);
            program.send(payload, local).await;
            assert_eq!(a.expect(payload).await, to_a);
        }
        let close = CloseConnectionRequest { id: connection.id.clone() };
        bob.close_connection(close).await.unwrap();
        let gone = Program::connected(&lab.internet.user_b, local).await;
        gone.expect_refusal(local).await;
        lab.stop_relay(&relay).await;
    }
}
