//! What the buyer has to know at once, and how it is found.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::row::{HeldQuote, Purchase, UpWish};
use super::step::Step;
use crate::id::{MessageId, NodeId};
use crate::time::UnixMillis;
use crate::vpn::{Nonce, Reading};

/// What time is due for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Quote(Nonce),
    Purchase(Nonce),
}

/// Quotes of other nodes, and what this one pays for.
#[derive(Clone, Debug)]
pub struct Purchases {
    pub(super) quotes: HashMap<Nonce, HeldQuote>,
    pub(super) purchases: HashMap<Nonce, Purchase>,
    /// Payments whose end changes something.
    by_payment: HashMap<MessageId, Nonce>,
    deadlines: BTreeSet<(UnixMillis, Subject)>,
    /// Purchases whose meter was read since they were committed.
    unsaved: HashSet<Nonce>,
    /// The latest time of which this knows; nothing before it has looked at everything once.
    latest: Option<UnixMillis>,
}

impl Purchases {
    /// Everything that the store has. Sellers that owe an answer are asked at once: it may have come while nobody was here.
    pub fn new(quotes: Vec<HeldQuote>, purchases: Vec<Purchase>, now: UnixMillis) -> Self {
        let mut all = Self {
            quotes: HashMap::new(),
            purchases: HashMap::new(),
            by_payment: HashMap::new(),
            deadlines: BTreeSet::new(),
            unsaved: HashSet::new(),
            latest: None,
        };
        quotes.into_iter().for_each(|quote| all.put_quote(quote));
        for mut purchase in purchases {
            let refresh = purchase.refresh.as_mut().and_then(|refresh| refresh.inquiry.as_mut());
            for inquiry in purchase.inquiry.iter_mut().chain(refresh) {
                inquiry.next = inquiry.next.map(|next| next.min(now));
            }
            all.put_purchase(purchase);
        }
        all
    }

    /// Takes in a step that was committed, also an empty one.
    pub fn apply(&mut self, step: &Step) {
        step.forget_quotes.iter().for_each(|nonce| self.forget_quote(nonce));
        step.put_quotes.iter().cloned().for_each(|quote| self.put_quote(quote));
        step.forget_purchases.iter().for_each(|nonce| self.forget_purchase(nonce));
        for purchase in &step.put_purchases {
            self.unsaved.remove(purchase.nonce());
            self.put_purchase(purchase.clone());
        }
        self.latest = if step.looked_at_all { Some(step.at) } else { self.latest.max(Some(step.at)) };
    }

    /// Whether the clock may have been set back since everything was looked at.
    pub(super) fn clock_went_back(&self, now: UnixMillis) -> bool {
        self.latest.is_none_or(|latest| now < latest)
    }

    /// Messages whose end this has to know. To be asked of the outbox at start; one that it never took in has failed.
    pub fn pending_messages(&self) -> Vec<MessageId> {
        self.by_payment.keys().copied().collect()
    }

    /// When [`Self::tick`] has something to do; nothing where time changes nothing.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A quote.
    pub fn quote(&self, nonce: &Nonce) -> Option<&HeldQuote> {
        self.quotes.get(nonce)
    }

    /// Every quote that is held, in no order.
    pub fn quotes(&self) -> impl Iterator<Item = &HeldQuote> {
        self.quotes.values()
    }

    /// A purchase.
    pub fn purchase(&self, nonce: &Nonce) -> Option<&Purchase> {
        self.purchases.get(nonce)
    }

    /// Every purchase that is remembered, in no order.
    pub fn purchases(&self) -> impl Iterator<Item = &Purchase> {
        self.purchases.values()
    }

    /// Sets what refreshes by themselves may cost in all; nothing, or 0, ends them. Nothing where there is no such
    /// purchase.
    pub fn set_auto_refresh(&self, nonce: &Nonce, limit_sat: Option<u64>, now: UnixMillis) -> Option<Step> {
        let limit_sat = limit_sat.filter(|limit_sat| *limit_sat > 0);
        self.change(nonce, now, |purchase| purchase.auto_limit_sat = limit_sat)
    }

    /// Sets whether the tunnel is to be up. Nothing where there is no such purchase.
    pub fn set_up(&self, nonce: &Nonce, up: Option<UpWish>, now: UnixMillis) -> Option<Step> {
        self.change(nonce, now, |purchase| purchase.up = up)
    }

    fn change(&self, nonce: &Nonce, now: UnixMillis, change: impl FnOnce(&mut Purchase)) -> Option<Step> {
        let mut purchase = self.purchases.get(nonce)?.clone();
        change(&mut purchase);
        Some(Step { at: now, put_purchases: vec![purchase], ..Step::default() })
    }

    /// Takes in what the device of a tunnel says: in memory, until the next step about it or [`Self::save_meters`].
    pub fn read_meter(&mut self, nonce: &Nonce, reading: &Reading) {
        let Some(mut purchase) = self.purchases.get(nonce).cloned() else { return };
        if purchase.meter.read(reading) {
            self.unsaved.insert(nonce.clone());
            self.put_purchase(purchase);
        }
    }

    /// What meters have shown since it was last committed.
    pub fn save_meters(&self, now: UnixMillis) -> Step {
        let unsaved = self.unsaved.iter().filter_map(|nonce| self.purchases.get(nonce));
        Step { at: now, put_purchases: unsaved.cloned().collect(), ..Step::default() }
    }

    /// A purchase from this seller.
    pub(super) fn purchase_from(&self, seller: NodeId, nonce: &Nonce) -> Option<&Purchase> {
        self.purchases.get(nonce).filter(|purchase| purchase.seller == seller)
    }

    /// The purchase that a message pays for.
    pub(super) fn purchase_by_payment(&self, message: MessageId) -> Option<&Purchase> {
        self.purchases.get(self.by_payment.get(&message)?)
    }

    /// What is due, earliest first.
    pub(super) fn due(&self, now: UnixMillis) -> impl Iterator<Item = &Subject> {
        self.deadlines.iter().take_while(move |(at, _)| *at <= now).map(|(_, subject)| subject)
    }

    fn put_quote(&mut self, quote: HeldQuote) {
        let nonce = quote.quote.nonce.clone();
        self.forget_quote(&nonce);
        self.deadlines.insert((quote.due(), Subject::Quote(nonce.clone())));
        self.quotes.insert(nonce, quote);
    }

    fn forget_quote(&mut self, nonce: &Nonce) {
        if let Some(quote) = self.quotes.remove(nonce) {
            self.deadlines.remove(&(quote.due(), Subject::Quote(nonce.clone())));
        }
    }

    fn put_purchase(&mut self, purchase: Purchase) {
        let nonce = purchase.nonce().clone();
        self.forget_purchase(&nonce);
        for payment in purchase.open_payments() {
            self.by_payment.insert(payment, nonce.clone());
        }
        if let Some(due) = purchase.due() {
            self.deadlines.insert((due, Subject::Purchase(nonce.clone())));
        }
        self.purchases.insert(nonce, purchase);
    }

    fn forget_purchase(&mut self, nonce: &Nonce) {
        let Some(purchase) = self.purchases.remove(nonce) else { return };
        for payment in purchase.open_payments() {
            self.by_payment.remove(&payment);
        }
        if let Some(due) = purchase.due() {
            self.deadlines.remove(&(due, Subject::Purchase(nonce.clone())));
        }
    }
}

impl Purchase {
    /// Messages that pay for it and whose end is not known.
    fn open_payments(&self) -> impl Iterator<Item = MessageId> + use<> {
        let contract = self.payment_open.then_some(self.contract_id);
        let refresh = self.refresh.filter(|refresh| !refresh.settled).map(|refresh| refresh.id);
        contract.into_iter().chain(refresh)
    }
}
