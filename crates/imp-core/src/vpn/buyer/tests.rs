mod answers;
mod time;

use std::time::Duration;

use secp256k1::{SECP256K1, SecretKey};

use super::*;
use crate::amount::Msat;
use crate::id::{MessageId, NodeId, PaymentHash};
use crate::time::UnixMillis;
use crate::vpn::{
    Config, End, Incoming, Limits, Moment, Nonce, PAID_TWICE, PresharedKey, PrivateKey, Quote, Reading,
    Request, Response,
};

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const PRICE_SAT: u64 = 100;

/// A buyer, and a seller that says what it is told to.
struct Desk {
    book: Purchases,
    now: UnixMillis,
    seed: u8,
    limits: Limits,
}

impl Desk {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    /// Where so much is sold.
    fn with(limits: Limits) -> Self {
        Self { book: Purchases::new(vec![], vec![], START), now: START, seed: 0, limits }
    }

    fn decide<T>(&mut self, decide: impl FnOnce(&Purchases, &mut Moment<'_>) -> T) -> T {
        let mut seed = self.seed;
        let mut random = || {
            seed += 1;
            [seed; 32]
        };
        let mut moment = Moment { now: self.now, random: &mut random, is_direct: &|_| false };
        let decided = decide(&self.book, &mut moment);
        self.seed = seed;
        decided
    }

    fn hear(&mut self, reply_to: MessageId, response: &Response, sat: u64) -> Step {
        self.hear_from(seller(), reply_to, response, sat, self.asked())
    }

    fn hear_from(
        &mut self,
        from: NodeId,
        reply_to: MessageId,
        response: &Response,
        sat: u64,
        asked: Asked,
    ) -> Step {
        let incoming = Incoming {
            hash: PaymentHash([0; 32]),
            from,
            id: self.id(),
            reply_to: &reply_to.to_string(),
            amount: Msat::from_sat(sat),
            at: self.now,
            repeated: false,
            blocked: false,
        };
        let step = self.book.take(&incoming, response, asked, self.now);
        self.book.apply(&step);
        step
    }

    /// A quote was asked for now.
    fn asked(&self) -> Asked {
        Asked { quote_asked: Some(self.now), nonce_taken: false }
    }

    fn id(&mut self) -> MessageId {
        self.seed += 1;
        MessageId::from_random([self.seed; 16])
    }

    /// A quote of the seller.
    fn quoted(&mut self) -> Nonce {
        let quote = Quote { limits: self.limits, ..quote(self.id()) };
        let id = self.id();
        self.hear(id, &Response::Quote(quote.clone()), 1);
        quote.nonce
    }

    fn accept(&mut self, nonce: &Nonce) -> Result<MessageId, AcceptError> {
        let (id, step) = self.decide(|book, moment| book.accept(seller(), nonce, PRICE_SAT, moment))?;
        self.book.apply(&step);
        Ok(id)
    }

    /// A purchase that is paid.
    fn paid(&mut self) -> (Nonce, MessageId) {
        let nonce = self.quoted();
        let id = self.accept(&nonce).unwrap();
        self.end(id, End::Settled(self.now));
        (nonce, id)
    }

    /// A purchase whose configuration came.
    fn active(&mut self) -> (Nonce, MessageId) {
        let (nonce, id) = self.paid();
        let config = Response::Config(Box::new(self.config(&nonce)));
        assert_eq!(self.hear(id, &config, 1).publish.len(), 1);
        (nonce, id)
    }

    fn config(&self, nonce: &Nonce) -> Config {
        Config {
            client_key: self.book.purchase(nonce).unwrap().public_key,
            server: "203.0.113.5:51820".parse().unwrap(),
            server_key: PrivateKey::from_random([200; 32]).public(),
            client: "10.0.0.2/24".parse().unwrap(),
            allowed: vec!["0.0.0.0/0".parse().unwrap()],
            dns: "9.9.9.9".parse().unwrap(),
            psk: PresharedKey::from_random([201; 32]),
            nonce: nonce.clone(),
            expiry_secs: 0,
            duration_secs: HOUR.as_secs(),
            mtu: 1420,
            limits: self.limits,
        }
    }

    fn refresh(&mut self, nonce: &Nonce) -> Result<MessageId, RefreshError> {
        let (id, step) = self.decide(|book, moment| book.refresh(seller(), nonce, PRICE_SAT, moment))?;
        self.book.apply(&step);
        Ok(id)
    }

    fn refreshed(&mut self, nonce: &Nonce, id: MessageId, remaining_secs: u64) -> Step {
        let nonce = nonce.clone();
        let duration_secs = HOUR.as_secs();
        self.hear(id, &Response::Refreshed { nonce, duration_secs, remaining_secs, expiry_secs: 0 }, 1)
    }

    /// What the device says of the tunnel.
    fn carried(&mut self, nonce: &Nonce, rx_bytes: u64) {
        self.book.read_meter(nonce, &Reading { rx_bytes, tx_bytes: 0, last_handshake: None });
    }

    fn auto_refresh(&mut self, nonce: &Nonce, limit_sat: u64) {
        let step = self.book.set_auto_refresh(nonce, Some(limit_sat), self.now).unwrap();
        self.book.apply(&step);
    }

    fn refund(&mut self, nonce: &Nonce, id: MessageId, reason: &str) -> Step {
        let (nonce, reason) = (nonce.clone(), reason.to_owned());
        self.hear(id, &Response::Refund { nonce, amount_sat: 1_000_000, received_sat: 100, reason }, 98)
    }

    fn end(&mut self, id: MessageId, end: End) {
        let step = self.book.message_ended(id, end, self.now);
        self.book.apply(&step);
    }

    fn later(&mut self, time: Duration) -> Step {
        self.later_if(true, time)
    }

    fn later_if(&mut self, may_pay: bool, time: Duration) -> Step {
        self.now = self.now.plus(time);
        let step = self.decide(|book, moment| book.tick(may_pay, moment));
        self.book.apply(&step);
        step
    }

    fn state(&self, nonce: &Nonce) -> PurchaseState {
        self.book.purchase(nonce).unwrap().state
    }

    fn has_key(&self, nonce: &Nonce) -> bool {
        self.book.purchase(nonce).unwrap().private_key.is_some()
    }
}

fn quote(id: MessageId) -> Quote {
    Quote {
        nonce: Nonce::from_random(*id.as_bytes()),
        price_sat: PRICE_SAT,
        valid_secs: 600,
        expiry_secs: 0,
        duration_secs: HOUR.as_secs(),
        max_secs: 2 * HOUR.as_secs(),
        limits: Limits::default(),
    }
}

fn node(byte: u8) -> NodeId {
    SecretKey::from_slice(&[byte; 32]).unwrap().public_key(SECP256K1).into()
}

fn seller() -> NodeId {
    node(7)
}

fn kinds(step: &Step) -> Vec<String> {
    let kind = |data: &str| data.split(r#""type":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    step.publish.iter().map(|note| kind(&note.data)).collect()
}

#[test]
fn only_a_quote_that_is_held_is_paid_for_at_its_price() {
    let mut desk = Desk::new();
    let nonce = desk.quoted();
    let mut accept = |seller, nonce: &Nonce, price_sat| {
        desk.decide(|book, moment| book.accept(seller, nonce, price_sat, moment)).map(drop)
    };
    assert_eq!(accept(node(8), &nonce, PRICE_SAT), Err(AcceptError::NoQuote));
    assert_eq!(accept(seller(), &Nonce::from_random([99; 16]), PRICE_SAT), Err(AcceptError::NoQuote));
    assert_eq!(accept(seller(), &nonce, 1), Err(AcceptError::Price { quoted_sat: PRICE_SAT }));
    let (id, step) = desk.decide(|book, moment| book.accept(seller(), &nonce, PRICE_SAT, moment)).unwrap();
    let post = &step.pay[0];
    assert_eq!((post.id, post.to, post.amount_sat, post.keep), (id, seller(), PRICE_SAT, None));
    let public_key = step.put_purchases[0].public_key;
    let body = Request::Contract { nonce, price_sat: PRICE_SAT, public_key };
    assert_eq!(Request::parse(&post.body), Ok(body));
}

#[test]
fn nothing_is_paid_in_the_last_minute_of_a_quote() {
    let mut desk = Desk::new();
    let nonce = desk.quoted();
    desk.now = START.plus(9 * MINUTE).minus(Duration::from_millis(1));
    assert!(desk.book.quote(&nonce).unwrap().is_payable(desk.now));
    desk.now = START.plus(9 * MINUTE);
    assert_eq!(desk.accept(&nonce), Err(AcceptError::TooOld));
    desk.later(10 * MINUTE);
    assert_eq!(desk.accept(&nonce), Err(AcceptError::NoQuote));
}

#[test]
fn a_quote_of_unknown_age_is_not_paid_for() {
    let mut desk = Desk::new();
    let nonce = desk.quoted();
    desk.now = START.minus(MINUTE);
    assert_eq!(desk.accept(&nonce), Err(AcceptError::TooOld));
}

#[test]
fn a_quote_is_accepted_again_only_if_nothing_was_paid() {
    let mut desk = Desk::new();
    let nonce = desk.quoted();
    let first = desk.accept(&nonce).unwrap();
    assert_eq!(desk.accept(&nonce), Err(AcceptError::Bought));
    desk.end(first, End::Unknown);
    assert_eq!(desk.accept(&nonce), Err(AcceptError::Bought));
    desk.end(first, End::Failed);
    assert!(desk.state(&nonce) == PurchaseState::Failed && !desk.has_key(&nonce));
    let second = desk.accept(&nonce).unwrap();
    assert_ne!(first, second);
    assert_eq!(desk.book.pending_messages(), [second]);
    desk.end(second, End::Settled(desk.now));
    assert_eq!(desk.accept(&nonce), Err(AcceptError::Bought));
    assert_eq!(desk.book.purchase(&nonce).unwrap().paid_sat, PRICE_SAT);
}

#[test]
fn refusals_name_what_is_wrong() {
    let texts = [
        AcceptError::NoQuote.to_string(),
        AcceptError::TooOld.to_string(),
        AcceptError::Price { quoted_sat: 5 }.to_string(),
        AcceptError::Bought.to_string(),
        RefreshError::NoContract.to_string(),
        RefreshError::State { state: PurchaseState::Refunded }.to_string(),
        RefreshError::TooMuch { max_secs: 9 }.to_string(),
    ];
    for text in texts {
        assert!(text.starts_with("failed: ") && text.contains("nonce"), "{text}");
    }
}

#[test]
fn a_refresh_is_refused_before_it_is_paid_for() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.paid();
    assert_eq!(desk.refresh(&nonce), Err(RefreshError::State { state: PurchaseState::Paid }));
    let (nonce, _) = desk.active();
    assert_eq!(desk.refresh(&Nonce::from_random([99; 16])), Err(RefreshError::NoContract));
    let wrong = desk.decide(|book, moment| book.refresh(seller(), &nonce, 7, moment)).map(drop);
    assert_eq!(wrong, Err(RefreshError::Price { price_sat: PRICE_SAT }));
    let id = desk.refresh(&nonce).unwrap();
    assert_eq!(desk.refresh(&nonce), Err(RefreshError::Open));
    desk.end(id, End::Settled(desk.now));
    desk.refreshed(&nonce, id, 7200);
    desk.later(MINUTE);
    assert_eq!(desk.refresh(&nonce), Err(RefreshError::TooMuch { max_secs: 7200 }));
}

#[test]
fn meters_go_on_and_keys_are_not_printed() {
    let mut desk = Desk::new();
    let (nonce, _) = desk.active();
    desk.book.read_meter(&nonce, &Reading { rx_bytes: 5, tx_bytes: 6, last_handshake: None });
    let step = desk.book.save_meters(desk.now);
    assert_eq!(step.put_purchases[0].meter.bytes(), 11);
    desk.book.apply(&step);
    assert!(desk.book.save_meters(desk.now).is_empty());
    let purchase = desk.book.purchase(&nonce).unwrap();
    let printed = format!("{:?} {step:?}", desk.book);
    assert!(!printed.contains(purchase.private_key.as_ref().unwrap().to_base64().as_str()));
    assert!(!printed.contains(purchase.config.as_ref().unwrap().psk.to_base64().as_str()));
    let row = serde_json::to_string(purchase).unwrap();
    assert_eq!(&serde_json::from_str::<Purchase>(&row).unwrap(), purchase);
}
