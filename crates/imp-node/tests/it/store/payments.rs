//! Payments and invoices.

use imp_core::amount::Msat;
use imp_core::id::{PaymentHash, Preimage};
use imp_core::time::UnixMillis;
use imp_node::store::idempotency::NewKey;
use imp_node::store::journal::{JournalEvent, NewEvent, ServiceSet, ServiceType};
use imp_node::store::payment::{
    Invoice, InvoiceStatus, KeptInvoice, KeptPayment, Means, Page, Payment, PaymentEnd, PaymentStatus,
};
use imp_node::store::{IdempotencyStore, JournalStore, PaymentStore, SqliteStore, StoreError};

use super::{node, store};
use crate::lab::{EVERYTHING, open};

fn hash(n: u8) -> PaymentHash {
    Preimage([n; 32]).payment_hash()
}

fn keysend(n: u8) -> Payment {
    Payment {
        hash: hash(n),
        means: Means::Keysend(Preimage([n; 32])),
        payee: node(),
        amount: Msat(1000 + u64::from(n)),
        fee_limit: Msat(10),
        begun: UnixMillis(n.into()),
    }
}

fn by_invoice(n: u8) -> Payment {
    Payment { means: Means::Invoice(format!("lnbcrt{n}")), ..keysend(n) }
}

fn settled(n: u8) -> PaymentEnd {
    PaymentEnd::Settled { preimage: Preimage([n; 32]), fee: Some(Msat(7)) }
}

fn failed() -> PaymentEnd {
    PaymentEnd::Failed { error: "no route".to_owned() }
}

fn unknown() -> PaymentEnd {
    PaymentEnd::Unknown { error: "a channel closed".to_owned() }
}

const fn page<S>(before: Option<i64>, statuses: Vec<S>, limit: usize) -> Page<S> {
    Page { before, statuses, limit }
}

async fn kept(store: &SqliteStore, n: u8) -> KeptPayment {
    store.payment(hash(n)).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_payment_is_open_until_it_ends_and_shows_its_preimage_once_it_is_settled() {
    let (dir, store) = store();
    for payment in [by_invoice(1), keysend(2)] {
        store.begin_payment(payment.clone(), None).await.unwrap();
        let kept = store.payment(payment.hash).await.unwrap().unwrap();
        assert_eq!(kept.payment, payment);
        let rest = (kept.status, kept.error, kept.proof, kept.fee, kept.ended);
        assert_eq!(rest, (PaymentStatus::Sending, None, None, None, None));
    }
    store.close();
    let store = open(dir.path(), None);
    let begun: Vec<_> = store.open_payments().await.unwrap().into_iter().map(|kept| kept.payment).collect();
    assert_eq!(begun, [by_invoice(1), keysend(2)]);
    for n in [1, 2] {
        assert_eq!(store.end_payment(hash(n), settled(n), UnixMillis(50)).await, Ok(true));
        let kept = kept(&store, n).await;
        assert_eq!((kept.status, kept.proof), (PaymentStatus::Settled, Some(Preimage([n; 32]))));
        assert_eq!((kept.fee, kept.ended), (Some(Msat(7)), Some(UnixMillis(50))));
    }
    assert!(store.open_payments().await.unwrap().is_empty());
    assert_eq!(store.end_payment(hash(9), settled(9), UnixMillis(50)).await, Ok(false), "not one of ours");
    assert_eq!(store.payment(hash(9)).await, Ok(None));
}

#[tokio::test]
async fn a_settled_payment_stays_settled_and_every_other_may_still_settle() {
    let (_dir, store) = store();
    for n in [1, 2, 3] {
        store.begin_payment(by_invoice(n), None).await.unwrap();
    }
    for (n, first) in [(1, settled(1)), (2, failed()), (3, unknown())] {
        store.end_payment(hash(n), first, UnixMillis(50)).await.unwrap();
    }
    assert_eq!(kept(&store, 2).await.error.as_deref(), Some("no route"));
    assert_eq!(kept(&store, 3).await.status, PaymentStatus::Unknown);
    for end in [failed(), unknown()] {
        store.end_payment(hash(1), end, UnixMillis(60)).await.unwrap();
        let kept = kept(&store, 1).await;
        assert_eq!((kept.status, kept.ended), (PaymentStatus::Settled, Some(UnixMillis(50))));
    }
    for n in [2, 3] {
        store.end_payment(hash(n), settled(n), UnixMillis(60)).await.unwrap();
        let kept = kept(&store, n).await;
        assert_eq!(
            (kept.status, kept.error, kept.ended),
            (PaymentStatus::Settled, None, Some(UnixMillis(60)))
        );
    }
}

#[tokio::test]
async fn only_a_payment_that_failed_can_be_begun_again_and_is_then_the_newest() {
    let (_dir, store) = store();
    for n in [1, 2] {
        store.begin_payment(by_invoice(n), None).await.unwrap();
    }
    let again = || Payment { begun: UnixMillis(70), fee_limit: Msat(99), ..by_invoice(1) };
    for end in [None, Some(unknown()), Some(settled(1))] {
        if let Some(end) = end {
            store.end_payment(hash(1), end, UnixMillis(50)).await.unwrap();
        }
        assert!(matches!(store.begin_payment(again(), None).await, Err(StoreError::Database(_))));
    }
    store.end_payment(hash(2), failed(), UnixMillis(50)).await.unwrap();
    let again = Payment { begun: UnixMillis(70), fee_limit: Msat(99), ..by_invoice(2) };
    store.begin_payment(again.clone(), None).await.unwrap();
    let list = store.list_payments(page(None, Vec::new(), 10)).await.unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!((&list[0].payment, list[0].status, &list[0].error), (&again, PaymentStatus::Sending, &None));
}

#[tokio::test]
async fn a_key_is_stored_with_the_payment_or_not_at_all_and_leads_to_the_last_one_begun_under_it() {
    let (_dir, store) = store();
    let key = |n| NewKey {
        method: "m",
        key: "k".to_owned(),
        request_digest: [1; 32],
        subject: hash(n).0.to_vec(),
        created: UnixMillis(5),
    };
    store.begin_payment(keysend(1), None).await.unwrap();
    assert!(store.begin_payment(keysend(1), Some(key(1))).await.is_err());
    assert_eq!(store.find_key("m", "k".to_owned()).await, Ok(None), "what it was stored with failed");
    store.begin_payment(keysend(2), Some(key(2))).await.unwrap();
    store.end_payment(hash(2), failed(), UnixMillis(8)).await.unwrap();
    store.begin_payment(keysend(3), Some(key(3))).await.unwrap();
    let found = store.find_key("m", "k".to_owned()).await.unwrap().unwrap();
    assert_eq!((found.subject, found.created), (hash(3).0.to_vec(), UnixMillis(5)));
}

#[tokio::test]
async fn pages_of_payments_hold_each_that_matches_once_newest_first() {
    let (_dir, store) = store();
    let ends = [None, Some(settled(1)), Some(failed()), Some(unknown())];
    for n in 0..40_u8 {
        store.begin_payment(keysend(n), None).await.unwrap();
        if let Some(end) = ends[usize::from(n) % 4].clone() {
            store.end_payment(hash(n), end, UnixMillis(50)).await.unwrap();
        }
    }
    use PaymentStatus::{Failed, Sending, Settled, Unknown};
    let filters = [
        vec![],
        vec![Sending],
        vec![Failed, Settled],
        vec![Settled, Unknown, Settled],
        vec![Sending, Settled, Failed, Unknown],
    ];
    for statuses in filters {
        let of = |n: &u8| {
            let status = [Sending, Settled, Failed, Unknown][usize::from(*n) % 4];
            statuses.is_empty() || statuses.contains(&status)
        };
        let expected: Vec<PaymentHash> = (0..40).rev().filter(of).map(hash).collect();
        for limit in [1, 7, 40, 1000] {
            let (mut before, mut found) = (None, Vec::new());
            loop {
                let rows = store.list_payments(page(before, statuses.clone(), limit)).await.unwrap();
                assert!(rows.len() <= limit);
                let Some(last) = rows.last() else { break };
                before = Some(last.position);
                found.extend(rows.into_iter().map(|kept| kept.payment.hash));
            }
            assert_eq!(found, expected, "{statuses:?}, {limit} at once");
        }
    }
}

fn invoice(n: u8, expires: u64) -> Invoice {
    Invoice {
        hash: hash(n),
        invoice: format!("lnbcrt{n}"),
        amount_sat: n.into(),
        memo: "tea ✓".to_owned(),
        created: UnixMillis(n.into()),
        expires: UnixMillis(expires),
    }
}

fn event(n: u8) -> NewEvent {
    NewEvent {
        at: UnixMillis(60),
        id: n.to_string(),
        reply_to: String::new(),
        from: node(),
        service: ServiceType::Lightning,
        data: "{}".to_owned(),
        amount_sat: 1,
        late: false,
    }
}

async fn journal(store: &SqliteStore) -> Vec<String> {
    let events = store.read_events(0, ServiceSet::all(), EVERYTHING).await.unwrap().events;
    events.into_iter().map(|JournalEvent { event, .. }| event.id).collect()
}

#[tokio::test]
async fn an_invoice_is_paid_once_and_told_once() {
    let (_dir, store) = store();
    store.add_invoice(invoice(1, 1000)).await.unwrap();
    assert!(store.add_invoice(invoice(1, 1000)).await.is_err(), "it is there");
    let kept = store.invoice(hash(1)).await.unwrap().unwrap();
    assert_eq!((&kept.invoice, kept.paid), (&invoice(1, 1000), None));
    store.invoice_paid(hash(1), Msat(2500), event(1)).await.unwrap();
    store.invoice_paid(hash(1), Msat(9), event(1)).await.unwrap();
    store.invoice_paid(hash(2), Msat(9), event(2)).await.unwrap();
    let kept = store.invoice(hash(1)).await.unwrap().unwrap();
    assert_eq!(kept.paid, Some((UnixMillis(60), Msat(2500))));
    assert_eq!(journal(&store).await, ["1"], "one that is paid already, or not ours, is not told");
    assert_eq!(*store.tail().last().borrow(), 1, "subscribers have it when the call returns");
    assert_eq!(store.invoice(hash(2)).await, Ok(None));
}

#[tokio::test]
async fn invoices_are_listed_as_they_stand_at_the_time_of_asking() {
    let (_dir, store) = store();
    for n in 0..30 {
        store.add_invoice(invoice(n, 100 * (1 + u64::from(n) % 3))).await.unwrap();
        if n % 5 == 0 {
            store.invoice_paid(hash(n), Msat(1), event(n)).await.unwrap();
        }
    }
    use InvoiceStatus::{Expired, Open, Paid};
    for now in [0, 100, 101, 200, 201, 300, 301] {
        let now = UnixMillis(now);
        let every = store.list_invoices(page(None, Vec::new(), 1000), now).await.unwrap();
        assert_eq!(every.len(), 30);
        for statuses in [
            vec![Open],
            vec![Paid],
            vec![Expired],
            vec![Open, Paid],
            vec![Expired, Open],
            vec![Open, Paid, Expired],
        ] {
            let matches = |kept: &&KeptInvoice| statuses.contains(&kept.status(now));
            let expected: Vec<_> = every.iter().filter(matches).map(|kept| kept.position).collect();
            let (mut before, mut found) = (None, Vec::new());
            loop {
                let rows = store.list_invoices(page(before, statuses.clone(), 4), now).await.unwrap();
                let Some(last) = rows.last() else { break };
                before = Some(last.position);
                found.extend(rows.into_iter().map(|kept| kept.position));
            }
            assert_eq!(found, expected, "{statuses:?} at {now:?}");
        }
    }
}

#[tokio::test]
async fn a_keysend_without_a_record_is_told_once_and_forgotten_later() {
    let (_dir, store) = store();
    let never = UnixMillis(0);
    for n in [1, 2, 1] {
        store.keysend_received(hash(n), event(n), never).await.unwrap();
    }
    assert_eq!(journal(&store).await, ["1", "2"]);
    let later = NewEvent { at: UnixMillis(900), ..event(3) };
    store.keysend_received(hash(3), later, UnixMillis(61)).await.unwrap();
    store.keysend_received(hash(3), event(3), never).await.unwrap();
    store.keysend_received(hash(1), event(1), never).await.unwrap();
    assert_eq!(journal(&store).await, ["1", "2", "3", "1"], "the first one was forgotten, the third was not");
}
