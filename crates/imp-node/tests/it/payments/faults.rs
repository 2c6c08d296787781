//! What cannot be paid, made or listed, and what is said of it.

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_lightning::SendError;
use imp_lightning::fake::FakeOptions;
use imp_node::error::Error;
use imp_node::service::lightning::{GenerateInvoice, ListQuery};
use imp_node::store::PaymentStore;
use imp_node::store::payment::InvoiceStatus;
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use secp256k1::{SECP256K1, SecretKey};

use super::{invoice, pay, payments, sending, two};
use crate::lab::{TestNode, wait_for};

/// An invoice of nobody on the network, so many seconds old, that can be paid for an hour.
fn foreign(currency: Currency, amount_msat: Option<u64>, age_secs: u64) -> String {
    let key = SecretKey::from_slice(&[7; 32]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let hash = bitcoin::hashes::Hash::hash(&amount_msat.unwrap_or(0).to_be_bytes());
    let invoice = InvoiceBuilder::new(currency)
        .description("tea".to_owned())
        .payment_hash(hash)
        .payment_secret(PaymentSecret([3; 32]))
        .duration_since_epoch(now - std::time::Duration::from_secs(age_secs))
        .min_final_cltv_expiry_delta(144);
    let invoice = match amount_msat {
        Some(amount_msat) => invoice.amount_milli_satoshis(amount_msat),
        None => invoice,
    };
    invoice.build_signed(|digest| SECP256K1.sign_ecdsa_recoverable(digest, &key)).unwrap().to_string()
}

fn check(error: &Error, code: Code, reason: &str, text: &str) {
    assert_eq!((error.code(), error.reason()), (code, reason), "{error}");
    assert!(error.to_string().contains(text), "{text}: {error}");
    assert!(error.to_string().contains("failed"), "clients look for the word: {error}");
}

#[tokio::test]
async fn each_invoice_that_cannot_be_paid_has_a_reason_of_its_own() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let own = invoice(&alice, 7).await;
    let paid = invoice(&bob, 7).await;
    pay(&alice, &paid).await.unwrap();
    let damaged = format!("{}q", invoice(&bob, 7).await);
    let invalid = Code::InvalidArgument;
    let cases = [
        (String::new(), invalid, "INVOICE_MALFORMED", "there is no text"),
        ("nonsense".to_owned(), invalid, "INVOICE_MALFORMED", "cannot be read"),
        (damaged, invalid, "INVOICE_MALFORMED", "cannot be read"),
        ("lno1qcp4256ypq".to_owned(), invalid, "INVOICE_MALFORMED", "a BOLT 12 offer"),
        (own, invalid, "INVOICE_OWN", "this node's own"),
        (paid.clone(), invalid, "INVOICE_PAID", "paid already"),
        (format!("LIGHTNING:{}", paid.to_uppercase()), invalid, "INVOICE_PAID", "paid already"),
        (
            foreign(Currency::Bitcoin, Some(1000), 0),
            invalid,
            "INVOICE_OTHER_NETWORK",
            "this node is on regtest",
        ),
        (foreign(Currency::Regtest, None, 0), invalid, "INVOICE_NO_AMOUNT", "ask for one with an amount"),
        (foreign(Currency::Regtest, Some(1000), 9000), invalid, "INVOICE_EXPIRED", "ask for a new one"),
        (foreign(Currency::Regtest, Some(1000), 0), Code::Unavailable, "NO_ROUTE", "no route"),
        (
            invoice(&bob, 600_000).await,
            Code::FailedPrecondition,
            "INSUFFICIENT_BALANCE",
            "600000 sat are needed, and 499993 sat can be sent now",
        ),
    ];
    for (invoice, code, reason, text) in cases {
        check(&pay(&alice, &invoice).await.unwrap_err(), code, reason, text);
    }
    assert_eq!(payments(&alice).await.len(), 1, "what cannot be paid for a reason of its own leaves no row");
}

#[tokio::test]
async fn a_refusal_of_the_backend_is_told_and_kept() {
    let (network, alice, bob) = two(FakeOptions::default()).await;
    let refusals = [
        (6, SendError::NoRoute("away".to_owned()), Code::Unavailable, "NO_ROUTE", "no route: away"),
        (
            6,
            SendError::InsufficientBalance { spendable: Msat(1500), needed: Msat(2500) },
            Code::FailedPrecondition,
            "INSUFFICIENT_BALANCE",
            "3 sat are needed, and 1 sat can be sent now",
        ),
        (1, SendError::Invalid("no".to_owned()), Code::InvalidArgument, "INVALID_PAYMENT", "no"),
    ];
    for (times, refusal, code, reason, text) in refusals {
        network.refuse_next("alice", times, refusal);
        let error = sending(&alice, bob.id, 1, None).await.unwrap().unwrap_err();
        check(&error, code, reason, text);
        assert_eq!(payments(&alice).await[0].error.as_deref(), Some(&*error.to_string()));
    }
    network.set_rejects("bob", true);
    let error = sending(&alice, bob.id, 1, None).await.unwrap().unwrap_err();
    check(&error, Code::FailedPrecondition, "RECIPIENT_REJECTED", "refused");
}

#[tokio::test]
async fn each_keysend_that_cannot_be_made_names_its_field() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let cases = [
        (alice.id, 1, Code::InvalidArgument, "INVALID_FIELD", "pubkey: is this node's own"),
        (bob.id, 0, Code::InvalidArgument, "INVALID_FIELD", "amount: 0 sat"),
        (bob.id, -1, Code::InvalidArgument, "INVALID_FIELD", "amount: -1 sat"),
        (bob.id, i64::MAX, Code::InvalidArgument, "INVALID_FIELD", "1 to 2100000000000000 sat"),
        (
            bob.id,
            600_000,
            Code::FailedPrecondition,
            "INSUFFICIENT_BALANCE",
            "600000 sat are needed, and 500000",
        ),
    ];
    for (to, amount, code, reason, text) in cases {
        let error = sending(&alice, to, amount, None).await.unwrap().unwrap_err();
        check(&error, code, reason, text);
    }
    assert!(payments(&alice).await.is_empty());
}

async fn generate(
    node: &TestNode,
    amount: i64,
    memo: &str,
    expiry_secs: Option<i64>,
) -> Result<String, Error> {
    let request = GenerateInvoice { amount, memo: memo.to_owned(), expiry_secs };
    node.call(|services| async move { services.lightning.generate_invoice(request).await }).await
}

#[tokio::test]
async fn an_invoice_that_cannot_be_made_names_the_field_and_its_limit() {
    let (_network, alice, _bob) = two(FakeOptions::default()).await;
    let (fits, too_long) = ("ü".repeat(319) + "x", "ü".repeat(320));
    let cases = [
        (0, "", None, "amount: 0 sat: an invoice asks for 1 to 1844674407370955 sat"),
        (-7, "", None, "amount: -7 sat"),
        (1_844_674_407_370_956, "", None, "amount: 1844674407370956 sat"),
        (i64::MAX, "", None, "amount: 9223372036854775807 sat"),
        (1, too_long.as_str(), None, "memo: has 640 bytes, an invoice has room for 639"),
        (1, "", Some(0), "expiry_secs: is 0; an invoice expires after 1 to 31536000 seconds"),
        (1, "", Some(-1), "expiry_secs: is -1"),
        (1, "", Some(31_536_001), "expiry_secs: is 31536001"),
    ];
    for (amount, memo, expiry_secs, text) in cases {
        let error = generate(&alice, amount, memo, expiry_secs).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().starts_with(text), "{error}");
    }
    assert!(super::invoices(&alice).await.is_empty());
    generate(&alice, 1_844_674_407_370_955, &fits, Some(31_536_000)).await.unwrap();
    let [kept] = &super::invoices(&alice).await[..] else { panic!("one was made") };
    assert_eq!((&kept.invoice.memo, kept.invoice.amount_sat), (&fits, 1_844_674_407_370_955));
    let lasts = kept.invoice.expires.since(kept.invoice.created).as_secs();
    assert!((31_535_990..=31_536_000).contains(&lasts), "{lasts}");
}

#[tokio::test]
async fn an_invoice_expires_in_lists_and_for_payers_at_its_time() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    let short = generate(&bob, 1, "", Some(1)).await.unwrap();
    let open = ListQuery { state: "open".to_owned(), ..ListQuery::default() };
    wait_for("the invoice to expire", async || {
        let open = open.clone();
        let listed = bob.call(|services| async move { services.lightning.list_invoices(&open).await }).await;
        listed.unwrap().0.rows.is_empty()
    })
    .await;
    let state = |state: &str| ListQuery { state: state.to_owned(), ..ListQuery::default() };
    let expired = state(" expired ,paid");
    let listed = bob.call(|services| async move { services.lightning.list_invoices(&expired).await }).await;
    let (listed, now) = listed.unwrap();
    assert_eq!(listed.rows.iter().map(|kept| kept.status(now)).collect::<Vec<_>>(), [InvoiceStatus::Expired]);
    let error = pay(&alice, &short).await.unwrap_err();
    check(&error, Code::InvalidArgument, "INVOICE_EXPIRED", "has expired");
}

#[tokio::test]
async fn lists_go_on_where_the_page_before_ended_and_refuse_what_makes_no_sense() {
    let (_network, alice, bob) = two(FakeOptions::default()).await;
    for amount in 1..=5 {
        sending(&alice, bob.id, amount, None).await.unwrap().unwrap();
    }
    let (mut cursor, mut amounts) = (0, Vec::new());
    loop {
        let query = ListQuery { limit: 2, cursor, state: "settled,failed".to_owned() };
        let page = alice.call(|services| async move { services.lightning.list_payments(&query).await }).await;
        let page = page.unwrap();
        amounts.extend(page.rows.iter().map(|kept| kept.payment.amount.to_sat_floor()));
        let Some(next) = page.next_cursor else { break };
        cursor = next;
    }
    assert_eq!(amounts, [5, 4, 3, 2, 1]);
    let queries = [
        (ListQuery { limit: -1, ..ListQuery::default() }, "limit: is -1; a page has 1 to 1000"),
        (ListQuery { limit: 1001, ..ListQuery::default() }, "limit: is 1001"),
        (ListQuery { cursor: -1, ..ListQuery::default() }, "cursor: is -1"),
        (
            ListQuery { state: "settled,paid".to_owned(), ..ListQuery::default() },
            "state: there is no \"paid\", only sending, settled, failed, unknown",
        ),
    ];
    for (query, text) in queries {
        let error =
            alice.call(|services| async move { services.lightning.list_payments(&query).await }).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().starts_with(text), "{error}");
    }
    assert!(alice.store.open_payments().await.unwrap().is_empty());
}
