//! Payments whose outcome was lost.

use std::time::Duration;

use imp_lightning::PaymentState;

use super::keysend::refused_keysend;
use super::{Lab, Side, balance, keysend, outcome, paid, receipt, until};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn a_settled_keysend_is_known_after_a_restart<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let payment = keysend(b.id(), b"settled");
    a.send_keysend(payment.clone()).await.unwrap();
    outcome(&*a, payment.preimage.payment_hash()).await.unwrap();
    lab.stop(Side::A).await;
    lab.start(Side::A).await;

    let state = lab.node(Side::A).resume_keysend(payment.clone(), PATIENCE).await.unwrap();
    assert!(matches!(state, PaymentState::Settled { preimage, .. } if preimage == payment.preimage));
}

pub(crate) async fn a_failed_keysend_is_known_after_a_restart<L: Lab>(lab: &mut L) {
    let refused = refused_keysend(lab).await;
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let state = lab.node(Side::A).resume_keysend(refused, PATIENCE).await.unwrap();
    assert!(matches!(state, PaymentState::Failed(_)), "{state:?}");
}

pub(crate) async fn a_keysend_that_never_went_is_sent<L: Lab>(lab: &mut L) {
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let payment = keysend(b.id(), b"never sent");
    let hash = payment.preimage.payment_hash();
    assert_eq!(a.resume_keysend(payment.clone(), PATIENCE).await, Ok(PaymentState::InFlight));
    receipt(&*b, hash).await;
    assert_eq!(outcome(&*a, hash).await, Ok(payment.preimage));
}

pub(crate) async fn a_keysend_in_flight_over_a_restart_pays_once<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let before = balance(&*b).await;
    let payment = keysend(b.id(), b"in flight");
    let hash = payment.preimage.payment_hash();
    a.send_keysend(payment.clone()).await.unwrap();
    lab.stop(Side::A).await;
    lab.start(Side::A).await;

    let a = lab.node(Side::A);
    match a.resume_keysend(payment.clone(), PATIENCE).await.unwrap() {
        PaymentState::InFlight => assert_eq!(outcome(&*a, hash).await, Ok(payment.preimage)),
        PaymentState::Settled { preimage, .. } => assert_eq!(preimage, payment.preimage),
        PaymentState::Failed(reason) => panic!("{reason}"),
    }
    receipt(&*b, hash).await;
    paid(lab).await;
    let two_payments = before + imp_core::amount::Msat(2000);
    until("both payments in B's balance", async || (balance(&*b).await == two_payments).then_some(())).await;
}
