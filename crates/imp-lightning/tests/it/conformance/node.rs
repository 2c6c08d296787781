//! The node itself: key, channels, wallet, chain, end.

use std::time::Duration;

use bitcoin::Address;
use bitcoin::hashes::{Hash, sha256d};
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};
use imp_lightning::{LightningError, LightningEvent, OnchainAmount, OpenChannel, SendError};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SECP256K1};

use super::invoice::expired_invoice;
use super::{Lab, Side, event, keysend, paid, stranger, until};

pub(crate) async fn a_signature_names_its_signer<L: Lab>(lab: &mut L) {
    let a = lab.node(Side::A);
    for message in [&b"a text"[..], b"", &[0xff; 300]] {
        let signature = a.sign(message).await.unwrap();
        assert_eq!(signer(message, &signature), Some(a.id()));
        assert_ne!(signer(b"another text", &signature), Some(a.id()));
    }
}

fn signer(message: &[u8], signature: &[u8; 65]) -> Option<NodeId> {
    let recovery = RecoveryId::from_i32(i32::from(signature[0]) - 31).ok()?;
    let signature = RecoverableSignature::from_compact(&signature[1..], recovery).ok()?;
    let text = [&b"Lightning Signed Message:"[..], message].concat();
    let digest = Message::from_digest(sha256d::Hash::hash(&text).to_byte_array());
    SECP256K1.recover_ecdsa(&digest, &signature).ok().map(NodeId::from)
}

pub(crate) async fn both_ends_agree_on_their_channel<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let of_a = a.channels().await.unwrap();
    let of_b = b.channels().await.unwrap();
    assert_eq!((of_a.len(), of_b.len()), (1, 1));
    let (of_a, of_b) = (&of_a[0], &of_b[0]);
    assert_eq!((of_a.peer, of_b.peer), (b.id(), a.id()));
    assert_eq!((of_a.capacity_sat, of_b.capacity_sat), (1_000_000, 1_000_000));
    assert_eq!(of_a.funding, of_b.funding);
    assert!(of_a.funding.as_ref().is_some_and(|outpoint| outpoint.contains(':')));
    assert!(of_a.usable && of_a.ready && of_b.usable && of_b.ready);
    assert!(of_a.outbound > Msat::from_sat(450_000) && of_a.outbound <= Msat::from_sat(500_000));
    assert!(of_b.outbound > Msat::from_sat(450_000) && of_b.outbound <= Msat::from_sat(500_000));

    let status = a.status().await.unwrap();
    assert!(status.synced);
    assert!(status.spendable <= status.in_channels && status.in_channels <= Msat::from_sat(500_000));
    assert!(status.spendable > Msat::ZERO);
    assert!(status.receivable > Msat::from_sat(450_000) && status.receivable <= Msat::from_sat(500_000));
    assert_eq!((status.onchain_reserved_sat, status.closing_sat), (25_000, 0));
    assert!(status.onchain_sat > 0);
    assert_eq!(status.onchain_total_sat, status.onchain_sat + status.onchain_reserved_sat);
}

pub(crate) async fn after_the_shutdown_every_call_is_unavailable<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B).id());
    let id = a.id();
    let address = a.new_address().await.unwrap();
    a.shutdown().await;
    a.shutdown().await;
    fn gone<T: std::fmt::Debug>(answer: Result<T, LightningError>) {
        assert!(matches!(answer, Err(LightningError::Unavailable(_))), "{answer:?}");
    }
    fn unsent<T: std::fmt::Debug>(answer: Result<T, SendError>) {
        assert!(matches!(answer, Err(SendError::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(a.id(), id);
    gone(a.status().await);
    gone(a.sign(b"").await);
    gone(a.send_room(&b).await);
    unsent(a.send_keysend(keysend(b, b"")).await);
    unsent(a.resume_keysend(keysend(b, b""), Duration::from_secs(1)).await);
    gone(a.create_invoice(Msat(1), "", Duration::from_secs(60)).await);
    gone(a.payment(PaymentHash([0; 32])).await);
    gone(a.invoice(PaymentHash([0; 32])).await);
    gone(a.acknowledge_event().await);
    gone(a.channels().await);
    gone(a.new_address().await);
    gone(a.connect(&b, &lab.address(Side::B)).await);
    let channel = OpenChannel {
        peer: b,
        address: lab.address(Side::B),
        capacity_sat: 100_000,
        push: Msat::ZERO,
        announce: false,
    };
    gone(a.open_channel(channel).await);
    gone(a.sync_chain().await);
    let invoice = expired_invoice();
    unsent(a.resume_invoice(&invoice, Msat::ZERO, Duration::from_secs(1)).await);
    unsent(a.pay_invoice(&invoice, Msat::ZERO).await);
    gone(a.list_peers().await);
    gone(a.disconnect(&b).await);
    gone(a.close_channel(1, true).await);
    gone(a.knows_node(&b).await);
    gone(a.send_onchain(&address, OnchainAmount::All, None).await);
}

pub(crate) async fn a_peer_that_was_away_is_back_within_seconds<L: Lab>(lab: &mut L) {
    for side in [Side::B, Side::A] {
        lab.stop(side).await;
        let other = lab.node(if side == Side::A { Side::B } else { Side::A });
        until("the other end sees it", async || (!usable(&*other).await).then_some(())).await;
        lab.start(side).await;
        let back = until("the channel is usable", async || usable(&*other).await.then_some(()));
        tokio::time::timeout(Duration::from_secs(15), back).await.expect("back within seconds");
        paid(lab).await;
    }
}

async fn usable(node: &dyn imp_lightning::LightningNode) -> bool {
    node.channels().await.unwrap().iter().any(|channel| channel.usable)
}

pub(crate) async fn a_new_channel_is_announced_by_an_event_and_usable<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let channel = OpenChannel {
        peer: a.id(),
        address: lab.address(Side::A),
        capacity_sat: 200_000,
        push: Msat::from_sat(50_000),
        announce: false,
    };
    let name = b.open_channel(channel).await.unwrap();
    // The funding transaction comes some time after the call, and a channel is ready some blocks after it.
    until("the channel is ready at both ends", async || {
        lab.mine(1).await;
        for node in [&a, &b] {
            let channels = node.channels().await.unwrap();
            if channels.len() < 2 || !channels.iter().all(|channel| channel.ready) {
                return None;
            }
        }
        Some(())
    })
    .await;
    for node in [&a, &b] {
        event(&**node, "the channel is ready", |event| match event {
            LightningEvent::ChannelReady { peer } => Some(*peer),
            _ => None,
        })
        .await;
    }
    until("the channel is usable", async || {
        let channels = b.channels().await.unwrap();
        let new = channels.iter().find(|channel| channel.user_channel_id == name)?;
        (new.usable && !new.announced && new.capacity_sat == 200_000).then_some(())
    })
    .await;
    let room = b.send_room(&a.id()).await.unwrap();
    assert_eq!(room.max_in_flight, 100);
}

pub(crate) async fn impossible_channels_and_addresses_are_refused<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B).id());
    let channel = |address: &str, capacity_sat, push_sat| OpenChannel {
        peer: b,
        address: address.to_owned(),
        capacity_sat,
        push: Msat::from_sat(push_sat),
        announce: true,
    };
    let address = lab.address(Side::B);
    let pushes_too_much = a.open_channel(channel(&address, 100_000, 100_001)).await;
    assert!(matches!(pushes_too_much, Err(LightningError::Invalid(_))), "{pushes_too_much:?}");
    let too_large = a.open_channel(channel(&address, 21_000_000 * 100_000_000, 0)).await;
    assert!(matches!(too_large, Err(LightningError::Failed(_))), "{too_large:?}");
    for nonsense in ["", "nowhere", "127.0.0.1", "127.0.0.1:", ":9735", "127.0.0.1:0", "127.0.0.1:99999"] {
        let refused = a.connect(&b, nonsense).await;
        assert!(matches!(refused, Err(LightningError::Invalid(_))), "{nonsense}: {refused:?}");
    }
    let own = a.connect(&a.id(), &address).await;
    assert!(matches!(own, Err(LightningError::Invalid(_))), "{own:?}");
    let nobody = a.connect(&stranger(), "127.0.0.1:1").await;
    assert!(matches!(nobody, Err(LightningError::Failed(_))), "{nobody:?}");
    a.connect(&b, &address).await.unwrap();
}

pub(crate) async fn addresses_are_fresh_and_of_the_network<L: Lab>(lab: &mut L) {
    let a = lab.node(Side::A);
    let (first, second) = (a.new_address().await.unwrap(), a.new_address().await.unwrap());
    assert_ne!(first, second);
    for text in [first, second] {
        let address: Address<_> = text.parse().unwrap();
        assert!(address.is_valid_for_network(bitcoin::Network::from(a.network())));
    }
}

pub(crate) async fn the_chain_is_followed<L: Lab>(lab: &mut L) {
    let a = lab.node(Side::A);
    let before = a.sync_chain().await.unwrap();
    lab.mine(3).await;
    assert_eq!(a.sync_chain().await.unwrap(), before + 3);
    assert_eq!(a.status().await.unwrap().block_height, before + 3);
}

pub(crate) async fn this_node_and_its_peers_are_known_and_strangers_are_not<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B).id());
    assert_eq!(a.knows_node(&a.id()).await, Ok(true));
    assert_eq!(a.knows_node(&b).await, Ok(true));
    assert_eq!(a.knows_node(&stranger()).await, Ok(false));
}
