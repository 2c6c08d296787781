//! Relays besides the default one: how they are, how many, and how they end.

use imp_node::node::NodeOptions;

use super::*;
use crate::lab::options;

fn with(change: impl FnOnce(&mut imp_node::service::socket::SocketOptions)) -> NodeOptions {
    let mut options = options();
    change(&mut options.socket);
    options
}

#[tokio::test]
async fn relays_are_listed_in_the_order_of_their_starts_and_found_by_their_ids() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let game = StartRelay {
        label: "game".to_owned(),
        idle_secs: 7,
        life_secs: 60,
        max_packets: 5,
        max_bytes: 6,
        max_packets_per_sec: 7,
        max_bytes_per_sec: 8,
        require_token: true,
    };
    let first = start(&node, game).await.unwrap();
    let default = start_default(&node).await;
    let last = start(&node, StartRelay::default()).await.unwrap();
    let listed: Vec<_> = list(&node).await.into_iter().map(|view| view.relay.id).collect();
    assert_eq!(listed, [first.relay.id, default.relay.id, last.relay.id]);

    let relay = &first.relay;
    assert_eq!((relay.label.as_str(), relay.idle.as_secs()), ("game", 7));
    assert_eq!(relay.ends, Some(relay.started.plus(Duration::from_secs(60))));
    assert_eq!((relay.limits.max_packets, relay.limits.max_bytes), (5, 6));
    assert_eq!((relay.limits.max_packets_per_sec, relay.limits.max_bytes_per_sec), (7, 8));
    assert!(relay.require_token && !relay.is_default);
    assert_eq!(last.relay.limits, options().socket.limits);
    assert_eq!(last.relay.ends, Some(last.relay.started.plus(Duration::from_secs(86_400))));

    let get = async |id: String| node.call(|s| async move { sockets(s).get(&id) }).await;
    assert_eq!(get(relay.id.to_string().to_uppercase()).await.unwrap().relay, *relay);
    assert_eq!(get("7".to_owned()).await.unwrap_err().code(), Code::InvalidArgument);
    let of =
        async |owner: &'static str| node.call(move |s| async move { sockets(s).list(owner).len() }).await;
    assert_eq!((of("local").await, of("vpn").await), (3, 0));

    stop(&node, &first).await.unwrap();
    assert!(are_free(relay.ports));
    assert_eq!(get(relay.id.to_string()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(stop(&node, &first).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(list(&node).await.len(), 2);
    stop(&node, &default).await.unwrap();
    assert_ne!(
        start_default(&node).await.relay.id,
        default.relay.id,
        "a default relay can be stopped by its id"
    );
}

#[tokio::test]
async fn no_more_relays_run_than_may() {
    let network = network(FakeOptions::default());
    let node = TestNode::start_with(&network, "alice", with(|socket| socket.max_relays = 2)).await;
    let first = start(&node, StartRelay::default()).await.unwrap();
    start_default(&node).await;
    let error = start(&node, StartRelay::default()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, "TOO_MANY_RELAYS"));
    assert!(error.to_string().contains("socket.max_relays"), "{error}");
    stop(&node, &first).await.unwrap();
    start(&node, StartRelay::default()).await.expect("its place is free");
}

/// Four ports in a row that are free now.
fn four_free_ports() -> std::ops::RangeInclusive<u16> {
    let free = |port: u16| are_free([port, port + 1]) && are_free([port + 2, port + 3]);
    let first = (40_000..60_000).step_by(4).find(|port| free(*port)).expect("four free ports");
    first..=first + 3
}

#[tokio::test]
async fn a_range_without_two_free_ports_is_said_to_be_full() {
    let network = network(FakeOptions::default());
    let ports = four_free_ports();
    let node = TestNode::start_with(&network, "alice", with(|socket| socket.ports = ports.clone())).await;
    let first = start(&node, StartRelay::default()).await.unwrap();
    start(&node, StartRelay::default()).await.unwrap();
    let error = start(&node, StartRelay::default()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, "NO_FREE_PORTS"));
    assert!(error.to_string().contains("socket.port_max"), "{error}");
    assert_eq!(list(&node).await.len(), 2);
    stop(&node, &first).await.unwrap();
    start(&node, StartRelay::default()).await.expect("its ports are free");
}

#[tokio::test]
async fn a_relay_ends_with_its_life() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let relay = start(&node, StartRelay { life_secs: 1, ..StartRelay::default() }).await.unwrap();
    assert_eq!(reason_of_end(&node, &relay).await, "life");
    assert!(list(&node).await.is_empty() && are_free(relay.relay.ports));
}

#[tokio::test]
async fn a_relay_that_nobody_uses_ends_and_the_default_one_does_not() {
    let network = network(FakeOptions::default());
    let idle = with(|socket| socket.idle = Duration::from_secs(1));
    let node = TestNode::start_with(&network, "alice", idle).await;
    let default = start_default(&node).await;
    let relay = start(&node, StartRelay::default()).await.unwrap();
    wait_for("the relay to end", async || list(&node).await.len() == 1).await;
    wait_for("its event", async || !ends(&node).await.is_empty()).await;
    let ends = ends(&node).await;
    assert_eq!((ends.len(), ends[0]["reason"].as_str()), (1, Some("idle")));
    assert_eq!(ends[0]["id"].as_str(), Some(relay.relay.id.to_string().as_str()));
    assert_eq!(list(&node).await[0].relay.id, default.relay.id);
    assert_eq!(start_default(&node).await.relay.ports, default.relay.ports);
}

#[tokio::test]
async fn a_default_relay_that_used_up_its_limit_is_started_anew() {
    let network = network(FakeOptions::default());
    let node = TestNode::start_with(&network, "alice", with(|socket| socket.limits.max_packets = 20)).await;
    let relay = start_default(&node).await;
    let (one, two) = (Program::new().await, Program::new().await);
    wait_for("the limit to be used up", async || {
        one.send(relay.relay.ports[0], b"1").await;
        two.send(relay.relay.ports[1], b"2").await;
        start_default(&node).await.relay.id != relay.relay.id
    })
    .await;
    assert_eq!(list(&node).await.len(), 1);
    let [end] = &ends(&node).await[..] else { panic!("one end") };
    assert_eq!(
        (end["reason"].as_str(), end["id"].as_str()),
        (Some("limit"), Some(relay.relay.id.to_string().as_str()))
    );
}
