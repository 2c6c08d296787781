//! Payments whose outcome was lost.

use std::time::Duration;

use imp_core::amount::Msat;
use imp_lightning::{FailureReason, InvoiceFault, LightningEvent, PaymentState, SendError, read_invoice};

use super::invoice::{FEE_LIMIT, HOUR, expired_invoice};
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
    assert!(outcome(&*lab.node(Side::A), refused.preimage.payment_hash()).await.is_err());
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let state = lab.node(Side::A).resume_keysend(refused, PATIENCE).await;
    assert_eq!(state, Ok(PaymentState::Failed(FailureReason::Unrecorded)));
}

pub(crate) async fn a_failure_is_undecided_until_its_event_has_told_why<L: Lab>(lab: &mut L) {
    let refused = refused_keysend(lab).await;
    let hash = refused.preimage.payment_hash();
    let rejected = LightningEvent::PaymentFailed { hash, reason: FailureReason::RecipientRejected };
    assert_eq!(lab.node(Side::A).next_event().await, rejected);
    lab.stop(Side::A).await;
    lab.start(Side::A).await;

    let a = lab.node(Side::A);
    let early = a.resume_keysend(refused.clone(), Duration::from_secs(1)).await;
    assert!(matches!(early, Err(SendError::Unknown(_))), "{early:?}");
    assert_eq!(outcome(&*a, hash).await, Err(FailureReason::RecipientRejected));
    let state = a.resume_keysend(refused, PATIENCE).await;
    assert_eq!(state, Ok(PaymentState::Failed(FailureReason::Unrecorded)));
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
    let two_payments = before + Msat(2000);
    until("both payments in B's balance", async || (balance(&*b).await == two_payments).then_some(())).await;
}

pub(crate) async fn a_settled_invoice_is_known_after_a_restart<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let text = b.create_invoice(Msat(5000), "", HOUR).await.unwrap();
    let hash = a.pay_invoice(&text, FEE_LIMIT).await.unwrap();
    let proof = outcome(&*a, hash).await.unwrap();
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let state = lab.node(Side::A).resume_invoice(&text, FEE_LIMIT, PATIENCE).await.unwrap();
    assert!(matches!(state, PaymentState::Settled { preimage, .. } if preimage == proof), "{state:?}");
}

pub(crate) async fn a_failed_invoice_is_known_after_a_restart<L: Lab>(lab: &mut L) {
    lab.add_third().await;
    let (a, b, c) = (lab.node(Side::A), lab.node(Side::B), lab.node(Side::C));
    let text = b.create_invoice(Msat(5000), "", HOUR).await.unwrap();
    let hash = c.pay_invoice(&text, FEE_LIMIT).await.unwrap();
    outcome(&*c, hash).await.unwrap();
    a.pay_invoice(&text, FEE_LIMIT).await.unwrap();
    assert_eq!(outcome(&*a, hash).await, Err(FailureReason::RecipientRejected));
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let state = lab.node(Side::A).resume_invoice(&text, FEE_LIMIT, PATIENCE).await.unwrap();
    assert!(matches!(state, PaymentState::Failed(_)), "{state:?}");
}

pub(crate) async fn an_invoice_that_was_never_paid_is_paid<L: Lab>(lab: &mut L) {
    let text = lab.node(Side::B).create_invoice(Msat(5000), "", HOUR).await.unwrap();
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    assert_eq!(a.resume_invoice(&text, FEE_LIMIT, PATIENCE).await, Ok(PaymentState::InFlight));
    let hash = read_invoice(&text).unwrap().hash;
    receipt(&*b, hash).await;
    assert_eq!(outcome(&*a, hash).await.map(|preimage| preimage.payment_hash()), Ok(hash));
}

pub(crate) async fn an_invoice_in_flight_over_a_restart_is_paid_once<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let before = balance(&*b).await;
    let text = b.create_invoice(Msat(5000), "", HOUR).await.unwrap();
    let hash = a.pay_invoice(&text, FEE_LIMIT).await.unwrap();
    lab.stop(Side::A).await;
    lab.start(Side::A).await;

    let a = lab.node(Side::A);
    match a.resume_invoice(&text, FEE_LIMIT, PATIENCE).await.unwrap() {
        PaymentState::InFlight => assert!(outcome(&*a, hash).await.is_ok()),
        PaymentState::Settled { preimage, .. } => assert_eq!(preimage.payment_hash(), hash),
        PaymentState::Failed(reason) => panic!("{reason}"),
    }
    receipt(&*b, hash).await;
    paid(lab).await;
    let both = before + Msat(6000);
    until("both payments in B's balance", async || (balance(&*b).await == both).then_some(())).await;
}

pub(crate) async fn an_invoice_that_has_expired_meanwhile_is_not_paid<L: Lab>(lab: &mut L) {
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    let a = lab.node(Side::A);
    let text = expired_invoice();
    let resumed =
        until("A can tell", async || match a.resume_invoice(&text, FEE_LIMIT, Duration::ZERO).await {
            Err(SendError::Unknown(_)) => None,
            told => Some(told),
        })
        .await;
    let expired = matches!(&resumed, Err(SendError::InvalidInvoice(InvoiceFault::Expired { .. })));
    assert!(expired, "{resumed:?}");
    assert_eq!(a.payment(read_invoice(&text).unwrap().hash).await, Ok(None));
}

pub(crate) async fn an_invoice_that_nobody_can_pay_is_not_resumed<L: Lab>(lab: &mut L) {
    let a = lab.node(Side::A);
    let own = a.create_invoice(Msat(5000), "", HOUR).await.unwrap();
    for (text, fault) in
        [(own.as_str(), InvoiceFault::Own), ("lno1", InvoiceFault::OtherKind("a BOLT 12 offer"))]
    {
        let resumed = a.resume_invoice(text, FEE_LIMIT, Duration::ZERO).await;
        assert_eq!(resumed, Err(SendError::InvalidInvoice(fault)));
    }
}
