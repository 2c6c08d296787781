use super::*;
use crate::vpn::EndReason;

#[test]
fn a_quote_counts_once_for_each_request_of_ours() {
    let mut desk = Desk::new();
    let (request, other) = (desk.id(), desk.id());
    let one = Response::Quote(quote(request));
    for asked in [
        Asked { quote_asked: None, nonce_taken: false },
        Asked { quote_asked: Some(START), nonce_taken: true },
        Asked {
            quote_asked: Some(START.minus(QUOTE_AWAITED + Duration::from_millis(1))),
            nonce_taken: false,
        },
    ] {
        let step = desk.hear_from(seller(), request, &one, 1, asked);
        assert_eq!((step.count, step.publish.len()), (vec!["vpn_ignored"], 0));
    }
    assert_eq!(kinds(&desk.hear(request, &one, 1)), ["QUOTE"]);
    assert_eq!(desk.hear(other, &one, 1).count, ["vpn_ignored"], "the nonce is known");
    let again = Response::Quote(quote(other));
    assert_eq!(desk.hear(request, &again, 1).count, ["vpn_ignored"], "the request is answered");
    assert_eq!(desk.book.quotes().count(), 1);
}

#[test]
fn the_oldest_quote_of_a_seller_goes_first() {
    let mut desk = Desk::new();
    let nonces: Vec<_> = (0..=MAX_QUOTES_OF_ONE)
        .map(|_| {
            desk.now = desk.now.plus(Duration::from_secs(1));
            desk.quoted()
        })
        .collect();
    assert_eq!(desk.book.quotes().count(), MAX_QUOTES_OF_ONE);
    assert!(desk.book.quote(&nonces[0]).is_none() && desk.book.quote(&nonces[1]).is_some());
}

#[test]
fn a_config_counts_for_the_key_and_the_terms_that_were_bought() {
    let mut desk = Desk::new();
    let (nonce, id) = desk.paid();
    let good = desk.config(&nonce);
    let other_key = Config { client_key: PrivateKey::from_random([9; 32]).public(), ..good.clone() };
    let shorter = Config { duration_secs: 60, ..good.clone() };
    let limited = Config { limits: Limits { data_bytes: Some(1), bytes_per_sec: None }, ..good.clone() };
    for config in [other_key, shorter, limited] {
        let step = desk.hear(id, &Response::Config(Box::new(config)), 1);
        assert_eq!((step.count, step.publish.len()), (vec!["vpn_config_refused"], 0));
    }
    let good = Response::Config(Box::new(good));
    assert_eq!(
        desk.hear_from(node(8), id, &good, 1, Asked::default()).count,
        ["vpn_ignored"],
        "of another node"
    );
    assert_eq!(desk.state(&nonce), PurchaseState::Paid);
    assert_eq!(kinds(&desk.hear(id, &good, 1)), ["CONFIG"]);
    let purchase = desk.book.purchase(&nonce).unwrap();
    let (event, key) = purchase.published_key().unwrap();
    assert_eq!((Some(event), key.public()), (purchase.event_id, purchase.public_key));
    assert_eq!(desk.hear(id, &good, 1).count, ["vpn_ignored"], "the same again");
    let other = Config { dns: "1.1.1.1".parse().unwrap(), ..desk.config(&nonce) };
    assert_eq!(desk.hear(id, &Response::Config(Box::new(other)), 1).count, ["vpn_config_refused"]);
}

#[test]
fn a_config_may_come_before_the_news_that_it_is_paid() {
    let mut desk = Desk::new();
    let nonce = desk.quoted();
    let id = desk.accept(&nonce).unwrap();
    let config = Response::Config(Box::new(desk.config(&nonce)));
    desk.hear(id, &config, 1);
    assert_eq!(desk.state(&nonce), PurchaseState::Active);
    desk.end(id, End::Settled(desk.now));
    assert_eq!(
        (desk.state(&nonce), desk.book.purchase(&nonce).unwrap().paid_sat),
        (PurchaseState::Active, 100)
    );
}

#[test]
fn a_refund_ends_a_contract_and_counts_what_really_came() {
    let mut desk = Desk::new();
    let (nonce, id) = desk.paid();
    assert_eq!(kinds(&desk.refund(&nonce, id, "not selling")), ["REFUND"]);
    let purchase = desk.book.purchase(&nonce).unwrap();
    assert_eq!((purchase.state, purchase.refunded_sat), (PurchaseState::Refunded, 98));
    assert!(purchase.private_key.is_none() && purchase.reason == "not selling");
    let config = Response::Config(Box::new(desk.config(&nonce)));
    assert_eq!(desk.hear(id, &config, 1).count, ["vpn_ignored"]);
}

#[test]
fn a_refund_of_something_else_leaves_the_contract_alone() {
    let mut desk = Desk::new();
    let (nonce, id) = desk.active();
    let refresh = desk.refresh(&nonce).unwrap();
    desk.end(refresh, End::Settled(desk.now));
    desk.refund(&nonce, refresh, "too much time");
    desk.refund(&nonce, id, PAID_TWICE);
    let other = desk.id();
    desk.refund(&nonce, other, "no such contract");
    let purchase = desk.book.purchase(&nonce).unwrap();
    assert_eq!((purchase.state, purchase.refresh), (PurchaseState::Active, None));
    assert_eq!((purchase.paid_sat, purchase.refunded_sat), (200, 3 * 98));
}

#[test]
fn a_refresh_adds_no_more_than_was_paid_for_whatever_the_seller_says() {
    let mut desk = Desk::new();
    let (nonce, id) = desk.active();
    assert_eq!(desk.refreshed(&nonce, id, 7200).count, ["vpn_ignored"], "nobody asked");
    let refresh = desk.refresh(&nonce).unwrap();
    desk.end(refresh, End::Settled(desk.now));
    assert_eq!(kinds(&desk.refreshed(&nonce, refresh, 100_000_000)), ["REFRESHED"]);
    assert_eq!(desk.book.purchase(&nonce).unwrap().ends, Some(START.plus(2 * HOUR)));
    desk.later(HOUR + Duration::from_secs(1));
    let refresh = desk.refresh(&nonce).unwrap();
    desk.end(refresh, End::Settled(desk.now));
    desk.refreshed(&nonce, refresh, 10);
    assert_eq!(desk.book.purchase(&nonce).unwrap().ends, Some(desk.now.plus(Duration::from_secs(10))));
}

#[test]
fn a_refusal_to_quote_is_told_if_it_was_asked_for() {
    let mut desk = Desk::new();
    let (id, response) = (desk.id(), Response::Refused { reason: "not selling".to_owned() });
    assert_eq!(kinds(&desk.hear(id, &response, 1)), ["REFUSED"]);
    assert_eq!(desk.hear_from(seller(), id, &response, 1, Asked::default()).count, ["vpn_ignored"]);
}

#[test]
fn a_seller_says_that_the_data_is_used_up_and_nothing_else_of_an_end() {
    let mut desk = Desk::with(Limits { data_bytes: Some(1000), bytes_per_sec: None });
    let (nonce, id) = desk.active();
    let expired = |reason| Response::Expired { nonce: nonce.clone(), reason };
    let (time, data) = (expired(EndReason::Time), expired(EndReason::Data));
    assert_eq!(desk.hear(id, &time, 1).count, ["vpn_ignored"]);
    assert_eq!(desk.hear_from(node(8), id, &data, 1, Asked::default()).count, ["vpn_ignored"]);
    desk.now = desk.now.plus(MINUTE);
    assert_eq!(kinds(&desk.hear(id, &data, 1)), ["EXPIRED"]);
    let purchase = desk.book.purchase(&nonce).unwrap();
    assert_eq!((purchase.state, purchase.reason.as_str()), (PurchaseState::Expired, "data"));
    assert_eq!(purchase.ends, Some(desk.now));
    assert_eq!(desk.hear(id, &data, 1).count, ["vpn_ignored"], "it has ended");

    let mut desk = Desk::new();
    let (nonce, id) = desk.active();
    let data = Response::Expired { nonce: nonce.clone(), reason: EndReason::Data };
    assert_eq!(desk.hear(id, &data, 1).count, ["vpn_ignored"], "it has no limit");
    assert_eq!(desk.state(&nonce), PurchaseState::Active);
}
