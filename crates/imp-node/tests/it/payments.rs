//! Payments and invoices between nodes on a simulated network.

mod crash;
mod faults;
mod keys;
mod received;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, Preimage};
use imp_lightning::FailureReason;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::error::Error;
use imp_node::idempotency::CallKey;
use imp_node::service::lightning::{GenerateInvoice, ListQuery, Paid, SendKeysend};
use imp_node::store::PaymentStore;
use imp_node::store::payment::{KeptInvoice, KeptPayment, Means, PaymentStatus};
use tokio::task::JoinHandle;

use crate::lab::{TestNode, network, wait_for};

/// An invoice of a node for so many satoshis.
async fn invoice(node: &TestNode, amount: i64) -> String {
    let request = GenerateInvoice { amount, memo: "tea ✓".to_owned(), expiry_secs: None };
    node.call(|services| async move { services.lightning.generate_invoice(request).await }).await.unwrap()
}

/// Begins to pay an invoice, under a key or without.
fn paying(node: &TestNode, invoice: &str, key: Option<&str>) -> JoinHandle<Result<Preimage, Error>> {
    let (invoice, key) = (invoice.to_owned(), key.map(|key| call_key("PayInvoice", key, invoice)));
    node.calling(|services| async move { services.lightning.pay_invoice(&invoice, key).await })
}

async fn pay(node: &TestNode, invoice: &str) -> Result<Preimage, Error> {
    paying(node, invoice, None).await.unwrap()
}

/// Begins to pay a node without an invoice.
fn sending(node: &TestNode, to: NodeId, amount: i64, key: Option<&str>) -> JoinHandle<Result<Paid, Error>> {
    let request = SendKeysend { pubkey: to.to_string(), amount };
    let key = key.map(|key| call_key("SendKeysend", key, &format!("{to}{amount}")));
    node.calling(|services| async move { services.lightning.send_keysend(request, key).await })
}

fn call_key(method: &'static str, key: &str, request: &str) -> CallKey {
    CallKey::of_call(method, Some(key.as_bytes()), [], request.as_bytes()).unwrap().unwrap()
}

async fn payments(node: &TestNode) -> Vec<KeptPayment> {
    let listing = async |services: imp_node::node::Services| {
        services.lightning.list_payments(&ListQuery { limit: 1000, ..ListQuery::default() }).await
    };
    node.call(listing).await.unwrap().rows
}

async fn invoices(node: &TestNode) -> Vec<KeptInvoice> {
    let listing = async |services: imp_node::node::Services| {
        services.lightning.list_invoices(&ListQuery { limit: 1000, ..ListQuery::default() }).await
    };
    node.call(listing).await.unwrap().0.rows
}

async fn is_paid(node: &TestNode, invoice: &str) -> bool {
    let invoice = invoice.to_owned();
    node.call(|services| async move { services.lightning.check_invoice(&invoice).await }).await.unwrap()
}

/// Waits until no payment of a node is open.
async fn none_is_open(node: &TestNode) {
    wait_for("the payments to end", async || node.store.open_payments().await.unwrap().is_empty()).await;
}

/// What a node has in its channels.
async fn balance(node: &TestNode) -> Msat {
    node.call(|services| async move { services.node.status().await }).await.unwrap().in_channels
}

async fn two(options: FakeOptions) -> (FakeNetwork, TestNode, TestNode) {
    let network = network(options);
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    (network, alice, bob)
}

#[tokio::test]
async fn an_invoice_is_paid_and_both_sides_keep_it() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let invoice = invoice(&bob, 250).await;
    assert!(!is_paid(&bob, &invoice).await);
    let preimage = pay(&alice, &invoice).await.unwrap();
    let [kept] = &payments(&alice).await[..] else { panic!("one payment was made") };
    assert_eq!(kept.payment.hash, preimage.payment_hash());
    assert_eq!(kept.payment.means, Means::Invoice(invoice.clone()));
    assert_eq!((kept.payment.payee, kept.payment.amount), (bob.id, Msat::from_sat(250)));
    assert_eq!(
        (kept.status, kept.proof, kept.fee),
        (PaymentStatus::Settled, Some(preimage), Some(Msat::ZERO))
    );
    assert!(kept.ended.is_some_and(|ended| ended >= kept.payment.begun));
    bob.has_published(1).await;
    assert!(is_paid(&bob, &invoice).await);
    let [kept] = &invoices(&bob).await[..] else { panic!("one invoice was made") };
    assert_eq!((&kept.invoice.invoice, kept.invoice.amount_sat), (&invoice, 250));
    assert_eq!(kept.paid.map(|(_, amount)| amount), Some(Msat::from_sat(250)));
    let stranger =
        alice.call(|services| async move { services.lightning.check_invoice(&invoice).await }).await;
    assert_eq!(stranger.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn calls_at_once_for_one_invoice_pay_it_once_and_have_one_answer() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let invoice = invoice(&bob, 1000).await;
    let before = balance(&bob).await;
    network.hold("alice", "bob", true);
    let mut calls = vec![paying(&alice, &invoice, None)];
    network.holds(1).await;
    calls.extend((0..9).map(|n| paying(&alice, &invoice, (n % 2 == 0).then_some("key"))));
    network.release_all();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    // One that comes as the last is told is late, and told that it is paid.
    let late =
        |answer: &&Result<Preimage, Error>| answer.as_ref().is_err_and(|e| e.reason() == "INVOICE_PAID");
    let late = answers.iter().filter(late).count();
    let preimage = answers[0].clone().unwrap();
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(preimage)).count() + late, 10, "{answers:?}");
    assert_eq!(balance(&bob).await, before + Msat::from_sat(1000));
    assert_eq!(payments(&alice).await.len(), 1);
}

#[tokio::test]
async fn a_payment_that_failed_can_be_made_by_a_new_call() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let invoice = invoice(&bob, 7).await;
    network.fail_next("alice", 1, FailureReason::RetriesExhausted);
    let error = pay(&alice, &invoice).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, "RETRIES_EXHAUSTED"));
    let [kept] = &payments(&alice).await[..] else { panic!("one payment was made") };
    assert_eq!((kept.status, kept.error.as_deref()), (PaymentStatus::Failed, Some(&*error.to_string())));
    let preimage = pay(&alice, &invoice).await.unwrap();
    let [kept] = &payments(&alice).await[..] else { panic!("it is the same payment") };
    assert_eq!((kept.status, kept.proof, &kept.error), (PaymentStatus::Settled, Some(preimage), &None));
}

#[tokio::test]
async fn a_failure_that_is_told_again_does_not_end_the_payment_that_was_begun_since() {
    for seed in 0..30 {
        let options = FakeOptions { seed, duplicates: 1.0, ..FakeOptions::default() };
        let (network, alice, bob) = two(options).await;
        let invoice = invoice(&bob, 7).await;
        network.fail_next("alice", 1, FailureReason::NoRoute);
        pay(&alice, &invoice).await.unwrap_err();
        pay(&alice, &invoice).await.unwrap();
    }
}

#[tokio::test]
async fn no_route_for_a_moment_is_waited_out() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let invoice = invoice(&bob, 7).await;
    network.set_online("bob", false);
    let (by_invoice, by_keysend) = (paying(&alice, &invoice, None), sending(&alice, bob.id, 8, None));
    // Both calls have asked for room by the time that a third one has.
    let room = alice.call(|services| async move { services.node.status().await }).await;
    assert_eq!(room.unwrap().spendable, Msat::ZERO);
    network.set_online("bob", true);
    by_invoice.await.unwrap().unwrap();
    by_keysend.await.unwrap().unwrap();
    // Refused by the backend, where all looked well before.
    network.refuse_next("alice", 3, imp_lightning::SendError::NoRoute("for a moment".to_owned()));
    sending(&alice, bob.id, 9, None).await.unwrap().unwrap();
    network.refuse_next("alice", 5, imp_lightning::SendError::Busy);
    sending(&alice, bob.id, 10, None).await.unwrap().unwrap();
    assert_eq!(payments(&alice).await.len(), 4, "what was refused is the same payment");
}

#[tokio::test]
async fn a_payment_that_fails_after_a_channel_closed_is_unknown_and_not_made_again() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let invoice = invoice(&bob, 7).await;
    network.hold("alice", "bob", true);
    let calls = (paying(&alice, &invoice, Some("k")), sending(&alice, bob.id, 8, Some("k")));
    network.holds(2).await;
    network.close_channels("alice", "bob");
    network.mine();
    let errors = [calls.0.await.unwrap().unwrap_err(), calls.1.await.unwrap().unwrap_err()];
    for error in &errors {
        assert_eq!((error.code(), error.reason()), (Code::Unknown, "OUTCOME_UNKNOWN"), "{error}");
        assert!(error.to_string().contains("failed to learn"), "{error}");
    }
    let again = [
        pay(&alice, &invoice).await.unwrap_err(),
        paying(&alice, &invoice, Some("k")).await.unwrap().unwrap_err(),
        sending(&alice, bob.id, 8, Some("k")).await.unwrap().unwrap_err(),
    ];
    for error in again {
        assert_eq!(error.code(), Code::Unknown, "{error}");
    }
    let states: Vec<_> = payments(&alice).await.iter().map(|kept| kept.status).collect();
    assert_eq!(states, [PaymentStatus::Unknown; 2]);
    let alice = alice.restart().await;
    assert_eq!(payments(&alice).await.len(), 2);
}

#[tokio::test]
async fn a_payment_goes_on_without_its_caller_and_over_a_restart() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let first = invoice(&bob, 7).await;
    network.hold("alice", "bob", true);
    let calls = (paying(&alice, &first, None), sending(&alice, bob.id, 8, Some("k")));
    let held = network.holds(2).await;
    calls.0.abort();
    let alice = alice.restart().await;
    drop(calls.1);
    let joined = (paying(&alice, &first, None), sending(&alice, bob.id, 8, Some("k")));
    assert_eq!(alice.store.open_payments().await.unwrap().len(), 2);
    network.release_all();
    let preimage = joined.0.await.unwrap().unwrap();
    let paid = joined.1.await.unwrap().unwrap();
    assert!(held.contains(&preimage.payment_hash()) && held.contains(&paid.hash), "nothing new was sent");
    none_is_open(&alice).await;
    assert_eq!(payments(&alice).await.len(), 2);
}

#[tokio::test]
async fn a_payment_whose_begin_is_in_doubt_is_looked_up_and_not_made_twice() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let before = balance(&bob).await;
    network.lose_replies("alice", 1);
    sending(&alice, bob.id, 100, None).await.unwrap().unwrap();
    network.lose_requests("alice", 1);
    sending(&alice, bob.id, 100, None).await.unwrap().unwrap();
    let invoice = invoice(&bob, 100).await;
    network.lose_replies("alice", 1);
    pay(&alice, &invoice).await.unwrap();
    wait_for("bob's balance", async || balance(&bob).await == before + Msat::from_sat(300)).await;
    assert_eq!(payments(&alice).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_answers_after_a_minute_and_says_where_to_look() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let (invoice, bob) = (invoice(&bob, 7).await, bob.id);
    drop(alice);
    let dir = tempfile::tempdir().unwrap();
    let ports = imp_node::node::Ports {
        store: std::sync::Arc::new(crate::lab::open(dir.path(), None)),
        lightning: network.restart("alice"),
        clock: std::sync::Arc::new(imp_node::runtime::clock::SystemClock),
        tasks: imp_node::runtime::tasks::Tasks::new(),
        vpn_keys: imp_node::vpn::PrivateKeys::default(),
        vpn_station: None,
    };
    let services = imp_node::node::Services::start(ports, Default::default()).await.unwrap();
    network.hold("alice", "bob", true);
    let keysend = SendKeysend { pubkey: bob.to_string(), amount: 1 };
    let errors = [
        services.lightning.pay_invoice(&invoice, None).await.unwrap_err(),
        services.lightning.send_keysend(keysend, None).await.unwrap_err(),
    ];
    for error in errors {
        let text =
            "failed to confirm within 60 s: the payment is still in flight, see /v1/lightning/payments";
        assert_eq!((error.code(), error.to_string().as_str()), (Code::DeadlineExceeded, text));
    }
}
