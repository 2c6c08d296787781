//! Contracts that end.

use std::sync::Arc;
use std::time::Duration;

use imp_api::proto::imp::vpn::v1::{Contract, ListVpnContractsRequest};
use imp_devnet::devnet::Ready;
use tokio::time::sleep_until;

use crate::lab::{DEVICE, Lab, PRICE_SAT, SELLER, wait_for};
use crate::reach::{is_cut_off, pings, wait_through};
use crate::tools::Tools;

/// What a payment buys here, in seconds: long enough for what is done meanwhile on a machine that is busy.
const SHORT: &str = "12";
const SHORT_SECS: i64 = 12;

/// How much later than its end a contract may still be on the interface.
const MOST_OVERTIME: Duration = Duration::from_secs(1);

/// When a contract ends, on the clock of this process.
fn end_of(contract: &Contract) -> tokio::time::Instant {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let end = Duration::from_millis(contract.ends_ms.unwrap().try_into().unwrap());
    tokio::time::Instant::now() + end.saturating_sub(now)
}

pub(crate) async fn a_contract_ends_and_a_refresh_brings_it_back(lab: Arc<Lab>) {
    lab.restart(SELLER, &[("IMP_VPN_DURATION_SECS", SHORT)]).await;
    let mut sold = lab.news(SELLER).await;
    let deal = lab.buy("alice").await;
    let mut bought = lab.news("alice").await;
    let alice = lab.host("alice");
    let tunnel = Tools::up(&lab, &deal).await;
    wait_through(&alice).await;
    let file = lab.config_file(&deal).await;

    for (node, news) in [("alice", &mut bought), (SELLER, &mut sold)] {
        news.wait("a warning", |told| told.is("EXPIRING", &deal.nonce)).await;
        let expired = news.wait("the end", |told| told.is("EXPIRED", &deal.nonce)).await;
        assert_eq!(expired.get("reason"), "time", "{node}");
    }
    let peers = || lab.run(SELLER, "wg", &["show", DEVICE, "peers"]);
    let key = deal.config.get("pubkey");
    wait_for("no peer", || async { (!peers().contains(key)).then_some(()) }).await;
    assert!(is_cut_off(&alice).await);
    for node in ["alice", SELLER] {
        assert_eq!(lab.contract(node, &deal.nonce).await.unwrap().state, "expired", "{node}");
    }

    let id = lab.refresh(&deal).await.unwrap();
    let refreshed = bought.wait("more time", |told| told.is("REFRESHED", &deal.nonce)).await;
    assert_eq!((refreshed.reply_to_id.as_str(), refreshed.get("duration_secs")), (id.as_str(), SHORT));
    // With what the buyer has already.
    tunnel.begin_anew();
    wait_through(&alice).await;
    assert_eq!(lab.config_file(&deal).await, file);
    for node in ["alice", SELLER] {
        let contract = lab.wait_contract(node, &deal.nonce, "active", |it| it.state == "active").await;
        assert_eq!(contract.paid_sat, 2 * PRICE_SAT, "{node}");
    }
    // Time is added to what is left.
    let before = lab.contract(SELLER, &deal.nonce).await.unwrap().ends_ms.unwrap();
    lab.refresh(&deal).await.unwrap();
    let longer = |it: &Contract| it.ends_ms == Some(before + SHORT_SECS * 1000);
    lab.wait_contract(SELLER, &deal.nonce, "twice the time", longer).await;
}

pub(crate) async fn time_ends_while_chain_and_lightning_are_away(lab: Arc<Lab>) {
    let deal = lab.buy("bob").await;
    let (bob, seller) = (lab.host("bob"), lab.host(SELLER));
    let _tunnel = Tools::up(&lab, &deal).await;
    wait_through(&bob).await;
    let ends = end_of(&lab.contract(SELLER, &deal.nonce).await.unwrap());
    let ready: Ready = serde_json::from_slice(&std::fs::read(lab.net.ready_file()).unwrap()).unwrap();
    let chain = ready.chain.rpc.port();
    let away = format!(
        "table inet away {{\n  chain out {{\n    type filter hook output priority 0;\n    \
         tcp dport {chain} drop\n    oifname \"wan\" meta l4proto tcp drop\n  }}\n}}\n"
    );
    seller.nft(&away).unwrap();
    assert!(pings(&bob, "192.0.2.1").await, "the tunnel needs neither");

    sleep_until(ends + MOST_OVERTIME).await;
    let peers = lab.run(SELLER, "wg", &["show", DEVICE, "peers"]);
    assert!(!peers.contains(deal.config.get("pubkey")), "{peers}");
    assert!(is_cut_off(&bob).await);

    seller.nft("delete table inet away\n").unwrap();
    lab.restart(SELLER, &[]).await;
    // What is short is over for the cases that follow.
    for node in ["alice", "bob", SELLER] {
        wait_for("the end of all that is short", || async {
            let query = ListVpnContractsRequest { state: "active".to_owned(), ..Default::default() };
            let active = lab.client(node).await.list_vpn_contracts(query).await.ok()?.contracts;
            active.iter().all(|contract| contract.duration_secs != SHORT_SECS).then_some(())
        })
        .await;
    }
}
