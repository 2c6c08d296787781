//! What is kept of the VPN.

mod rows;

use std::sync::Arc;

use imp_core::delivery::MessageState;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{HeldQuote, Purchase, PurchaseState};
use imp_core::vpn::seller::{Contract, ContractState, Payment, PaymentState};
use imp_node::store::idempotency::NewKey;
use imp_node::store::inbox::InboxChange;
use imp_node::store::journal::ServiceSet;
use imp_node::store::outbox::{Answer, GiveUp};
use imp_node::store::vpn::{Deal, DealQuery, VpnChange, VpnPaymentQuery};
use imp_node::store::{
    IdempotencyStore, InboxStore, JournalStore, OutboxStore, SqliteStore, StoreError, VpnStore,
};

use self::rows::{
    HOUR_SECS, contract, event, hash, inbound, key, keyless, nonce, offer, payment, purchase, quote,
};
use super::outbox::{failure, message};
use super::{id, inbox_payment, node, store};
use crate::lab::{EVERYTHING, open};

async fn put(store: &SqliteStore, contracts: Vec<Contract>, purchases: Vec<Purchase>) {
    let change = VpnChange { put_contracts: contracts, put_purchases: purchases, ..VpnChange::default() };
    store.commit_vpn(change).await.unwrap();
}

async fn events(store: &SqliteStore) -> usize {
    store.read_events(0, ServiceSet::all(), EVERYTHING).await.unwrap().events.len()
}

#[tokio::test]
async fn what_came_in_waits_in_its_order_until_it_is_handled() {
    let (_dir, store) = store();
    let change =
        InboxChange { payment: Some(inbox_payment(1, 0)), vpn: vec![inbound(1)], ..InboxChange::default() };
    store.commit_inbox(change.clone()).await.unwrap();
    let more = InboxChange { vpn: vec![inbound(3), inbound(2)], ..InboxChange::default() };
    store.commit_inbox(more).await.unwrap();
    assert!(matches!(store.commit_inbox(change).await, Err(StoreError::Database(_))), "the payment is known");
    assert_eq!(store.vpn_inbound(9).await.unwrap(), [inbound(1), inbound(3), inbound(2)]);
    assert_eq!(store.vpn_inbound(1).await.unwrap(), [inbound(1)]);
    let handled = VpnChange { handled: vec![hash(1), hash(2), hash(77)], ..VpnChange::default() };
    store.commit_vpn(handled).await.unwrap();
    assert_eq!(store.vpn_inbound(9).await.unwrap(), [inbound(3)]);
}

#[tokio::test]
async fn all_rows_are_read_back_and_those_put_again_replace_what_was() {
    let (_dir, store) = store();
    let contract = contract(2, 5, ContractState::Active);
    let change = VpnChange {
        put_offers: vec![offer(1), offer(2)],
        put_contracts: vec![contract.clone()],
        put_payments: vec![payment(1, 5, PaymentState::RefundDue)],
        put_quotes: vec![HeldQuote {
            quote: quote(1),
            seller: node(),
            request_id: id(1),
            received: UnixMillis(5),
            accept_until: UnixMillis(6),
        }],
        put_purchases: vec![purchase(1, 5, PurchaseState::Paid)],
        ..VpnChange::default()
    };
    store.commit_vpn(change.clone()).await.unwrap();
    store.commit_vpn(change.clone()).await.unwrap();
    assert_eq!(store.vpn_offers().await.unwrap(), change.put_offers);
    assert_eq!(store.vpn_contracts(UnixMillis(u64::MAX / 2)).await.unwrap(), change.put_contracts);
    assert_eq!(store.vpn_payments(UnixMillis(u64::MAX / 2)).await.unwrap(), change.put_payments);
    assert_eq!(store.vpn_quotes().await.unwrap(), change.put_quotes);
    assert_eq!(store.vpn_purchases().await.unwrap(), change.put_purchases);
    assert_eq!(store.vpn_deal(nonce(2)).await.unwrap(), Some(Deal::Sold(contract)));
    let bought = keyless(purchase(1, 5, PurchaseState::Paid));
    assert_eq!(store.vpn_deal(nonce(1)).await.unwrap(), Some(Deal::Bought(bought)), "without its key");
    assert_eq!(store.vpn_deal(nonce(9)).await.unwrap(), None);

    let forget = VpnChange {
        forget_offers: vec![nonce(1)],
        forget_quotes: vec![nonce(1)],
        forget_purchases: vec![nonce(1)],
        ..VpnChange::default()
    };
    store.commit_vpn(forget).await.unwrap();
    assert_eq!(store.vpn_offers().await.unwrap(), [offer(2)]);
    assert!(store.vpn_quotes().await.unwrap().is_empty());
    assert!(store.vpn_purchases().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_change_is_made_with_its_messages_events_and_key_or_not_at_all() {
    let (_dir, store) = store();
    let change = |n: u8| VpnChange {
        handled: vec![hash(1)],
        put_contracts: vec![contract(n, 5, ContractState::Configuring)],
        publish: vec![event(n)],
        answers: vec![Answer { message: message(n, 1), body: Arc::from(*b"text") }],
        key: Some(NewKey {
            method: "VpnService/AcceptVpn",
            key: "key".to_owned(),
            request_digest: [n; 32],
            subject: vec![1],
            created: UnixMillis(5),
        }),
        count: vec!["vpn_things"],
        ..VpnChange::default()
    };
    store.commit_inbox(InboxChange { vpn: vec![inbound(1)], ..InboxChange::default() }).await.unwrap();
    store.commit_vpn(change(1)).await.unwrap();
    assert!(store.message(id(1)).await.unwrap().is_some());
    assert!(store.find_key("VpnService/AcceptVpn", "key".to_owned()).await.unwrap().is_some());
    assert_eq!((events(&store).await, store.counter("vpn_things").await), (1, Ok(1)));

    store.commit_inbox(InboxChange { vpn: vec![inbound(1)], ..InboxChange::default() }).await.unwrap();
    assert!(
        matches!(store.commit_vpn(change(2)).await, Err(StoreError::Database(_))),
        "the key is another request's"
    );
    assert_eq!(store.vpn_inbound(9).await.unwrap().len(), 1);
    assert_eq!(store.vpn_contracts(UnixMillis(0)).await.unwrap().len(), 1);
    assert_eq!(store.message(id(2)).await, Ok(None));
    assert_eq!((events(&store).await, store.counter("vpn_things").await), (1, Ok(1)));
}

#[tokio::test]
async fn what_is_given_up_ends_where_it_waits() {
    let (_dir, store) = store();
    let mut ends = store.ends();
    for n in [1, 2, 3] {
        store.accept_message(message(n, 1), Arc::from(*b"text"), None).await.unwrap();
    }
    store
        .end_message(id(3), imp_core::delivery::MessageState::Failed, failure("over"), UnixMillis(6))
        .await
        .unwrap();
    let give_up = |n| GiveUp { id: id(n), failure: failure("given up"), at: UnixMillis(7) };
    let change = VpnChange { give_up: vec![give_up(1), give_up(3), give_up(9)], ..VpnChange::default() };
    store.commit_vpn(change).await.unwrap();
    let open: Vec<_> =
        store.open_messages().await.unwrap().into_iter().map(|stored| stored.message.id).collect();
    assert_eq!(open, [id(2)]);
    let text = async |n| store.message(id(n)).await.unwrap().unwrap().failure.unwrap().text;
    assert_eq!((text(1).await, text(3).await), ("given up".to_owned(), "over".to_owned()));
    assert_eq!((ends.try_recv(), ends.try_recv()), (Ok(id(3)), Ok(id(1))));
    assert!(ends.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn the_first_key_of_a_seller_stays() {
    let (dir, store) = store();
    assert_eq!(store.vpn_server_key(key(1)).await, Ok(key(1)));
    assert_eq!(store.vpn_server_key(key(2)).await, Ok(key(1)));
    store.close();
    assert_eq!(open(dir.path(), None).vpn_server_key(key(3)).await, Ok(key(1)));
}

#[tokio::test]
async fn contracts_of_both_sides_are_listed_newest_first_page_by_page() {
    let (_dir, store) = store();
    use ContractState::{Active, Expired};
    let sold = vec![contract(1, 30, Active), contract(2, 10, Expired), contract(3, 20, Expired)];
    let bought = vec![purchase(4, 20, PurchaseState::Active), purchase(5, 40, PurchaseState::Paid)];
    put(&store, sold, bought).await;
    let both =
        DealQuery { limit: 2, sold: Some(Vec::new()), bought: Some(Vec::new()), ..DealQuery::default() };
    let all = async |query: DealQuery| {
        let (mut nonces, mut query) = (Vec::new(), query);
        loop {
            let page = store.list_vpn_deals(query.clone()).await.unwrap();
            assert!(page.deals.len() <= query.limit);
            nonces.extend(page.deals.iter().map(|deal| deal.place().nonce.to_string()));
            query.before = page.next;
            if query.before.is_none() {
                return nonces;
            }
        }
    };
    assert_eq!(all(both.clone()).await, ["nonce-5", "nonce-1", "nonce-4", "nonce-3", "nonce-2"]);
    assert_eq!(all(DealQuery { bought: None, ..both.clone() }).await, ["nonce-1", "nonce-3", "nonce-2"]);
    assert_eq!(all(DealQuery { sold: None, ..both.clone() }).await, ["nonce-5", "nonce-4"]);
    let of_state =
        DealQuery { sold: Some(vec![Expired]), bought: Some(vec![PurchaseState::Active]), ..both.clone() };
    assert_eq!(all(of_state).await, ["nonce-4", "nonce-3", "nonce-2"]);
    assert_eq!(all(DealQuery { node: Some(node()), ..both.clone() }).await, ["nonce-4", "nonce-2"]);
    assert!(all(DealQuery { sold: None, bought: None, ..both }).await.is_empty());
}

#[tokio::test]
async fn payments_are_listed_newest_first_and_keep_their_place() {
    let (_dir, store) = store();
    let put = async |payments| {
        store.commit_vpn(VpnChange { put_payments: payments, ..VpnChange::default() }).await.unwrap();
    };
    put((1..=5)
        .map(|n| payment(n, 5, PaymentState::RefundDue))
        .chain([payment(11, 5, PaymentState::Kept)])
        .collect())
    .await;
    put(vec![payment(2, 5, PaymentState::Refunded)]).await;
    let query = VpnPaymentQuery { limit: 4, ..VpnPaymentQuery::default() };
    let list = async |query: VpnPaymentQuery| {
        let page = store.list_vpn_payments(query).await.unwrap();
        (page.payments.into_iter().map(|payment| payment.message).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = list(query.clone()).await;
    assert_eq!(first, [id(11), id(5), id(4), id(3)]);
    assert_eq!(list(VpnPaymentQuery { before: next, ..query.clone() }).await, (vec![id(2), id(1)], None));
    let states = vec![PaymentState::Refunded, PaymentState::Kept];
    assert_eq!(list(VpnPaymentQuery { states, ..query.clone() }).await, (vec![id(11), id(2)], None));
    assert_eq!(list(VpnPaymentQuery { nonce: Some(nonce(1)), ..query }).await, (vec![id(11), id(1)], None));
}

#[tokio::test]
async fn a_start_finds_what_is_open_and_what_is_young() {
    let (_dir, store) = store();
    use ContractState::{Active, Expired, RefundDue};
    let hour = 1000 * HOUR_SECS;
    put(
        &store,
        vec![
            contract(1, 1, Active),
            contract(2, 2, RefundDue),
            contract(3, 3, Expired),
            contract(4, 4, Expired),
        ],
        Vec::new(),
    )
    .await;
    let open = |answer_open, payment: Payment| Payment { answer_open, ..payment };
    let payments = vec![
        payment(1, 1, PaymentState::RefundDue),
        open(true, payment(2, 2, PaymentState::Served)),
        payment(3, 3, PaymentState::Served),
        payment(4, 4, PaymentState::Kept),
    ];
    store.commit_vpn(VpnChange { put_payments: payments, ..VpnChange::default() }).await.unwrap();
    let contracts = store.vpn_contracts(UnixMillis(hour + 3)).await.unwrap();
    assert_eq!(contracts.iter().map(|row| row.made.0).collect::<Vec<_>>(), [1, 2, 4]);
    let payments = store.vpn_payments(UnixMillis(3)).await.unwrap();
    assert_eq!(payments.iter().map(|row| row.at.0).collect::<Vec<_>>(), [1, 2, 4]);
}

#[tokio::test]
async fn what_is_over_for_long_goes_and_nothing_that_is_open() {
    let (_dir, store) = store();
    use ContractState::{Active, Refunded};
    let hour = 1000 * HOUR_SECS;
    let purchases = vec![
        keyless(purchase(5, 1, PurchaseState::Expired)),
        purchase(6, 1, PurchaseState::Expired),
        keyless(purchase(7, 1, PurchaseState::Unanswered)),
        keyless(purchase(8, hour, PurchaseState::Refunded)),
    ];
    put(
        &store,
        vec![contract(1, 1, Refunded), contract(2, 1, Active), contract(3, hour, Refunded)],
        purchases,
    )
    .await;
    let payments = vec![
        payment(1, 1, PaymentState::Served),
        payment(2, 1, PaymentState::Served),
        payment(9, 1, PaymentState::RefundDue),
    ];
    store.commit_vpn(VpnChange { put_payments: payments, ..VpnChange::default() }).await.unwrap();
    let until = UnixMillis(hour + 2);
    assert_eq!(store.forget_vpn_before(until).await, Ok(3));
    assert_eq!(store.forget_vpn_before(until).await, Ok(0));
    assert_eq!(store.vpn_deal(nonce(1)).await, Ok(None));
    let left = store.vpn_contracts(UnixMillis(0)).await.unwrap();
    assert_eq!(left.iter().map(|row| row.nonce.clone()).collect::<Vec<_>>(), [nonce(2), nonce(3)]);
    let left = store.vpn_payments(UnixMillis(0)).await.unwrap();
    assert_eq!(
        left.iter().map(|row| row.hash).collect::<Vec<_>>(),
        [hash(2), hash(9)],
        "its contract goes on"
    );
    let left = store.vpn_purchases().await.unwrap();
    assert_eq!(
        left.iter().map(|row| row.nonce().clone()).collect::<Vec<_>>(),
        [nonce(6), nonce(7), nonce(8)]
    );
}

#[tokio::test]
async fn a_private_key_that_goes_leaves_nothing_in_the_file() {
    let (dir, store) = store();
    let bought = |n| Purchase { config: None, ..purchase(n, 5, PurchaseState::Active) };
    put(&store, Vec::new(), (1..=40).map(bought).collect()).await;
    let held = || {
        let file = std::fs::read(dir.path().join("imp.db")).unwrap();
        let holds = |n: &u8| file.windows(32).any(|bytes| bytes == key(*n).as_bytes());
        (1..=40).filter(holds).collect::<Vec<_>>()
    };
    store.close();
    assert_eq!(held(), (1..=40).collect::<Vec<_>>());
    let store = open(dir.path(), None);
    put(&store, Vec::new(), (1..=40).filter(|n| *n != 8).map(|n| keyless(bought(n))).collect()).await;
    store.close();
    assert!(!dir.path().join("imp.db-wal").exists(), "what was written meanwhile is gone with the log");
    assert_eq!(held(), [8]);
}

#[tokio::test]
async fn messages_that_a_payment_waits_for_are_not_let_go() {
    let (_dir, store) = store();
    for n in 1..=6 {
        store.accept_message(message(n, 1), Arc::from(*b"text"), None).await.unwrap();
        let (state, why) = (MessageState::Unknown, failure("perhaps"));
        store.end_message(id(n), state, why, UnixMillis(10)).await.unwrap();
    }
    let refund = |n: u8, state| Payment { answer_id: Some(id(n)), ..payment(n, 5, state) };
    let paying =
        |n: u8, payment_open, state| Purchase { refresh: None, payment_open, ..purchase(n, 5, state) };
    let change = VpnChange {
        put_payments: vec![refund(1, PaymentState::RefundDue), refund(2, PaymentState::Refunded)],
        put_purchases: vec![
            paying(3, true, PurchaseState::Paying),
            paying(4, false, PurchaseState::Active),
            Purchase { contract_id: id(50), ..purchase(5, 5, PurchaseState::Active) },
        ],
        ..VpnChange::default()
    };
    store.commit_vpn(change).await.unwrap();
    assert_eq!(store.forget_messages_before(UnixMillis(20)).await, Ok(3));
    for (n, is_kept) in [(1, true), (2, false), (3, true), (4, false), (5, true), (6, false)] {
        assert_eq!(store.message(id(n)).await.unwrap().is_some(), is_kept, "message {n}");
    }
    let done = VpnChange { put_payments: vec![refund(1, PaymentState::Refunded)], ..VpnChange::default() };
    store.commit_vpn(done).await.unwrap();
    assert_eq!(store.forget_messages_before(UnixMillis(20)).await, Ok(1));
}

#[test]
fn what_is_logged_of_rows_holds_no_text() {
    assert!(!format!("{:?}", inbound(1)).contains("text 1"));
    assert!(!format!("{:?}", event(1)).contains("event 1"));
}
