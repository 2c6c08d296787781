//! A seller with its store, its outbox and its device, among buyers that do what they like.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bitcoin_hashes::{Hash, sha256};
use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::time::UnixMillis;
use imp_core::vpn::seller::{ANSWER_TRIED, Book, Contract, ContractState, Offer, Payment, Step, Terms};
use imp_core::vpn::{
    End, Incoming, Limits, Moment, Nonce, Post, PrivateKey, PublicKey, Reading, Request, Response,
};
use secp256k1::{SECP256K1, SecretKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) const START: UnixMillis = UnixMillis(1_700_000_000_000);
pub(super) const BUYERS: usize = 3;
pub(super) const DURATION: Duration = Duration::from_secs(3600);
pub(super) const REST: Duration = Duration::from_secs(1800);

/// Where the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    No,
    BeforeCommit,
    AfterCommit,
}

/// What the store has of a message that came in and was not taken yet.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) hash: PaymentHash,
    pub(super) buyer: usize,
    pub(super) id: MessageId,
    pub(super) request: Request,
    pub(super) amount: Msat,
    pub(super) at: UnixMillis,
    pub(super) repeated: bool,
    pub(super) blocked: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) post: Post,
    pub(super) end: Option<End>,
}

/// What the store keeps.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) offers: BTreeMap<Nonce, Offer>,
    pub(super) contracts: BTreeMap<Nonce, Contract>,
    pub(super) payments: BTreeMap<PaymentHash, Payment>,
}

pub(super) struct World {
    pub(super) book: Book,
    pub(super) terms: Terms,
    pub(super) rows: Rows,
    pub(super) inbound: VecDeque<Row>,
    pub(super) outbox: BTreeMap<MessageId, Sent>,
    pub(super) device: BTreeMap<PublicKey, Reading>,
    pub(super) buyers: [NodeId; BUYERS],
    /// Quotes that buyers were given.
    pub(super) quotes: Vec<(usize, Nonce, u64)>,
    /// Every message that a buyer paid a price with.
    pub(super) paid: Vec<Row>,
    pub(super) time: UnixMillis,
    off_ms: i64,
    pub(super) direct: bool,
    pub(super) allowance: bool,
    seed: u64,
    /// Active time of each contract so far, and since when it is active.
    pub(super) served: HashMap<Nonce, (Duration, Option<UnixMillis>)>,
    /// Which payment a message answers, except where it was asked once more.
    pub(super) answers: HashMap<MessageId, PaymentHash>,
    /// Messages that ended when they were given up, of which the book was not told yet.
    untold: Vec<MessageId>,
    /// How far clocks were set, ahead and back.
    pub(super) jumped: [Duration; 2],
}

pub(super) fn buyer_keys() -> Vec<PublicKey> {
    (1..=6).map(|byte| PrivateKey::from_random([byte; 32]).public()).collect()
}

impl World {
    pub(super) fn new(limits: Limits, price_sat: u64, subnet: &str) -> Self {
        let terms = Terms {
            selling: true,
            carrying: true,
            price_sat,
            duration_secs: DURATION.as_secs(),
            rest: REST,
            max_secs: 3 * DURATION.as_secs(),
            limits,
            subnet: subnet.parse().unwrap(),
            server: "203.0.113.5:51820".parse().unwrap(),
            server_key: PrivateKey::from_random([99; 32]).public(),
            allowed: vec!["0.0.0.0/0".parse().unwrap()],
            dns: "9.9.9.9".parse().unwrap(),
            mtu: 1420,
        };
        let node = |byte| NodeId::from(SecretKey::from_slice(&[byte; 32]).unwrap().public_key(SECP256K1));
        Self {
            book: Book::new(terms.clone(), Vec::new(), Vec::new(), Vec::new()),
            terms,
            rows: Rows::default(),
            inbound: VecDeque::new(),
            outbox: BTreeMap::new(),
            device: BTreeMap::new(),
            buyers: [1, 2, 3].map(node),
            quotes: Vec::new(),
            paid: Vec::new(),
            time: START,
            off_ms: 0,
            direct: false,
            allowance: true,
            seed: 0,
            served: HashMap::new(),
            answers: HashMap::new(),
            untold: Vec::new(),
            jumped: [Duration::ZERO; 2],
        }
    }

    pub(super) fn now(&self) -> UnixMillis {
        UnixMillis(self.time.0.saturating_add_signed(self.off_ms))
    }

    pub(super) fn random(&mut self) -> [u8; 32] {
        self.seed += 1;
        sha256::Hash::hash(&self.seed.to_be_bytes()).to_byte_array()
    }

    pub(super) fn fresh_id(&mut self) -> MessageId {
        let [half, _] = *self.random().as_chunks::<16>().0 else { unreachable!() };
        MessageId::from_random(half)
    }

    /// Has the book decide.
    fn decide<T>(&mut self, decide: impl FnOnce(&Book, &mut Moment<'_>) -> T) -> T {
        let (now, direct, mut seed) = (self.now(), self.direct, self.seed);
        let mut random = || {
            seed += 1;
            sha256::Hash::hash(&seed.to_be_bytes()).to_byte_array()
        };
        let mut moment = Moment { now, random: &mut random, is_direct: &|_| direct };
        let decided = decide(&self.book, &mut moment);
        self.seed = seed;
        decided
    }

    /// A message of a buyer comes in: from here on the store has it.
    pub(super) fn come(&mut self, buyer: usize, request: Request, amount: Msat, blocked: bool) {
        let id = self.fresh_id();
        let hash = PaymentHash(self.random());
        let row = Row { hash, buyer, id, request, amount, at: self.now(), repeated: false, blocked };
        if row.request.is_payment() {
            self.paid.push(row.clone());
        }
        self.inbound.push_back(row);
    }

    /// A payment for a message that had come before.
    pub(super) fn come_again(&mut self, row: &Row) {
        let hash = PaymentHash(self.random());
        let row = Row { hash, repeated: true, at: self.now(), ..row.clone() };
        self.paid.push(row.clone());
        self.inbound.push_back(row);
    }

    /// Takes the next message that came in.
    pub(super) fn take(&mut self, crash: Crash) {
        let Some(row) = self.inbound.front().cloned() else { return };
        let incoming = Incoming {
            hash: row.hash,
            from: self.buyers[row.buyer],
            id: row.id,
            reply_to: "",
            amount: row.amount,
            at: row.at,
            repeated: row.repeated,
            blocked: row.blocked,
        };
        // What travels is text.
        let request = Request::parse(&row.request.to_json()).unwrap();
        let mut step = self.decide(|book, moment| book.take(&incoming, &request, moment));
        if !self.allowance {
            step = step.without_answer();
        }
        if crash != Crash::BeforeCommit {
            self.inbound.pop_front();
        }
        self.finish_step(&step, crash);
    }

    /// A message that this node sends comes to its end, or it turns out which.
    pub(super) fn network(&mut self, pick: u16, how: u8, crash: Crash) {
        let is_open = |sent: &Sent| matches!(sent.end, None | Some(End::Unknown));
        for id in std::mem::take(&mut self.untold) {
            self.end(id, End::Failed, Crash::No);
        }
        let open: Vec<_> = self.outbox.iter().filter(|(_, sent)| is_open(sent)).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let id = open[usize::from(pick) % open.len()];
        let end = match how {
            0..=5 => End::Settled(self.now()),
            6..=8 => End::Failed,
            _ => End::Unknown,
        };
        self.end(id, end, crash);
    }

    pub(super) fn end(&mut self, id: MessageId, end: End, crash: Crash) {
        self.outbox.get_mut(&id).unwrap().end = Some(end);
        let step = self.decide(|book, moment| book.message_ended(id, end, moment));
        self.finish_step(&step, crash);
    }

    pub(super) fn tick(&mut self, crash: Crash) {
        let mut step = self.decide(Book::tick);
        if !self.allowance {
            step = step.without_answer();
        }
        self.finish_step(&step, crash);
        if crash == Crash::No {
            let now = self.now();
            assert!(self.book.next_deadline().is_none_or(|at| at > now), "nothing stays due");
        }
    }

    /// Makes the device agree with the book, and tells what is gone.
    pub(super) fn reconcile(&mut self) {
        let wanted = self.book.peers();
        self.device.retain(|key, _| wanted.iter().any(|peer| peer.key == *key));
        for peer in wanted {
            let reading = Reading::default();
            self.device.entry(peer.key).or_insert(reading);
        }
        for (nonce, key) in self.book.peers_to_drop() {
            assert!(!self.device.contains_key(&key));
            let step = self.decide(|book, moment| book.peer_gone(&nonce, moment));
            self.finish_step(&step, Crash::No);
        }
    }

    /// Contracts that were made: their buyers, names and prices.
    pub(super) fn bought(&self) -> Vec<(usize, Nonce, u64)> {
        let contracts = self.rows.contracts.values();
        let buyer = |node: NodeId| self.buyers.iter().position(|buyer| *buyer == node).unwrap();
        contracts.map(|row| (buyer(row.buyer), row.nonce.clone(), row.price_sat)).collect()
    }

    /// Somebody removes a peer by hand.
    pub(super) fn meddle(&mut self, pick: u16) {
        if let Some(key) = self.device.keys().nth(usize::from(pick) % self.device.len().max(1)).copied() {
            self.device.remove(&key);
        }
    }

    /// A buyer uses its tunnel.
    pub(super) fn use_tunnel(&mut self, pick: u16, bytes: u64) {
        let now = self.now();
        let at = usize::from(pick) % self.device.len().max(1);
        let Some((key, reading)) = self.device.iter_mut().nth(at) else { return };
        reading.rx_bytes += bytes;
        reading.tx_bytes += bytes / 2;
        reading.last_handshake = Some(now);
        let (key, reading) = (*key, *reading);
        self.book.read_meter(&key, &reading);
        let step = self.book.save_meters(now);
        self.finish_step(&step, Crash::No);
        self.tick(Crash::No);
    }

    /// Time passes, in which the daemon does all that is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.time.plus(time);
        while self.time < end {
            let left = end.since(self.time);
            let due = self.book.next_deadline().map(|at| at.since(self.now())).unwrap_or(left);
            self.time = self.time.plus(due.clamp(Duration::from_millis(1), left));
            self.tick(Crash::No);
        }
    }

    /// The daemon's clock is set.
    pub(super) fn jump(&mut self, secs: i32) {
        self.off_ms += i64::from(secs) * 1000;
        self.jumped[usize::from(secs < 0)] += Duration::from_secs(secs.unsigned_abs().into());
        self.tick(Crash::No);
    }

    pub(super) fn set_selling(&mut self, selling: bool) {
        self.terms.selling = selling;
        self.book.set_terms(self.terms.clone());
    }

    pub(super) fn set_carrying(&mut self, carrying: bool) {
        self.terms.carrying = carrying;
        self.book.set_terms(self.terms.clone());
    }

    pub(super) fn set_rest(&mut self, rest: Duration) {
        self.terms.rest = rest;
        self.book.set_terms(self.terms.clone());
    }

    /// The daemon starts again, from what the store has.
    pub(super) fn restart(&mut self) {
        self.book = self.rebuilt();
        self.untold.clear();
        for id in self.book.pending_messages() {
            if let Some(end) = self.outbox[&id].end {
                let step = self.decide(|book, moment| book.message_ended(id, end, moment));
                self.commit(&step);
                self.book.apply(&step);
            }
        }
        self.tick(Crash::No);
    }

    fn rebuilt(&self) -> Book {
        let Rows { offers, contracts, payments } = &self.rows;
        Book::new(
            self.terms.clone(),
            offers.values().map(read_back).collect(),
            contracts.values().map(read_back).collect(),
            payments.values().map(read_back).collect(),
        )
    }

    fn finish_step(&mut self, step: &Step, crash: Crash) {
        if crash != Crash::BeforeCommit {
            self.commit(step);
        }
        if crash == Crash::No {
            self.book.apply(step);
        } else {
            self.restart();
        }
        self.check();
    }

    fn commit(&mut self, step: &Step) {
        let Rows { offers, contracts, payments } = &mut self.rows;
        step.forget_offers.iter().for_each(|nonce| drop(offers.remove(nonce)));
        offers.extend(step.put_offers.iter().map(|row| (row.nonce.clone(), row.clone())));
        contracts.extend(step.put_contracts.iter().map(|row| (row.nonce.clone(), row.clone())));
        let answered = step.put_payments.iter().filter_map(|row| Some((row.answer_id?, row.hash)));
        self.answers.extend(answered);
        payments.extend(step.put_payments.iter().map(|row| (row.hash, row.clone())));
        for post in &step.send {
            let response = Response::parse(&post.body).unwrap();
            let gives_back = matches!(&response, Response::Refund { amount_sat, .. } if *amount_sat > 0);
            assert!(post.from_allowance || gives_back == (post.amount_sat > 0), "{post:?}");
            assert!(post.fee_limit.is_some() && (gives_back || post.keep <= Some(ANSWER_TRIED)), "{post:?}");
            if let Response::Quote(quote) = response {
                let buyer = self.buyers.iter().position(|node| *node == post.to).unwrap();
                self.quotes.push((buyer, quote.nonce, quote.price_sat));
            }
            let sent = Sent { post: post.clone(), end: None };
            assert!(self.outbox.insert(post.id, sent).is_none());
        }
        for id in &step.give_up {
            let sent = self.outbox.get_mut(id).unwrap();
            // One that is under way goes on, and may be settled.
            if sent.end.is_none() && self.seed.is_multiple_of(2) {
                sent.end = Some(End::Failed);
                self.untold.push(*id);
            }
        }
        for contract in &step.put_contracts {
            let (sum, since) = self.served.entry(contract.nonce.clone()).or_default();
            match (contract.state == ContractState::Active, *since) {
                (true, None) => *since = Some(self.time),
                (false, Some(from)) => {
                    *sum += self.time.since(from);
                    *since = None;
                }
                _ => {}
            }
        }
    }
}

/// What a store keeps is JSON.
fn read_back<T: Serialize + DeserializeOwned>(row: &T) -> T {
    serde_json::from_str(&serde_json::to_string(row).unwrap()).unwrap()
}
