//! Local ends of relays.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use imp_core::relay::KeepAliveState;
use imp_node::udp::{ConnectError, ConnectionHandle, ConnectionSnapshot, ConnectionSpec};
use tokio::time::timeout;

use super::{PATIENCE, Program, engine, spec, token, wait_for, wait_for_drops, with};

fn at(port: u16) -> ConnectionSpec {
    ConnectionSpec { remote: ([127, 0, 0, 1], port).into(), local_port: None, token: Some(token()) }
}

async fn wait_until(
    connection: &ConnectionHandle,
    holds: impl Fn(&ConnectionSnapshot) -> bool,
) -> ConnectionSnapshot {
    let waited = timeout(PATIENCE, async {
        loop {
            let now = connection.snapshot();
            if holds(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it stays {:?}", connection.snapshot()))
}

async fn program_of(connection: &ConnectionHandle) -> Program {
    Program::at("127.0.0.1", connection.local()).await
}

#[tokio::test]
async fn two_plain_programs_talk_over_a_relay_that_demands_its_token() {
    let engine = engine();
    let relay = engine.open(with(|options| options.require_token = true)).unwrap();
    let [first, second] = relay.ports();
    let ends = [engine.connect(at(first)).unwrap(), engine.connect(at(second)).unwrap()];
    for end in &ends {
        wait_until(end, |now| now.state == KeepAliveState::Joined).await;
        assert!(end.local().ip().is_loopback());
    }
    let (left, right) = (program_of(&ends[0]).await, program_of(&ends[1]).await);
    // Where the relay's packets go to is known once the program has sent.
    right.send(b"I listen").await;
    wait_until(&ends[1], |now| now.program == Some(right.address())).await;
    left.send(b"can you hear me?").await;
    right.expect(b"can you hear me?").await;
    right.send(b"yes").await;
    // What came before the left program had sent may have waited long enough to reach it.
    while left.receive().await != b"yes" {}
    for length in [0, 1, 32, 1_200, 20_000, 65_507] {
        right.send(&vec![9; length]).await;
        assert_eq!(left.receive().await, vec![9; length]);
    }
    assert!(left.has_nothing() && right.has_nothing(), "no token reaches a program");
    let now = wait_until(&ends[0], |now| now.packets_in >= 7).await;
    assert_eq!(now.packets_out, 1);
    assert_eq!(now.remote, SocketAddr::from(([127, 0, 0, 1], first)));
    assert!(now.last_heard.is_some());
    let counted = wait_for(&relay, |now| now.sides[1].packets == 8).await;
    assert!(counted.sides.iter().all(|side| side.keep_alives >= 1));
}

#[tokio::test]
async fn a_program_that_starts_again_is_answered_at_its_new_port() {
    let engine = engine();
    let relay = engine.open(spec()).unwrap();
    let [first, second] = relay.ports();
    let peer = Program::new(first).await;
    peer.send(b"hello").await;
    wait_for_drops(&relay, imp_core::relay::Dropped::NoPeer, 1).await;
    let connection = engine.connect(at(second)).unwrap();
    for text in [b"once ", b"twice"] {
        let program = program_of(&connection).await;
        program.send(text).await;
        peer.expect(text).await;
        peer.send(text).await;
        program.expect(text).await;
    }
}

#[tokio::test]
async fn only_the_relay_is_listened_to() {
    let engine = engine();
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    relay.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = engine.connect(at(relay.local_addr().unwrap().port())).unwrap();
    let mut buffer = [0; 64];
    let (length, far) = relay.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], token().as_bytes(), "the token comes first");
    let program = program_of(&connection).await;
    program.send(b"hello").await;
    let (length, _) = relay.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"hello");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"I am the relay", far).unwrap();
    relay.send_to(b"no, I am", far).unwrap();
    program.expect(b"no, I am").await;
    assert_eq!(wait_until(&connection, |now| now.packets_in > 0).await.packets_in, 1);
}

#[tokio::test]
async fn an_offer_without_a_token_is_joined_by_empty_packets() {
    let engine = engine();
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    relay.set_read_timeout(Some(PATIENCE)).unwrap();
    let spec = ConnectionSpec { token: None, ..at(relay.local_addr().unwrap().port()) };
    let connection = engine.connect(spec).unwrap();
    let (length, _) = relay.recv_from(&mut [0; 64]).unwrap();
    assert_eq!(length, 0);
    assert_eq!(connection.snapshot().state, KeepAliveState::Joining);
}

#[tokio::test]
async fn a_keep_alive_that_was_lost_is_followed_by_another() {
    let engine = engine();
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    relay.set_read_timeout(Some(PATIENCE)).unwrap();
    let connection = engine.connect(at(relay.local_addr().unwrap().port())).unwrap();
    let mut buffer = [0; 64];
    relay.recv_from(&mut buffer).unwrap();
    assert_eq!(connection.snapshot().state, KeepAliveState::Joining);
    let (length, far) = relay.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], token().as_bytes());
    relay.send_to(&buffer[..length], far).unwrap();
    wait_until(&connection, |now| now.state == KeepAliveState::Joined).await;
}

#[tokio::test]
async fn closing_an_end_frees_its_port_and_a_taken_one_is_named() {
    let engine = engine();
    let relay = engine.open(spec()).unwrap();
    let connection = engine.connect(at(relay.ports()[1])).unwrap();
    let port = connection.local().port();
    let wanted = ConnectionSpec { local_port: Some(port), ..at(relay.ports()[0]) };
    assert!(matches!(
        engine.connect(wanted.clone()),
        Err(ConnectError::Taken { port: found, .. }) if found == port
    ));
    timeout(PATIENCE, connection.close()).await.unwrap();
    UdpSocket::bind(connection.local()).expect("the port is free");
    let again = engine.connect(wanted).unwrap();
    assert_eq!(again.local().port(), port);
    timeout(PATIENCE, engine.shutdown()).await.unwrap();
    timeout(PATIENCE, again.closed()).await.unwrap();
}

#[tokio::test]
async fn a_stranger_with_the_wrong_token_stays_out() {
    let engine = engine();
    let relay = engine.open(with(|options| options.require_token = true)).unwrap();
    let wrong = imp_core::socket::Token::from_random([1; 16]);
    let spec = ConnectionSpec { token: Some(wrong), ..at(relay.ports()[1]) };
    let connection = engine.connect(spec).unwrap();
    wait_for_drops(&relay, imp_core::relay::Dropped::Token, 1).await;
    assert_eq!(connection.snapshot().state, KeepAliveState::Joining);
}

#[tokio::test]
async fn local_ends_that_lead_to_each_other_pass_nothing_on() {
    let engine = engine();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let one = engine.connect(at(free)).unwrap();
    let other = engine.connect(ConnectionSpec { local_port: Some(free), ..at(one.local().port()) }).unwrap();
    let (left, right) = (program_of(&one).await, program_of(&other).await);
    for sent in 1..=3 {
        // Each lets through what its program sends, and what the other end sends stands before the next of it.
        left.send(b"anybody?").await;
        assert_eq!(wait_until(&one, |now| now.packets_out >= sent).await.packets_out, sent);
        right.send(b"nobody").await;
        let now = wait_until(&other, |now| now.packets_out >= sent).await;
        assert_eq!((now.packets_out, now.program), (sent, Some(right.address())));
    }
    assert_eq!(one.snapshot().program, Some(left.address()));
}
