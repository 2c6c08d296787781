//! Kills at every commit of either side: who paid is served or has its money back, never both, never neither.

use imp_core::amount::Msat;
use imp_core::id::NodeId;
use imp_core::vpn::{PrivateKey, Request, Response};
use imp_node::service::vpn::ContractView;
use imp_node::store::sqlite::Crash;

use super::stranger::Talker;
use super::{Pair, accept_at, contract, is, outcomes, payments, refresh, state};
use crate::lab::{TestNode, wait_for};

/// Asks, buys and refreshes, as far as it comes; whichever side is killed.
async fn buy(pair: &Pair) -> Vec<String> {
    let mut nonces = Vec::new();
    let dead = || pair.alice.store_is_dead() || pair.bob.store_is_dead();
    let Some(nonce) = until_dead(&dead, quoted(pair)).await else { return nonces };
    nonces.push(nonce.clone());
    let (alice, of) = (&pair.alice, pair.bob.id);
    if until_dead(&dead, accept_at(alice, of, &nonce, "100")).await.is_none() {
        return nonces;
    }
    if until_dead(&dead, both_active(pair, &nonce)).await.is_none() {
        return nonces;
    }
    let Some(Ok(_)) = until_dead(&dead, refresh(alice, of, &nonce)).await else { return nonces };
    until_dead(&dead, both_paid(pair, &nonce, 200)).await;
    nonces
}

/// What comes of it, or nothing once a store is dead.
async fn until_dead<T>(dead: &impl Fn() -> bool, doing: impl Future<Output = T>) -> Option<T> {
    let death = wait_for("an end or a death", async || dead());
    tokio::select! {
        biased;
        done = doing => Some(done),
        () = death => None,
    }
}

async fn quoted(pair: &Pair) -> String {
    loop {
        if let Some(quote) = all_quotes(&pair.alice).await.pop() {
            return quote;
        }
        let _ = super::ask(&pair.alice, pair.bob.id).await;
        for _ in 0..20 {
            if !all_quotes(&pair.alice).await.is_empty() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

async fn all_quotes(node: &TestNode) -> Vec<String> {
    super::quotes(node, "").await.into_iter().map(|quote| quote.nonce).collect()
}

async fn both_active(pair: &Pair, nonce: &str) {
    is(&pair.alice, nonce, "active").await;
    is(&pair.bob, nonce, "active").await;
}

async fn both_paid(pair: &Pair, nonce: &str, sat: u64) {
    wait_for("both sides to know of the payment", async || {
        let (mine, theirs) = (contract(&pair.alice, nonce).await, contract(&pair.bob, nonce).await);
        let paid =
            |contract: Option<_>| contract.is_some_and(|contract: ContractView| contract.paid_sat == sat);
        paid(mine) && paid(theirs)
    })
    .await;
}

/// How many hours a contract lasts in all.
fn hours(contract: &ContractView) -> f64 {
    contract.ends.unwrap().since(contract.started.unwrap()).as_secs_f64() / 3600.0
}

/// Whether nothing is open on either side.
async fn is_settled(pair: &Pair, nonces: &[String]) -> bool {
    for nonce in nonces {
        // What settled at the sender may not be taken in yet by the recipient.
        let (mine, theirs) = (contract(&pair.alice, nonce).await, contract(&pair.bob, nonce).await);
        if let (Some(mine), Some(theirs)) = (mine, theirs)
            && (mine.state, theirs.state) == ("active", "active")
            && (hours(&mine) - hours(&theirs)).abs() > 0.05
        {
            return false;
        }
    }
    for node in [&pair.alice, &pair.bob] {
        for nonce in nonces {
            if matches!(
                state(node, nonce).await,
                "paying" | "paid" | "configuring" | "refund_due" | "unanswered"
            ) {
                return false;
            }
        }
    }
    // What settled at the sender may not be taken in yet, or be noted by neither side.
    let settled = pair.alice.messages().await.into_iter().filter(|row| {
        row.message.amount_sat == 100 && row.state == imp_core::delivery::MessageState::Settled
    });
    settled.count() == outcomes(&pair.bob).await.len()
        && !outcomes(&pair.bob).await.contains(&"refund_due")
        && pair.bob.messages().await.iter().all(|row| row.ended.is_some())
        && pair.alice.messages().await.iter().all(|row| row.ended.is_some())
}

/// Every payment of the buyer is served or given back, and the sides agree on which.
async fn check(pair: &Pair, nonces: &[String], what: &str) {
    pair.in_time(&format!("an end: {what}"), async || is_settled(pair, nonces).await).await;
    let paid = payments(&pair.bob).await;
    assert!(paid.iter().all(|payment| payment.node == pair.alice.id));
    for nonce in nonces {
        let of_it: Vec<_> = paid.iter().filter(|payment| payment.nonce == *nonce).collect();
        let served = of_it.iter().filter(|payment| payment.state == "served").count() as u64;
        let refunded = of_it.iter().filter(|payment| payment.state == "refunded").count() as u64;
        assert_eq!(served + refunded, of_it.len() as u64, "{what}: {of_it:?}");
        let (mine, theirs) = (contract(&pair.alice, nonce).await, contract(&pair.bob, nonce).await);
        let Some(mine) = mine else {
            assert!(of_it.is_empty(), "{what}: paid without a row: {of_it:?}");
            continue;
        };
        assert_eq!(mine.refunded_sat, 100 * refunded, "{what}: {mine:?}");
        match mine.state {
            "failed" => assert!(of_it.is_empty(), "{what}: {of_it:?}"),
            "refunded" => assert!(served == 0 && refunded == 1, "{what}: {of_it:?}"),
            "active" => {
                let theirs = theirs.unwrap_or_else(|| panic!("{what}: nobody sold it"));
                assert_eq!(theirs.state, "active", "{what}");
                assert_eq!(mine.client_public_key, theirs.client_public_key, "{what}");
                assert!(pair.sellers.lets_in(&mine.client_public_key), "{what}");
                assert_eq!(
                    (mine.paid_sat, theirs.paid_sat),
                    (100 * (served + refunded), 100 * served),
                    "{what}"
                );
                assert_eq!(hours(&theirs).round() as u64, served, "{what}: {theirs:?}");
            }
            state => panic!("{what}: {state}"),
        }
    }
    let wanted = pair.sellers.devices.peers(super::IMP0).len();
    let mut active = 0;
    for nonce in nonces {
        active += usize::from(state(&pair.bob, nonce).await == "active");
    }
    assert_eq!(wanted, active, "{what}");
}

fn at(commit: u64) -> Option<Crash> {
    Some(Crash::StopAfterCommit(commit))
}

#[tokio::test]
async fn a_seller_killed_at_any_commit_serves_or_gives_back_what_was_paid() {
    let (mut died, mut sold) = (0, 0);
    for commit in 1..60 {
        let mut pair = Pair::dying(commit, None, at(commit), |_| {}).await;
        let total = pair.network.total();
        let nonces = buy(&pair).await;
        let finished = !pair.bob.store_is_dead();
        pair.bob = pair.bob.restart().await;
        check(&pair, &nonces, &format!("seller, commit {commit}")).await;
        assert_eq!(pair.network.total(), total);
        sold += payments(&pair.bob).await.len();
        if finished {
            break;
        }
        died += 1;
        assert!(commit < 59, "it never came to its end");
    }
    assert!(died >= 15 && sold >= 5, "{died} kills, {sold} payments");
}

#[tokio::test]
async fn a_buyer_killed_at_any_commit_has_what_it_paid_for_or_its_money() {
    let (mut died, mut sold) = (0, 0);
    for commit in 1..60 {
        let mut pair = Pair::dying(100 + commit, at(commit), None, |_| {}).await;
        let total = pair.network.total();
        let nonces = buy(&pair).await;
        let finished = !pair.alice.store_is_dead();
        pair.alice = pair.alice.restart().await;
        check(&pair, &nonces, &format!("buyer, commit {commit}")).await;
        assert_eq!(pair.network.total(), total);
        sold += payments(&pair.bob).await.len();
        if finished {
            break;
        }
        died += 1;
        assert!(commit < 59, "it never came to its end");
    }
    assert!(died >= 15 && sold >= 5, "{died} kills, {sold} payments");
}

#[tokio::test]
async fn a_seller_killed_while_it_gives_money_back_gives_it_back_once() {
    let mut died = 0;
    for commit in 1..40 {
        let mut pair = Pair::dying(200 + commit, None, at(commit), |_| {}).await;
        let of: NodeId = pair.bob.id;
        // What mallory pays for was never offered.
        let mut mallory = Talker::new(&pair.network, "mallory");
        let text = r#"{"recordId":"VPN_REQUEST","type":"REFRESH","nonce":"n","price":"100"}"#;
        if pair.bob.store_is_dead() || !mallory.try_say(of, 1, text, 100).await {
            continue;
        }
        let dead = || pair.bob.store_is_dead();
        let gone = until_dead(&dead, async {
            mallory.is_told(1).await;
            wait_for("the refund", async || outcomes(&pair.bob).await == ["refunded"]).await;
        });
        let finished = gone.await.is_some();
        pair.bob = pair.bob.restart().await;
        pair.in_time("the refund", async || outcomes(&pair.bob).await == ["refunded"]).await;
        mallory.listen().await;
        assert_eq!(mallory.told.len(), 1, "commit {commit}: {:?}", mallory.told);
        if finished {
            break;
        }
        died += 1;
    }
    assert!(died >= 4, "only {died} kills hit the refund");
}

/// Waits for the only payment to be given back, by steps of a minute: the next try may be hours away.
async fn is_given_back(pair: &Pair) {
    wait_for("the refund", async || {
        let is_back = outcomes(&pair.bob).await == ["refunded"];
        if !is_back {
            pair.clock.step(60_000);
        }
        is_back
    })
    .await;
}

/// How often a buyer was told that its money comes back.
fn refunds(mallory: &Talker) -> usize {
    mallory.told.iter().filter(|told| matches!(told.response, Response::Refund { .. })).count()
}

#[tokio::test]
async fn a_seller_killed_while_it_takes_an_undelivered_contract_back_gives_the_money_back_once() {
    let mut died = 0;
    for commit in 1..60 {
        let mut pair = Pair::dying(300 + commit, None, at(commit), |_| {}).await;
        let of = pair.bob.id;
        let mut mallory = Talker::new(&pair.network, "mallory");
        if pair.bob.store_is_dead() || !mallory.try_say(of, 1, &Request::Quote.to_json(), 1).await {
            continue;
        }
        let dead = || pair.bob.store_is_dead();
        if until_dead(&dead, async { drop(mallory.is_told(1).await.clone()) }).await.is_none() {
            continue;
        }
        let Response::Quote(quote) = mallory.told[0].response.clone() else { panic!("{:?}", mallory.told) };
        // More than an answer may cost.
        let costs = |sat: Option<u64>| {
            pair.network.set_forwarding_fee("bob", "mallory", sat.map(Msat::from_sat));
        };
        costs(Some(50));
        let public_key = PrivateKey::from_random([1; 32]).public();
        let text = Request::Contract { nonce: quote.nonce.clone(), price_sat: 100, public_key }.to_json();
        if !mallory.try_say(of, 2, &text, 100).await {
            continue;
        }
        let given_back = async {
            wait_for("the payment", async || outcomes(&pair.bob).await == ["served"]).await;
            pair.clock.step(16 * 60_000);
            wait_for("the end of patience", async || outcomes(&pair.bob).await == ["refund_due"]).await;
            costs(None);
            pair.in_time("the refund", async || outcomes(&pair.bob).await == ["refunded"]).await;
        };
        let finished = until_dead(&dead, given_back).await.is_some();
        pair.bob = pair.bob.restart().await;
        wait_for("the payment", async || !outcomes(&pair.bob).await.is_empty()).await;
        pair.clock.step(16 * 60_000);
        wait_for("the end of patience", async || outcomes(&pair.bob).await != ["served"]).await;
        pair.network.set_forwarding_fee("bob", "mallory", None);
        is_given_back(&pair).await;
        mallory.listen().await;
        // A configuration that was on its way may come all the same: it lets nobody in.
        assert_eq!(refunds(&mallory), 1, "commit {commit}: {:?}", mallory.told);
        assert_eq!(state(&pair.bob, quote.nonce.as_str()).await, "refunded", "commit {commit}");
        assert!(pair.sellers.devices.peers(super::IMP0).is_empty(), "commit {commit}");
        if finished {
            break;
        }
        died += 1;
        assert!(commit < 59, "it never came to its end");
    }
    assert!(died >= 5, "only {died} kills hit it");
}

#[tokio::test]
async fn a_seller_killed_while_it_tries_a_refund_again_pays_it_once() {
    const HOUR_MS: i64 = 3_600_000;
    let mut died = 0;
    for commit in 1..60 {
        let mut pair = Pair::dying(400 + commit, None, at(commit), |_| {}).await;
        let of = pair.bob.id;
        let mut mallory = Talker::new(&pair.network, "mallory");
        let costs = |sat: Option<u64>| {
            pair.network.set_forwarding_fee("bob", "mallory", sat.map(Msat::from_sat));
        };
        costs(Some(50));
        let text = r#"{"recordId":"VPN_REQUEST","type":"REFRESH","nonce":"n","price":"100"}"#;
        if pair.bob.store_is_dead() || !mallory.try_say(of, 1, text, 100).await {
            continue;
        }
        let dead = || pair.bob.store_is_dead();
        let given_back = async {
            wait_for("the payment", async || outcomes(&pair.bob).await == ["refund_due"]).await;
            // The first one is tried for a week, and another made an hour later.
            pair.clock.step(7 * 24 * HOUR_MS + 60_000);
            wait_for("its end", async || !payments(&pair.bob).await[0].error.is_empty()).await;
            costs(None);
            pair.clock.step(HOUR_MS);
            pair.in_time("the refund", async || outcomes(&pair.bob).await == ["refunded"]).await;
        };
        let finished = until_dead(&dead, given_back).await.is_some();
        pair.network.set_forwarding_fee("bob", "mallory", None);
        pair.bob = pair.bob.restart().await;
        wait_for("the payment", async || !outcomes(&pair.bob).await.is_empty()).await;
        pair.clock.step(HOUR_MS);
        is_given_back(&pair).await;
        mallory.listen().await;
        assert_eq!((mallory.told.len(), refunds(&mallory)), (1, 1), "commit {commit}: {:?}", mallory.told);
        if finished {
            break;
        }
        died += 1;
        assert!(commit < 59, "it never came to its end");
    }
    assert!(died >= 4, "only {died} kills hit it");
}
