//! Peers, and channels that are closed.

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};
use imp_lightning::{LightningError, LightningEvent, LightningNode, OpenChannel, Peer};

use super::{Lab, Side, event, keysend, stranger, until};

async fn peer(node: &dyn LightningNode, id: &NodeId) -> Option<Peer> {
    node.list_peers().await.unwrap().into_iter().find(|peer| peer.id == *id)
}

async fn closed(node: &dyn LightningNode, peer: NodeId) {
    event(node, "the channel is closed", |event| match event {
        LightningEvent::ChannelClosed { peer: other, .. } => (*other == Some(peer)).then_some(()),
        _ => None,
    })
    .await;
    assert_eq!(node.channels().await, Ok(Vec::new()));
}

/// Mines until a closed channel's money is in the wallet, less at most 5000 sat of fees.
async fn back_on_chain<L: Lab>(lab: &L, node: &dyn LightningNode, expected_sat: u64) {
    until("the money is on the chain", async || {
        lab.mine(12).await;
        let status = node.status().await.unwrap();
        // Never more than there was: nothing counts twice.
        let held = status.onchain_total_sat + status.closing_sat;
        assert!(held <= expected_sat, "{status:?}, expected {expected_sat}");
        let is_back = status.closing_sat == 0 && status.onchain_sat + 5000 > expected_sat;
        is_back.then(|| assert_eq!(status.onchain_reserved_sat, 0))
    })
    .await;
}

/// What the node has on the chain once its channels are closed, but for fees.
async fn worth(node: &dyn LightningNode) -> u64 {
    let status = node.status().await.unwrap();
    // A balance counts in full satoshis, and what its end has pledged for the closing fee comes back.
    status.onchain_total_sat + status.in_channels.to_sat_ceil() + 1
}

pub(crate) async fn a_peer_with_a_channel_stays_connected<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    assert!(peer(&*a, &b.id()).await.is_some_and(|peer| peer.connected));
    assert!(peer(&*b, &a.id()).await.is_some_and(|peer| peer.connected));
    let refused = a.disconnect(&b.id()).await;
    assert!(
        matches!(&refused, Err(LightningError::Failed(text)) if text.contains("channels")),
        "{refused:?}"
    );
    let nobody = a.disconnect(&stranger()).await;
    assert!(matches!(nobody, Err(LightningError::NotFound(_))), "{nobody:?}");
    lab.stop(Side::B).await;
    until("A sees that B is away, and keeps it", async || {
        (!peer(&*a, &b.id()).await.unwrap().connected).then_some(())
    })
    .await;
}

pub(crate) async fn a_channel_closed_by_both_ends_is_money_on_the_chain<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let (worth_a, worth_b) = (worth(&*a).await, worth(&*b).await);
    let name = a.channels().await.unwrap()[0].user_channel_id;
    let nothing = a.close_channel(name ^ 1 << 100, false).await;
    assert!(matches!(nothing, Err(LightningError::NotFound(_))), "{nothing:?}");
    a.close_channel(name, false).await.unwrap();
    closed(&*a, b.id()).await;
    closed(&*b, a.id()).await;
    let again = a.close_channel(name, false).await;
    assert!(matches!(again, Err(LightningError::NotFound(_))), "{again:?}");
    back_on_chain(lab, &*a, worth_a).await;
    back_on_chain(lab, &*b, worth_b).await;

    a.connect(&b.id(), &lab.address(Side::B)).await.unwrap();
    let known = Peer { id: b.id(), address: Some(lab.address(Side::B)), connected: true };
    assert_eq!(peer(&*a, &b.id()).await, Some(known));
    a.disconnect(&b.id()).await.unwrap();
    assert_eq!(peer(&*a, &b.id()).await, None);
    until("B sees it", async || peer(&*b, &a.id()).await.is_none().then_some(())).await;
}

pub(crate) async fn a_channel_closed_alone_is_money_on_the_chain_later<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B).id());
    let (worth_a, worth_b) = (worth(&*a).await, worth(&*lab.node(Side::B)).await);
    let name = a.channels().await.unwrap()[0].user_channel_id;
    lab.stop(Side::B).await;
    until("A sees that B is away", async || (!peer(&*a, &b).await?.connected).then_some(())).await;
    let together = a.close_channel(name, false).await;
    assert!(matches!(&together, Err(LightningError::Failed(text)) if text.contains("force")), "{together:?}");
    a.close_channel(name, true).await.unwrap();
    closed(&*a, b).await;
    let status = a.status().await.unwrap();
    assert!(status.closing_sat > 490_000 && status.in_channels.0 == 0, "{status:?}");

    lab.start(Side::B).await;
    let b = lab.node(Side::B);
    until("B sees the closing transaction in a block", async || {
        lab.mine(1).await;
        b.channels().await.unwrap().is_empty().then_some(())
    })
    .await;
    assert!(a.status().await.unwrap().closing_sat > 490_000);
    closed(&*b, a.id()).await;
    back_on_chain(lab, &*b, worth_b).await;
    back_on_chain(lab, &*a, worth_a).await;
}

/// Waits until a payment has passed the node, which tells of no closed channel until then.
pub(crate) async fn passes_with_no_channel_closed(node: &dyn LightningNode, payment: PaymentHash) {
    event(node, "the payment passes", |event| match event {
        LightningEvent::PaymentSettled { hash, .. } | LightningEvent::PaymentReceived { hash, .. } => {
            (*hash == payment).then_some(())
        }
        LightningEvent::ChannelClosed { reason, .. } => panic!("told of a closed channel: {reason}"),
        _ => None,
    })
    .await;
}

pub(crate) async fn the_end_of_a_channel_that_was_never_ready_is_no_event<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let channel = OpenChannel {
        peer: b.id(),
        address: lab.address(Side::B),
        capacity_sat: 200_000,
        push: Msat::ZERO,
        announce: false,
    };
    let name = a.open_channel(channel).await.unwrap();
    until("the opening is given up", async || a.close_channel(name, true).await.ok()).await;
    for node in [&a, &b] {
        until("the channel is gone", async || (node.channels().await.unwrap().len() == 1).then_some(()))
            .await;
    }
    let payment = keysend(b.id(), b"");
    let hash = payment.preimage.payment_hash();
    a.send_keysend(payment).await.unwrap();
    for node in [&*a, &*b] {
        passes_with_no_channel_closed(node, hash).await;
    }
}

pub(crate) async fn a_channel_that_was_ready_in_an_earlier_run_closes_with_an_event<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B).id());
    let name = a.channels().await.unwrap()[0].user_channel_id;
    a.close_channel(name, true).await.unwrap();
    let told = a.next_event().await;
    assert!(matches!(&told, LightningEvent::ChannelClosed { peer, .. } if *peer == Some(b)), "{told:?}");
    lab.stop(Side::A).await;
    lab.start(Side::A).await;
    closed(&*lab.node(Side::A), b).await;
}
