use super::*;

#[test]
fn what_is_not_served_goes_back_with_a_reason() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    let strange = Nonce::from_random([9; 16]);
    let low = PublicKey::from_bytes([0; 32]);
    for (nonce, key, sat, reason) in [
        (&strange, key(1), PRICE_SAT, "no such quote"),
        (&nonce, key(1), PRICE_SAT + 1, "price"),
        (&nonce, low, PRICE_SAT, "key"),
        (&nonce, key(200), PRICE_SAT, "key"),
    ] {
        let (id, step) = desk.contract(nonce, key, sat);
        assert_eq!(refund_reason(&step), reason);
        assert_eq!(step.send[0].reply_to, Some(id));
        assert_eq!(kinds(&step), ["CONTRACT", "REFUND"]);
        assert!(step.put_contracts.is_empty());
    }
    let request = Request::Contract { nonce: nonce.clone(), price_sat: PRICE_SAT, public_key: key(1) };
    let id = MessageId::from_random([99; 16]);
    let step = desk.hear_as(id, &request, Msat::from_sat(PRICE_SAT), false, true);
    assert_eq!(refund_reason(&step), "blocked");
    // The same message, paid for once more, is not what makes the contract.
    let step = desk.hear_as(id, &request, Msat::from_sat(PRICE_SAT), true, false);
    assert_eq!(refund_reason(&step), PAID_TWICE);
    assert_eq!(kinds(&step), ["REFUND"]);
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    assert!(matches!(said(&step.send[0]), Response::Config(_)), "the quote is still good");
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    assert_eq!(refund_reason(&step), PAID_TWICE);
}

#[test]
fn a_refund_is_what_came_less_the_most_that_it_may_cost() {
    for (direct, sat, amount_sat, limit_sat, keep) in [
        (false, 9, 0, 8, None),
        (false, 1, 0, 0, None),
        (false, 10, 9, 1, Some(REFUND_TRIED)),
        (false, 99, 98, 1, Some(REFUND_TRIED)),
        (false, 1000, 980, 20, Some(REFUND_TRIED)),
        (true, 1000, 1000, 0, Some(REFUND_PAUSE)),
        (true, 1, 0, 0, None),
    ] {
        let mut desk = Desk::new();
        desk.direct = direct;
        let (_, step) = desk.contract(&Nonce::from_random([9; 16]), key(1), sat);
        let post = &step.send[0];
        assert_eq!((post.amount_sat, post.fee_limit), (amount_sat, Some(Msat::from_sat(limit_sat))), "{sat}");
        assert_eq!((post.keep, post.from_allowance), (keep, false), "{sat}");
        let Response::Refund { amount_sat: told_sat, received_sat, .. } = said(post) else {
            panic!("{post:?}")
        };
        assert_eq!((told_sat, received_sat), (amount_sat, sat));
        let state = if sat < 10 { PaymentState::Kept } else { PaymentState::RefundDue };
        assert_eq!(step.put_payments[0].state, state);
    }
}

#[test]
fn what_is_too_little_leaves_nothing_open() {
    let mut desk = Desk::new();
    let nonce = Nonce::from_random([9; 16]);
    let (id, step) = desk.contract(&nonce, key(1), 1);
    let told = step.send[0].body.clone();
    assert!(!step.put_payments[0].is_open());
    assert!(desk.book.pending_messages().is_empty() && desk.book.next_deadline().is_none());
    assert!(desk.status(&nonce, id).send.is_empty(), "the first one may be on its way");
    desk.later(REPEAT_PAUSE);
    let step = desk.status(&nonce, id);
    assert_eq!((&step.send[0].body, step.send[0].from_allowance), (&told, true));
    desk.book.trim(desk.now.plus(ANSWERS_KEPT + HOUR));
    assert_eq!(desk.book.payments().count(), 0);
}

#[test]
fn less_than_a_satoshi_is_not_answered_at_a_loss() {
    let mut desk = Desk::new();
    let request = Request::Refresh { nonce: Nonce::from_random([9; 16]), price_sat: PRICE_SAT };
    let step = desk.hear_as(MessageId::from_random([9; 16]), &request, Msat(999), false, false);
    assert!(step.send.is_empty());
    assert_eq!(step.put_payments[0].state, PaymentState::Kept);
}

#[test]
fn a_refund_that_fails_is_tried_again_by_another_way_and_one_that_may_be_paid_is_not() {
    let mut desk = Desk::new();
    desk.direct = true;
    let (_, step) = desk.contract(&Nonce::from_random([9; 16]), key(1), PRICE_SAT);
    assert_eq!(step.send[0].amount_sat, PRICE_SAT);
    desk.end(step.send[0].id, End::Failed);
    assert_eq!(desk.book.next_deadline(), Some(desk.now.plus(HOUR)));
    let step = desk.later(HOUR);
    assert_eq!(step.send[0].amount_sat, PRICE_SAT - 2);
    assert!(step.publish.is_empty(), "programs know of it");
    let id = step.send[0].id;
    assert_eq!(desk.end(id, End::Unknown).put_payments[0].state, PaymentState::RefundDue);
    assert_eq!((desk.book.next_deadline(), desk.book.refunds_due()), (None, 1));
    assert_eq!(desk.book.pending_messages(), [id]);
    assert_eq!(desk.end(id, End::Settled(desk.now)).put_payments[0].state, PaymentState::Refunded);
    assert!(desk.book.pending_messages().is_empty());
}

#[test]
fn a_config_that_does_not_get_there_is_refunded_once_the_device_agrees() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    assert_eq!(desk.book.peers().len(), 1);
    let config_id = step.send[0].id;
    let step = desk.later(ANSWER_TRIED);
    assert_eq!(step.give_up, [config_id]);
    assert!(step.send.is_empty() && desk.book.peers().is_empty());
    desk.end(config_id, End::Failed);
    assert_eq!(desk.book.peers_to_drop(), [(nonce.clone(), key(1))]);
    let step = desk.decide(|book, moment| book.peer_gone(&nonce, moment));
    assert_eq!(refund_reason(&step), "not delivered");
    assert!(desk.decide(|book, moment| book.peer_gone(&nonce, moment)).is_empty());
    assert_eq!(refund_reason(&desk.refresh(&nonce)), "refunded");
    desk.end(step.send[0].id, End::Settled(desk.now));
    let contract = desk.book.contract(&nonce).unwrap();
    assert_eq!((contract.state, contract.refunded_sat), (ContractState::Refunded, 98));
}

/// Who holds the payment of a CONFIG back, and takes it once the price has come back, gains nothing.
#[test]
fn what_a_config_may_still_cost_is_not_given_back() {
    for (end, reason) in [
        (None, "not delivered"),
        (Some(End::Unknown), "delivery unknown"),
        (Some(End::Missing), "delivery unknown"),
    ] {
        let mut desk = Desk::new();
        let nonce = desk.quote();
        let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
        let config_id = step.send[0].id;
        if let Some(end) = end {
            desk.end(config_id, end);
        } else {
            desk.later(ANSWER_TRIED);
        }
        assert_eq!(desk.book.pending_messages(), [config_id]);
        let step = desk.decide(|book, moment| book.peer_gone(&nonce, moment));
        assert_eq!(refund_reason(&step), format!("{reason}; less 3 sat that the configuration may cost"));
        assert_eq!((step.send[0].amount_sat, step.send[0].fee_limit), (96, Some(Msat::from_sat(1))));
        let late = desk.end(config_id, End::Settled(desk.now));
        assert!(late.is_empty(), "too late: {late:?}");
    }
}

#[test]
fn each_part_of_a_config_may_cost_something() {
    let mut desk = Desk::new();
    let allowed = (0..40).map(|third| format!("192.168.{third}.0/24").parse().unwrap()).collect();
    desk.book.set_terms(Terms { allowed, ..desk.book.terms().clone() });
    let nonce = desk.quote();
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    assert!((1000..1700).contains(&step.send[0].body.len()), "two parts");
    desk.later(ANSWER_TRIED);
    let step = desk.decide(|book, moment| book.peer_gone(&nonce, moment));
    assert_eq!(refund_reason(&step), "not delivered; less 6 sat that the configuration may cost");
}

#[test]
fn a_refund_of_which_the_outbox_knows_nothing_any_more_is_not_paid_again() {
    let mut desk = Desk::new();
    let (_, step) = desk.contract(&Nonce::from_random([9; 16]), key(1), PRICE_SAT);
    let step = desk.end(step.send[0].id, End::Missing);
    assert_eq!(step.put_payments[0].state, PaymentState::RefundDue);
    assert_eq!(step.put_payments[0].error, "not known whether it was paid");
    assert_eq!((desk.book.next_deadline(), desk.book.refunds_due()), (None, 1));
}

#[test]
fn a_config_that_no_buyer_could_read_is_not_sold() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    desk.book.set_terms(Terms { allowed: vec![], ..desk.book.terms().clone() });
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    assert_eq!((refund_reason(&step).as_str(), step.count), ("not selling", vec!["vpn_config_invalid"]));
}
