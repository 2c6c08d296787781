//! Kills of a payer at every commit and around every call to its backend: paid once, or reported failed and not paid.

use imp_core::amount::Msat;
use imp_core::id::Preimage;
use imp_lightning::fake::{FakeNetwork, FakeOptions, Moment};
use imp_node::runtime::clock::{Clock, SystemClock};
use imp_node::store::PaymentStore;
use imp_node::store::payment::{Means, Payment, PaymentStatus};
use imp_node::store::sqlite::Crash;

use super::{balance, invoice, is_paid, none_is_open, paying, payments, sending};
use crate::lab::{TestNode, network, wait_for};

/// What the payer's rows say must be what the payee has; the same calls again pay what is not paid, and no more.
async fn check(alice: &TestNode, bob: &TestNode, before: Msat, invoice: &str, key: Option<&str>, what: &str) {
    none_is_open(alice).await;
    let mut settled = Msat::ZERO;
    for kept in payments(alice).await {
        match kept.status {
            PaymentStatus::Settled => settled = settled + kept.payment.amount,
            PaymentStatus::Failed => {}
            PaymentStatus::Sending | PaymentStatus::Unknown => panic!("{what}: {kept:?}"),
        }
        let by_invoice = matches!(kept.payment.means, Means::Invoice(_));
        assert_eq!(
            by_invoice && kept.status == PaymentStatus::Settled,
            by_invoice && is_paid(bob, invoice).await
        );
    }
    assert_eq!(balance(bob).await, before + settled, "{what}");
    let Some(key) = key else { return };
    let preimage = paying(alice, invoice, Some(key)).await.unwrap();
    let paid = sending(alice, bob.id, 40, Some(key)).await.unwrap();
    assert_eq!(paying(alice, invoice, Some(key)).await.unwrap(), preimage, "{what}");
    assert_eq!(sending(alice, bob.id, 40, Some(key)).await.unwrap(), paid, "{what}");
    assert!(preimage.is_ok() && paid.is_ok(), "{what}: {preimage:?} {paid:?}");
    assert_eq!(balance(bob).await, before + Msat::from_sat(47), "{what}: once");
}

async fn start(seed: u64) -> (FakeNetwork, TestNode, String, Msat) {
    let network = network(FakeOptions { seed, ..FakeOptions::default() });
    drop(TestNode::start(&network, "alice").await);
    let bob = TestNode::start(&network, "bob").await;
    let invoice = invoice(&bob, 7).await;
    let before = balance(&bob).await;
    (network, bob, invoice, before)
}

#[tokio::test]
async fn a_payer_killed_at_any_commit_pays_once_or_says_that_it_did_not() {
    let mut died = 0;
    for key in [Some("k"), None] {
        for commit in 1..40 {
            let (network, bob, invoice, before) = start(commit).await;
            let alice = TestNode::start_dying(&network, "alice", Crash::StopAfterCommit(commit)).await;
            let by_invoice = paying(&alice, &invoice, key);
            let by_keysend = sending(&alice, bob.id, 40, key);
            wait_for("the calls to end or the store to die", async || {
                alice.store_is_dead() || by_invoice.is_finished() && by_keysend.is_finished()
            })
            .await;
            let finished = !alice.store_is_dead();
            let alice = alice.restart().await;
            let what = format!("commit {commit}, key {key:?}");
            check(&alice, &bob, before, &invoice, key, &what).await;
            if finished {
                break;
            }
            died += 1;
        }
    }
    assert!(died >= 8, "only {died} kills hit the payments");
}

#[tokio::test]
async fn a_payer_killed_around_a_call_to_the_backend_pays_once() {
    let moments =
        [Moment::BeforeSend, Moment::AfterSend, Moment::BeforeAcknowledge, Moment::AfterAcknowledge];
    for (n, moment) in moments.into_iter().enumerate() {
        for skip in 0..2 {
            for key in [Some("k"), None] {
                let (network, bob, invoice, before) = start(1000 + n as u64).await;
                let alice = TestNode::start(&network, "alice").await;
                network.crash_at("alice", moment, skip);
                let calls = (paying(&alice, &invoice, key), sending(&alice, bob.id, 40, key));
                network.crashed("alice").await;
                let alice = alice.restart().await;
                drop(calls);
                let what = format!("{moment:?} after {skip}, key {key:?}");
                check(&alice, &bob, before, &invoice, key, &what).await;
            }
        }
    }
}

#[tokio::test]
async fn a_keysend_that_was_not_made_for_a_day_is_not_made_any_more() {
    let (network, bob, _, before) = start(1).await;
    let alice = TestNode::start(&network, "alice").await;
    let begun = |hours: u64| SystemClock.now().minus(std::time::Duration::from_secs(hours * 3600));
    for (n, begun) in [(1, begun(25)), (2, begun(23))] {
        let preimage = Preimage([n; 32]);
        let payment = Payment {
            hash: preimage.payment_hash(),
            means: Means::Keysend(preimage),
            payee: bob.id,
            amount: Msat::from_sat(n.into()),
            fee_limit: Msat::ZERO,
            begun,
        };
        alice.store.begin_payment(payment, None).await.unwrap();
    }
    let alice = alice.restart().await;
    none_is_open(&alice).await;
    let states: Vec<_> = payments(&alice).await.iter().map(|kept| kept.status).collect();
    assert_eq!(states, [PaymentStatus::Settled, PaymentStatus::Unknown], "the newest first");
    assert_eq!(balance(&bob).await, before + Msat::from_sat(2));
}
