//! What comes out is what went in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use imp_node::udp::{EngineOptions, Ports};
use proptest::prelude::*;
use quinn_udp::{Transmit, UdpSocketState};
use tokio::net::UdpSocket;

use super::{Program, conversation, engine, engine_with, introduce, spec, wait_for};

/// So many packets wait in a socket's buffer without a loss, whatever their size.
const WINDOW: usize = 32;

#[tokio::test]
async fn packets_pass_both_ways_unchanged() {
    let relay = engine().open(spec()).unwrap();
    let (left, right) = conversation(&relay).await;
    for length in [0, 1, 31, 32, 33, 512, 1_200, 1_472, 1_473, 9_000, 65_507] {
        let packet: Vec<u8> = (0..length).map(|at: usize| (at * 7) as u8).collect();
        left.send(&packet).await;
        assert_eq!(right.receive().await, packet);
        right.send(&packet).await;
        assert_eq!(left.receive().await, packet);
    }
    // The first one of the left side met nobody.
    let now = wait_for(&relay, |now| now.sides.iter().all(|side| side.packets == 12)).await;
    assert_eq!(now.sides[0].bytes, 4 + 79_261);
    assert_eq!(now.drops().collect::<Vec<_>>(), [(imp_core::relay::Dropped::NoPeer, 1)]);
}

#[tokio::test]
async fn an_empty_packet_is_a_packet() {
    let relay = engine().open(spec()).unwrap();
    let [first, second] = relay.ports();
    let (left, right) = (Program::new(first).await, Program::new(second).await);
    left.send(b"").await;
    wait_for(&relay, |now| now.sides[0].source == Some(left.address())).await;
    right.send(b"").await;
    left.expect(b"").await;
}

#[tokio::test]
async fn users_of_both_families_and_of_any_address_are_answered_from_where_they_sent_to() {
    let engine = engine();
    // Whoever is first meets nobody, and whoever is second meets somebody.
    for [first, second] in [["::1", "127.0.0.2"], ["127.0.0.2", "::1"], ["127.0.0.3", "127.0.0.2"]] {
        let relay = engine.open(spec()).unwrap();
        let [left, right] = [(first, 0), (second, 1)].map(|(ip, side): (&str, usize)| {
            let ip: IpAddr = ip.parse().unwrap();
            let from = if ip.is_ipv6() { "::1" } else { "127.0.0.1" };
            Program::at(from, SocketAddr::new(ip, relay.ports()[side]))
        });
        let (left, right) = (left.await, right.await);
        introduce(&relay, &left, &right).await;
        let sides = relay.snapshot().sides;
        assert_eq!(sides.map(|side| side.source), [Some(left.address()), Some(right.address())]);
        right.send(b"from one to the other").await;
        left.expect(b"from one to the other").await;
    }
}

#[tokio::test]
async fn a_user_who_uses_another_of_our_addresses_is_answered_from_there() {
    let relay = engine().open(spec()).unwrap();
    let (mut left, right) = conversation(&relay).await;
    left.relay.set_ip("127.0.0.3".parse().unwrap());
    left.send(b"here now").await;
    right.expect(b"here now").await;
    right.send(b"I see").await;
    left.expect(b"I see").await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_packets_arrive_whole_and_in_order(lengths in prop::collection::vec(lengths(), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let relay = engine().open(spec()).unwrap();
            let (left, right) = conversation(&relay).await;
            for (window, lengths) in lengths.chunks(WINDOW).enumerate() {
                let packet = |at: usize| vec![(window * WINDOW + at) as u8; lengths[at]];
                for at in 0..lengths.len() {
                    left.send(&packet(at)).await;
                }
                for at in 0..lengths.len() {
                    assert_eq!(right.receive().await, packet(at));
                }
            }
        });
    }
}

/// Lengths that repeat, as those of programs do, and now and again any other.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(700), 2 => Just(64), 1 => Just(0), 1 => Just(32), 2 => 0..2_000_usize]
}

#[tokio::test]
async fn what_the_kernel_joined_arrives_in_its_packets() {
    let relay = engine().open(spec()).unwrap();
    let (left, right) = conversation(&relay).await;
    let state = UdpSocketState::new((&left.socket).into()).unwrap();
    if state.max_gso_segments() < 64 {
        return;
    }
    for (stride, bytes) in
        [(100, 6_350), (1_200, 64 * 1_000), (32, 33 * 32), (1_452, 1_452 * 40), (9_000, 45_000)]
    {
        let contents: Vec<u8> = (0..bytes).map(|at| (at / stride) as u8).collect();
        left.socket.writable().await.unwrap();
        let transmit = Transmit {
            destination: left.relay,
            ecn: None,
            contents: &contents,
            segment_size: Some(stride),
            src_ip: None,
        };
        state.try_send((&left.socket).into(), &transmit).unwrap();
        for packet in contents.chunks(stride) {
            assert_eq!(right.receive().await, packet, "of packets of {stride}");
        }
    }
}

#[tokio::test]
async fn a_user_who_is_gone_does_not_end_the_relay() {
    let relay = engine().open(spec()).unwrap();
    let (left, right) = conversation(&relay).await;
    let address = right.address();
    drop(right);
    for _ in 0..20 {
        left.send(b"are you still there?").await;
    }
    wait_for(&relay, |now| now.sides[0].packets == 21).await;
    let [_, second] = relay.ports();
    let right = Program {
        socket: UdpSocket::bind(address).await.unwrap(),
        relay: SocketAddr::new("127.0.0.1".parse().unwrap(), second),
    };
    left.send(b"and now?").await;
    right.expect(b"and now?").await;
    right.send(b"yes").await;
    left.expect(b"yes").await;
}

#[tokio::test]
async fn a_flood_through_one_relay_does_not_starve_another() {
    let engine = engine_with(EngineOptions { threads: 1, ..EngineOptions::default() });
    let (flooded, quiet) = (engine.open(spec()).unwrap(), engine.open(spec()).unwrap());
    let (from, to) = conversation(&flooded).await;
    let (left, right) = conversation(&quiet).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let flood = std::thread::spawn({
        let (is_over, relay) = (Arc::clone(&is_over), from.relay);
        let socket = from.socket.into_std().unwrap();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        move || {
            let contents = vec![7; 64 * 64];
            let segment_size = (state.max_gso_segments() >= 64).then_some(64);
            let contents = if segment_size.is_some() { &contents[..] } else { &contents[..64] };
            let transmit = Transmit { destination: relay, ecn: None, contents, segment_size, src_ip: None };
            while !is_over.load(Ordering::Relaxed) {
                let _ = state.try_send((&socket).into(), &transmit);
            }
        }
    });
    let before = flooded.snapshot().sides[0].packets;
    wait_for(&flooded, |now| now.sides[0].packets > before + 10_000).await;
    for number in 0..300_u32 {
        left.send(&number.to_be_bytes()).await;
        assert_eq!(right.receive().await, number.to_be_bytes(), "no packet of the quiet relay is lost");
    }
    is_over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    let through = flooded.snapshot().sides[0].packets;
    assert!(through > before + 10_000, "the flood went on: {through}");
    drop(to);
}

#[tokio::test]
async fn a_thousand_relays_are_open_at_once_and_each_passes_its_own() {
    let engine = engine();
    let spec = || imp_node::udp::RelaySpec { ports: Ports::Drawn(61_000..=65_535), ..spec() };
    let relays: Vec<_> = (0..1_000).map(|_| engine.open(spec()).unwrap()).collect();
    let mut ports: Vec<u16> = relays.iter().flat_map(|relay| relay.ports()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 2_000, "no port is given twice");
    for (number, relay) in relays.iter().enumerate() {
        let (left, right) = conversation(relay).await;
        let text = format!("relay {number}");
        left.send(text.as_bytes()).await;
        right.expect(text.as_bytes()).await;
    }
    for relay in &relays {
        relay.close().await;
    }
    for port in ports {
        std::net::UdpSocket::bind(("0.0.0.0", port)).unwrap_or_else(|error| panic!("{port}: {error}"));
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn what_is_above_the_rate_is_dropped_and_counted() {
    let relay = engine().open(super::with(|options| options.limits.max_packets_per_sec = 40)).unwrap();
    let (left, right) = conversation(&relay).await;
    for _ in 0..100 {
        left.send(b"quick").await;
    }
    let now = wait_for(&relay, |now| {
        now.sides[0].packets + now.drops[imp_core::relay::Dropped::Rate.index()] >= 101
    })
    .await;
    assert!(now.sides[0].packets < 60, "{now:?}");
    right.expect(b"quick").await;
}
