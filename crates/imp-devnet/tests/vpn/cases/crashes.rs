//! Nodes that die at a commit of a contract: right after it, before anything that follows from it.

use std::sync::Arc;
use std::time::Duration;

use imp_api::proto::imp::vpn::v1::Contract;
use rustix::process::Signal;

use crate::lab::{Lab, PRICE_SAT, SELLER, wait_for, wait_within};

/// The seller's commits from the payment on, and which of them it is.
const OF_SELLER: [&str; 5] =
    ["commit_inbox:1", "commit_vpn:1", "begin_attempt:1", "end_attempt:1", "commit_vpn:2"];

/// The buyer's, from the call on.
const OF_BUYER: [&str; 6] =
    ["commit_vpn:1", "begin_attempt:1", "end_attempt:1", "commit_vpn:2", "commit_inbox:1", "commit_vpn:3"];

/// How often a node may have something to do that nobody asked of it.
const TRIES: usize = 3;

/// How long a contract may take to be served or given back: a buyer that knows nothing asks after 30 s, and again after
/// 60.
const SETTLED: Duration = Duration::from_secs(120);

/// Starts a node anew that will die at a commit. What it still had to do must not be what it dies of.
async fn restart_dying(lab: &Lab, victim: &str, commit: &str) {
    for _ in 0..TRIES {
        lab.wait_calm(victim).await;
        lab.end(victim, Signal::TERM).await;
        if lab.start_or_die(victim, &[("IMP_TEST_ABORT_AFTER", commit)]).await {
            return;
        }
        lab.start_node(victim, &[]).await;
    }
    panic!("{victim} always dies after {commit} before anything is asked of it");
}

/// Accepts a quote with a node that dies at a commit, starts it again, and gives how the contract stands in the end.
async fn accept_dying(lab: &Lab, buyer: &str, victim: &str, commit: &str) -> (String, Contract) {
    let nonce = lab.quote(buyer).await;
    restart_dying(lab, victim, commit).await;
    // What the call answers depends on who died and when; what counts is what becomes of the contract.
    let accepted = lab.accept(buyer, &nonce).await;
    lab.wait_gone(victim).await;
    lab.start_node(victim, &[]).await;
    let what = format!("{victim} died after {commit}, the call said {accepted:?}: an end");
    let ended = || async {
        let contract = lab.contract(buyer, &nonce).await?;
        ["active", "refunded", "failed"].contains(&contract.state.as_str()).then_some(contract)
    };
    let contract = wait_within(SETTLED, &what, ended).await;
    (nonce, contract)
}

/// Checks that what was paid was served or given back, and not both.
async fn check(lab: &Lab, commit: &str, nonce: &str, contract: &Contract) {
    let payments = lab.payments(nonce).await;
    match contract.state.as_str() {
        "failed" => {
            assert!(payments.is_empty(), "after {commit}: {payments:?}");
            assert_eq!(contract.paid_sat, 0);
        }
        state => {
            assert_eq!(payments.len(), 1, "after {commit}: {payments:?}");
            let served = state == "active";
            let expected = if served { "served" } else { "refunded" };
            let settled = || async {
                let payment = lab.payments(nonce).await.into_iter().next()?;
                (payment.state == expected).then_some(payment)
            };
            wait_for("the seller to agree", settled).await;
            let seller = lab.contract(SELLER, nonce).await;
            assert_eq!(seller.is_some_and(|it| it.state == "active"), served, "after {commit}");
            assert_eq!(contract.paid_sat, PRICE_SAT);
            assert_eq!(contract.refunded_sat > 0, !served);
        }
    }
}

pub(crate) async fn a_seller_that_dies_at_any_commit_serves_or_gives_back(lab: Arc<Lab>) {
    for commit in OF_SELLER {
        let (nonce, contract) = accept_dying(&lab, "alice", SELLER, commit).await;
        assert_ne!(contract.state, "failed", "after {commit}: the payment had come");
        check(&lab, commit, &nonce, &contract).await;
    }
}

pub(crate) async fn a_buyer_that_dies_at_any_commit_is_served_or_keeps_its_money(lab: Arc<Lab>) {
    for commit in OF_BUYER {
        let (nonce, contract) = accept_dying(&lab, "bob", "bob", commit).await;
        check(&lab, commit, &nonce, &contract).await;
    }
}
