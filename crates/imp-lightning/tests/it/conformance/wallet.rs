//! The on-chain wallet.

use imp_lightning::{LightningError, LightningNode, NodeStatus, OnchainAmount};

use super::{Lab, Side, until};

async fn status(node: &dyn LightningNode) -> NodeStatus {
    node.status().await.unwrap()
}

pub(crate) async fn onchain_payments_reach_the_other_node<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let (of_a, of_b) = (status(&*a).await, status(&*b).await);
    let address = b.new_address().await.unwrap();
    let first = a.send_onchain(&address, OnchainAmount::Sat(100_000), Some(2)).await.unwrap();
    // At once, so that both would spend the same coin were the first one not known to the wallet.
    let second = a.send_onchain(&address, OnchainAmount::Sat(50_000), None).await.unwrap();
    assert_ne!(first, second);
    for txid in [first, second] {
        assert!(txid.len() == 64 && txid.bytes().all(|digit| digit.is_ascii_hexdigit()), "{txid}");
    }
    until("B has both payments", async || {
        lab.mine(1).await;
        let now = status(&*b).await;
        (now.onchain_sat == of_b.onchain_sat + 150_000).then_some(())
    })
    .await;
    let now = status(&*a).await;
    assert_eq!(now.onchain_reserved_sat, of_a.onchain_reserved_sat);
    let fees = of_a.onchain_sat - now.onchain_sat - 150_000;
    assert!((300..3000).contains(&fees), "{fees}");
    assert_eq!(now.onchain_total_sat, now.onchain_sat + now.onchain_reserved_sat);
}

pub(crate) async fn all_but_the_reserve_can_be_sent<L: Lab>(lab: &mut L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let (of_a, of_b) = (status(&*a).await, status(&*b).await);
    let address = b.new_address().await.unwrap();
    a.send_onchain(&address, OnchainAmount::All, Some(1)).await.unwrap();
    lab.mine(1).await;
    let now = status(&*a).await;
    assert!(now.onchain_sat < 300, "{now:?}");
    assert_eq!(now.onchain_reserved_sat, 25_000);
    assert!(now.onchain_total_sat >= 25_000, "{now:?}");
    let got = status(&*b).await.onchain_sat - of_b.onchain_sat;
    assert!(got < of_a.onchain_sat && got > of_a.onchain_sat - 3000, "{got} of {of_a:?}");

    for amount in [OnchainAmount::All, OnchainAmount::Sat(1000)] {
        let refused = a.send_onchain(&address, amount, Some(1)).await;
        let short = LightningError::InsufficientFunds {
            spendable_sat: now.onchain_sat,
            reserved_sat: 25_000,
            needed_sat: if amount == OnchainAmount::All { 294 } else { 1000 },
        };
        assert_eq!(refused, Err(short));
    }
}

pub(crate) async fn onchain_payments_that_cannot_be_made_are_refused<L: Lab>(lab: &mut L) {
    let a = lab.node(Side::A);
    let before = status(&*a).await;
    let good = a.new_address().await.unwrap();
    let refused = async |address: &str, amount_sat, fee_rate, fault: &str| match a
        .send_onchain(address, OnchainAmount::Sat(amount_sat), fee_rate)
        .await
    {
        Err(LightningError::Invalid(text)) => assert!(text.contains(fault), "{text}"),
        other => panic!("{other:?}"),
    };
    refused("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 1000, None, "one of bitcoin").await;
    refused("nowhere", 1000, None, "no bitcoin address").await;
    refused(&good, 0, None, "dust").await;
    refused(&good, 293, None, "dust").await;
    refused(&good, 1000, Some(0), "fee rate").await;
    // Nothing is left for the fee.
    let all = a.send_onchain(&good, OnchainAmount::Sat(before.onchain_sat), None).await;
    assert!(matches!(all, Err(LightningError::InsufficientFunds { .. })), "{all:?}");
    lab.mine(1).await;
    assert_eq!(status(&*a).await.onchain_total_sat, before.onchain_total_sat);
}
