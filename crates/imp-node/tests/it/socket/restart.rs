//! What a restart leaves of relays.

use super::*;
use crate::lab::options;

/// Whether a third program is let in on a port: whether what it sends comes out at `other`.
async fn gets_in(third: &Program, port: u16, other: &Program) -> bool {
    third.send(port, b"third").await;
    let mut packets = Vec::new();
    while let Some(packet) = other.receive().await {
        packets.push(packet);
    }
    packets.contains(&b"third".to_vec())
}

async fn keeps_ports_and_sources(clean: bool) {
    let network = network(FakeOptions::default());
    let mut node = TestNode::start(&network, "alice").await;
    let relay = start(&node, StartRelay { require_token: true, ..StartRelay::default() }).await.unwrap();
    let default = start_default(&node).await;
    let [one, two, third] = [Program::new().await, Program::new().await, Program::new().await];
    join([&one, &two], default.relay.ports).await;
    assert!(!gets_in(&third, default.relay.ports[0], &two).await);
    if clean {
        node.stop().await;
    } else {
        let is_firm = async || {
            let kept = node.store.relays().await.unwrap();
            kept[1].used.pins.iter().all(|pin| pin.is_some_and(|pin| pin.is_firm))
        };
        wait_for("the sources to be saved", is_firm).await;
    }
    let node = node.restart().await;
    let kept = list(&node).await;
    assert_eq!(kept.iter().map(|view| view.relay.id).collect::<Vec<_>>(), [relay.relay.id, default.relay.id]);
    assert_eq!(kept[0].relay.token, relay.relay.token);
    assert_eq!(kept[0].relay.ends, relay.relay.ends);
    for (after, before) in kept.iter().zip([&relay, &default]) {
        assert_eq!((after.relay.ports, after.ip), (before.relay.ports, before.ip));
    }
    assert_eq!(start_default(&node).await.relay.id, default.relay.id);
    for (side, program) in [(0, &one), (1, &two)] {
        assert_eq!(kept[1].sides[side].source, Some(program.address()));
        assert!(kept[1].sides[side].is_firm);
    }
    assert!(!gets_in(&third, default.relay.ports[0], &two).await, "a stranger stays locked out");
    assert!(!gets_in(&third, default.relay.ports[1], &one).await);
    one.send(default.relay.ports[0], b"still here").await;
    assert_eq!(
        two.receive().await.as_deref(),
        Some(&b"still here"[..]),
        "without a packet from the other side"
    );
    assert!(ends(&node).await.is_empty(), "a stop of the node ends no relay");
}

#[tokio::test]
async fn relays_come_back_with_their_ports_and_sources_after_a_stop() {
    keeps_ports_and_sources(true).await;
}

#[tokio::test]
async fn relays_come_back_with_their_ports_and_sources_after_a_kill() {
    keeps_ports_and_sources(false).await;
}

#[tokio::test]
async fn a_relay_whose_port_was_taken_meanwhile_ends() {
    let network = network(FakeOptions::default());
    let mut node = TestNode::start(&network, "alice").await;
    let relay = start_default(&node).await;
    node.stop().await;
    let taken = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, relay.relay.ports[1])).unwrap();
    let node = node.restart().await;
    assert_eq!(reason_of_end(&node, &relay).await, "port_taken");
    assert!(list(&node).await.is_empty());
    assert_ne!(start_default(&node).await.relay.id, relay.relay.id);
    drop(taken);
    let node = node.restart().await;
    assert_eq!((list(&node).await.len(), ends(&node).await.len()), (1, 1));
}

#[tokio::test]
async fn a_life_that_ended_while_the_node_was_off_is_told_at_its_start() {
    let network = network(FakeOptions::default());
    let mut node = TestNode::start(&network, "alice").await;
    let relay = start(&node, StartRelay { life_secs: 600, ..StartRelay::default() }).await.unwrap();
    node.stop().await;
    let moved = node.database().execute("UPDATE relay SET ends_ms = started_ms + 1", []).unwrap();
    assert_eq!(moved, 1);
    let node = node.restart().await;
    assert_eq!(reason_of_end(&node, &relay).await, "life");
    assert!(are_free(relay.relay.ports));
}

#[tokio::test]
async fn what_went_through_before_a_stop_counts_against_the_limit() {
    let network = network(FakeOptions::default());
    let mut node = TestNode::start(&network, "alice").await;
    let request = StartRelay { max_packets: 1_000, ..StartRelay::default() };
    let relay = start(&node, request).await.unwrap();
    let (one, two) = (Program::new().await, Program::new().await);
    join([&one, &two], relay.relay.ports).await;
    let passed: u64 = list(&node).await[0].sides.iter().map(|side| side.packets).sum();
    node.stop().await;
    let count = "SELECT used_packets FROM relay";
    let used: i64 = node.database().query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(used.cast_unsigned(), passed);
    node.database().execute("UPDATE relay SET used_packets = 998", []).unwrap();

    let node = node.restart().await;
    for _ in 0..3 {
        one.send(relay.relay.ports[0], b"more").await;
    }
    assert_eq!(reason_of_end(&node, &relay).await, "limit");
    assert_eq!((two.receive().await, two.receive().await), (Some(b"more".to_vec()), Some(b"more".to_vec())));
    assert_eq!(two.receive().await, None);
}

#[tokio::test]
async fn relays_wait_while_the_service_is_switched_off() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let relay = start_default(&node).await;
    let mut off = options();
    off.socket.active = false;
    let node = node.restart_with(off).await;
    assert!(node.call(|services| async move { services.socket.is_none() }).await);
    assert!(are_free(relay.relay.ports));
    let node = node.restart_with(options()).await;
    assert_eq!(list(&node).await[0].relay.ports, relay.relay.ports);
    assert!(ends(&node).await.is_empty());
}

#[tokio::test]
async fn who_was_silent_for_the_idle_time_when_the_node_comes_back_is_forgotten() {
    let network = network(FakeOptions::default());
    let mut node = TestNode::start(&network, "alice").await;
    let relay = start_default(&node).await;
    let [one, two, moved] = [Program::new().await, Program::new().await, Program::new().await];
    join([&one, &two], relay.relay.ports).await;
    node.stop().await;
    // As if the node had been off since.
    let earlier = "UPDATE relay SET heard1_ms = heard1_ms - 120000, heard2_ms = heard2_ms - 60000";
    assert_eq!(node.database().execute(earlier, []).unwrap(), 1);

    let node = node.restart().await;
    let sides = list(&node).await[0].sides;
    assert_eq!((sides[0].source, sides[1].source), (None, Some(two.address())));
    assert!(gets_in(&moved, relay.relay.ports[0], &two).await, "nobody is locked out by a user of long ago");
    assert!(!gets_in(&moved, relay.relay.ports[1], &moved).await, "the other is still known");
}

#[tokio::test]
async fn when_a_source_was_heard_is_known_after_a_kill() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let relay = start(&node, StartRelay { idle_secs: 4, ..StartRelay::default() }).await.unwrap();
    let (one, two) = (Program::new().await, Program::new().await);
    join([&one, &two], relay.relay.ports).await;
    let saved = async || node.store.relays().await.unwrap()[0].used.pins[0].map(|pin| pin.last_heard);
    wait_for("the source to be saved", async || saved().await.is_some()).await;
    let first = saved().await.unwrap();
    wait_for("a later time to be saved", async || {
        one.send(relay.relay.ports[0], b"still here").await;
        saved().await.is_some_and(|heard| heard.since(first) >= Duration::from_secs(1))
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_waits_for_the_next_start_is_opened_or_ended_by_the_calls_about_it() {
    let network = network(FakeOptions::default());
    let node = TestNode::start(&network, "alice").await;
    let relay = start_default(&node).await;
    let kept = node.store.relays().await.unwrap().remove(0);
    stop_default(&node).await;
    // As a start leaves it where the system has no sockets.
    node.store.add_relay(kept.clone()).await.unwrap();
    assert!(list(&node).await.is_empty());
    assert_eq!(start_default(&node).await.relay.ports, kept.ports);
    stop_default(&node).await;
    assert_eq!(ends(&node).await.len(), 2);

    node.store.add_relay(kept.clone()).await.unwrap();
    stop_default(&node).await;
    assert!(node.store.relays().await.unwrap().is_empty());
    node.store.add_relay(kept).await.unwrap();
    stop(&node, &relay).await.unwrap();
    assert_eq!(stop(&node, &relay).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(ends(&node).await.len(), 4);
}
