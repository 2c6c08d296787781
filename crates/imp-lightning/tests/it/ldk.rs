//! The embedded node: the suite, and what is particular to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use imp_lightning::blob::{BlobKey, BlobStore};
use imp_lightning::ldk::{LdkConfig, LdkNode};
use imp_lightning::{
    FailureReason, InvoiceFault, LightningError, LightningEvent, LightningNode, OpenChannel, PaymentState,
    SendError,
};

use crate::conformance::closing::passes_with_no_channel_closed;
use crate::conformance::invoice::expired_invoice_for;
use crate::conformance::{Lab, Side, conformance, event, keysend, outcome, receipt, stranger, until};
use crate::ldk_lab::LdkLab;
use crate::logs;
use crate::memory::MemoryBlobs;
use crate::servers;

mod suite {
    super::conformance! { super::LdkLab, #[tokio::test] }
}

/// A lab in which A reaches C over B.
async fn line() -> LdkLab {
    let mut lab = <LdkLab as Lab>::new().await;
    lab.add_third().await;
    lab
}

#[tokio::test]
async fn a_keysend_passes_a_hop_for_a_fee() {
    let lab = line().await;
    let (a, c) = (lab.node(Side::A), lab.node(Side::C));
    assert!(!a.send_room(&c.id()).await.unwrap().direct);
    let payment = keysend(c.id(), &[7; 1000]);
    let hash = payment.preimage.payment_hash();
    // Until the gossip has come around.
    until("A knows a path to C", async || match a.send_keysend(payment.clone()).await {
        Ok(()) => Some(()),
        Err(SendError::NoRoute(_)) => None,
        Err(other) => panic!("{other}"),
    })
    .await;
    assert_eq!(receipt(&*c, hash).await.0, payment.amount);
    let fee = event(&*a, "the payment settled", |event| match event {
        LightningEvent::PaymentSettled { hash: settled, fee, .. } if *settled == hash => Some(*fee),
        _ => None,
    })
    .await;
    assert_eq!(fee, Some(Msat(1000)));
    assert_eq!(a.knows_node(&c.id()).await, Ok(true), "it has announced a channel");

    let too_dear = imp_lightning::Keysend { fee_limit: Msat(999), ..keysend(c.id(), b"") };
    let refused = a.send_keysend(too_dear).await.unwrap_err();
    assert!(matches!(&refused, SendError::NoRoute(text) if text.contains("no path")), "{refused}");
    lab.down().await;
}

#[tokio::test]
async fn a_node_that_is_away_behind_a_hop_fails_the_payment_and_can_be_paid_later() {
    let mut lab = line().await;
    let (a, b, c) = (lab.node(Side::A), lab.node(Side::B), lab.node(Side::C));
    let first = keysend(c.id(), b"");
    until("A knows a path to C", async || a.send_keysend(first.clone()).await.ok()).await;
    outcome(&*a, first.preimage.payment_hash()).await.unwrap();

    lab.stop(Side::C).await;
    until("B sees that C is away", async || {
        let channels = b.channels().await.unwrap();
        channels.iter().any(|channel| channel.peer == c.id() && !channel.usable).then_some(())
    })
    .await;
    let lost = keysend(c.id(), b"");
    a.send_keysend(lost.clone()).await.unwrap();
    let failed = outcome(&*a, lost.preimage.payment_hash()).await;
    assert!(matches!(failed, Err(FailureReason::NoRoute | FailureReason::RetriesExhausted)), "{failed:?}");

    lab.start(Side::C).await;
    let c = lab.node(Side::C);
    let arrived = until("C can be paid again", async || {
        let payment = keysend(c.id(), b"");
        let hash = payment.preimage.payment_hash();
        a.send_keysend(payment).await.ok()?;
        outcome(&*a, hash).await.ok().map(|_| hash)
    });
    receipt(&*c, arrived.await).await;
    lab.down().await;
}

#[tokio::test]
async fn the_end_that_was_dialled_dials_too() {
    let mut lab = <LdkLab as Lab>::new().await;
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    // A has opened the channel; to B its address is told, and B that listens no more cannot be dialled by A.
    b.connect(&a.id(), &lab.address(Side::A)).await.unwrap();
    lab.stop(Side::B).await;
    lab.nodes[1].config = LdkConfig { listen: Vec::new(), ..lab.nodes[1].config.clone() };
    lab.start(Side::B).await;
    until("B has dialled A", async || {
        a.channels().await.unwrap().iter().all(|channel| channel.usable).then_some(())
    })
    .await;
    lab.down().await;
}

#[tokio::test]
async fn an_announced_address_is_remembered_and_dialled() {
    let mut lab = <LdkLab as Lab>::new().await;
    let a = lab.node(Side::A);
    let stored =
        BlobKey { primary: "imp".to_owned(), secondary: "peers".to_owned(), key: a.id().to_string() };
    // ldk-node announces a node half a minute after it has an announced channel.
    let announced = lab.address(Side::A);
    let noted =
        until("B notes what A announces", async || lab.nodes[1].blobs.read_blocking(stored.clone()).unwrap())
            .await;
    assert_eq!(String::from_utf8(noted).unwrap(), announced);

    lab.stop(Side::B).await;
    lab.nodes[1].config = LdkConfig { listen: Vec::new(), ..lab.nodes[1].config.clone() };
    lab.start(Side::B).await;
    until("B has dialled A", async || {
        a.channels().await.unwrap().iter().all(|channel| channel.usable).then_some(())
    })
    .await;
    lab.down().await;
}

#[tokio::test]
async fn channels_that_break_before_their_funding_put_no_failure_in_doubt() {
    let mut lab = line().await;
    lab.add_node().await;
    let (a, b, c) = (lab.node(Side::A), lab.node(Side::B), lab.node(Side::C));
    let first = keysend(c.id(), b"");
    until("A knows a path to C", async || a.send_keysend(first.clone()).await.ok()).await;
    passes_with_no_channel_closed(&*a, first.preimage.payment_hash()).await;
    lab.stop(Side::C).await;
    until("B sees that C is away", async || {
        let channels = b.channels().await.unwrap();
        channels.iter().any(|channel| channel.peer == c.id() && !channel.usable).then_some(())
    })
    .await;

    // An opener that keeps no reserve has nothing left for the fee of a channel that takes all it has.
    let stranger = &mut lab.nodes[3];
    stranger.node.shutdown().await;
    stranger.config.trusted_peers = vec![a.id()];
    stranger.node = LdkNode::start(stranger.config.clone(), stranger.blobs.clone()).await.unwrap();
    let (stranger, address) = (stranger.node.clone(), lab.address(Side::A));
    let all_it_has = stranger.status().await.unwrap().onchain_sat;
    let lost = keysend(c.id(), b"");
    let hash = lost.preimage.payment_hash();
    a.send_keysend(lost).await.unwrap();
    for _ in 0..3 {
        let channel = OpenChannel {
            peer: a.id(),
            address: address.clone(),
            capacity_sat: all_it_has,
            push: Msat::ZERO,
            announce: false,
        };
        stranger.open_channel(channel).await.unwrap();
        until("the opening has failed", async || stranger.channels().await.unwrap().is_empty().then_some(()))
            .await;
        stranger.disconnect(&a.id()).await.unwrap();
        until("A sees that the stranger is gone", async || {
            let peers = a.list_peers().await.unwrap();
            (!peers.iter().any(|peer| peer.id == stranger.id())).then_some(())
        })
        .await;
    }
    let failed = event(&*a, "the payment failed", |event| match event {
        LightningEvent::PaymentFailed { hash: failed, reason } if *failed == hash => Some(reason.clone()),
        LightningEvent::ChannelClosed { reason, .. } => panic!("told of a closed channel: {reason}"),
        _ => None,
    })
    .await;
    assert!(matches!(failed, FailureReason::NoRoute | FailureReason::RetriesExhausted), "{failed:?}");
    let fence = keysend(b.id(), b"");
    a.send_keysend(fence.clone()).await.unwrap();
    passes_with_no_channel_closed(&*a, fence.preimage.payment_hash()).await;
    lab.down().await;
}

/// The record of a payment that a node has begun, as it stands in its store before the payment's end.
async fn pending_record(lab: &LdkLab, payment: &imp_lightning::Keysend) -> Vec<u8> {
    let record = record_key(payment.preimage.payment_hash());
    lab.node(Side::A).send_keysend(payment.clone()).await.unwrap();
    lab.nodes[0].blobs.read_blocking(record).unwrap().expect("a begun payment has a record")
}

fn record_key(hash: PaymentHash) -> BlobKey {
    BlobKey { primary: "payments".to_owned(), secondary: String::new(), key: hash.to_string() }
}

#[tokio::test]
async fn a_payment_that_is_pending_but_never_went_is_sent_again() {
    let elsewhere = <LdkLab as Lab>::new().await;
    let mut lab = <LdkLab as Lab>::new().await;
    let b = lab.node(Side::B);
    let payment = keysend(b.id(), b"recorded, and then the lights went out");
    let hash = payment.preimage.payment_hash();
    let record = pending_record(&elsewhere, &payment).await;
    elsewhere.down().await;
    lab.stop(Side::A).await;
    lab.nodes[0].blobs.write_blocking(record_key(hash), record).unwrap();
    lab.start(Side::A).await;

    let a = lab.node(Side::A);
    assert_eq!(a.payment(hash).await, Ok(Some(PaymentState::InFlight)));
    assert_eq!(a.send_keysend(payment.clone()).await, Err(SendError::Known));
    let resumed = a.resume_keysend(payment.clone(), Duration::from_secs(30)).await;
    assert_eq!(resumed, Ok(PaymentState::InFlight));
    receipt(&*b, hash).await;
    assert_eq!(outcome(&*a, hash).await, Ok(payment.preimage));
    lab.down().await;
}

#[tokio::test]
async fn a_payment_that_cannot_be_looked_into_yet_stays_unknown() {
    let mut lab = <LdkLab as Lab>::new().await;
    let payment = keysend(lab.node(Side::B).id(), b"");
    lab.stop(Side::B).await;
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let a = lab.node(Side::A);
    let resumed = a.resume_keysend(payment.clone(), Duration::from_secs(1)).await;
    assert!(matches!(resumed, Err(SendError::Unknown(_))), "{resumed:?}");

    lab.start(Side::B).await;
    let resumed = a.resume_keysend(payment.clone(), Duration::from_secs(30)).await;
    assert_eq!(resumed, Ok(PaymentState::InFlight));
    assert_eq!(outcome(&*a, payment.preimage.payment_hash()).await, Ok(payment.preimage));
    lab.down().await;
}

#[tokio::test]
async fn a_payment_that_the_library_knows_is_not_sent_twice() {
    let mut lab = <LdkLab as Lab>::new().await;
    let payment = keysend(lab.node(Side::B).id(), b"");
    let hash = payment.preimage.payment_hash();
    lab.node(Side::A).send_keysend(payment.clone()).await.unwrap();
    // In its first two seconds a node looks at no payment: this one stays in flight while A comes back.
    lab.stop(Side::B).await;
    lab.stop(Side::A).await;
    lab.start(Side::B).await;
    lab.start(Side::A).await;
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let state = until("A can tell", async || match a.resume_keysend(payment.clone(), Duration::ZERO).await {
        Ok(state) => Some(state),
        Err(SendError::Unknown(_)) => None,
        Err(other) => panic!("{other}"),
    })
    .await;
    match state {
        PaymentState::InFlight => assert_eq!(outcome(&*a, hash).await, Ok(payment.preimage)),
        PaymentState::Settled { .. } => {}
        PaymentState::Failed(reason) => panic!("{reason}"),
    }
    receipt(&*b, hash).await;
    lab.down().await;
}

#[tokio::test]
async fn an_expired_invoice_whose_payment_is_pending_but_never_went_is_not_paid() {
    let mut lab = <LdkLab as Lab>::new().await;
    let payment = keysend(lab.node(Side::B).id(), b"");
    let record = pending_record(&lab, &payment).await;
    outcome(&*lab.node(Side::A), payment.preimage.payment_hash()).await.unwrap();
    lab.stop(Side::A).await;
    let hash = payment.preimage.payment_hash();
    lab.nodes[0].blobs.write_blocking(record_key(hash), record).unwrap();
    lab.start(Side::A).await;

    let a = lab.node(Side::A);
    assert_eq!(a.payment(hash).await, Ok(Some(PaymentState::InFlight)));
    let resumed = resume_expired(&*a, hash).await;
    assert!(matches!(resumed, Err(SendError::InvalidInvoice(InvoiceFault::Expired { .. }))), "{resumed:?}");
    assert_eq!(a.payment(hash).await, Ok(None));
    lab.down().await;
}

#[tokio::test]
async fn an_expired_invoice_whose_payment_is_in_flight_is_not_given_up() {
    for amount_sat in [1, 1000] {
        let mut lab = <LdkLab as Lab>::new().await;
        let payment = imp_lightning::Keysend {
            amount: Msat::from_sat(amount_sat),
            ..keysend(lab.node(Side::B).id(), b"")
        };
        let hash = payment.preimage.payment_hash();
        lab.node(Side::A).send_keysend(payment).await.unwrap();
        // In its first two seconds a node looks at no payment: this one stays in flight while A comes back.
        lab.stop(Side::B).await;
        lab.stop(Side::A).await;
        lab.start(Side::B).await;
        lab.start(Side::A).await;
        let a = lab.node(Side::A);
        match resume_expired(&*a, hash).await {
            Ok(PaymentState::InFlight) => assert!(outcome(&*a, hash).await.is_ok()),
            Ok(PaymentState::Settled { .. }) => {}
            other => panic!("{amount_sat} sat: {other:?}"),
        }
        lab.down().await;
    }
}

/// Resumes an expired invoice for a payment until the node can tell.
async fn resume_expired(node: &dyn LightningNode, hash: PaymentHash) -> Result<PaymentState, SendError> {
    let text = expired_invoice_for(hash);
    until("it can tell", async || match node.resume_invoice(&text, Msat::ZERO, Duration::ZERO).await {
        Err(SendError::Unknown(_)) => None,
        told => Some(told),
    })
    .await
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up() {
    let mut lab = LdkLab::without_nodes().await;
    lab.add_node().await;
    let silent = servers::silent().await.to_string();
    let begun = Instant::now();
    let connected = lab.nodes[0].node.connect(&stranger(), &silent).await;
    assert!(
        matches!(&connected, Err(LightningError::Failed(text)) if text.contains(&silent)),
        "{connected:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
    lab.down().await;
}

#[tokio::test]
async fn no_secret_is_logged() {
    let logs = logs::capture();
    let lab = <LdkLab as Lab>::new().await;
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let payment = keysend(b.id(), b"the cat sits in the box");
    let hash = payment.preimage.payment_hash();
    a.send_keysend(payment.clone()).await.unwrap();
    outcome(&*a, hash).await.unwrap();
    receipt(&*b, hash).await;
    let password = lab.server.password().to_owned();
    lab.down().await;

    let text = logs.text();
    assert!(text.contains(&hash.to_string()), "the library's log is written");
    let record = hex::encode(b"the cat sits in the box");
    for secret in [hex::encode(payment.preimage.0), "the cat".to_owned(), record, password] {
        let told = text.lines().find(|line| line.contains(&secret));
        assert_eq!(told, None, "{secret}");
    }
    assert!(!text.contains(&format!("{:?}", payment.preimage.0)));
}

#[tokio::test]
async fn a_node_without_an_alias_announces_no_channel() {
    let mut lab = LdkLab::without_nodes().await;
    lab.add_node().await;
    let peer = &lab.nodes[0];
    let nameless = LdkConfig { alias: None, ..lab.config(1) };
    let node = LdkNode::start(nameless, Arc::new(MemoryBlobs::default())).await.unwrap();
    let channel = OpenChannel {
        peer: peer.node.id(),
        address: peer.config.listen[0].to_string(),
        capacity_sat: 100_000,
        push: Msat::ZERO,
        announce: true,
    };
    let refused = node.open_channel(channel.clone()).await;
    assert!(matches!(&refused, Err(LightningError::Invalid(text)) if text.contains("alias")), "{refused:?}");
    let poor = node.open_channel(OpenChannel { announce: false, ..channel }).await;
    assert!(matches!(&poor, Err(LightningError::Failed(text)) if text.contains("wallet")), "{poor:?}");
    node.shutdown().await;
    lab.down().await;
}
