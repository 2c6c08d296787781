//! A buyer with its store and its outbox, among sellers that say what they like.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bitcoin_hashes::{Hash, sha256};
use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{Asked, HeldQuote, Purchase, PurchaseState, Purchases, REVIVABLE, Step};
use imp_core::vpn::{
    Config, End, Incoming, Moment, Nonce, Post, PresharedKey, PrivateKey, PublicKey, Quote, Reading, Request,
    Response,
};
use secp256k1::{SECP256K1, SecretKey};

pub(super) const START: UnixMillis = UnixMillis(1_700_000_000_000);
pub(super) const SELLERS: usize = 2;

/// Where the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    No,
    BeforeCommit,
    /// Before the outbox has taken in what is to be paid.
    AfterCommit,
}

/// A payment that the outbox has taken in.
pub(super) struct Paid {
    pub(super) post: Post,
    pub(super) request: Request,
    pub(super) auto: bool,
    pub(super) end: Option<End>,
}

pub(super) struct World {
    pub(super) book: Purchases,
    pub(super) quotes: BTreeMap<Nonce, HeldQuote>,
    pub(super) purchases: BTreeMap<Nonce, Purchase>,
    pub(super) paid: BTreeMap<MessageId, Paid>,
    pub(super) sellers: [NodeId; SELLERS],
    /// Every quote that a seller gave, and when it came by the buyer's clock.
    pub(super) given: Vec<(usize, Quote, UnixMillis)>,
    time: UnixMillis,
    off_ms: i64,
    seed: u64,
    /// What came back for each contract.
    pub(super) came_back_sat: HashMap<Nonce, u64>,
    /// The most that refreshes of the node's own accord were ever allowed to cost.
    pub(super) auto_limit_sat: HashMap<Nonce, u64>,
    /// Texts of private keys.
    secrets: Vec<String>,
    server_key: PublicKey,
    psk: PresharedKey,
    /// The service is switched on.
    active: bool,
    /// When each contract was last refreshed by the node itself, unless the clock was set since.
    refreshed_by_itself: HashMap<Nonce, UnixMillis>,
}

impl World {
    pub(super) fn new() -> Self {
        let node = |byte| NodeId::from(SecretKey::from_slice(&[byte; 32]).unwrap().public_key(SECP256K1));
        Self {
            book: Purchases::new(Vec::new(), Vec::new(), START),
            quotes: BTreeMap::new(),
            purchases: BTreeMap::new(),
            paid: BTreeMap::new(),
            sellers: [1, 2].map(node),
            given: Vec::new(),
            time: START,
            off_ms: 0,
            seed: 0,
            came_back_sat: HashMap::new(),
            auto_limit_sat: HashMap::new(),
            secrets: Vec::new(),
            server_key: PrivateKey::from_random([99; 32]).public(),
            psk: PresharedKey::from_random([98; 32]),
            active: true,
            refreshed_by_itself: HashMap::new(),
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
        let random = self.random();
        MessageId::from_random(std::array::from_fn(|at| random[at]))
    }

    fn decide<T>(&mut self, decide: impl FnOnce(&Purchases, &mut Moment<'_>) -> T) -> T {
        let (now, mut seed) = (self.now(), self.seed);
        let mut random = || {
            seed += 1;
            sha256::Hash::hash(&seed.to_be_bytes()).to_byte_array()
        };
        let mut moment = Moment { now, random: &mut random, is_direct: &|_| false };
        let decided = decide(&self.book, &mut moment);
        self.seed = seed;
        decided
    }

    /// A seller says something.
    pub(super) fn hear(
        &mut self,
        seller: usize,
        reply_to: &str,
        response: &Response,
        sat: u64,
        crash: Crash,
    ) {
        let incoming = Incoming {
            hash: PaymentHash(self.random()),
            from: self.sellers[seller],
            id: self.fresh_id(),
            reply_to,
            amount: Msat::from_sat(sat),
            at: self.now(),
            repeated: false,
            blocked: false,
        };
        let asked = Asked { quote_asked: Some(self.now()), nonce_taken: false };
        // What travels is text.
        let response = Response::parse(&response.to_json()).unwrap();
        let step = self.book.take(&incoming, &response, asked, self.now());
        assert!(step.pay.is_empty() && step.send.is_empty(), "nothing is paid because of what a seller says");
        let mut again = crash == Crash::BeforeCommit;
        self.finish_step(&step, crash);
        if std::mem::take(&mut again) {
            // It is still there.
            let step = self.book.take(&incoming, &response, asked, self.now());
            self.finish_step(&step, Crash::No);
        }
        if let Response::Refund { nonce, .. } = &response
            && self.purchases.get(nonce).is_some_and(|purchase| purchase.seller == incoming.from)
        {
            *self.came_back_sat.entry(nonce.clone()).or_default() += sat;
        }
    }

    pub(super) fn quote(&mut self, seller: usize, quote: Quote) {
        let request = self.fresh_id().to_string();
        let response = Response::Quote(quote.clone());
        self.hear(seller, &request, &response, 1, Crash::No);
        if !self.given.iter().any(|(_, given, _)| given.nonce == quote.nonce) {
            self.given.push((seller, quote, self.now()));
        }
    }

    pub(super) fn accept(&mut self, seller: usize, nonce: &Nonce, price_sat: u64, crash: Crash) {
        let seller = self.sellers[seller];
        let accepted = self.decide(|book, moment| book.accept(seller, nonce, price_sat, moment));
        let Ok((id, step)) = accepted else { return };
        assert_eq!(step.pay.iter().map(|post| post.id).collect::<Vec<_>>(), [id]);
        let (_, quote, received) = self.given.iter().find(|(_, quote, _)| quote.nonce == *nonce).unwrap();
        assert_eq!(price_sat, quote.price_sat);
        // Unless the clock was set back meanwhile, which nobody can know.
        if self.now() >= *received {
            let latest = received.plus(Duration::from_secs(quote.valid_secs.saturating_sub(60)));
            assert!(self.now() < latest, "nothing is paid in the last minute");
        }
        self.finish_step(&step, crash);
    }

    pub(super) fn refresh(&mut self, nonce: &Nonce, crash: Crash) {
        let Some(purchase) = self.purchases.get(nonce).cloned() else { return };
        let price_sat = purchase.quote.price_sat;
        let begun = self.decide(|book, moment| book.refresh(purchase.seller, nonce, price_sat, moment));
        let Ok((_, step)) = begun else { return };
        let ends = purchase.ends.unwrap();
        assert!(self.now() < ends.plus(REVIVABLE));
        self.finish_step(&step, crash);
    }

    pub(super) fn auto_refresh(&mut self, nonce: &Nonce, limit_sat: u64) {
        let now = self.now();
        if let Some(step) = self.book.set_auto_refresh(nonce, Some(limit_sat), now) {
            let limit = self.auto_limit_sat.entry(nonce.clone()).or_default();
            *limit = limit_sat.max(*limit);
            self.finish_step(&step, Crash::No);
        }
    }

    /// The payment comes to its end, or it turns out which.
    pub(super) fn network(&mut self, pick: u16, how: u8, crash: Crash) {
        let is_open = |paid: &Paid| matches!(paid.end, None | Some(End::Unknown));
        let open: Vec<_> = self.paid.iter().filter(|(_, paid)| is_open(paid)).map(|(id, _)| *id).collect();
        if open.is_empty() {
            return;
        }
        let end = match how {
            0..=5 => End::Settled(self.now()),
            6..=8 => End::Failed,
            _ => End::Unknown,
        };
        self.end(open[usize::from(pick) % open.len()], end, crash);
    }

    /// The payment is settled.
    pub(super) fn settle(&mut self, id: MessageId) {
        self.end(id, End::Settled(self.now()), Crash::No);
    }

    fn end(&mut self, id: MessageId, end: End, crash: Crash) {
        let paid = self.paid.get_mut(&id).unwrap();
        paid.end = Some(end);
        if let (End::Settled(_), true, Some(nonce)) = (end, paid.auto, paid.request.nonce()) {
            let sent = self.purchases.get(nonce).and_then(|purchase| purchase.refresh);
            let sent = sent.filter(|refresh| refresh.id == id).map(|refresh| refresh.sent);
            self.refreshed_by_itself.extend(sent.map(|sent| (nonce.clone(), sent)));
        }
        let step = self.book.message_ended(id, end, self.now());
        assert!(step.pay.is_empty());
        self.finish_step(&step, crash);
    }

    pub(super) fn tick(&mut self, crash: Crash) {
        let active = self.active;
        let step = self.decide(|book, moment| book.tick(active, moment));
        self.finish_step(&step, crash);
        if crash == Crash::No {
            let now = self.now();
            assert!(self.book.next_deadline().is_none_or(|at| at > now), "nothing stays due");
        }
    }

    /// Time passes, in which the daemon does all that is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.time.plus(time);
        while self.time < end {
            let left = end.since(self.time);
            let due = self.book.next_deadline().map_or(left, |at| at.since(self.now()));
            self.time = self.time.plus(due.clamp(Duration::from_millis(1), left));
            self.tick(Crash::No);
        }
    }

    pub(super) fn jump(&mut self, secs: i32) {
        self.off_ms += i64::from(secs) * 1000;
        self.refreshed_by_itself.clear();
        self.tick(Crash::No);
    }

    pub(super) fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    /// The tunnel is used, which the node sees where it carries it.
    pub(super) fn use_tunnel(&mut self, nonce: &Nonce, bytes: u64) {
        let Some(purchase) = self.book.purchase(nonce) else { return };
        let (rx_bytes, tx_bytes) = (purchase.meter.rx_bytes + bytes, purchase.meter.tx_bytes + bytes / 2);
        self.book.read_meter(nonce, &Reading { rx_bytes, tx_bytes, last_handshake: None });
        let step = self.book.save_meters(self.now());
        self.finish_step(&step, Crash::No);
        self.tick(Crash::No);
        let purchase = &self.purchases[nonce];
        let is_used_up = purchase.bytes_allowed.is_some_and(|allowed| purchase.meter.bytes() >= allowed);
        assert!(!is_used_up || purchase.state != PurchaseState::Active, "{purchase:?}");
    }

    /// The daemon starts again, from what the store has.
    pub(super) fn restart(&mut self) {
        let read =
            |purchase: &Purchase| serde_json::from_str(&serde_json::to_string(purchase).unwrap()).unwrap();
        let purchases = self.purchases.values().map(read).collect();
        self.book = Purchases::new(self.quotes.values().cloned().collect(), purchases, self.now());
        for id in self.book.pending_messages() {
            // What the outbox never took in was never paid.
            let end = self.paid.get(&id).map_or(Some(End::Failed), |paid| paid.end);
            if let Some(end) = end {
                let step = self.book.message_ended(id, end, self.now());
                self.commit(&step);
                self.book.apply(&step);
            }
        }
        self.tick(Crash::No);
    }

    fn finish_step(&mut self, step: &Step, crash: Crash) {
        match crash {
            Crash::No => {
                self.commit(step);
                self.book.apply(step);
                self.pay(step);
            }
            Crash::BeforeCommit => self.restart(),
            Crash::AfterCommit => {
                self.commit(step);
                self.restart();
            }
        }
        self.check();
    }

    fn commit(&mut self, step: &Step) {
        step.forget_quotes.iter().for_each(|nonce| drop(self.quotes.remove(nonce)));
        self.quotes.extend(step.put_quotes.iter().map(|row| (row.quote.nonce.clone(), row.clone())));
        step.forget_purchases.iter().for_each(|nonce| drop(self.purchases.remove(nonce)));
        for purchase in &step.put_purchases {
            let key = purchase.private_key.as_ref().map(|key| key.to_base64().to_string());
            self.secrets.extend(key.filter(|key| !self.secrets.contains(key)));
            self.purchases.insert(purchase.nonce().clone(), purchase.clone());
        }
        for post in &step.send {
            assert!(post.amount_sat == 0 && post.from_allowance);
            assert!(matches!(Request::parse(&post.body), Ok(Request::Status { .. })));
        }
        let texts = step.send.iter().chain(&step.pay).map(|post| &post.body);
        for text in texts.chain(step.publish.iter().map(|note| &note.data)) {
            assert!(!self.secrets.iter().any(|key| text.contains(key)), "a private key left the node");
        }
    }

    fn pay(&mut self, step: &Step) {
        let now = self.now();
        for post in &step.pay {
            let request = Request::parse(&post.body).unwrap();
            let nonce = request.nonce().unwrap();
            let purchase = &self.purchases[nonce];
            assert_eq!((post.to, post.amount_sat), (purchase.seller, purchase.quote.price_sat));
            let is_failed = |paid: &Paid| matches!(paid.end, Some(End::Failed));
            if matches!(request, Request::Contract { .. }) {
                let others = self.paid.values().filter(|paid| paid.request.nonce() == Some(nonce));
                let twice = others.filter(|paid| matches!(paid.request, Request::Contract { .. }));
                assert!(twice.clone().all(is_failed), "paid twice for one quote");
            }
            let auto = purchase.refresh.is_some_and(|refresh| refresh.id == post.id && refresh.auto);
            if auto {
                assert!(self.active, "nothing is paid by itself");
                let half = Duration::from_secs(purchase.quote.duration_secs) / 2;
                let last = self.refreshed_by_itself.get(nonce);
                assert!(last.is_none_or(|last| now.since(*last) >= half), "{purchase:?}");
            }
            let paid = Paid { post: post.clone(), request, auto, end: None };
            assert!(self.paid.insert(post.id, paid).is_none());
        }
    }

    /// A CONFIG for this purchase as an honest seller writes it.
    pub(super) fn config(&self, purchase: &Purchase) -> Config {
        Config {
            client_key: purchase.public_key,
            server: "203.0.113.5:51820".parse().unwrap(),
            server_key: self.server_key,
            client: "10.0.0.2/24".parse().unwrap(),
            allowed: vec!["0.0.0.0/0".parse().unwrap()],
            dns: "9.9.9.9".parse().unwrap(),
            psk: self.psk.clone(),
            nonce: purchase.nonce().clone(),
            expiry_secs: self.now().secs(),
            duration_secs: purchase.quote.duration_secs,
            mtu: 1420,
            limits: purchase.quote.limits,
        }
    }
}
