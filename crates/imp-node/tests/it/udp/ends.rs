//! When a relay is over, and what of it is left: nothing.

use std::net::UdpSocket;
use std::time::Duration;

use imp_core::relay::End;
use imp_node::udp::{OpenError, Ports, RelayHandle};
use tokio::time::timeout;

use super::{PATIENCE, Program, conversation, engine, spec, wait_for, with};

async fn closed(relay: &RelayHandle) -> End {
    timeout(PATIENCE, relay.closed()).await.expect("the relay does not end")
}

fn assert_free(ports: [u16; 2]) {
    for port in ports {
        UdpSocket::bind(("0.0.0.0", port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
    }
}

#[tokio::test]
async fn ports_are_free_when_close_returns_and_can_be_opened_at_once() {
    let engine = engine();
    let mut relay = engine.open(spec()).unwrap();
    let ports = relay.ports();
    for _ in 0..50 {
        assert_eq!(relay.close().await, End::Stopped);
        assert_free(ports);
        relay = engine.open(imp_node::udp::RelaySpec { ports: Ports::Fixed(ports), ..spec() }).unwrap();
    }
    conversation(&relay).await;
    assert_eq!(relay.close().await, End::Stopped);
    assert_eq!(relay.close().await, End::Stopped, "once more is no harm");
}

#[tokio::test]
async fn a_relay_whose_packets_are_used_up_ends() {
    let relay = engine().open(with(|options| options.limits.max_packets = 5)).unwrap();
    let (left, right) = conversation(&relay).await;
    for text in ["three", "four", "five", "six"] {
        left.send(text.as_bytes()).await;
    }
    for text in ["three", "four", "five"] {
        right.expect(text.as_bytes()).await;
    }
    assert_eq!(closed(&relay).await, End::Limit);
    assert_free(relay.ports());
    assert!(right.has_nothing());
    let sides = relay.snapshot().sides;
    assert_eq!(sides[0].packets + sides[1].packets, 5);
}

#[tokio::test]
async fn a_relay_passes_no_more_bytes_than_it_has() {
    let relay = engine().open(with(|options| options.limits.max_bytes = 1_000)).unwrap();
    let (left, right) = conversation(&relay).await;
    left.send(&[1; 900]).await;
    assert_eq!(right.receive().await.len(), 900);
    left.send(&[2; 100]).await;
    assert_eq!(closed(&relay).await, End::Limit);
    assert!(right.has_nothing());
}

#[tokio::test]
async fn a_relay_that_is_silent_on_both_sides_ends_and_one_that_is_used_does_not() {
    let engine = engine();
    let open = || {
        engine.open(with(|options| {
            options.idle = Duration::from_secs(2);
            options.ends_on_idle = true;
        }))
    };
    // The one that is used is the older one: it would be the first to end.
    let used = open().unwrap();
    let unused = open().unwrap();
    let left = Program::new(used.ports()[0]).await;
    let ended = timeout(PATIENCE, async {
        loop {
            tokio::select! {
                end = unused.closed() => return end,
                () = tokio::time::sleep(Duration::from_millis(5)) => left.send(b"tick").await,
            }
        }
    });
    assert_eq!(ended.await.expect("the unused relay does not end"), End::Idle);
    assert!(timeout(Duration::ZERO, used.closed()).await.is_err(), "one side is enough");
    assert_eq!(closed(&used).await, End::Idle);
    assert_free(used.ports());
}

#[tokio::test]
async fn a_relay_lives_no_longer_than_its_life() {
    let life = Duration::from_secs(1);
    let relay = engine().open(with(|options| options.life = Some(life))).unwrap();
    let (left, _right) = conversation(&relay).await;
    let ended = timeout(PATIENCE, async {
        loop {
            tokio::select! {
                end = relay.closed() => return end,
                () = tokio::time::sleep(Duration::from_millis(5)) => left.send(b"go on").await,
            }
        }
    });
    assert_eq!(ended.await.unwrap(), End::Life);
}

#[tokio::test]
async fn a_life_and_an_idle_time_beyond_all_time_do_not_matter() {
    let relay = engine()
        .open(with(|options| {
            options.life = Some(Duration::MAX);
            options.idle = Duration::MAX;
            options.ends_on_idle = true;
        }))
        .unwrap();
    conversation(&relay).await;
    assert_eq!(relay.close().await, End::Stopped);
}

#[tokio::test]
async fn a_range_without_two_free_ports_is_an_error_and_the_node_goes_on() {
    let engine = engine();
    // Three ports in a row that nobody has.
    let low = loop {
        let probe = engine.open(spec()).unwrap();
        let [port, _] = probe.ports();
        probe.close().await;
        if (port..port + 3).all(|port| UdpSocket::bind(("0.0.0.0", port)).is_ok()) {
            break port;
        }
    };
    let drawn = || imp_node::udp::RelaySpec { ports: Ports::Drawn(low..=low + 2), ..spec() };
    let relay = engine.open(drawn()).unwrap();
    assert!(matches!(engine.open(drawn()), Err(OpenError::NoPorts(range)) if range == (low..=low + 2)));
    conversation(&relay).await;
    relay.close().await;
    conversation(&engine.open(drawn()).unwrap()).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let engine = engine();
    let other = engine.open(spec()).unwrap();
    let [free, _] = other.ports();
    other.close().await;
    let opened = engine.open(imp_node::udp::RelaySpec { ports: Ports::Fixed([free, port]), ..spec() });
    assert!(matches!(opened, Err(OpenError::Taken { port: found, .. }) if found == port));
    UdpSocket::bind(("0.0.0.0", free)).expect("the first port is given back");
}

#[tokio::test]
async fn a_relay_whose_handle_is_dropped_is_closed() {
    let engine = engine();
    let relay = engine.open(spec()).unwrap();
    let ports = relay.ports();
    drop(relay.clone());
    conversation(&relay).await;
    drop(relay);
    timeout(PATIENCE, async {
        while ports.iter().any(|port| UdpSocket::bind(("0.0.0.0", *port)).is_err()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn the_end_of_the_engine_ends_all_and_frees_their_ports() {
    let engine = engine();
    let relays: Vec<RelayHandle> = (0..20).map(|_| engine.open(spec()).unwrap()).collect();
    let left = Program::new(relays[0].ports()[0]).await;
    left.send(b"hello").await;
    wait_for(&relays[0], |now| now.sides[0].source.is_some()).await;
    timeout(PATIENCE, engine.shutdown()).await.unwrap();
    for relay in relays {
        assert_eq!(closed(&relay).await, End::Stopped);
        assert_free(relay.ports());
        assert_eq!(relay.close().await, End::Stopped);
    }
    // What comes too late has ended when it begins.
    if let Ok(late) = engine.open(spec()) {
        assert_eq!(closed(&late).await, End::Stopped);
    }
}
