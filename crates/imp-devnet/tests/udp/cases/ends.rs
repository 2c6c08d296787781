//! How relays end, as users see it.

use std::sync::Arc;

use imp_api::client::ClientError;
use imp_api::error::Code;
use imp_api::proto::imp::socket::v1::{GetRelayRequest, Relay, StartRelayRequest};

use crate::internet::RELAY;
use crate::lab::{Lab, Pair, drops, end_of, source, wait_for};
use crate::program::{Program, to};

/// Waits until nobody listens at the ports any more, as a user behind a router learns it.
async fn expect_closed(lab: &Lab, relay: &Pair) {
    for port in [relay.ports.0, relay.ports.1] {
        let address = to(RELAY, port);
        let user = Program::connected(&lab.internet.user_a, address).await;
        user.expect_refusal(address).await;
    }
    let gone = lab.alice().await.get_relay(GetRelayRequest { id: relay.id.clone() }).await;
    assert!(matches!(gone, Err(ClientError::Refused(body)) if body.code == Code::NotFound));
}

pub(crate) async fn a_relay_that_is_stopped_refuses_packets(lab: Arc<Lab>) {
    let mut events = lab.events("alice").await;
    let talk = lab.talk(StartRelayRequest::default()).await;
    lab.stop_relay(&talk.relay).await;
    // Closed before the call answers: what is sent now reaches nobody.
    talk.a.send(b"too late", talk.to_a).await;
    expect_closed(&lab, &talk.relay).await;
    assert!(talk.b.receive_within(std::time::Duration::ZERO).await.is_none());
    assert_eq!(end_of(&talk.relay, &mut events).await, "stopped");
}

pub(crate) async fn a_relay_without_packets_ends(lab: Arc<Lab>) {
    let mut events = lab.events("alice").await;
    let request = StartRelayRequest { idle_secs: 2, ..StartRelayRequest::default() };
    let never_used = lab.relay(request.clone()).await;
    let talk = lab.talk(request).await;
    assert_eq!(end_of(&never_used, &mut events).await, "idle");
    assert_eq!(end_of(&talk.relay, &mut events).await, "idle");
    expect_closed(&lab, &never_used).await;
    expect_closed(&lab, &talk.relay).await;
}

pub(crate) async fn a_side_that_is_silent_is_sent_nothing(lab: Arc<Lab>) {
    let talk = lab.talk(StartRelayRequest { idle_secs: 3, ..StartRelayRequest::default() }).await;
    wait_for("B is forgotten", || async {
        talk.a.send(b"are you there", talk.to_a).await;
        (drops(&lab.look(&talk.relay).await, "no_peer") > 1).then_some(())
    })
    .await;
    let silent = lab.look(&talk.relay).await;
    assert_eq!(source(&silent, 1), None);
    for _ in 0..5 {
        talk.a.send(b"nobody hears this", talk.to_a).await;
    }
    let dropped = |now: &Relay| drops(now, "no_peer") == drops(&silent, "no_peer") + 5;
    lab.wait(&talk.relay, "all is dropped", dropped).await;
    // B comes back, and finds what was sent until it was forgotten.
    talk.b.send(b"back", talk.to_b).await;
    talk.a.expect(b"back").await;
    talk.a.send(b"welcome", talk.to_a).await;
    loop {
        match talk.b.receive().await.0.as_slice() {
            b"are you there" => {}
            other => break assert_eq!(other, b"welcome"),
        }
    }
    lab.stop_relay(&talk.relay).await;
}

pub(crate) async fn a_relay_ends_with_its_packets(lab: Arc<Lab>) {
    let mut events = lab.events("alice").await;
    let talk = lab.talk(StartRelayRequest { max_packets: 50, ..StartRelayRequest::default() }).await;
    let user = Program::connected(&lab.internet.user_b, talk.to_b).await;
    for number in 0..100_u32 {
        talk.a.send(&number.to_be_bytes(), talk.to_a).await;
    }
    assert_eq!(end_of(&talk.relay, &mut events).await, "limit");
    user.expect_refusal(talk.to_b).await;
    expect_closed(&lab, &talk.relay).await;
    let mut arrived = 0;
    while let Some(Ok(_)) = talk.b.receive_within(std::time::Duration::from_millis(100)).await {
        arrived += 1;
    }
    assert_eq!(arrived, 50 - 3, "all but those by which the users met");
}
