//! The embedded node's on-chain wallet, with a chain source that fails.

use imp_core::amount::Msat;
use imp_lightning::{LightningError, LightningNode, OnchainAmount, OpenChannel};

use crate::conformance::{Lab, stranger};
use crate::ldk_lab::LdkLab;

const AMOUNT: OnchainAmount = OnchainAmount::Sat(100_000);

/// A lab of one node, and an address of its own.
async fn alone() -> (LdkLab, String) {
    let mut lab = LdkLab::without_nodes().await;
    lab.add_node().await;
    let address = lab.nodes[0].node.new_address().await.unwrap();
    (lab, address)
}

#[tokio::test]
async fn coins_are_not_spent_again_before_the_wallet_counts_them_spent() {
    let (lab, address) = alone().await;
    let node = &lab.nodes[0].node;
    // From here on the wallet cannot look at what comes into the mempool.
    lab.chain.fail_next("getmempoolentry", u32::MAX, -1).unwrap();
    let first = node.send_onchain(&address, AMOUNT, None).await.unwrap();
    assert_eq!(lab.chain.mempool().len(), 1);
    let second = node.send_onchain(&address, AMOUNT, Some(50)).await;
    assert!(matches!(second, Err(LightningError::Unavailable(_))), "{second:?}");

    lab.chain.fail_next("getmempoolentry", 0, 0).unwrap();
    let second = node.send_onchain(&address, AMOUNT, Some(50)).await.unwrap();
    let mut waiting: Vec<String> = lab.chain.mempool().iter().map(ToString::to_string).collect();
    let mut sent = vec![first, second];
    waiting.sort_unstable();
    sent.sort_unstable();
    assert_eq!(waiting, sent, "the second one has not taken the first one's place");
    lab.down().await;
}

#[tokio::test]
async fn a_transaction_that_is_refused_is_told_and_its_coins_are_free_again() {
    let (lab, address) = alone().await;
    let node = &lab.nodes[0].node;
    lab.chain.fail_next("sendrawtransaction", 1, -26).unwrap();
    let refused = node.send_onchain(&address, AMOUNT, None).await;
    assert!(
        matches!(&refused, Err(LightningError::Unknown(text)) if text.contains("look for it")),
        "{refused:?}"
    );
    assert!(lab.chain.mempool().is_empty());

    node.send_onchain(&address, AMOUNT, None).await.unwrap();
    assert_eq!(lab.chain.mempool().len(), 1);
    lab.down().await;
}

#[tokio::test]
async fn a_channel_waits_for_the_coins_of_a_payment() {
    let mut lab = LdkLab::without_nodes().await;
    lab.add_node().await;
    lab.add_node().await;
    let (node, peer) = (&lab.nodes[0].node, &lab.nodes[1]);
    lab.chain.fail_next("getmempoolentry", u32::MAX, -1).unwrap();
    let address = node.new_address().await.unwrap();
    node.send_onchain(&address, AMOUNT, None).await.unwrap();
    let channel = OpenChannel {
        peer: peer.node.id(),
        address: peer.config.listen[0].to_string(),
        capacity_sat: 200_000,
        push: Msat::ZERO,
        announce: false,
    };
    let refused = node.open_channel(channel.clone()).await;
    assert!(matches!(refused, Err(LightningError::Unavailable(_))), "{refused:?}");

    lab.chain.fail_next("getmempoolentry", 0, 0).unwrap();
    node.open_channel(channel).await.unwrap();
    // Its funding has no block yet, and the wallet may not know what it has spent.
    let refused = node.send_onchain(&address, AMOUNT, None).await;
    assert!(matches!(&refused, Err(LightningError::Failed(text)) if text.contains("opened")), "{refused:?}");
    lab.down().await;
}

#[tokio::test]
async fn an_address_of_nobody_is_paid() {
    let (lab, _) = alone().await;
    let node = &lab.nodes[0].node;
    let key = bitcoin::CompressedPublicKey::from_slice(stranger().as_bytes()).unwrap();
    for address in [
        bitcoin::Address::p2wpkh(&key, bitcoin::KnownHrp::Regtest),
        bitcoin::Address::p2pkh(bitcoin::PublicKey::from(key), bitcoin::NetworkKind::Test),
    ] {
        node.send_onchain(&address.to_string(), AMOUNT, Some(1)).await.unwrap();
    }
    lab.mine(1).await;
    let left = node.status().await.unwrap().onchain_total_sat;
    assert!((4_799_000..4_800_000).contains(&left), "{left}");
    lab.down().await;
}
