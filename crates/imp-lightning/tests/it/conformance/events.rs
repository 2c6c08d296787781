//! Events and their acknowledgement.

use imp_lightning::{LightningError, LightningEvent};

use super::{Lab, Side, keysend, outcome, paid};

pub(crate) async fn an_event_repeats_until_it_is_acknowledged<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let (first, second) = (keysend(b.id(), b"first"), keysend(b.id(), b"second"));
    for payment in [&first, &second] {
        a.send_keysend(payment.clone()).await.unwrap();
        outcome(&*a, payment.preimage.payment_hash()).await.unwrap();
    }
    let told = b.next_event().await;
    assert_eq!(received(&told), Some(first.preimage.payment_hash()));
    assert_eq!(b.next_event().await, told);
    b.acknowledge_event().await.unwrap();
    assert_eq!(received(&b.next_event().await), Some(second.preimage.payment_hash()));
    b.acknowledge_event().await.unwrap();
}

pub(crate) async fn an_unacknowledged_event_is_told_again_after_a_restart<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let payment = keysend(b.id(), b"not taken note of");
    let hash = payment.preimage.payment_hash();
    a.send_keysend(payment).await.unwrap();
    let told = b.next_event().await;
    assert_eq!(received(&told), Some(hash));
    outcome(&*a, hash).await.unwrap();

    lab.stop(Side::B).await;
    lab.start(Side::B).await;
    let b = lab.node(Side::B);
    assert_eq!(b.next_event().await, told);
    b.acknowledge_event().await.unwrap();
    paid(lab).await;
}

pub(crate) async fn nothing_is_acknowledged_before_it_was_handed_out<L: Lab>(lab: &mut L) {
    let b = lab.node(Side::B);
    assert!(matches!(b.acknowledge_event().await, Err(LightningError::Invalid(_))));
    paid(lab).await;
    assert!(matches!(b.acknowledge_event().await, Err(LightningError::Invalid(_))));
}

fn received(event: &LightningEvent) -> Option<imp_core::id::PaymentHash> {
    match event {
        LightningEvent::PaymentReceived { hash, .. } => Some(*hash),
        _ => None,
    }
}
