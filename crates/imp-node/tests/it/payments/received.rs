//! What is told of payments that come in.

use imp_lightning::fake::{FakeOptions, Moment};
use imp_node::store::JournalStore;
use imp_node::store::journal::{ServiceSet, ServiceType};
use imp_node::store::sqlite::Crash;

use super::{invoice, invoices, is_paid, pay, paying, sending, two};
use crate::lab::{TestNode, network, wait_for};

#[tokio::test]
async fn a_paid_invoice_and_a_keysend_are_told_once_to_who_asks_for_them() {
    let (network, alice, bob) = two(FakeOptions { duplicates: 1.0, ..FakeOptions::default() }).await;
    let invoice = invoice(&bob, 25).await;
    let preimage = pay(&alice, &invoice).await.unwrap();
    let paid = sending(&alice, bob.id, 3, None).await.unwrap().unwrap();
    alice.send(bob.id, "a message is no payment").await.unwrap();
    bob.has_published(3).await;
    network.idle().await;
    network.repeat_event("bob");
    alice.send(bob.id, "told after what was told again").await.unwrap();
    bob.has_published(4).await;
    let events: Vec<_> = bob.journal().await.into_iter().map(|event| event.event).collect();
    let told: Vec<_> = events.iter().filter(|event| event.service == ServiceType::Lightning).collect();
    let [by_invoice, by_keysend] = told[..] else { panic!("told twice, or not: {told:?}") };
    assert_eq!(
        by_invoice.data,
        format!(
            r#"{{"recordId":"LIGHTNING","type":"INVOICE_PAID","paymentHash":"{}","invoice":"{invoice}","memo":"tea ✓"}}"#,
            preimage.payment_hash()
        )
    );
    let data = format!(r#"{{"recordId":"LIGHTNING","type":"KEYSEND","paymentHash":"{}"}}"#, paid.hash);
    assert_eq!(by_keysend.data, data);
    for (event, amount_sat) in [(by_invoice, 25), (by_keysend, 3)] {
        assert_eq!((event.from, event.amount_sat, event.reply_to.as_str()), (bob.id, amount_sat, ""));
        let id = imp_core::id::MessageId::from_canonical(&event.id).expect("a UUID");
        assert_eq!(id.as_bytes()[6] >> 4, 4, "of version 4");
    }
    assert_ne!(by_invoice.id, by_keysend.id);
    let clients_of_2021 = bob.store.tail().next_after(0, ServiceSet::original());
    let imp_node::store::journal::FromTail::Event(first) = clients_of_2021 else {
        panic!("messages are told")
    };
    assert_eq!(first.event.data, "a message is no payment");
}

#[tokio::test]
async fn a_payee_killed_at_any_commit_tells_of_each_payment_once() {
    for commit in 1..14 {
        let network = network(FakeOptions { seed: commit, ..FakeOptions::default() });
        let alice = TestNode::start(&network, "alice").await;
        let bob = TestNode::start(&network, "bob").await;
        let invoice = invoice(&bob, 25).await;
        let bob = bob.restart_dying(Crash::StopAfterCommit(commit)).await;
        let calls = (paying(&alice, &invoice, None), sending(&alice, bob.id, 3, None));
        wait_for("bob to die or to have told all", async || {
            bob.store_is_dead() || bob.journal().await.len() == 2
        })
        .await;
        let bob = bob.restart().await;
        calls.0.await.unwrap().unwrap();
        calls.1.await.unwrap().unwrap();
        check(&bob, &invoice, &format!("commit {commit}")).await;
    }
}

#[tokio::test]
async fn a_payee_killed_before_it_acknowledges_tells_of_each_payment_once() {
    for (skip, moment) in [0, 1]
        .into_iter()
        .flat_map(|skip| [Moment::BeforeAcknowledge, Moment::AfterAcknowledge].map(|moment| (skip, moment)))
    {
        let (network, alice, bob) = two(FakeOptions::default()).await;
        let invoice = invoice(&bob, 25).await;
        network.crash_at("bob", moment, skip);
        let calls = (paying(&alice, &invoice, None), sending(&alice, bob.id, 3, None));
        network.crashed("bob").await;
        let bob = bob.restart().await;
        calls.0.await.unwrap().unwrap();
        calls.1.await.unwrap().unwrap();
        check(&bob, &invoice, &format!("{moment:?} after {skip}")).await;
    }
}

async fn check(bob: &TestNode, invoice: &str, what: &str) {
    bob.has_published(2).await;
    let mut kinds: Vec<_> = bob.texts().await;
    kinds.sort();
    assert_eq!(kinds.len(), 2, "{what}: {kinds:?}");
    assert!(kinds[0].contains("INVOICE_PAID") && kinds[1].contains("KEYSEND"), "{what}: {kinds:?}");
    assert!(is_paid(bob, invoice).await, "{what}");
    assert!(invoices(bob).await[0].paid.is_some(), "{what}");
}
