//! Who is let in.

use std::time::Duration;

use imp_core::relay::Dropped;
use imp_core::time::UnixMillis;
use imp_node::runtime::clock::{Clock, SystemClock};
use imp_node::udp::SavedPin;
use tokio::time::timeout;

use super::{PATIENCE, Program, conversation, engine, spec, token, wait_for, wait_for_drops, with};

#[tokio::test]
async fn a_third_program_neither_gets_nor_sends_anything() {
    let relay = engine().open(spec()).unwrap();
    let (left, right) = conversation(&relay).await;
    let [first, second] = relay.ports();
    let strangers = [Program::new(first).await, Program::new(second).await];
    for stranger in &strangers {
        stranger.send(b"let me in").await;
    }
    wait_for_drops(&relay, Dropped::OtherSource, 2).await;
    left.send(b"to you").await;
    right.expect(b"to you").await;
    right.send(b"to you, too").await;
    left.expect(b"to you, too").await;
    assert!(strangers.iter().all(Program::has_nothing));
    assert!(left.has_nothing() && right.has_nothing());
    let sides = relay.snapshot().sides;
    assert_eq!(sides.map(|side| side.source), [Some(left.address()), Some(right.address())]);
}

#[tokio::test]
async fn a_user_whose_address_changes_is_known_again_after_the_idle_time_of_that_side() {
    let relay = engine().open(with(|options| options.idle = Duration::from_secs(1))).unwrap();
    let (left, right) = conversation(&relay).await;
    let moved = Program { socket: Program::new(1).await.socket, relay: left.relay };
    timeout(PATIENCE, async {
        while relay.snapshot().sides[0].source != Some(moved.address()) {
            moved.send(b"it is me").await;
            right.send(b"hello?").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    assert!(relay.snapshot().drops[Dropped::OtherSource.index()] > 0, "not at once");
    right.send(b"there you are").await;
    timeout(PATIENCE, async { while moved.receive().await != b"there you are" {} }).await.unwrap();
}

#[tokio::test]
async fn nothing_is_sent_to_a_side_that_is_silent() {
    let relay = engine().open(with(|options| options.idle = Duration::from_secs(1))).unwrap();
    let (left, right) = conversation(&relay).await;
    let mut sent = 2;
    timeout(PATIENCE, async {
        while relay.snapshot().sides[1].source.is_some() {
            left.send(b"still here").await;
            sent += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let no_peer = Dropped::NoPeer.index();
    let before = wait_for(&relay, |now| now.sides[0].packets + now.drops[no_peer] == sent).await;
    while !right.has_nothing() {}
    left.send(b"anybody?").await;
    let now = wait_for(&relay, |now| now.drops[no_peer] > before.drops[no_peer]).await;
    assert_eq!(now.sides[0].packets, before.sides[0].packets);
    assert!(right.has_nothing());
}

#[tokio::test]
async fn a_packet_of_a_relay_of_this_node_goes_nowhere() {
    let engine = engine();
    let target = engine.open(spec()).unwrap();
    let [_, port] = target.ports();
    let now = SystemClock.now();
    // A relay that believes that its second user is the other relay.
    let pin = SavedPin {
        source: ([127, 0, 0, 1], port).into(),
        is_firm: true,
        learned: now,
        last_heard: now,
        reached: None,
    };
    let mut spec = spec();
    spec.pins = [None, Some(pin)];
    let relay = engine.open(spec).unwrap();
    let left = Program::new(relay.ports()[0]).await;
    left.send(b"round and round").await;
    wait_for_drops(&target, Dropped::OwnRelay, 1).await;
    assert_eq!(target.snapshot().sides[1].source, None);
}

#[tokio::test]
async fn a_relay_that_demands_its_token_lets_in_who_begins_with_it() {
    let relay = engine().open(with(|options| options.require_token = true)).unwrap();
    let [first, second] = relay.ports();
    let (left, right) = (Program::new(first).await, Program::new(second).await);
    for text in ["let me in", "", &"5b".repeat(16)] {
        left.send(text.as_bytes()).await;
    }
    wait_for_drops(&relay, Dropped::Token, 3).await;
    for program in [&left, &right] {
        program.send(token().as_bytes()).await;
        program.expect(token().as_bytes()).await;
    }
    left.send(b"now I am in").await;
    right.expect(b"now I am in").await;
    assert!(left.has_nothing(), "the token was not passed on");
}

#[tokio::test]
async fn a_keep_alive_is_answered_and_not_passed_on() {
    let relay = engine().open(spec()).unwrap();
    let (left, right) = conversation(&relay).await;
    let before = wait_for(&relay, |now| now.sides[0].packets == 1).await;
    left.send(token().as_bytes()).await;
    left.expect(token().as_bytes()).await;
    let stranger = Program { socket: Program::new(1).await.socket, relay: left.relay };
    stranger.send(token().as_bytes()).await;
    wait_for_drops(&relay, Dropped::OtherSource, 1).await;
    left.send(b"after it").await;
    right.expect(b"after it").await;
    assert!(stranger.has_nothing());
    let passed = before.sides[0].packets + 1;
    let now = wait_for(&relay, |now| now.sides[0].packets == passed).await;
    assert_eq!(now.sides[0].keep_alives, 1);
    assert!(now.sides[0].last_heard >= before.sides[0].last_heard);
}

#[tokio::test]
async fn changes_of_pins_are_told_and_packets_are_not() {
    let relay = engine().open(spec()).unwrap();
    let mut changed = relay.pins_changed();
    assert_eq!(*changed.borrow_and_update(), 0);
    let (left, right) = conversation(&relay).await;
    timeout(PATIENCE, changed.wait_for(|revision| *revision == 3)).await.unwrap().unwrap();
    for _ in 0..10 {
        left.send(b"more").await;
        right.expect(b"more").await;
    }
    assert_eq!(*changed.borrow(), 3, "two were learned, then both became firm");
    let pins = relay.pins().map(Option::unwrap);
    assert!(pins.iter().all(|pin| pin.is_firm && pin.learned <= pin.last_heard));
    assert_eq!(pins.map(|pin| pin.source), [left.address(), right.address()]);
}

#[tokio::test]
async fn pins_that_were_kept_hold_when_the_relay_is_opened_again() {
    let engine = engine();
    let relay = engine.open(spec()).unwrap();
    let (left, right) = conversation(&relay).await;
    let mut again = spec();
    again.ports = imp_node::udp::Ports::Fixed(relay.ports());
    relay.close().await;
    again.pins = relay.pins();
    let reopened = engine.open(again).unwrap();
    assert_eq!(reopened.ports(), relay.ports());
    let stranger = Program { socket: Program::new(1).await.socket, relay: left.relay };
    stranger.send(b"nobody here?").await;
    wait_for_drops(&reopened, Dropped::OtherSource, 1).await;
    right.send(b"as if nothing had been").await;
    left.expect(b"as if nothing had been").await;
}

#[tokio::test]
async fn an_address_that_this_host_lost_meanwhile_is_not_answered_from() {
    let now = SystemClock.now();
    let right = Program::new(1).await;
    let pin = |source, reached: &str| SavedPin {
        source,
        is_firm: true,
        learned: now,
        last_heard: now,
        reached: Some(reached.parse().unwrap()),
    };
    let mut spec = spec();
    spec.pins =
        [Some(pin(([127, 0, 0, 1], 9).into(), "127.0.0.1")), Some(pin(right.address(), "203.0.113.9"))];
    let relay = engine().open(spec).unwrap();
    let reached = relay.pins().map(|pin| pin.unwrap().reached);
    assert_eq!(reached, [Some([127, 0, 0, 1].into()), None]);
}

#[tokio::test]
async fn a_pin_that_was_idle_while_the_node_was_off_is_forgotten() {
    let long_ago = SystemClock.now().minus(Duration::from_secs(121));
    let pin = |last_heard: UnixMillis| SavedPin {
        source: ([127, 0, 0, 1], 9).into(),
        is_firm: true,
        learned: long_ago,
        last_heard,
        reached: None,
    };
    let mut spec = spec();
    // A clock that was set back since must not make a pin last longer than from now.
    spec.pins = [Some(pin(long_ago)), Some(pin(SystemClock.now().plus(Duration::from_secs(9_999))))];
    let relay = engine().open(spec).unwrap();
    let sides = relay.snapshot().sides;
    assert_eq!(sides[0].source, None);
    assert_eq!(sides[1].source, Some(([127, 0, 0, 1], 9).into()));
    assert!(sides[1].last_heard.unwrap() <= SystemClock.now());
    let left = Program::new(relay.ports()[0]).await;
    left.send(b"mine now").await;
    wait_for(&relay, |now| now.sides[0].source == Some(left.address())).await;
}
