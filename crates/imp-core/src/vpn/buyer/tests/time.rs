use super::*;

/// When the seller is asked STATUS, in seconds from now, over so long a time.
fn asked(desk: &mut Desk, time: Duration) -> Vec<u64> {
    let (from, until) = (desk.now, desk.now.plus(time));
    let mut asked = Vec::new();
    while let Some(due) = desk.book.next_deadline().filter(|due| *due <= until) {
        let step = desk.later(due.since(desk.now));
        asked.extend(step.send.iter().map(|_| due.since(from).as_secs()));
    }
    asked
}

#[test]
fn a_seller_that_is_silent_is_asked_ever_more_seldom_for_a_day_and_is_marked() {
    let mut desk = Desk::new();
    let (nonce, id) = desk.paid();
    let step = desk.later(FIRST_INQUIRY);
    let post = &step.send[0];
    assert_eq!((post.amount_sat, post.from_allowance, post.keep), (0, true, None));
    assert_eq!(Request::parse(&post.body), Ok(Request::Status { nonce: nonce.clone(), id }));
    assert_eq!(asked(&mut desk, 18 * MINUTE), [60, 180, 420, 900]);
    let step = desk.later(Duration::from_secs(270));
    assert_eq!(kinds(&step), ["UNANSWERED"]);
    assert_eq!(desk.state(&nonce), PurchaseState::Unanswered);
    let later = asked(&mut desk, 3 * 24 * HOUR);
    assert_eq!(
        later.iter().map(|secs| secs + 1200).collect::<Vec<_>>(),
        [1890, 3810, 7650, 15_330, 30_690, 61_410]
    );
    let config = Response::Config(Box::new(desk.config(&nonce)));
    assert_eq!(kinds(&desk.hear(id, &config, 1)), ["CONFIG"], "it still counts");
}

#[test]
fn after_a_week_no_config_can_come_any_more() {
    let mut desk = Desk::new();
    let (nonce, id) = desk.paid();
    desk.later(ANSWERABLE);
    assert!(desk.state(&nonce) == PurchaseState::Unanswered && !desk.has_key(&nonce));
    let config = Response::Config(Box::new(desk.config(&nonce)));
    assert_eq!(desk.hear(id, &config, 1).count, ["vpn_config_refused"]);
    desk.refund(&nonce, id, "not delivered");
    assert_eq!(desk.state(&nonce), PurchaseState::Refunded);
    desk.later(PURCHASES_KEPT);
    assert!(desk.book.purchase(&nonce).is_none());
}

#[test]
fn a_payment_of_which_nobody_knows_is_asked_about_and_its_seller_not_blamed() {
    let mut desk = Desk::new();
    let nonce = desk.quoted();
    let id = desk.accept(&nonce).unwrap();
    assert_eq!(asked(&mut desk, HOUR), [0; 0], "it is on its way");
    desk.end(id, End::Unknown);
    assert_eq!(asked(&mut desk, HOUR)[..2], [30, 90]);
    assert_eq!(desk.state(&nonce), PurchaseState::Paying);
    desk.later(ANSWERABLE);
    assert_eq!(desk.state(&nonce), PurchaseState::Failed);
    desk.end(id, End::Settled(desk.now));
    assert_eq!(
        (desk.state(&nonce), desk.book.purchase(&nonce).unwrap().paid_sat),
        (PurchaseState::Unanswered, 100)
    );
}

#[test]
fn a_node_that_starts_again_asks_at_once() {
    let mut desk = Desk::new();
    desk.paid();
    desk.later(10 * MINUTE);
    let rows = desk.book.purchases().cloned().collect();
    desk.book = Purchases::new(vec![], rows, desk.now);
    assert_eq!(desk.later(Duration::ZERO).send.len(), 1);
    assert!(desk.later(Duration::ZERO).send.is_empty());
}

#[test]
fn a_contract_ends_and_its_key_is_kept_as_long_as_it_can_be_refreshed() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    assert_eq!(kinds(&desk.later(Duration::from_secs(3299))), [""; 0]);
    assert_eq!(kinds(&desk.later(Duration::from_secs(1))), ["EXPIRING"]);
    assert_eq!(kinds(&desk.later(Duration::from_secs(300))), ["EXPIRED"]);
    assert_eq!(desk.state(&nonce), PurchaseState::Expired);
    assert!(desk.has_key(&nonce) && desk.book.purchase(&nonce).unwrap().published_key().is_none());
    desk.later(REVIVABLE - Duration::from_secs(1));
    let id = desk.refresh(&nonce).unwrap();
    desk.end(id, End::Settled(desk.now));
    assert_eq!(asked(&mut desk, 2 * MINUTE), [30, 90]);
    desk.refreshed(&nonce, id, 3600);
    assert_eq!(
        (desk.state(&nonce), desk.book.purchase(&nonce).unwrap().ends),
        (PurchaseState::Active, Some(desk.now.plus(HOUR)))
    );
    desk.later(HOUR);
    desk.later(REVIVABLE);
    assert!(!desk.has_key(&nonce));
    assert_eq!(desk.refresh(&nonce), Err(RefreshError::State { state: PurchaseState::Expired }));
}

#[test]
fn a_refresh_without_an_answer_is_told_and_given_up_after_a_day() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    let id = desk.refresh(&nonce).unwrap();
    desk.end(id, End::Settled(desk.now));
    let mut told = Vec::new();
    while desk.book.purchase(&nonce).unwrap().refresh.is_some() {
        let due = desk.book.next_deadline().unwrap();
        told.extend(kinds(&desk.later(due.since(desk.now))));
    }
    assert_eq!(told, ["UNANSWERED", "EXPIRING", "EXPIRED"]);
    assert_eq!(desk.now, START.plus(INQUIRIES));
    assert!(!desk.has_key(&nonce), "no answer can make use of it");
}

#[test]
fn refreshes_of_its_own_accord_stay_within_their_limit() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    desk.auto_refresh(&nonce, 2 * PRICE_SAT + 99);
    let mut paid = Vec::new();
    for _ in 0..12 {
        let Some(due) = desk.book.next_deadline().filter(|_| desk.state(&nonce) == PurchaseState::Active)
        else {
            break;
        };
        let step = desk.later(due.since(desk.now));
        for post in &step.pay {
            assert_eq!(post.amount_sat, PRICE_SAT);
            paid.push(desk.now.since(START).as_secs());
            if paid.len() == 2 {
                desk.end(post.id, End::Failed);
                continue;
            }
            desk.end(post.id, End::Settled(desk.now));
            desk.refreshed(&nonce, post.id, 7200);
        }
    }
    assert_eq!(paid, [3600 - 360, 2 * 3600 - 360, 2 * 3600 - 345], "what failed costs nothing");
    let purchase = desk.book.purchase(&nonce).unwrap();
    assert_eq!((purchase.state, purchase.auto_spent_sat), (PurchaseState::Expired, 2 * PRICE_SAT));
}

#[test]
fn a_refresh_of_its_own_accord_that_fails_is_tried_again_and_one_that_is_refused_is_not() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    desk.auto_refresh(&nonce, 10_000);
    let step = desk.later(Duration::from_secs(3240));
    desk.end(step.pay[0].id, End::Failed);
    assert_eq!(desk.book.purchase(&nonce).unwrap().auto_spent_sat, 0);
    assert!(desk.later(AUTO_PAUSE - Duration::from_secs(1)).pay.is_empty());
    let step = desk.later(Duration::from_secs(1));
    let id = step.pay[0].id;
    desk.end(id, End::Settled(desk.now));
    desk.refund(&nonce, id, "not selling");
    assert_eq!(desk.book.purchase(&nonce).unwrap().auto_limit_sat, None);
    assert!(desk.later(MINUTE).pay.is_empty());
}

#[test]
fn a_clock_that_was_ahead_does_not_make_a_contract_longer() {
    let mut desk = Desk::new();
    desk.now = START.plus(1000 * HOUR);
    let (nonce, _) = desk.active();
    desk.later(Duration::ZERO);
    desk.now = START;
    desk.later(Duration::ZERO);
    assert_eq!(desk.book.purchase(&nonce).unwrap().ends, Some(START.plus(HOUR)));
}

#[test]
fn data_that_is_used_up_ends_a_contract_and_a_refresh_brings_as_much_again() {
    let mut desk = Desk::with(Limits { data_bytes: Some(1000), bytes_per_sec: None });
    let (nonce, _) = desk.active();
    desk.carried(&nonce, 999);
    assert_eq!(kinds(&desk.later(MINUTE)), [""; 0]);
    desk.carried(&nonce, 1500);
    assert!(desk.book.next_deadline().is_some_and(|due| due <= desk.now), "at once");
    let step = desk.later(MINUTE);
    assert_eq!(kinds(&step), ["EXPIRED"]);
    let purchase = &step.put_purchases[0];
    assert_eq!((purchase.state, purchase.reason.as_str()), (PurchaseState::Expired, "data"));
    assert_eq!(purchase.ends, Some(desk.now));
    let id = desk.refresh(&nonce).unwrap();
    desk.end(id, End::Settled(desk.now));
    desk.refreshed(&nonce, id, 3600);
    let purchase = desk.book.purchase(&nonce).unwrap();
    assert_eq!(
        (purchase.state, purchase.bytes_allowed),
        (PurchaseState::Active, Some(2500)),
        "what was overdrawn is not owed"
    );
    desk.carried(&nonce, 2500);
    assert_eq!(kinds(&desk.later(MINUTE)), ["EXPIRED"]);
}

/// A seller that says so of each refresh would be paid again and again.
#[test]
fn a_seller_that_counts_less_time_gets_no_refresh_of_its_own_accord() {
    for (remaining_secs, duration_secs, goes_on) in
        [(3960, 3600, true), (3930, 3600, true), (5, 3600, false), (3960, 3599, false)]
    {
        let mut desk = Desk::new();
        let (nonce, _) = desk.active();
        desk.auto_refresh(&nonce, 10_000);
        let step = desk.later(Duration::from_secs(3240));
        let id = step.pay[0].id;
        desk.end(id, End::Settled(desk.now));
        let nonce_of = nonce.clone();
        let said = Response::Refreshed { nonce: nonce_of, duration_secs, remaining_secs, expiry_secs: 0 };
        assert_eq!(kinds(&desk.hear(id, &said, 1)), ["REFRESHED"]);
        let purchase = desk.book.purchase(&nonce).unwrap();
        assert_eq!(purchase.auto_limit_sat.is_some(), goes_on, "{remaining_secs}");
        assert_eq!(purchase.reason.is_empty(), goes_on);
        assert_eq!(purchase.state, PurchaseState::Active);
    }
}

#[test]
fn a_contract_is_refreshed_by_itself_once_within_half_of_what_that_buys() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    desk.auto_refresh(&nonce, 10_000);
    let step = desk.later(Duration::from_secs(3240));
    let id = step.pay[0].id;
    desk.end(id, End::Settled(desk.now));
    desk.refreshed(&nonce, id, 2000);
    // Its owner wants it all the same.
    desk.auto_refresh(&nonce, 10_000);
    assert!(desk.later(Duration::from_secs(1799)).pay.is_empty());
    assert_eq!(desk.later(Duration::from_secs(1)).pay.len(), 1);
}

#[test]
fn nothing_is_paid_by_itself_while_the_service_is_switched_off() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    desk.auto_refresh(&nonce, 10_000);
    assert!(desk.later_if(false, Duration::from_secs(3240)).pay.is_empty());
    assert_eq!(desk.book.next_deadline(), Some(desk.now.plus(AUTO_PAUSE)), "nothing stays due");
    assert!(desk.later_if(false, AUTO_PAUSE).pay.is_empty());
    assert_eq!(desk.later(AUTO_PAUSE).pay.len(), 1, "it was switched on again");
}
