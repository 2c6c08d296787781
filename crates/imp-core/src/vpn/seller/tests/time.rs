use super::*;
use crate::vpn::EndReason;

#[test]
fn time_runs_from_the_delivery_or_from_a_handshake_before_it() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    let config_id = step.send[0].id;
    desk.now = desk.now.plus(Duration::from_secs(60));
    let handshake = Reading { last_handshake: Some(desk.now), ..Reading::default() };
    desk.book.read_meter(&key(1), &handshake);
    let step = desk.later(Duration::ZERO);
    assert_eq!(step.put_contracts[0].started, Some(desk.now));
    let ends = step.put_contracts[0].ends;
    desk.now = desk.now.plus(Duration::from_secs(60));
    desk.end(config_id, End::Failed);
    let contract = desk.book.contract(&nonce).unwrap();
    assert_eq!((contract.state, contract.ends), (ContractState::Active, ends), "it is served");
}

#[test]
fn an_end_is_announced_and_the_rest_revives_with_the_same_config() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    let config = desk.book.contract(&nonce).unwrap().config.clone();
    assert_eq!(kinds(&desk.later(Duration::from_secs(3299))), [""; 0]);
    assert_eq!(kinds(&desk.later(Duration::from_secs(1))), ["EXPIRING"]);
    let step = desk.later(Duration::from_secs(300));
    assert_eq!((kinds(&step), step.send.len()), (vec!["EXPIRED".to_owned()], 0), "the buyer has a clock");
    assert!(desk.book.peers().is_empty());
    let other = desk.quote();
    assert_eq!(refund_reason(&desk.contract(&other, key(1), PRICE_SAT).1), "key");
    desk.later(HOUR - Duration::from_secs(1));
    let step = desk.refresh(&nonce);
    let contract = &step.put_contracts[0];
    assert_eq!((contract.state, contract.ends), (ContractState::Active, Some(desk.now.plus(HOUR))));
    assert_eq!((&contract.config, contract.paid_sat), (&config, 200));
    assert_eq!(kinds(&step), ["REFRESH", "REFRESHED"]);
    assert_eq!(desk.book.peers().len(), 1);
    desk.later(HOUR);
    desk.later(HOUR);
    assert_eq!(desk.book.free_addresses(), 253);
    assert_eq!(refund_reason(&desk.refresh(&nonce)), "ended");
    let other = desk.quote();
    let step = desk.contract(&other, key(1), PRICE_SAT).1;
    assert_eq!(step.put_contracts[0].address(), config.client.addr(), "key and address are free again");
}

#[test]
fn no_refresh_leaves_more_than_was_agreed() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    assert!(matches!(said(&desk.refresh(&nonce).send[0]), Response::Refreshed { remaining_secs: 7200, .. }));
    assert_eq!(refund_reason(&desk.refresh(&nonce)), "too much time");
    desk.later(HOUR);
    assert!(matches!(said(&desk.refresh(&nonce).send[0]), Response::Refreshed { remaining_secs: 7200, .. }));
}

#[test]
fn data_that_is_used_up_ends_a_contract_and_a_refresh_brings_as_much_again() {
    let mut desk = Desk::with(Limits { data_bytes: Some(1000), bytes_per_sec: None });
    let (nonce, _) = desk.active();
    desk.book.read_meter(&key(1), &Reading { rx_bytes: 700, tx_bytes: 500, last_handshake: None });
    let step = desk.later(Duration::from_secs(5));
    assert_eq!(kinds(&step), ["EXPIRED"]);
    let post = &step.send[0];
    assert_eq!(said(post), Response::Expired { nonce: nonce.clone(), reason: EndReason::Data });
    assert_eq!((post.amount_sat, post.fee_limit, post.keep), (0, Some(ALLOWANCE_FEE_LIMIT), None));
    assert!(post.from_allowance && post.reply_to.is_none());
    assert_eq!((step.put_contracts[0].reason.as_str(), step.put_contracts[0].ends), ("data", Some(desk.now)));
    desk.later(Duration::from_secs(5));
    let step = desk.refresh(&nonce);
    assert_eq!(step.put_contracts[0].bytes_allowed, Some(2200), "what was overdrawn is not owed");
    assert_eq!(desk.book.next_deadline(), Some(desk.now.plus(Duration::from_secs(3300))));
}

#[test]
fn a_clock_that_was_ahead_does_not_make_a_contract_longer() {
    let mut desk = Desk::new();
    desk.now = START.plus(HOUR * 1000);
    let (nonce, _) = desk.active();
    desk.later(Duration::ZERO);
    desk.now = START;
    let step = desk.later(Duration::ZERO);
    assert_eq!(step.put_contracts[0].ends, Some(START.plus(HOUR)));
    desk.later(HOUR);
    assert_eq!(desk.book.contract(&nonce).unwrap().state, ContractState::Expired);
}

#[test]
fn what_nobody_can_ask_about_is_let_go() {
    let mut desk = Desk::new();
    let (nonce, id) = desk.active();
    desk.later(HOUR);
    desk.later(HOUR);
    desk.book.trim(desk.now.plus(ANSWERS_KEPT - HOUR));
    assert!(desk.book.contract(&nonce).is_some());
    desk.book.trim(desk.now.plus(ANSWERS_KEPT));
    assert!(desk.book.contract(&nonce).is_none() && desk.book.payments().count() == 0);
    assert!(desk.status(&nonce, id).send.is_empty());
}
