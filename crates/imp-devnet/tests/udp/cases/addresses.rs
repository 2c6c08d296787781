//! Addresses that change, that are more than one, and that are of IPv6.

use std::sync::Arc;
use std::time::Duration;

use imp_api::proto::imp::socket::v1::{Relay, StartRelayRequest};
use tokio::time::{Instant, sleep};

use crate::internet::{RELAY, RELAY_SECOND, RELAY_V6, ROUTER_A, ROUTER_A_LATER, USER_A_V6, USER_B_V6};
use crate::lab::{Lab, Talk, drops, source};
use crate::program::{Program, to};

pub(crate) async fn a_user_whose_address_changes_is_let_in_once_the_old_one_is_silent(lab: Arc<Lab>) {
    let idle = Duration::from_secs(5);
    let request = StartRelayRequest { idle_secs: 5, ..StartRelayRequest::default() };
    let talk = lab.talk(request).await;
    let before = lab.look(&talk.relay).await;
    let silent_since = Instant::now();
    lab.internet.change_address_of_router_a(ROUTER_A, ROUTER_A_LATER).unwrap();

    // The user goes on as before. At first it is a stranger.
    talk.a.send(b"from elsewhere", talk.to_a).await;
    let now = lab.wait(&talk.relay, "it is dropped", |now| drops(now, "other_source") > 0).await;
    assert_eq!(source(&now, 0), source(&before, 0));
    let moved = |now: &Relay| source(now, 0).is_some_and(|(address, _)| address == ROUTER_A_LATER);
    while !moved(&lab.look(&talk.relay).await) {
        assert!(silent_since.elapsed() < idle * 4, "the user is kept out");
        talk.a.send(b"still here", talk.to_a).await;
        // The other side is heard all the time, or it would be forgotten too.
        talk.b.send(b"anybody?", talk.to_b).await;
        sleep(Duration::from_millis(100)).await;
    }
    // When the relay last heard the old address is a moment before the clock here began.
    let took = silent_since.elapsed();
    assert!(took > idle - Duration::from_secs(1), "it was let in after {took:?}");
    lab.internet.change_address_of_router_a(ROUTER_A_LATER, ROUTER_A).unwrap();
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn answers_come_from_the_address_that_was_reached(lab: Arc<Lab>) {
    let relay = lab.relay(StartRelayRequest::default()).await;
    let (internet, ports) = (&lab.internet, relay.ports);
    // A speaks to the second address, B to the first.
    let talk = Talk {
        a: Program::on(&internet.user_a),
        b: Program::on(&internet.user_b),
        to_a: to(RELAY_SECOND, ports.0),
        to_b: to(RELAY, ports.1),
        relay,
    };
    talk.meet(&lab).await;
    talk.exchange("by two addresses").await;
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn users_of_ipv6_talk_with_each_other_and_with_users_of_ipv4(lab: Arc<Lab>) {
    let internet = &lab.internet;
    let relay = lab.relay(StartRelayRequest::default()).await;
    let (to_a, to_b) = (to(RELAY_V6, relay.ports.0), to(RELAY_V6, relay.ports.1));
    let (a, b) = (Program::on_v6(&internet.user_a), Program::on_v6(&internet.user_b));
    let both = Talk { relay, a, b, to_a, to_b };
    both.meet(&lab).await;
    let now = lab.look(&both.relay).await;
    assert_eq!(source(&now, 0), Some((USER_A_V6, both.a.port())));
    assert_eq!(source(&now, 1), Some((USER_B_V6, both.b.port())));
    // The longest that fits into a packet of these networks passes. With IPv6, only who sends a packet cuts it into
    // fragments, and the relay does not.
    let longest = [7; 1_500 - 40 - 8];
    both.a.send(&longest, both.to_a).await;
    both.b.expect(&longest).await;
    both.a.send(&[7; 20_000], both.to_a).await;
    lab.wait(&both.relay, "what is too long is dropped", |now| drops(now, "too_long") == 1).await;
    both.exchange("and all goes on").await;
    lab.stop_relay(&both.relay).await;

    let relay = lab.relay(StartRelayRequest::default()).await;
    let (to_a, to_b) = (to(RELAY_V6, relay.ports.0), to(RELAY, relay.ports.1));
    let (a, b) = (Program::on_v6(&internet.user_a), Program::on(&internet.user_b));
    let mixed = Talk { relay, a, b, to_a, to_b };
    mixed.meet(&lab).await;
    let now = lab.look(&mixed.relay).await;
    assert!(source(&now, 1).unwrap().0.is_ipv4(), "{now:?}");
    lab.stop_relay(&mixed.relay).await;
}

pub(crate) async fn private_sources_of_ipv6_are_not_let_in(lab: Arc<Lab>) {
    let relay = lab.relay(StartRelayRequest::default()).await;
    let address = "fd00::9".parse().unwrap();
    lab.internet.let_stranger_pose_as(address).unwrap();
    let posed = Program::at(&lab.internet.stranger, to(address, 0));
    for port in [relay.ports.0, relay.ports.1] {
        posed.send(b"let me in", to(RELAY_V6, port)).await;
    }
    let now = lab.wait(&relay, "it is dropped", |now| drops(now, "private_source") == 2).await;
    assert!(source(&now, 0).is_none() && source(&now, 1).is_none(), "{now:?}");
    lab.stop_relay(&relay).await;
}
