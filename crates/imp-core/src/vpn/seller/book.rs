//! What the seller has to know at once, and how it is found.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use super::addresses::Addresses;
use super::row::{Contract, ContractState, Offer, Payment, PaymentState, Terms};
use super::step::Step;
use super::{ANSWERS_KEPT, MAX_OFFERS, MAX_OFFERS_OF_ONE};
use crate::id::{MessageId, NodeId, PaymentHash};
use crate::time::UnixMillis;
use crate::vpn::{Nonce, PresharedKey, PublicKey};

/// A peer that is to be on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPeer {
    /// Its contract.
    pub nonce: Nonce,
    /// Its key.
    pub key: PublicKey,
    /// The key of both ends.
    pub psk: PresharedKey,
    /// Its address, the only one that it may send from.
    pub address: Ipv4Addr,
}

/// What time is due for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Offer(Nonce),
    Contract(Nonce),
    Payment(PaymentHash),
}

/// Quotes, contracts and payments about which something can still be said.
#[derive(Clone, Debug)]
pub struct Book {
    pub(super) terms: Terms,
    pub(super) offers: HashMap<Nonce, Offer>,
    offers_of: HashMap<NodeId, usize>,
    pub(super) contracts: HashMap<Nonce, Contract>,
    pub(super) addresses: Addresses,
    /// Keys of buyers that are leased with an address.
    keys: HashMap<PublicKey, Nonce>,
    pub(super) payments: HashMap<PaymentHash, Payment>,
    /// The first payment of each message.
    by_message: HashMap<(NodeId, MessageId), PaymentHash>,
    /// Payments whose answer's end changes something.
    by_answer: HashMap<MessageId, PaymentHash>,
    deadlines: BTreeSet<(UnixMillis, Subject)>,
    /// Contracts whose meter was read since they were committed.
    unsaved: HashSet<Nonce>,
    /// The latest time of which this knows; nothing before it has looked at everything once.
    latest: Option<UnixMillis>,
}

impl Book {
    /// The book of what the store has: every offer; contracts and payments that are [`Contract::is_open`] or
    /// [`Payment::is_open`], or changed within [`ANSWERS_KEPT`]. More does no harm.
    pub fn new(terms: Terms, offers: Vec<Offer>, contracts: Vec<Contract>, payments: Vec<Payment>) -> Self {
        let mut book = Self {
            addresses: Addresses::new(terms.subnet),
            terms,
            offers: HashMap::new(),
            offers_of: HashMap::new(),
            contracts: HashMap::new(),
            keys: HashMap::new(),
            payments: HashMap::new(),
            by_message: HashMap::new(),
            by_answer: HashMap::new(),
            deadlines: BTreeSet::new(),
            unsaved: HashSet::new(),
            latest: None,
        };
        offers.into_iter().for_each(|offer| book.put_offer(offer));
        contracts.into_iter().for_each(|contract| book.put_contract(contract));
        payments.into_iter().for_each(|payment| book.put_payment(payment));
        book
    }

    /// What this node sells.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// It sells this from now on, or nothing. What was quoted keeps its price.
    pub fn set_terms(&mut self, terms: Terms) {
        if terms.subnet != self.terms.subnet {
            self.addresses.move_to(terms.subnet);
        }
        self.terms = terms;
    }

    /// Takes in a step that was committed, also an empty one.
    pub fn apply(&mut self, step: &Step) {
        for nonce in &step.forget_offers {
            self.forget_offer(nonce);
        }
        step.put_offers.iter().cloned().for_each(|offer| self.put_offer(offer));
        for contract in &step.put_contracts {
            self.unsaved.remove(&contract.nonce);
            self.put_contract(contract.clone());
        }
        step.put_payments.iter().cloned().for_each(|payment| self.put_payment(payment));
        self.latest = if step.looked_at_all { Some(step.at) } else { self.latest.max(Some(step.at)) };
    }

    /// Whether the clock may have been set back since everything was looked at.
    pub(super) fn clock_went_back(&self, now: UnixMillis) -> bool {
        self.latest.is_none_or(|latest| now < latest)
    }

    /// Lets go of what nobody can ask about any more. Changes memory only: the store keeps it for lists.
    pub fn trim(&mut self, now: UnixMillis) {
        let is_old = |at: UnixMillis| at.plus(ANSWERS_KEPT) < now;
        let contracts = self.contracts.values();
        let old: Vec<_> = contracts
            .filter(|contract| !contract.is_open() && is_old(contract.ends.unwrap_or(contract.made)))
            .map(|contract| contract.nonce.clone())
            .collect();
        old.iter().for_each(|nonce| self.drop_contract(nonce));
        let payments = self.payments.values();
        let old: Vec<_> = payments
            .filter(|payment| !payment.is_open() && is_old(payment.at))
            .map(|payment| payment.hash)
            .collect();
        old.iter().for_each(|hash| self.drop_payment(hash));
    }

    /// The peers that are to be on the device, and no others.
    pub fn peers(&self) -> Vec<WantedPeer> {
        let wanted = self.contracts.values().filter(|contract| contract.is_wanted());
        wanted
            .map(|contract| WantedPeer {
                nonce: contract.nonce.clone(),
                key: *contract.client_key(),
                psk: contract.config.psk.clone(),
                address: contract.address(),
            })
            .collect()
    }

    /// Contracts that can be refunded as soon as the device has been seen without their peer: [`Self::peer_gone`].
    pub fn peers_to_drop(&self) -> Vec<(Nonce, PublicKey)> {
        let leaving = self.contracts.values().filter(|contract| contract.leased && is_refund_due(contract));
        leaving.map(|contract| (contract.nonce.clone(), *contract.client_key())).collect()
    }

    /// Messages whose end this has to know. To be asked of the outbox at start, before the first [`Self::tick`].
    pub fn pending_messages(&self) -> Vec<MessageId> {
        self.by_answer.keys().copied().collect()
    }

    /// When [`Self::tick`] has something to do; nothing where time changes nothing.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// A contract.
    pub fn contract(&self, nonce: &Nonce) -> Option<&Contract> {
        self.contracts.get(nonce)
    }

    /// Every contract that is remembered, in no order.
    pub fn contracts(&self) -> impl Iterator<Item = &Contract> {
        self.contracts.values()
    }

    /// Every payment that is remembered, in no order.
    pub fn payments(&self) -> impl Iterator<Item = &Payment> {
        self.payments.values()
    }

    /// Every open offer, in no order.
    pub fn offers(&self) -> impl Iterator<Item = &Offer> {
        self.offers.values()
    }

    /// Whether an offer or a contract that is remembered has this name.
    pub fn knows(&self, nonce: &Nonce) -> bool {
        self.offers.contains_key(nonce) || self.contracts.contains_key(nonce)
    }

    /// Addresses that no contract has.
    pub fn free_addresses(&self) -> u64 {
        self.addresses.free()
    }

    /// Contracts that have time left, or will have once their CONFIG is delivered.
    pub fn active(&self) -> usize {
        self.contracts.values().filter(|contract| contract.is_wanted()).count()
    }

    /// Payments whose refund is due.
    pub fn refunds_due(&self) -> usize {
        self.payments.values().filter(|payment| payment.state == PaymentState::RefundDue).count()
    }

    /// Whether a buyer can be given another quote.
    pub(super) fn has_room_for(&self, buyer: &NodeId) -> bool {
        self.offers.len() < MAX_OFFERS
            && self.offers_of.get(buyer).is_none_or(|open| *open < MAX_OFFERS_OF_ONE)
    }

    /// Whether a key is that of a buyer who has an address.
    pub(super) fn has_key(&self, key: &PublicKey) -> bool {
        self.keys.contains_key(key)
    }

    /// The contract of a buyer's key that has an address.
    pub(super) fn nonce_of_key(&self, key: &PublicKey) -> Option<&Nonce> {
        self.keys.get(key)
    }

    /// The payment that came first with a message.
    pub(super) fn payment_by_message(&self, buyer: NodeId, message: MessageId) -> Option<&Payment> {
        self.payments.get(self.by_message.get(&(buyer, message))?)
    }

    /// The payment to which a message is the answer.
    pub(super) fn payment_by_answer(&self, answer: MessageId) -> Option<&Payment> {
        self.payments.get(self.by_answer.get(&answer)?)
    }

    /// What is due, earliest first.
    pub(super) fn due(&self, now: UnixMillis) -> impl Iterator<Item = &Subject> {
        self.deadlines.iter().take_while(move |(at, _)| *at <= now).map(|(_, subject)| subject)
    }

    /// Contracts whose meter was read since they were committed.
    pub(super) fn unsaved(&self) -> impl Iterator<Item = &Contract> {
        self.unsaved.iter().filter_map(|nonce| self.contracts.get(nonce))
    }

    /// Takes in a contract whose meter was read: not a step, since nothing is decided by it.
    pub(super) fn put_metered(&mut self, contract: Contract) {
        self.unsaved.insert(contract.nonce.clone());
        self.put_contract(contract);
    }

    fn put_offer(&mut self, offer: Offer) {
        self.forget_offer(&offer.nonce);
        *self.offers_of.entry(offer.buyer).or_default() += 1;
        self.deadlines.insert((offer.due(), Subject::Offer(offer.nonce.clone())));
        self.offers.insert(offer.nonce.clone(), offer);
    }

    fn forget_offer(&mut self, nonce: &Nonce) {
        let Some(offer) = self.offers.remove(nonce) else { return };
        self.deadlines.remove(&(offer.due(), Subject::Offer(offer.nonce)));
        if let Some(open) = self.offers_of.get_mut(&offer.buyer) {
            *open -= 1;
            if *open == 0 {
                self.offers_of.remove(&offer.buyer);
            }
        }
    }

    fn put_contract(&mut self, contract: Contract) {
        self.drop_contract(&contract.nonce);
        if contract.leased {
            self.addresses.lease(contract.address(), contract.nonce.clone());
            self.keys.insert(*contract.client_key(), contract.nonce.clone());
        }
        if let Some(due) = contract.due() {
            self.deadlines.insert((due, Subject::Contract(contract.nonce.clone())));
        }
        self.contracts.insert(contract.nonce.clone(), contract);
    }

    fn drop_contract(&mut self, nonce: &Nonce) {
        let Some(contract) = self.contracts.remove(nonce) else { return };
        if contract.leased {
            self.addresses.release(contract.address(), nonce);
            self.keys.remove(contract.client_key());
        }
        if let Some(due) = contract.due() {
            self.deadlines.remove(&(due, Subject::Contract(contract.nonce)));
        }
    }

    fn put_payment(&mut self, payment: Payment) {
        self.drop_payment(&payment.hash);
        if !payment.repeated {
            self.by_message.insert((payment.buyer, payment.message), payment.hash);
        }
        if let Some(answer) = payment.answer_id.filter(|_| payment.is_open()) {
            self.by_answer.insert(answer, payment.hash);
        }
        if let Some(due) = payment.due() {
            self.deadlines.insert((due, Subject::Payment(payment.hash)));
        }
        self.payments.insert(payment.hash, payment);
    }

    fn drop_payment(&mut self, hash: &PaymentHash) {
        let Some(payment) = self.payments.remove(hash) else { return };
        if !payment.repeated {
            self.by_message.remove(&(payment.buyer, payment.message));
        }
        if let Some(answer) = payment.answer_id {
            self.by_answer.remove(&answer);
        }
        if let Some(due) = payment.due() {
            self.deadlines.remove(&(due, Subject::Payment(payment.hash)));
        }
    }
}

/// Whether the buyer is to get back what it paid for the contract itself.
pub(super) const fn is_refund_due(contract: &Contract) -> bool {
    matches!(contract.state, ContractState::RefundDue)
}
