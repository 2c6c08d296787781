mod refund;
mod time;

use std::time::Duration;

use secp256k1::{SECP256K1, SecretKey};

use super::*;
use crate::amount::Msat;
use crate::id::{MessageId, NodeId, PaymentHash};
use crate::time::UnixMillis;
use crate::vpn::{
    ALLOWANCE_FEE_LIMIT, End, Incoming, Limits, Moment, Nonce, PAID_TWICE, Post, PrivateKey, PublicKey,
    Reading, Request, Response,
};

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const PRICE_SAT: u64 = 100;

/// A seller, and a buyer who says what it is told to.
struct Desk {
    book: Book,
    now: UnixMillis,
    seed: u8,
    direct: bool,
}

impl Desk {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let terms = Terms {
            selling: true,
            carrying: true,
            price_sat: PRICE_SAT,
            duration_secs: HOUR.as_secs(),
            rest: HOUR,
            max_secs: 2 * HOUR.as_secs(),
            limits,
            subnet: "10.0.0.0/24".parse().unwrap(),
            server: "203.0.113.5:51820".parse().unwrap(),
            server_key: key(200),
            allowed: vec!["0.0.0.0/0".parse().unwrap()],
            dns: "9.9.9.9".parse().unwrap(),
            mtu: 1420,
        };
        Self { book: Book::new(terms, vec![], vec![], vec![]), now: START, seed: 0, direct: false }
    }

    fn decide(&mut self, decide: impl FnOnce(&Book, &mut Moment<'_>) -> Step) -> Step {
        let (mut seed, direct) = (self.seed, self.direct);
        let mut random = || {
            seed += 1;
            [seed; 32]
        };
        let mut moment = Moment { now: self.now, random: &mut random, is_direct: &|_| direct };
        let step = decide(&self.book, &mut moment);
        self.seed = seed;
        self.book.apply(&step);
        step
    }

    fn hear(&mut self, request: &Request, sat: u64) -> (MessageId, Step) {
        self.seed += 1;
        let id = MessageId::from_random([self.seed; 16]);
        (id, self.hear_as(id, request, Msat::from_sat(sat), false, false))
    }

    fn hear_as(
        &mut self,
        id: MessageId,
        request: &Request,
        amount: Msat,
        repeated: bool,
        blocked: bool,
    ) -> Step {
        self.seed += 1;
        let hash = PaymentHash([self.seed; 32]);
        let (from, at) = (buyer(), self.now);
        let incoming = Incoming { hash, from, id, reply_to: "", amount, at, repeated, blocked };
        self.decide(|book, moment| book.take(&incoming, request, moment))
    }

    fn quote(&mut self) -> Nonce {
        let (_, step) = self.hear(&Request::Quote, 1);
        step.put_offers[0].nonce.clone()
    }

    fn contract(&mut self, nonce: &Nonce, client_key: PublicKey, sat: u64) -> (MessageId, Step) {
        let request =
            Request::Contract { nonce: nonce.clone(), price_sat: PRICE_SAT, public_key: client_key };
        self.hear(&request, sat)
    }

    /// A contract whose CONFIG is delivered.
    fn active(&mut self) -> (Nonce, MessageId) {
        let nonce = self.quote();
        let (id, step) = self.contract(&nonce, key(1), PRICE_SAT);
        let config_id = step.put_contracts[0].config_id;
        self.end(config_id, End::Settled(self.now));
        (nonce, id)
    }

    fn refresh(&mut self, nonce: &Nonce) -> Step {
        self.hear(&Request::Refresh { nonce: nonce.clone(), price_sat: PRICE_SAT }, PRICE_SAT).1
    }

    fn status(&mut self, nonce: &Nonce, id: MessageId) -> Step {
        self.hear(&Request::Status { nonce: nonce.clone(), id }, 1).1
    }

    fn end(&mut self, id: MessageId, end: End) -> Step {
        self.decide(|book, moment| book.message_ended(id, end, moment))
    }

    fn later(&mut self, time: Duration) -> Step {
        self.now = self.now.plus(time);
        self.decide(Book::tick)
    }
}

fn key(byte: u8) -> PublicKey {
    PrivateKey::from_random([byte; 32]).public()
}

fn buyer() -> NodeId {
    SecretKey::from_slice(&[7; 32]).unwrap().public_key(SECP256K1).into()
}

fn said(post: &Post) -> Response {
    Response::parse(&post.body).unwrap()
}

fn kinds(step: &Step) -> Vec<String> {
    let kind = |data: &str| data.split(r#""type":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    step.publish.iter().map(|note| kind(&note.data)).collect()
}

fn refund_reason(step: &Step) -> String {
    let Response::Refund { reason, .. } = said(&step.send[0]) else { panic!("{step:?}") };
    reason
}

#[test]
fn a_quote_costs_the_allowance_and_binds_until_two_minutes_after_its_end() {
    let mut desk = Desk::new();
    let (_, step) = desk.hear(&Request::Quote, 1);
    assert!(step.send[0].from_allowance);
    let Response::Quote(quote) = said(&step.send[0]) else { panic!("{step:?}") };
    assert_eq!((quote.price_sat, quote.valid_secs, quote.max_secs), (PRICE_SAT, 600, 7200));
    desk.later(Duration::from_secs(720));
    let (_, step) = desk.contract(&quote.nonce, key(1), PRICE_SAT);
    assert_eq!(step.put_contracts[0].state, ContractState::Configuring);

    let nonce = desk.quote();
    desk.now = desk.now.plus(Duration::from_millis(720_001));
    let (_, step) = desk.contract(&nonce, key(2), PRICE_SAT);
    assert_eq!(refund_reason(&step), "quote expired");
}

#[test]
fn a_quote_that_cannot_be_sent_is_not_remembered() {
    let mut desk = Desk::new();
    let request = Request::Quote;
    let incoming = Incoming {
        hash: PaymentHash([1; 32]),
        from: buyer(),
        id: MessageId::from_random([1; 16]),
        reply_to: "",
        amount: Msat(1000),
        at: START,
        repeated: false,
        blocked: false,
    };
    let step = desk.decide(|book, moment| book.take(&incoming, &request, moment).without_answer());
    assert!(step.send.is_empty() && step.put_offers.is_empty() && desk.book.offers().count() == 0);
    assert_eq!(kinds(&step), ["QUOTE"], "programs see what was asked");
}

#[test]
fn a_buyer_has_eight_open_quotes_and_one_more_when_one_is_over() {
    let mut desk = Desk::new();
    for _ in 0..8 {
        desk.quote();
    }
    let (_, step) = desk.hear(&Request::Quote, 1);
    assert_eq!(said(&step.send[0]), Response::Refused { reason: "too many open quotes".to_owned() });
    desk.later(Duration::from_secs(721));
    desk.quote();
}

#[test]
fn prices_of_old_quotes_and_contracts_stay() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    let terms = Terms { price_sat: 7, duration_secs: 60, max_secs: 60, ..desk.book.terms().clone() };
    desk.book.set_terms(terms);
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    let contract = &step.put_contracts[0];
    assert_eq!((contract.price_sat, contract.duration_secs), (PRICE_SAT, 3600));
    desk.end(contract.config_id, End::Settled(desk.now));
    let step = desk.refresh(&nonce);
    assert!(matches!(
        said(&step.send[0]),
        Response::Refreshed { duration_secs: 3600, remaining_secs: 7200, .. }
    ));
}

#[test]
fn status_repeats_the_answer_that_was_sent_but_not_too_often() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    let (id, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    let (config_id, config) = (step.send[0].id, step.send[0].body.clone());
    assert!(desk.status(&nonce, id).send.is_empty(), "the first one is on its way");
    desk.end(config_id, End::Settled(desk.now));
    let step = desk.status(&nonce, id);
    let post = &step.send[0];
    assert_eq!((&post.body, post.reply_to, post.from_allowance), (&config, Some(id), true));
    assert_eq!((post.amount_sat, post.fee_limit, post.keep), (0, Some(ALLOWANCE_FEE_LIMIT), None));
    assert!(desk.status(&nonce, id).send.is_empty(), "too soon");
    desk.later(REPEAT_PAUSE);
    assert_eq!(desk.status(&nonce, id).send.len(), 1);
    let strange = MessageId::from_random([77; 16]);
    assert_eq!(desk.status(&nonce, strange).count, ["vpn_status_ignored"]);
}

/// A configuration may take several payments, which nobody but the outbox has to know.
#[test]
fn answers_bring_the_least_that_their_parts_take_and_cost_little_besides() {
    let mut desk = Desk::new();
    let (_, step) = desk.hear(&Request::Quote, 1);
    let nonce = step.put_offers[0].nonce.clone();
    let quote = (step.send[0].amount_sat, step.send[0].fee_limit);
    assert_eq!(quote, (0, Some(ALLOWANCE_FEE_LIMIT)));
    let answer = (0, Some(Msat::from_sat(PRICE_SAT / 50)), Some(ANSWER_TRIED));
    let of = |post: &Post| (post.amount_sat, post.fee_limit, post.keep);
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    assert_eq!(of(&step.send[0]), answer);
    desk.end(step.send[0].id, End::Settled(desk.now));
    let step = desk.refresh(&nonce);
    assert_eq!(of(&step.send[0]), answer);
    desk.book.set_terms(Terms { selling: false, ..desk.book.terms().clone() });
    let (_, step) = desk.hear(&Request::Quote, 1);
    let refused = (step.send[0].amount_sat, step.send[0].fee_limit);
    assert_eq!(refused, (0, Some(ALLOWANCE_FEE_LIMIT)));
}

#[test]
fn four_open_quotes_fit_into_what_one_buyer_gets_of_the_allowance() {
    let mut desk = Desk::new();
    let most: Msat = (0..4)
        .map(|_| {
            let post = desk.hear(&Request::Quote, 1).1.send.remove(0);
            Msat::from_sat(post.amount_sat.max(1)) + post.fee_limit.expect("not the configuration's")
        })
        .sum();
    assert!(most <= Msat::from_sat(20), "{most:?}");
}

#[test]
fn who_does_not_sell_any_more_goes_on_selling_time_on_what_stands() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    let quoted = desk.quote();
    desk.book.set_terms(Terms { selling: false, ..desk.book.terms().clone() });
    assert_eq!(refund_reason(&desk.contract(&quoted, key(2), PRICE_SAT).1), "not selling");
    assert!(matches!(said(&desk.refresh(&nonce).send[0]), Response::Refreshed { .. }));
    desk.book.set_terms(Terms { carrying: false, ..desk.book.terms().clone() });
    desk.later(HOUR);
    assert_eq!(refund_reason(&desk.refresh(&nonce)), "not selling");
}

#[test]
fn an_offer_that_a_clock_made_shorter_is_kept_where_another_answer_is_not_sent() {
    let mut desk = Desk::with(Limits { data_bytes: Some(1000), bytes_per_sec: None });
    desk.active();
    desk.now = START.plus(HOUR);
    let nonce = desk.quote();
    desk.now = START;
    desk.book.read_meter(&key(1), &Reading { rx_bytes: 2000, tx_bytes: 0, last_handshake: None });
    let step = desk.decide(|book, moment| book.tick(moment).without_answer());
    assert_eq!((kinds(&step), step.send.len()), (vec!["EXPIRED".to_owned()], 0));
    assert_eq!(step.put_offers[0].nonce, nonce);
}

#[test]
fn keys_are_not_printed() {
    let mut desk = Desk::new();
    let nonce = desk.quote();
    let (_, step) = desk.contract(&nonce, key(1), PRICE_SAT);
    let psk = step.put_contracts[0].config.psk.to_base64();
    assert!(step.send[0].body.contains(psk.as_str()));
    assert!(!format!("{step:?} {:?} {:?}", desk.book, desk.book.peers()).contains(psk.as_str()));
}
