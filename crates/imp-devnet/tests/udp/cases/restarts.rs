//! Relays outlive the process of their node.

use std::sync::Arc;
use std::time::Duration;

use imp_api::proto::imp::socket::v1::StartRelayRequest;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::internet::RELAY;
use crate::lab::{Lab, Talk, end_of, side, source};
use crate::program::{Program, to};

/// Longer than it takes until a pin that has changed is stored, which is a second.
const STORED: Duration = Duration::from_secs(3);

/// Has both sides go on until who they are must have been stored.
async fn talk_until_stored(talk: &Talk) {
    let until = Instant::now() + STORED;
    while Instant::now() < until {
        talk.exchange("while it runs").await;
    }
}

pub(crate) async fn a_stop_and_a_kill_of_the_node_go_unnoticed(lab: Arc<Lab>) {
    let request =
        StartRelayRequest { label: "kept".to_owned(), idle_secs: 90, ..StartRelayRequest::default() };
    let talk = lab.talk(request).await;
    let stranger = Program::on(&lab.internet.stranger);
    for signal in [Signal::TERM, Signal::KILL] {
        talk_until_stored(&talk).await;
        let before = lab.look(&talk.relay).await;
        lab.restart("alice", signal).await;
        let after = lab.look(&talk.relay).await;
        for at in 0..2 {
            assert_eq!(source(&after, at), source(&before, at));
            assert!(side(&after, at).firm, "{after:?}");
        }
        assert_eq!((after.label.as_str(), &after.token), ("kept", &talk.relay.token));
        assert_eq!((&after.port1, &after.port2), (&before.port1, &before.port2));
        assert_eq!(
            (after.idle_secs, after.started_ms, after.ends_ms),
            (90, before.started_ms, before.ends_ms)
        );
        // The stranger comes first, and B has sent nothing since: the sides are still theirs.
        stranger.send(b"is it free now", talk.to_a).await;
        stranger.send(b"is it free now", talk.to_b).await;
        talk.exchange("after its restart").await;
    }
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn a_port_that_was_taken_meanwhile_ends_its_relay(lab: Arc<Lab>) {
    let after = lab.events("alice").await.position();
    let (lost, kept) =
        (lab.relay(StartRelayRequest::default()).await, lab.talk(StartRelayRequest::default()).await);
    talk_until_stored(&kept).await;
    // Somebody else takes the port in the moment in which nobody has it.
    let address = to(RELAY, lost.ports.1);
    let taking = {
        let lab = Arc::clone(&lab);
        tokio::task::spawn_blocking(move || {
            let until = std::time::Instant::now() + Duration::from_secs(30);
            let taken = lab.internet.relay.enter(|| {
                loop {
                    match std::net::UdpSocket::bind(address) {
                        Ok(socket) => return Some(socket),
                        Err(_) if std::time::Instant::now() > until => return None,
                        Err(_) => std::thread::sleep(Duration::from_micros(200)),
                    }
                }
            });
            taken.unwrap().expect("the port is free for a moment")
        })
    };
    lab.restart("alice", Signal::KILL).await;
    let taken = taking.await.unwrap();
    let mut events = lab.events_after("alice", after).await;
    assert_eq!(end_of(&lost, &mut events).await, "port_taken");
    kept.exchange("the other goes on").await;
    drop(taken);
    lab.stop_relay(&kept.relay).await;
}
