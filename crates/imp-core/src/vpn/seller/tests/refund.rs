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
    for (direct, sat, amount_sat, limit_sat) in [
        (false, 9, 1, 8),
        (false, 10, 9, 1),
        (false, 99, 98, 1),
        (false, 1000, 980, 20),
        (true, 1000, 1000, 0),
        (true, 1, 1, 0),
    ] {
        let mut desk = Desk::new();
        desk.direct = direct;
        let (_, step) = desk.contract(&Nonce::from_random([9; 16]), key(1), sat);
        let post = &step.send[0];
        assert_eq!((post.amount_sat, post.fee_limit), (amount_sat, Some(Msat::from_sat(limit_sat))), "{sat}");
        let Response::Refund { amount_sat: told_sat, received_sat, .. } = said(post) else {
            panic!("{post:?}")
        };
        assert_eq!((told_sat, received_sat), (if sat < 10 { 0 } else { amount_sat }, sat));
        let state = if sat < 10 { PaymentState::Kept } else { PaymentState::RefundDue };
        assert_eq!(step.put_payments[0].state, state);
    }
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
    let post = &step.send[0];
    assert_eq!((post.keep, post.from_allowance, post.amount_sat), (Some(ANSWER_TRIED), false, 1));
    assert_eq!(desk.book.peers().len(), 1);
    let config_id = post.id;
    let step = desk.later(ANSWER_TRIED);
    assert_eq!(step.give_up, [config_id]);
    assert!(step.send.is_empty() && desk.book.peers().is_empty());
    assert!(desk.end(config_id, End::Settled(desk.now)).is_empty(), "too late");
    assert_eq!(desk.book.peers_to_drop(), [(nonce.clone(), key(1))]);
    let step = desk.decide(|book, moment| book.peer_gone(&nonce, moment));
    assert_eq!(refund_reason(&step), "not delivered");
    assert!(desk.decide(|book, moment| book.peer_gone(&nonce, moment)).is_empty());
    assert_eq!(refund_reason(&desk.refresh(&nonce)), "refunded");
    desk.end(step.send[0].id, End::Settled(desk.now));
    let contract = desk.book.contract(&nonce).unwrap();
    assert_eq!((contract.state, contract.refunded_sat), (ContractState::Refunded, 98));
}

#[test]
fn a_config_that_no_buyer_could_read_is_not_sold() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    desk.book.set_terms(Terms { allowed: vec![], ..desk.book.terms().clone() });
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    assert_eq!((refund_reason(&step).as_str(), step.count), ("not selling", vec!["vpn_config_invalid"]));
}
