//! Third parties: whoever is not one of the two users gets nothing through, and is counted.

use std::sync::Arc;
use std::time::Duration;

use imp_api::proto::imp::socket::v1::{Relay, StartRelayRequest};

use crate::internet::{RELAY, ROUTER_A, ROUTER_B, STRANGER};
use crate::lab::{Lab, Talk, drops, side, source};
use crate::program::{Program, to};

/// Packets that are to be dropped, for each port.
const TRIES: i64 = 20;

/// Sends to both ports of a relay that two users have, and checks that it goes on as if nothing had come.
async fn intrude(lab: &Lab, talk: &Talk, intruder: &Program, reason: &str) {
    let before = lab.look(&talk.relay).await;
    for _ in 0..TRIES {
        intruder.send(b"not for you", talk.to_a).await;
        intruder.send(b"not for you", talk.to_b).await;
    }
    let dropped = |relay: &Relay| drops(relay, reason) - drops(&before, reason) == 2 * TRIES;
    let after = lab.wait(&talk.relay, "all is dropped", dropped).await;
    for at in 0..2 {
        assert_eq!(source(&after, at), source(&before, at));
        assert_eq!(side(&after, at).packets, side(&before, at).packets);
    }
    // Had anything come through, it would come before this.
    talk.exchange("goes on").await;
}

pub(crate) async fn a_stranger_reaches_neither_side(lab: Arc<Lab>) {
    let talk = lab.talk(StartRelayRequest::default()).await;
    let stranger = Program::on(&lab.internet.stranger);
    intrude(&lab, &talk, &stranger, "other_source").await;
    // Nor does who knows the token: it opens an empty side, not one that is taken.
    let before = lab.look(&talk.relay).await;
    stranger.send(talk.relay.token.as_bytes(), talk.to_a).await;
    let dropped = |relay: &Relay| drops(relay, "other_source") > drops(&before, "other_source");
    lab.wait(&talk.relay, "the token is dropped", dropped).await;
    talk.exchange("goes on").await;
    // A neighbour behind the same router has the same address, and is a stranger all the same.
    let neighbour = Program::on(&lab.internet.user_a);
    intrude(&lab, &talk, &neighbour, "other_source").await;
    assert!(stranger.receive_within(Duration::ZERO).await.is_none());
    assert!(neighbour.receive_within(Duration::ZERO).await.is_none());
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn who_poses_as_a_user_with_another_port_is_a_stranger(lab: Arc<Lab>) {
    let talk = lab.talk(StartRelayRequest::default()).await;
    let known = lab.look(&talk.relay).await;
    for (address, at) in [(ROUTER_A, 0), (ROUTER_B, 1)] {
        lab.internet.let_stranger_pose_as(address).unwrap();
        let posed = Program::at(&lab.internet.stranger, to(address, 0));
        let (pinned, port) = source(&known, at).unwrap();
        assert!(pinned == address && port != posed.port());
        intrude(&lab, &talk, &posed, "other_source").await;
    }
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn private_sources_are_not_let_in(lab: Arc<Lab>) {
    let relay = lab.relay(StartRelayRequest::default()).await;
    let private = ["10.1.0.1", "10.9.9.9", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.7.7"];
    for (number, address) in (1..).zip(private) {
        let address = address.parse().unwrap();
        lab.internet.let_stranger_pose_as(address).unwrap();
        let posed = Program::at(&lab.internet.stranger, to(address, 0));
        for port in [relay.ports.0, relay.ports.1] {
            posed.send(b"let me in", to(RELAY, port)).await;
            posed.send(relay.token.as_bytes(), to(RELAY, port)).await;
        }
        let dropped = |now: &Relay| drops(now, "private_source") == 4 * number;
        let now = lab.wait(&relay, &format!("what {address} sent is dropped"), dropped).await;
        assert!(source(&now, 0).is_none() && source(&now, 1).is_none(), "{now:?}");
    }
    lab.stop_relay(&relay).await;
}

pub(crate) async fn a_relay_with_a_token_is_closed_to_who_does_not_have_it(lab: Arc<Lab>) {
    let internet = &lab.internet;
    let relay = lab.relay(StartRelayRequest { require_token: true, ..StartRelayRequest::default() }).await;
    let stranger = Program::on(&internet.stranger);
    let (to_a, to_b) = (to(RELAY, relay.ports.0), to(RELAY, relay.ports.1));
    let almost = [relay.token.to_uppercase(), format!("{}\n", relay.token), relay.token[1..].to_owned()];
    for packet in almost.iter().map(String::as_str).chain(["", "hello", "00000000000000000000000000000000"]) {
        stranger.send(packet.as_bytes(), to_a).await;
        stranger.send(packet.as_bytes(), to_b).await;
    }
    let now = lab.wait(&relay, "all is dropped", |now| drops(now, "token") == 12).await;
    assert!(source(&now, 0).is_none() && source(&now, 1).is_none(), "{now:?}");

    let (a, b) = (Program::on(&internet.user_a), Program::on(&internet.user_b));
    let talk = Talk { relay, a, b, to_a, to_b };
    for (program, at, address) in [(&talk.a, 0, talk.to_a), (&talk.b, 1, talk.to_b)] {
        program.send(talk.relay.token.as_bytes(), address).await;
        // Told back, and not passed on.
        assert_eq!(program.expect(talk.relay.token.as_bytes()).await, address);
        lab.wait(&talk.relay, "the side is known", |now| source(now, at).is_some()).await;
    }
    talk.exchange("with the token").await;
    lab.wait(&talk.relay, "both are firm", |now| side(now, 0).firm && side(now, 1).firm).await;
    intrude(&lab, &talk, &stranger, "other_source").await;
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn a_first_packet_of_a_stranger_holds_a_side_for_ten_seconds_at_most(lab: Arc<Lab>) {
    let internet = &lab.internet;
    let relay = lab.relay(StartRelayRequest::default()).await;
    let stranger = Program::on(&internet.stranger);
    let (to_a, to_b) = (to(RELAY, relay.ports.0), to(RELAY, relay.ports.1));
    stranger.send(b"I was first", to_a).await;
    let now = lab.wait(&relay, "the stranger is known", |now| source(now, 0).is_some()).await;
    assert_eq!(source(&now, 0).unwrap(), (STRANGER, stranger.port()));
    let a = Program::on(&internet.user_a);
    a.send(b"here I am", to_a).await;
    lab.wait(&relay, "the user is dropped", |now| drops(now, "other_source") == 1).await;
    // As a program does that has no answer.
    let began = tokio::time::Instant::now();
    let is_user = |now: &Relay| source(now, 0).is_some_and(|(address, _)| address == ROUTER_A);
    while !is_user(&lab.look(&relay).await) {
        assert!(began.elapsed() < Duration::from_secs(20), "the user is kept out");
        a.send(b"here I am", to_a).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let b = Program::on(&internet.user_b);
    let talk = Talk { relay, a, b, to_a, to_b };
    talk.b.send(b"at last", to_b).await;
    talk.a.expect(b"at last").await;
    talk.exchange("as if nobody had been there").await;
    lab.wait(&talk.relay, "both are firm", |now| side(now, 0).firm && side(now, 1).firm).await;
    intrude(&lab, &talk, &stranger, "other_source").await;
    lab.stop_relay(&talk.relay).await;
}
