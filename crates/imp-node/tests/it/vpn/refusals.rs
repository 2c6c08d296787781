//! What buyers pay for and do not get is given back, once, and nothing else is.

use imp_core::amount::Msat;
use imp_core::vpn::{Nonce, PrivateKey, PublicKey, Quote, Request, Response};
use imp_node::service::messaging::SendMessage;
use imp_node::store::VpnStore;

use super::stranger::Talker;
use super::{Pair, outcomes, payments, said, seller, sells, state};
use crate::lab::{text_to, wait_for};

async fn quoted(mallory: &mut Talker, pair: &Pair, n: u8) -> Quote {
    let before = mallory.told.len();
    mallory.say(pair.bob.id, n, &Request::Quote.to_json(), 1).await;
    match mallory.is_told(before + 1).await.response.clone() {
        Response::Quote(quote) => quote,
        other => panic!("{other:?}"),
    }
}

fn contract(nonce: &Nonce, price_sat: u64, public_key: PublicKey) -> String {
    Request::Contract { nonce: nonce.clone(), price_sat, public_key }.to_json()
}

fn key(n: u8) -> PublicKey {
    PrivateKey::from_random([n; 32]).public()
}

/// What came back for the newest payment, and why.
async fn refund(mallory: &mut Talker, count: usize, of: &str) -> (u64, String) {
    let told = mallory.is_told(count).await;
    assert_eq!(told.reply_to, of);
    match &told.response {
        Response::Refund { amount_sat, reason, .. } => {
            assert_eq!(told.amount.to_sat_floor(), (*amount_sat).max(1));
            (*amount_sat, reason.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_given_back_with_the_reason() {
    let pair = Pair::start().await;
    sells(&pair.bob).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    let bob = pair.bob.id;
    let quote = quoted(&mut mallory, &pair, 1).await;
    let (nonce, server) = (&quote.nonce, seller(&pair.bob).await.public_key.parse().unwrap());
    let strange: Nonce = "never-heard-of-it".parse().unwrap();
    let cases = [
        (contract(&strange, 100, key(1)), 100, "no such quote"),
        (contract(nonce, 99, key(1)), 99, "price"),
        (contract(nonce, 100, key(1)), 99, "price"),
        (contract(nonce, 100, PublicKey::from_bytes([0; 32])), 100, "key"),
        (contract(nonce, 100, server), 100, "key"),
        (Request::Refresh { nonce: nonce.clone(), price_sat: 100 }.to_json(), 100, "no such contract"),
    ];
    for (n, (text, amount, reason)) in (10_u8..).zip(cases) {
        let id = mallory.say(bob, n, &text, amount).await.to_string();
        let count = usize::from(n) - 8;
        assert_eq!(refund(&mut mallory, count, &id).await, (amount, reason.to_owned()));
    }
    // Too little to go back: told, not paid.
    let id = mallory.say(bob, 30, &contract(nonce, 9, key(1)), 9).await.to_string();
    assert_eq!(refund(&mut mallory, 8, &id).await, (0, "price".to_owned()));
    assert!(pair.sellers.devices.peers(super::IMP0).is_empty());
    wait_for("the refunds", async || outcomes(&pair.bob).await.iter().all(|state| *state != "refund_due"))
        .await;
    assert_eq!(outcomes(&pair.bob).await, [["refunded"; 6].as_slice(), &["kept"]].concat());

    // After all of that, the quote is as good as before.
    mallory.say(bob, 40, &contract(nonce, 100, key(1)), 100).await;
    assert!(matches!(mallory.is_told(9).await.response, Response::Config(_)));
}

#[tokio::test]
async fn what_is_paid_twice_goes_back_once() {
    let pair = Pair::start().await;
    sells(&pair.bob).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    let quote = quoted(&mut mallory, &pair, 1).await;
    let text = contract(&quote.nonce, 100, key(1));
    let first = mallory.say(pair.bob.id, 2, &text, 100).await;
    let served = mallory.is_told(2).await.clone();
    assert!(matches!(served.response, Response::Config(_)), "{served:?}");
    // The same message, and another one for the same quote.
    for (count, n) in [(3, 2), (4, 3)] {
        let id = mallory.say(pair.bob.id, n, &text, 100).await;
        assert_eq!(id == first, n == 2);
        assert_eq!(refund(&mut mallory, count, &id.to_string()).await, (100, "paid twice".to_owned()));
    }
    wait_for("the refunds", async || outcomes(&pair.bob).await == ["served", "refunded", "refunded"]).await;
    assert_eq!(state(&pair.bob, quote.nonce.as_str()).await, "active");
    assert_eq!(pair.sellers.devices.peers(super::IMP0).len(), 1);
}

#[tokio::test]
async fn nothing_is_paid_for_what_is_not_understood_or_is_an_answer() {
    let pair = Pair::start().await;
    sells(&pair.bob).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    let nonce: Nonce = "n".parse().unwrap();
    let refund =
        Response::Refund { nonce: nonce.clone(), amount_sat: 50, received_sat: 100, reason: String::new() };
    let texts = [
        r#"{"recordId":"VPN_REQUEST","type":"CONTRACT","nonce":"n","price":100,"pubkey":"x"}"#.to_owned(),
        r#"{"recordId":"VPN_REQUEST","type":"CONTRACT","nonce":"n"}"#.to_owned(),
        "CONTRACT".to_owned(),
        refund.to_json(),
        Request::Status { nonce, id: imp_core::id::MessageId::from_random([9; 16]) }.to_json(),
    ];
    for (n, text) in (1..).zip(&texts) {
        mallory.say(pair.bob.id, n, text, 100).await;
    }
    wait_for("all of it to be taken", async || {
        pair.bob.counter("vpn_malformed").await == 3
            && pair.bob.counter("vpn_ignored").await == 1
            && pair.bob.counter("vpn_status_ignored").await == 1
    })
    .await;
    mallory.listen().await;
    assert!(mallory.told.is_empty() && payments(&pair.bob).await.is_empty());
    assert_eq!(said(&pair.bob).await.len(), 1, "of the question for what became of a payment");
}

#[tokio::test]
async fn who_is_blocked_is_not_quoted_a_price_and_gets_its_money_back() {
    let pair = Pair::start().await;
    sells(&pair.bob).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    let quote = quoted(&mut mallory, &pair, 1).await;
    let of = mallory.id.to_string();
    pair.bob.call(async move |services| services.federate.block(&of).await).await.unwrap();
    mallory.say(pair.bob.id, 2, &Request::Quote.to_json(), 1).await;
    let id = mallory.say(pair.bob.id, 3, &contract(&quote.nonce, 100, key(1)), 100).await.to_string();
    assert_eq!(refund(&mut mallory, 2, &id).await, (100, "blocked".to_owned()));
    mallory.listen().await;
    assert_eq!(mallory.told.len(), 2);
}

#[tokio::test]
async fn a_node_that_does_not_sell_says_so() {
    let pair = Pair::with(|options| options.vpn.seller.sell = false).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    mallory.say(pair.bob.id, 1, &Request::Quote.to_json(), 1).await;
    let told = mallory.is_told(1).await;
    assert_eq!(told.response, Response::Refused { reason: "not selling".to_owned() });
    let text = contract(&"n".parse().unwrap(), 100, key(1));
    let id = mallory.say(pair.bob.id, 2, &text, 100).await.to_string();
    assert_eq!(refund(&mut mallory, 2, &id).await, (100, "no such quote".to_owned()));
}

#[tokio::test]
async fn quotes_and_refusals_come_out_of_the_allowance_and_refunds_do_not() {
    let pair = Pair::with(|options| options.answers = Msat::from_sat(4)).await;
    sells(&pair.bob).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    for n in 1..=5 {
        mallory.say(pair.bob.id, n, &Request::Quote.to_json(), 1).await;
    }
    wait_for("the allowance to be used up", async || pair.bob.counter("vpn_not_answered").await == 2).await;
    mallory.is_told(3).await;
    let text = contract(&"n".parse().unwrap(), 100, key(1));
    let id = mallory.say(pair.bob.id, 9, &text, 100).await.to_string();
    assert_eq!(refund(&mut mallory, 4, &id).await, (100, "no such quote".to_owned()));
}

#[tokio::test]
async fn a_refund_leaves_what_the_way_back_may_cost() {
    let pair = Pair::start().await;
    sells(&pair.bob).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    pair.network.set_forwarding_fee("bob", "mallory", Some(Msat::from_sat(2)));
    let text = contract(&"n".parse().unwrap(), 100, key(1));
    let id = mallory.say(pair.bob.id, 1, &text, 100).await.to_string();
    // 2 % of it may go to those between.
    assert_eq!(refund(&mut mallory, 1, &id).await, (98, "no such quote".to_owned()));
    pair.network.set_forwarding_fee("bob", "mallory", Some(Msat::from_sat(3)));
    mallory.say(pair.bob.id, 2, &text, 100).await;
    wait_for("the refund to be due", async || outcomes(&pair.bob).await == ["refunded", "refund_due"]).await;
    pair.network.set_forwarding_fee("bob", "mallory", None);
    pair.in_time("the refund", async || outcomes(&pair.bob).await == ["refunded", "refunded"]).await;
    mallory.is_told(2).await;
}

#[tokio::test]
async fn what_cannot_be_kept_goes_back_or_waits_and_keeps_nobody_else_waiting() {
    let mut pair = Pair::start().await;
    sells(&pair.bob).await;
    let mut mallory = Talker::new(&pair.network, "mallory");
    let (first, second) = (quoted(&mut mallory, &pair, 1).await, quoted(&mut mallory, &pair, 2).await);
    let broken = format!(
        "CREATE TRIGGER no_contract BEFORE INSERT ON vpn_contract WHEN NEW.nonce = '{}'
         BEGIN SELECT RAISE(ABORT, 'no such contract'); END;
         CREATE TRIGGER no_payment BEFORE INSERT ON vpn_payment WHEN NEW.nonce = 'nobody-s'
         BEGIN SELECT RAISE(ABORT, 'no such payment'); END;",
        first.nonce
    );
    pair.bob.database().execute_batch(&broken).unwrap();
    // One for which nothing can be done, one that cannot be served, and one as any.
    mallory.say(pair.bob.id, 3, &contract(&"nobody-s".parse().unwrap(), 100, key(3)), 100).await;
    wait_for("a row to be stepped over", async || pair.bob.counter("vpn_stepped_over").await == 1).await;
    let id = mallory.say(pair.bob.id, 4, &contract(&first.nonce, 100, key(1)), 100).await.to_string();
    assert_eq!(refund(&mut mallory, 3, &id).await, (100, "not selling".to_owned()));
    mallory.say(pair.bob.id, 5, &contract(&second.nonce, 100, key(2)), 100).await;
    assert!(matches!(mallory.is_told(4).await.response, Response::Config(_)));
    assert_eq!(pair.bob.counter("vpn_stepped_over").await, 1);

    pair.bob.kill();
    pair.bob.database().execute_batch("DROP TRIGGER no_payment; DROP TRIGGER no_contract").unwrap();
    pair.bob = pair.bob.restart().await;
    mallory.is_told(5).await;
    wait_for("all of it", async || outcomes(&pair.bob).await == ["refunded", "served", "refunded"]).await;
}

#[tokio::test]
async fn strangers_that_cannot_be_paid_leave_nothing_behind_that_is_kept() {
    let pair = Pair::start().await;
    sells(&pair.bob).await;
    let bob = pair.bob.id;
    let strangers = (0..4).map(async |stranger| {
        let name = format!("stranger{stranger}");
        let mut mallory = Talker::new(&pair.network, &name);
        pair.network.set_forwarding_fee("bob", &name, Some(Msat::from_sat(2)));
        for n in 1..=250 {
            let nonce: Nonce = format!("invented-{stranger}-{n}").parse().unwrap();
            let text = contract(&nonce, 1, key(n));
            // Of payments that are under way there are so many at most.
            wait_for("a payment", async || mallory.try_say(bob, n, &text, 1).await).await;
        }
    });
    futures_util::future::join_all(strangers).await;
    let taken = async || pair.bob.store.vpn_inbound(1).await.unwrap().is_empty();
    wait_for("a thousand rows", async || outcomes_in_all(&pair) == 1000 && taken().await).await;
    pair.bob.outbox_is_done().await;
    pair.network.node("carol");
    pair.network.set_online("carol", false);
    let carol = imp_lightning::LightningNode::id(&*pair.network.node("carol"));
    let kept = SendMessage { keep_secs: 3600, ..text_to(carol, "kept") };
    let sent = pair.bob.call(async move |services| services.messaging.send(kept).await).await.unwrap();
    assert_eq!(sent.state, imp_core::delivery::MessageState::Queued);
}

fn outcomes_in_all(pair: &Pair) -> u64 {
    let sql = "SELECT count(*) FROM vpn_payment WHERE state = 'kept'";
    let count: i64 = pair.bob.database().query_row(sql, [], |row| row.get(0)).unwrap();
    count as u64
}
