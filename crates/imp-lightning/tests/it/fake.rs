//! The simulated network: the suite, and what only it can do.

use std::sync::Arc;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use imp_lightning::fake::{FakeNetwork, FakeNode, FakeOptions, Moment};
use imp_lightning::{FailureReason, LightningEvent, LightningNode, PaymentState, SendError};

use crate::conformance::{Lab, Side, conformance, event, keysend, outcome, receipt};

struct FakeLab {
    network: FakeNetwork,
    nodes: [Arc<FakeNode>; 2],
    third: Option<Arc<FakeNode>>,
}

const fn name(side: Side) -> &'static str {
    match side {
        Side::A => "a",
        Side::B => "b",
        Side::C => "c",
    }
}

impl Lab for FakeLab {
    async fn new() -> Self {
        let network = FakeNetwork::new(FakeOptions::default());
        let nodes = [network.node("a"), network.node("b")];
        Self { network, nodes, third: None }
    }

    fn node(&self, side: Side) -> Arc<dyn LightningNode> {
        match side {
            Side::A => self.nodes[0].clone(),
            Side::B => self.nodes[1].clone(),
            Side::C => self.third.clone().expect("the third node was added"),
        }
    }

    fn address(&self, side: Side) -> String {
        format!("{}.test:9735", name(side))
    }

    async fn stop(&mut self, side: Side) {
        self.node(side).shutdown().await;
    }

    async fn start(&mut self, side: Side) {
        let node = self.network.restart(name(side));
        match side {
            Side::A => self.nodes[0] = node,
            Side::B => self.nodes[1] = node,
            Side::C => self.third = Some(node),
        }
    }

    async fn add_third(&mut self) {
        self.third = Some(self.network.node("c"));
    }

    async fn mine(&self, blocks: u32) {
        for _ in 0..blocks {
            self.network.mine();
        }
    }

    async fn down(self) {}
}

mod suite {
    super::conformance! { super::FakeLab, #[tokio::test(start_paused = true)] }
}

fn pair(options: FakeOptions) -> (FakeNetwork, Arc<FakeNode>, Arc<FakeNode>) {
    let network = FakeNetwork::new(options);
    let (alice, bob) = (network.node("alice"), network.node("bob"));
    (network, alice, bob)
}

#[tokio::test(start_paused = true)]
async fn payments_overtake_each_other_and_the_seed_decides_how() {
    async fn order_of_arrival(seed: u64) -> Vec<Vec<u8>> {
        let (network, alice, bob) = pair(FakeOptions { seed, ..FakeOptions::default() });
        for number in 0..20 {
            alice.send_keysend(keysend(bob.id(), &[number])).await.unwrap();
        }
        network.idle().await;
        let mut arrived = Vec::new();
        while arrived.len() < 20 {
            if let LightningEvent::PaymentReceived { kind, .. } = bob.next_event().await {
                let imp_lightning::ReceivedKind::Keysend { records, .. } = kind else { panic!("no keysend") };
                arrived.push(records[0].1.clone());
            }
            bob.acknowledge_event().await.unwrap();
        }
        arrived
    }
    let first = order_of_arrival(1).await;
    assert!(!first.is_sorted());
    assert_eq!(order_of_arrival(1).await, first);
    assert_ne!(order_of_arrival(2).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_held_payment_is_in_flight_until_it_is_released_or_fails() {
    let (network, alice, bob) = pair(FakeOptions::default());
    network.hold("alice", "bob", true);
    let (first, second) = (keysend(bob.id(), b"1"), keysend(bob.id(), b"2"));
    let hashes = [&first, &second].map(|payment| payment.preimage.payment_hash());
    alice.send_keysend(first.clone()).await.unwrap();
    alice.send_keysend(second).await.unwrap();
    assert_eq!(network.holds(2).await.len(), 2);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(alice.payment(hashes[0]).await, Ok(Some(PaymentState::InFlight)));

    network.release(hashes[0]);
    network.fail_held(hashes[1], FailureReason::NoRoute);
    assert_eq!(outcome(&*alice, hashes[0]).await, Ok(first.preimage));
    receipt(&*bob, hashes[0]).await;
    network.idle().await;
    assert_eq!(alice.payment(hashes[1]).await, Ok(Some(PaymentState::Failed(FailureReason::Unrecorded))));
    assert!(network.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_leaves_the_payment_under_way() {
    let (network, alice, bob) = pair(FakeOptions::default());
    network.lose_replies("alice", 1);
    let payment = keysend(bob.id(), b"");
    let hash = payment.preimage.payment_hash();
    assert!(matches!(alice.send_keysend(payment.clone()).await, Err(SendError::Unknown(_))));
    assert_eq!(alice.send_keysend(payment.clone()).await, Err(SendError::Known));
    receipt(&*bob, hash).await;

    network.lose_requests("alice", 1);
    let never = keysend(bob.id(), b"");
    assert!(matches!(alice.send_keysend(never.clone()).await, Err(SendError::Unknown(_))));
    assert_eq!(alice.payment(never.preimage.payment_hash()).await, Ok(None));
    let resumed = alice.resume_keysend(never, Duration::ZERO).await;
    assert_eq!(resumed, Ok(PaymentState::InFlight));
}

#[tokio::test(start_paused = true)]
async fn a_crash_strikes_at_the_chosen_moment() {
    for (moment, begun) in [(Moment::BeforeSend, false), (Moment::AfterSend, true)] {
        let (network, alice, bob) = pair(FakeOptions::default());
        network.crash_at("alice", moment, 1);
        alice.send_keysend(keysend(bob.id(), b"before")).await.unwrap();
        let payment = keysend(bob.id(), b"");
        tokio::select! {
            answer = alice.send_keysend(payment.clone()) => panic!("answered {answer:?}"),
            () = network.crashed("alice") => {}
        }
        assert!(matches!(alice.status().await, Err(imp_lightning::LightningError::Unavailable(_))));
        let alice = network.restart("alice");
        let known = alice.payment(payment.preimage.payment_hash()).await.unwrap();
        assert_eq!(known.is_some(), begun, "{moment:?}");
    }
    for (moment, told_again) in [(Moment::BeforeAcknowledge, true), (Moment::AfterAcknowledge, false)] {
        let (network, alice, bob) = pair(FakeOptions::default());
        alice.send_keysend(keysend(bob.id(), b"1")).await.unwrap();
        network.idle().await;
        alice.send_keysend(keysend(bob.id(), b"2")).await.unwrap();
        network.idle().await;
        let first = bob.next_event().await;
        network.crash_at("bob", moment, 0);
        tokio::select! {
            answer = bob.acknowledge_event() => panic!("answered {answer:?}"),
            () = network.crashed("bob") => {}
        }
        let again = network.restart("bob").next_event().await;
        assert_eq!(again == first, told_again, "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_waits_for_a_crashed_recipient() {
    let (network, alice, bob) = pair(FakeOptions::default());
    let payment = keysend(bob.id(), b"");
    let hash = payment.preimage.payment_hash();
    alice.send_keysend(payment.clone()).await.unwrap();
    network.crash("bob");
    network.idle().await;
    assert_eq!(alice.payment(hash).await, Ok(Some(PaymentState::InFlight)));
    let bob = network.restart("bob");
    receipt(&*bob, hash).await;
    assert_eq!(outcome(&*alice, hash).await, Ok(payment.preimage));
}

#[tokio::test(start_paused = true)]
async fn a_closed_channel_leaves_payments_undecided_until_a_block() {
    let (network, alice, bob) = pair(FakeOptions::default());
    let total = network.total();
    let payment = keysend(bob.id(), b"");
    let hash = payment.preimage.payment_hash();
    alice.send_keysend(payment).await.unwrap();
    receipt(&*bob, hash).await;
    network.close_channels("alice", "bob");
    network.idle().await;
    assert_eq!(alice.payment(hash).await, Ok(Some(PaymentState::InFlight)));
    event(&*alice, "the channel is closed", |event| match event {
        LightningEvent::ChannelClosed { peer, .. } => Some(*peer),
        _ => None,
    })
    .await;

    network.mine();
    assert!(outcome(&*alice, hash).await.is_err(), "failed, though bob has had it");
    assert!(matches!(alice.send_keysend(keysend(bob.id(), b"")).await, Err(SendError::NoRoute(_))));
    assert_eq!(network.total(), total);
}

#[tokio::test(start_paused = true)]
async fn loss_and_refusals_come_as_they_were_asked_for() {
    let (network, alice, bob) = pair(FakeOptions { loss: 1.0, ..FakeOptions::default() });
    let lost = async |expected: FailureReason| {
        let payment = keysend(bob.id(), b"");
        alice.send_keysend(payment.clone()).await.unwrap();
        assert_eq!(outcome(&*alice, payment.preimage.payment_hash()).await, Err(expected));
    };
    lost(FailureReason::RetriesExhausted).await;
    network.fail_next("alice", 1, FailureReason::TimedOut);
    lost(FailureReason::TimedOut).await;
    lost(FailureReason::RetriesExhausted).await;

    network.refuse_next("alice", 1, SendError::Busy);
    assert_eq!(alice.send_keysend(keysend(bob.id(), b"")).await, Err(SendError::Busy));
    network.set_route("alice", "bob", false);
    let refused = alice.send_keysend(keysend(bob.id(), b"")).await;
    assert!(matches!(refused, Err(SendError::NoRoute(text)) if text.contains("no path")));
    network.set_route("alice", "bob", true);
    network.set_balance("alice", "bob", Msat(500));
    let refused = alice.send_keysend(keysend(bob.id(), b"")).await;
    assert_eq!(refused, Err(SendError::InsufficientBalance { spendable: Msat(500), needed: Msat(1000) }));
}

#[tokio::test(start_paused = true)]
async fn an_event_may_be_told_twice() {
    let (network, alice, bob) = pair(FakeOptions { duplicates: 1.0, ..FakeOptions::default() });
    let hash = pay(&alice, &bob).await;
    network.idle().await;
    receipt(&*bob, hash).await;
    receipt(&*bob, hash).await;
    network.repeat_event("bob");
    receipt(&*bob, hash).await;
}

#[tokio::test(start_paused = true)]
async fn slots_bound_what_is_in_flight() {
    let (network, alice, bob) = pair(FakeOptions { slots_per_channel: 2, ..FakeOptions::default() });
    network.hold("alice", "bob", true);
    for _ in 0..2 {
        pay(&alice, &bob).await;
    }
    assert_eq!(alice.send_keysend(keysend(bob.id(), b"")).await, Err(SendError::Busy));
    network.set_slots("alice", "bob", 3);
    pay(&alice, &bob).await;
    network.holds(3).await;
    network.release_all();
    network.idle().await;
    pay(&alice, &bob).await;
}

async fn pay(from: &FakeNode, to: &FakeNode) -> PaymentHash {
    let payment = keysend(to.id(), b"");
    let hash = payment.preimage.payment_hash();
    from.send_keysend(payment).await.unwrap();
    hash
}
