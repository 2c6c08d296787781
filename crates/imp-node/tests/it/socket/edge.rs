//! The calls as the edges make them.

use std::sync::Arc;

use futures_util::StreamExt;
use imp_api::proto::imp::socket::v1::relays_server::Relays;
use imp_api::proto::imp::socket::v1::{
    CloseConnectionRequest, ConnectSocketRequest, GetRelayRequest, ListConnectionsRequest, ListRelaysRequest,
    StartRelayRequest, StopRelayRequest, WatchRelaysRequest,
};
use imp_api::proto::socket::socket_server::Socket;
use imp_api::proto::socket::{SendSocketRequest, StartSocketRequest, StopSocketRequest};
use imp_core::record::Service;
use imp_node::api::grpc::Calls;
use imp_node::events::Events;
use imp_node::runtime::tasks::Tasks;
use imp_node::telemetry::metrics::Metrics;
use tokio::sync::watch;
use tonic::Request;

use super::*;
use crate::lab::{PATIENCE, options};

async fn calls(node: &TestNode, tasks: &Tasks) -> Calls {
    let services = node.call(|services| async move { services }).await;
    Calls {
        events: Events::new(Arc::new(node.store.clone()), Arc::new(imp_node::events::AsStored)),
        services: watch::channel(Some(Arc::new(services))).1,
        inactive: Vec::new(),
        shutdown: tasks.token(),
        tasks: tasks.clone(),
    }
}

#[tokio::test]
async fn the_calls_of_2021_answer_as_they_did() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let calls = calls(&node, &Tasks::new()).await;
    let started = calls.start_socket(Request::new(StartSocketRequest {})).await.unwrap().into_inner();
    assert_eq!((started.protocol.as_str(), started.ip.as_str()), ("udp", "127.0.0.1"));
    let ports = list(&node).await[0].relay.ports;
    assert_eq!((started.port1, started.port2), (format!(":{}", ports[0]), format!(":{}", ports[1])));
    calls.stop_socket(Request::new(StopSocketRequest {})).await.unwrap();
    calls.stop_socket(Request::new(StopSocketRequest {})).await.unwrap();
    assert!(list(&node).await.is_empty());
}

#[tokio::test]
async fn a_relay_is_shown_as_it_is() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let calls = calls(&node, &Tasks::new()).await;
    let request =
        StartRelayRequest { label: "game".to_owned(), life_secs: 60, ..StartRelayRequest::default() };
    let relay = calls.start_relay(Request::new(request)).await.unwrap().into_inner();
    assert_eq!((relay.label.as_str(), relay.owner.as_str(), relay.default), ("game", "local", false));
    assert_eq!(relay.ends_ms, Some(relay.started_ms + 60_000));
    assert_eq!((relay.idle_secs, relay.token.len(), relay.sides.len()), (120, 32, 2));
    assert!(relay.drops.is_empty());
    let ports = list(&node).await[0].relay.ports;
    let program = Program::new().await;
    wait_for("a packet without a peer to be counted", async || {
        program.send(ports[0], b"alone").await;
        let request = Request::new(GetRelayRequest { id: relay.id.clone() });
        let seen = calls.get_relay(request).await.unwrap().into_inner();
        seen.drops.iter().any(|drops| drops.reason == "no_peer" && drops.packets > 0)
            && seen.sides[0].source == program.address().to_string()
            && seen.sides[0].learned_ms.is_some()
    })
    .await;
    let bad = StartRelayRequest { idle_secs: -1, ..StartRelayRequest::default() };
    let error = calls.start_relay(Request::new(bad)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    calls.stop_relay(Request::new(StopRelayRequest { id: relay.id.clone() })).await.unwrap();
    let error = calls.get_relay(Request::new(GetRelayRequest { id: relay.id })).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn who_watches_gets_relays_at_once_and_then_as_they_change() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let tasks = Tasks::new();
    let calls = calls(&node, &tasks).await;
    let watch = async |id: &str, interval_ms| {
        let request = WatchRelaysRequest { id: id.to_owned(), interval_ms };
        calls.watch_relays(Request::new(request)).await.map(tonic::Response::into_inner)
    };
    let refused = watch("abababab-abab-4bab-abab-abababababab", 100).await;
    assert_eq!(refused.err().unwrap().code(), tonic::Code::NotFound);
    assert_eq!(watch("", 99).await.err().unwrap().code(), tonic::Code::InvalidArgument);

    let relay = start(&node, StartRelay::default()).await.unwrap();
    start_default(&node).await;
    let id = relay.relay.id.to_string();
    // An hour and more of waiting would be seen: the first answer does not wait for the interval.
    let mut rarely = watch("", 60_000).await.unwrap();
    let first = timeout(PATIENCE, rarely.next()).await.expect("at once").unwrap().unwrap();
    assert_eq!(first.relays.len(), 2);
    let mut one = watch(&id, 100).await.unwrap();
    let mut next = async || timeout(PATIENCE, one.next()).await.expect("an answer").map(Result::unwrap);
    assert_eq!(next().await.unwrap().relays[0].id, id);
    assert_eq!(next().await.unwrap().relays.len(), 1);
    stop(&node, &relay).await.unwrap();
    wait_for("it to be gone from the answers", async || next().await.unwrap().relays.is_empty()).await;
    assert_eq!(next().await, None, "who watches one relay is told of its end by that of the stream");
    tasks.drain(PATIENCE).await.expect("watching ends with the node");
    let last = timeout(PATIENCE, rarely.next()).await.expect("the stream to end");
    assert!(last.is_none());
}

#[tokio::test]
async fn a_service_that_is_switched_off_says_so() {
    let network = network(FakeOptions::default());
    let mut off = options();
    off.socket.active = false;
    let node = TestNode::start_with(&network, "alice", off).await;
    let calls = Calls { inactive: vec![Service::Socket], ..calls(&node, &Tasks::new()).await };
    let start = calls.start_socket(Request::new(StartSocketRequest {})).await.unwrap_err();
    let send = calls.send_socket(Request::new(SendSocketRequest::default())).await.unwrap_err();
    let stop = calls.stop_socket(Request::new(StopSocketRequest {})).await.unwrap_err();
    let list = calls.list_relays(Request::new(ListRelaysRequest::default())).await.unwrap_err();
    let watch = calls.watch_relays(Request::new(WatchRelaysRequest::default())).await.err().unwrap();
    for error in [&start, &send, &stop, &list, &watch] {
        assert_eq!(error.code(), tonic::Code::FailedPrecondition, "{error}");
        assert!(error.message().contains("switched off"), "{error}");
    }
    assert!(send.message().contains("failed"), "{send}");
}

#[tokio::test]
async fn local_ends_are_for_the_owner_only() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let calls = calls(&node, &Tasks::new()).await;
    // A call that came in by no edge is nobody's.
    let connect = calls.connect_socket(Request::new(ConnectSocketRequest::default())).await.unwrap_err();
    let list = calls.list_connections(Request::new(ListConnectionsRequest {})).await.unwrap_err();
    let close = calls.close_connection(Request::new(CloseConnectionRequest::default())).await.unwrap_err();
    for error in [connect, list, close] {
        assert_eq!(error.code(), tonic::Code::PermissionDenied, "{error}");
    }
}

#[tokio::test]
async fn relays_are_counted_also_those_that_have_ended() {
    let network = network(FakeOptions::default());
    let metrics = Metrics::default();
    let mut counted = options();
    counted.metrics = metrics.clone();
    let node = TestNode::start_with(&network, "alice", counted).await;
    let sample = |name: &str| {
        let text = metrics.text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<u64>().unwrap()
    };
    assert_eq!((sample("imp_relays"), sample("imp_relay_packets_total")), (0, 0));
    assert_eq!(sample("imp_relay_drops_total{reason=\"other_source\"}"), 0);
    let relay = start_default(&node).await;
    let (one, two) = (Program::new().await, Program::new().await);
    join([&one, &two], relay.relay.ports).await;
    let seen = sample("imp_relay_packets_total");
    assert!(seen > 0 && sample("imp_relay_bytes_total") > 0);
    assert_eq!((sample("imp_relays"), sample("imp_relay_connections")), (1, 0));
    stop_default(&node).await;
    assert_eq!(sample("imp_relays"), 0);
    assert!(sample("imp_relay_packets_total") >= seen);
}
