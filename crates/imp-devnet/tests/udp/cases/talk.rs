//! Two plain UDP programs, each behind a router.

use std::collections::BTreeSet;
use std::sync::Arc;

use imp_api::proto::imp::socket::v1::{ListRelaysRequest, StartRelayRequest};
use imp_api::proto::socket::{StartSocketRequest, StopSocketRequest};

use crate::internet::{RELAY, ROUTER_A, ROUTER_B};
use crate::lab::{Lab, Pair, side, source};
use crate::program::{LONGEST, Program};

/// Packets that a socket's buffer holds, with room to spare.
const AT_ONCE: usize = 100;

pub(crate) async fn programs_behind_two_routers_talk_both_ways_unchanged(lab: Arc<Lab>) {
    let talk = lab.talk(StartRelayRequest { label: "talk".to_owned(), ..StartRelayRequest::default() }).await;
    let before = lab.look(&talk.relay).await;
    // Around one packet of the network, which is 1,472 bytes, and up to the longest there is, in 45 fragments.
    let lengths = [0, 1, 2, 31, 32, 33, 512, 1200, 1471, 1472, 1473, 4096, 32_000, LONGEST];
    for (number, length) in lengths.into_iter().enumerate() {
        let payload: Vec<u8> = (0..length).map(|at| (at * 31 + number * 7) as u8).collect();
        talk.a.send(&payload, talk.to_a).await;
        assert_eq!(talk.b.expect(&payload).await, talk.to_b);
        talk.b.send(&payload, talk.to_b).await;
        assert_eq!(talk.a.expect(&payload).await, talk.to_a);
    }
    let (packets, bytes) = (lengths.len() as i64, lengths.iter().sum::<usize>() as i64);
    let after = lab
        .wait(&talk.relay, "all is counted", |relay| {
            (0..2).all(|at| {
                let (now, then) = (side(relay, at), side(&before, at));
                now.packets - then.packets == packets && now.bytes - then.bytes == bytes
            })
        })
        .await;
    assert_eq!(source(&after, 0).unwrap().0, ROUTER_A);
    assert_eq!(source(&after, 1).unwrap().0, ROUTER_B);
    // A's first packet, when B was not known yet.
    assert_eq!(after.drops.iter().map(|drops| drops.packets).sum::<i64>(), 1, "{after:?}");
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn many_packets_at_once_arrive_both_ways(lab: Arc<Lab>) {
    let talk = lab.talk(StartRelayRequest::default()).await;
    for round in 0..10 {
        let payload =
            |from: &str, number: usize| format!("{from} {round} {number:>width$}", width = number * 3);
        for number in 0..AT_ONCE {
            talk.a.send(payload("a", number).as_bytes(), talk.to_a).await;
            talk.b.send(payload("b", number).as_bytes(), talk.to_b).await;
        }
        for (program, from) in [(&talk.b, "a"), (&talk.a, "b")] {
            // On the way packets may overtake each other.
            let mut missing: BTreeSet<Vec<u8>> =
                (0..AT_ONCE).map(|number| payload(from, number).into_bytes()).collect();
            while !missing.is_empty() {
                let (packet, _) = program.receive().await;
                assert!(missing.remove(&packet), "{:?}", String::from_utf8_lossy(&packet));
            }
        }
    }
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn the_relay_of_start_socket_is_one_like_others_until_it_is_stopped(lab: Arc<Lab>) {
    let alice = lab.alice().await;
    let told = alice.start_socket(StartSocketRequest {}).await.unwrap();
    assert_eq!((told.protocol.as_str(), told.ip), ("udp", RELAY.to_string()));
    let relays = alice.list_relays(ListRelaysRequest::default()).await.unwrap().relays;
    let relay = relays.into_iter().find(|relay| relay.default).expect("the relay is listed");
    assert_eq!((&relay.port1, &relay.port2), (&told.port1, &told.port2));
    assert_eq!(relay.ends_ms, None);
    let talk = lab.talk_over(Pair::of(relay)).await;
    talk.exchange("as in 2021").await;
    alice.stop_socket(StopSocketRequest {}).await.unwrap();
    let user = Program::connected(&lab.internet.user_a, talk.to_b).await;
    user.expect_refusal(talk.to_b).await;
}
