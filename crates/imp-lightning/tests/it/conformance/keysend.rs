//! Sending and receiving keysends.

use std::collections::HashSet;

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use imp_lightning::{FailureReason, LightningEvent, PaymentState, ReceivedKind, SendError};

use super::{Lab, Side, balance, event, keysend, outcome, paid, receipt, record_type, stranger, until};

pub(crate) async fn a_keysend_arrives_with_its_record_amount_and_preimage<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let mut payment = keysend(b.id(), b"hello");
    payment.amount = Msat(12_345);
    let hash = payment.preimage.payment_hash();
    a.send_keysend(payment.clone()).await.unwrap();

    let (amount, kind) = receipt(&*b, hash).await;
    assert_eq!(amount, Msat(12_345));
    let records = vec![(record_type().number(), b"hello".to_vec())];
    assert_eq!(kind, ReceivedKind::Keysend { preimage: payment.preimage, records });
    assert_eq!(outcome(&*a, hash).await, Ok(payment.preimage));
    let state = a.payment(hash).await.unwrap().unwrap();
    assert!(matches!(state, PaymentState::Settled { preimage, .. } if preimage == payment.preimage));
}

pub(crate) async fn a_keysend_without_a_record_arrives_as_one<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let payment = imp_lightning::Keysend { record: None, ..keysend(b.id(), b"") };
    let hash = payment.preimage.payment_hash();
    a.send_keysend(payment.clone()).await.unwrap();
    let plain = ReceivedKind::Keysend { preimage: payment.preimage, records: Vec::new() };
    assert_eq!(receipt(&*b, hash).await, (payment.amount, plain));
    assert_eq!(outcome(&*a, hash).await, Ok(payment.preimage));
}

pub(crate) async fn the_same_keysend_twice_pays_once<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let before = balance(&*b).await;
    let payment = keysend(b.id(), b"once");
    let hash = payment.preimage.payment_hash();
    a.send_keysend(payment.clone()).await.unwrap();
    assert_eq!(a.send_keysend(payment.clone()).await, Err(SendError::Known));
    outcome(&*a, hash).await.unwrap();
    assert_eq!(a.send_keysend(payment.clone()).await, Err(SendError::Known));

    paid(lab).await;
    let two_payments = before + Msat(2000);
    until("both payments in B's balance", async || (balance(&*b).await == two_payments).then_some(())).await;
}

pub(crate) async fn an_unknown_node_is_no_route<L: Lab>(lab: &mut L) {
    let a = lab.node(Side::A);
    let error = a.send_keysend(keysend(stranger(), b"")).await.unwrap_err();
    assert!(matches!(&error, SendError::NoRoute(text) if text.contains("unknown node")), "{error}");
}

pub(crate) async fn a_peer_that_is_away_is_no_route<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B).id());
    lab.stop(Side::B).await;
    let error = until("A sees that B is away", async || match a.send_keysend(keysend(b, b"")).await {
        Err(SendError::NoRoute(text)) => Some(text),
        Ok(()) | Err(SendError::Busy) => None,
        Err(other) => panic!("{other}"),
    })
    .await;
    assert!(error.contains("is away"), "{error}");
    let room = a.send_room(&b).await.unwrap();
    assert_eq!((room.max_in_flight, room.largest), (0, Msat::ZERO));
}

pub(crate) async fn more_than_the_balance_is_refused<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let mut payment = keysend(b.id(), b"");
    payment.amount = Msat::from_sat(600_000);
    match a.send_keysend(payment.clone()).await {
        Err(SendError::InsufficientBalance { spendable, needed }) => {
            assert!(needed >= payment.amount);
            assert!(spendable < payment.amount);
        }
        other => panic!("{other:?}"),
    }
    let room = a.send_room(&b.id()).await.unwrap();
    assert!(room.largest <= room.spendable && room.spendable < payment.amount, "{room:?}");
    assert!(room.largest >= Msat::from_sat(10_000), "{room:?}");
    paid(lab).await;
}

pub(crate) async fn a_record_of_1000_bytes_arrives_and_a_larger_one_is_refused<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let record: Vec<u8> = (0..1000).map(|at| at as u8).collect();
    let payment = keysend(b.id(), &record);
    a.send_keysend(payment.clone()).await.unwrap();
    match receipt(&*b, payment.preimage.payment_hash()).await.1 {
        ReceivedKind::Keysend { records, .. } => assert_eq!(records, [(record_type().number(), record)]),
        ReceivedKind::Invoice => panic!("no keysend"),
    }
    let too_large = a.send_keysend(keysend(b.id(), &[0; 1001])).await;
    assert!(matches!(&too_large, Err(SendError::Invalid(text)) if text.contains("1001")), "{too_large:?}");
}

pub(crate) async fn payments_that_make_no_sense_are_refused<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let to_itself = a.send_keysend(keysend(a.id(), b"")).await;
    assert!(matches!(&to_itself, Err(SendError::Invalid(text)) if text.contains("itself")), "{to_itself:?}");
    let mut nothing = keysend(b.id(), b"");
    nothing.amount = Msat::ZERO;
    assert!(matches!(a.send_keysend(nothing).await, Err(SendError::Invalid(_))));
}

pub(crate) async fn more_payments_than_slots_are_busy_and_pass_later<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let slots = a.send_room(&b.id()).await.unwrap().max_in_flight;
    assert_eq!(slots, 50);
    let mut open: HashSet<PaymentHash> = HashSet::new();
    let mut refused = None;
    for _ in 0..10 * slots {
        let payment = keysend(b.id(), b"many");
        match a.send_keysend(payment.clone()).await {
            Ok(()) => open.insert(payment.preimage.payment_hash()),
            Err(SendError::Busy) => {
                refused = Some(payment);
                break;
            }
            Err(other) => panic!("{other}"),
        };
    }
    let refused = refused.expect("that many payments at once exceed the slots");
    assert!(open.len() >= slots);

    until("a slot is free", async || match a.send_keysend(refused.clone()).await {
        Ok(()) => Some(()),
        Err(SendError::Busy) => None,
        Err(other) => panic!("{other}"),
    })
    .await;
    open.insert(refused.preimage.payment_hash());
    let mut arriving = open.clone();
    event(&*a, "all payments end", |event| {
        match event {
            LightningEvent::PaymentSettled { hash, .. } => open.remove(hash),
            LightningEvent::PaymentFailed { reason, .. } => panic!("{reason}"),
            _ => false,
        };
        open.is_empty().then_some(())
    })
    .await;
    event(&*b, "all payments arrive", |event| {
        if let LightningEvent::PaymentReceived { hash, .. } = event {
            arriving.remove(hash);
        }
        arriving.is_empty().then_some(())
    })
    .await;
}

pub(crate) async fn a_refused_keysend_fails_for_the_recipients_reason<L: Lab>(lab: &mut L) {
    let refused = refused_keysend(lab).await;
    let a = lab.node(Side::A);
    let hash = refused.preimage.payment_hash();
    assert_eq!(outcome(&*a, hash).await, Err(FailureReason::RecipientRejected));
    let state = a.payment(hash).await.unwrap();
    assert!(matches!(state, Some(PaymentState::Failed(_))), "{state:?}");
    assert_eq!(a.send_keysend(refused).await, Err(SendError::Known));
}

/// A keysend of A that B refuses: B has used the preimage itself, in a payment to C.
pub(crate) async fn refused_keysend<L: Lab>(lab: &mut L) -> imp_lightning::Keysend {
    lab.add_third().await;
    let (a, b, c) = (lab.node(Side::A), lab.node(Side::B), lab.node(Side::C));
    let first = keysend(c.id(), b"to C");
    let hash = first.preimage.payment_hash();
    b.send_keysend(first.clone()).await.unwrap();
    outcome(&*b, hash).await.unwrap();

    let second = imp_lightning::Keysend { recipient: b.id(), ..first };
    a.send_keysend(second.clone()).await.unwrap();
    second
}

pub(crate) async fn a_refusal_before_the_start_leaves_the_keysend_unused<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B).id());
    lab.stop(Side::B).await;
    let payment = keysend(b, b"later");
    let hash = payment.preimage.payment_hash();
    until("A sees that B is away", async || {
        (a.send_room(&b).await.unwrap().max_in_flight == 0).then_some(())
    })
    .await;
    assert!(matches!(a.send_keysend(payment.clone()).await, Err(SendError::NoRoute(_))));
    assert_eq!(a.payment(hash).await, Ok(None));

    lab.start(Side::B).await;
    until("B is back", async || match a.send_keysend(payment.clone()).await {
        Ok(()) => Some(()),
        Err(SendError::NoRoute(_)) => None,
        Err(other) => panic!("{other}"),
    })
    .await;
    assert_eq!(outcome(&*a, hash).await, Ok(payment.preimage));
}
