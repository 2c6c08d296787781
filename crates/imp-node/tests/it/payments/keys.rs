//! Keys under which calls that pay can be repeated.

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_lightning::FailureReason;
use imp_lightning::fake::FakeOptions;
use imp_node::store::payment::PaymentStatus;

use super::{balance, call_key, invoice, pay, paying, payments, sending, two};

#[tokio::test]
async fn the_same_key_has_the_same_answer_also_in_a_later_run() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let before = balance(&bob).await;
    let invoice = invoice(&bob, 7).await;
    let preimage = paying(&alice, &invoice, Some("k")).await.unwrap().unwrap();
    let paid = sending(&alice, bob.id, 8, Some("k")).await.unwrap().unwrap();
    for _ in 0..2 {
        assert_eq!(paying(&alice, &invoice, Some("k")).await.unwrap(), Ok(preimage));
        assert_eq!(sending(&alice, bob.id, 8, Some("k")).await.unwrap(), Ok(paid));
    }
    let alice = alice.restart().await;
    assert_eq!(paying(&alice, &invoice, Some("k")).await.unwrap(), Ok(preimage));
    assert_eq!(sending(&alice, bob.id, 8, Some("k")).await.unwrap(), Ok(paid));
    assert_eq!(pay(&alice, &invoice).await.unwrap_err().reason(), "INVOICE_PAID", "without the key");
    assert_eq!(paying(&alice, &invoice, Some("l")).await.unwrap().unwrap_err().reason(), "INVOICE_PAID");
    assert_eq!(balance(&bob).await, before + Msat::from_sat(15));
}

#[tokio::test]
async fn the_same_key_for_another_request_is_refused() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let (first, second) = (invoice(&bob, 7).await, invoice(&bob, 7).await);
    paying(&alice, &first, Some("k")).await.unwrap().unwrap();
    sending(&alice, bob.id, 8, Some("k")).await.unwrap().unwrap();
    let errors = [
        paying(&alice, &second, Some("k")).await.unwrap().unwrap_err(),
        sending(&alice, bob.id, 9, Some("k")).await.unwrap().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::AlreadyExists, "{error}");
        assert!(error.to_string().contains("failed"), "{error}");
    }
    assert_eq!(payments(&alice).await.len(), 2);
}

#[tokio::test]
async fn calls_at_once_under_one_key_pay_once() {
    for seed in 0..10 {
        let (_network, alice, bob) = two(FakeOptions { seed, ..FakeOptions::default() }).await;
        let before = balance(&bob).await;
        let calls: Vec<_> = (0..10).map(|_| sending(&alice, bob.id, 100, Some("k"))).collect();
        let mut paid = Vec::new();
        for call in calls {
            paid.push(call.await.unwrap().unwrap());
        }
        assert!(paid.iter().all(|one| *one == paid[0]), "{paid:?}");
        assert_eq!(balance(&bob).await, before + Msat::from_sat(100));
    }
}

#[tokio::test]
async fn calls_at_once_under_a_key_whose_payment_failed_pay_once() {
    for seed in 0..10 {
        let (network, alice, bob) = two(FakeOptions { seed, ..FakeOptions::default() }).await;
        let before = balance(&bob).await;
        let invoice = invoice(&bob, 30).await;
        network.fail_next("alice", 2, FailureReason::RetriesExhausted);
        sending(&alice, bob.id, 100, Some("k")).await.unwrap().unwrap_err();
        paying(&alice, &invoice, Some("k")).await.unwrap().unwrap_err();
        let keysends: Vec<_> = (0..5).map(|_| sending(&alice, bob.id, 100, Some("k"))).collect();
        let by_invoice: Vec<_> = (0..5).map(|_| paying(&alice, &invoice, Some("k"))).collect();
        let mut paid = Vec::new();
        for call in keysends {
            paid.push(call.await.unwrap().unwrap());
        }
        assert!(paid.iter().all(|one| *one == paid[0]), "{paid:?}");
        for call in by_invoice {
            call.await.unwrap().unwrap();
        }
        assert_eq!(balance(&bob).await, before + Msat::from_sat(130));
        let mut states: Vec<_> = payments(&alice).await.iter().map(|kept| kept.status).collect();
        states.sort();
        let settled = PaymentStatus::Settled;
        assert_eq!(states, [settled, settled, PaymentStatus::Failed], "a keysend that failed keeps its row");
    }
}

#[tokio::test]
async fn a_key_whose_call_paid_nothing_is_as_good_as_new() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    sending(&alice, bob.id, 600_000, Some("k")).await.unwrap().unwrap_err();
    sending(&alice, bob.id, 1, Some("k")).await.unwrap().unwrap();
    let nonsense = call_key("PayInvoice", "k", "nonsense");
    let call = alice
        .call(|services| async move { services.lightning.pay_invoice("nonsense", Some(nonsense)).await });
    call.await.unwrap_err();
    let invoice = invoice(&bob, 7).await;
    paying(&alice, &invoice, Some("k")).await.unwrap().unwrap();
}
