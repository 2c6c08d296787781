//! From a decision to a commit, and what follows it.

use std::collections::{HashMap, HashSet};

use imp_core::id::{NodeId, PaymentHash};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{self, Purchase, PurchaseState};
use imp_core::vpn::seller::{self, ContractState};
use imp_core::vpn::{Moment, Note, Post};

use super::station::Wanted;
use super::{Inner, Memory};
use crate::error::Error;
use crate::outbox::{Allowed, Draft, Prepared, random};
use crate::store::idempotency::NewKey;
use crate::store::journal::NewEvent;
use crate::store::outbox::Answer;
use crate::store::vpn::VpnChange;

/// The counter of questions to sellers that were not sent, since the allowance is used up.
const NOT_ASKED: &str = "vpn_not_asked";

/// What was decided, on both sides, and what is done with by it.
#[derive(Debug, Default)]
pub(super) struct Decision {
    pub(super) seller: seller::Step,
    pub(super) buyer: buyer::Step,
    /// What came in and is done with.
    pub(super) handled: Vec<PaymentHash>,
    /// The key of the call that caused it.
    pub(super) key: Option<NewKey>,
    /// Things to count.
    pub(super) count: Vec<&'static str>,
}

impl From<seller::Step> for Decision {
    fn from(seller: seller::Step) -> Self {
        Self { seller, ..Self::default() }
    }
}

impl From<buyer::Step> for Decision {
    fn from(buyer: buyer::Step) -> Self {
        Self { buyer, ..Self::default() }
    }
}

impl Decision {
    fn is_empty(&self) -> bool {
        self.seller.is_empty()
            && self.buyer.is_empty()
            && self.handled.is_empty()
            && self.key.is_none()
            && self.count.is_empty()
    }
}

/// Which of these nodes have a channel with this one.
pub(super) type Direct = HashMap<NodeId, bool>;

impl Inner {
    /// Has the rules decide at this moment.
    ///
    /// # Errors
    ///
    /// `INTERNAL` where the system has no random bytes: nothing that was decided counts then.
    pub(super) fn decide<T>(
        &self,
        direct: &Direct,
        decide: impl FnOnce(&mut Moment<'_>) -> T,
    ) -> Result<T, Error> {
        let mut failed = None;
        let mut draw = || {
            random().unwrap_or_else(|error| {
                failed = Some(error);
                [0; 32]
            })
        };
        let is_direct = |node: &NodeId| direct.get(node).copied().unwrap_or(false);
        let mut moment = Moment { now: self.clock.now(), random: &mut draw, is_direct: &is_direct };
        let decided = decide(&mut moment);
        failed.map_or(Ok(decided), Err)
    }

    /// Which of these nodes can be paid over a channel with them.
    pub(super) async fn direct(&self, nodes: impl IntoIterator<Item = NodeId>) -> Direct {
        let nodes: HashSet<NodeId> = nodes.into_iter().collect();
        let mut direct = Direct::with_capacity(nodes.len());
        for node in nodes {
            direct.insert(node, self.outbox.is_direct(&node).await);
        }
        direct
    }

    /// Commits a decision, puts it in place and sends what it sends. `memory` is the locked memory. Payments are the caller's to
    /// make, as the decision names them.
    pub(super) async fn commit(&self, memory: &mut Memory, decision: Decision) -> Result<Vec<Post>, Error> {
        if decision.is_empty() {
            memory.book.apply(&decision.seller);
            memory.purchases.apply(&decision.buyer);
            return Ok(Vec::new());
        }
        let Decision { mut seller, mut buyer, handled, key, count } = decision;
        let (mut answers, mut shares) = (Vec::new(), Vec::new());
        let mut refused = self.prepare(&seller.send, &mut answers, &mut shares).await?;
        if refused {
            seller = seller.without_answer();
        }
        refused = self.prepare(&buyer.send, &mut answers, &mut shares).await?;
        if refused {
            // It is asked again at its time.
            buyer.send.retain(|post| !post.from_allowance);
            buyer.count.push(NOT_ASKED);
        }
        buyer.put_purchases.iter().for_each(|purchase| self.keys.follow(purchase));
        let change = self.change(&seller, &buyer, handled, key, count, answers.clone());
        if let Err(error) = self.store.commit_vpn(change).await {
            for purchase in &buyer.put_purchases {
                self.keys.follow_again(purchase, memory.purchases.purchase(purchase.nonce()));
            }
            return Err(error.into());
        }
        self.count_payments(memory, &seller);
        memory.book.apply(&seller);
        memory.purchases.apply(&buyer);
        // The rows of what is sent count from here on.
        drop(shares);
        self.outbox.take_up(answers);
        self.show(memory);
        Ok(buyer.pay)
    }

    fn change(
        &self,
        seller: &seller::Step,
        buyer: &buyer::Step,
        handled: Vec<PaymentHash>,
        key: Option<NewKey>,
        mut count: Vec<&'static str>,
        answers: Vec<Answer>,
    ) -> VpnChange {
        count.extend(seller.count.iter().chain(&buyer.count));
        let notes = seller.publish.iter().map(|note| (seller.at, note));
        let notes = notes.chain(buyer.publish.iter().map(|note| (buyer.at, note)));
        VpnChange {
            handled,
            put_offers: seller.put_offers.clone(),
            forget_offers: seller.forget_offers.clone(),
            put_contracts: seller.put_contracts.clone(),
            put_payments: seller.put_payments.clone(),
            put_quotes: buyer.put_quotes.clone(),
            forget_quotes: buyer.forget_quotes.clone(),
            put_purchases: buyer.put_purchases.clone(),
            forget_purchases: buyer.forget_purchases.clone(),
            publish: notes.map(|(at, note)| self.event(at, note)).collect(),
            give_up: seller.give_up.iter().map(|id| self.outbox.giving_up(*id)).collect(),
            answers,
            key,
            count,
        }
    }

    fn event(&self, at: UnixMillis, note: &Note) -> NewEvent {
        NewEvent {
            at,
            id: note.id.to_string(),
            reply_to: note.reply_to.clone(),
            from: note.from.unwrap_or(self.own),
            service: Service::Vpn.into(),
            data: note.data.clone(),
            amount_sat: note.amount_sat,
            late: false,
        }
    }

    /// Makes the rows of messages. Says whether one is not to be sent, since the allowance is used up.
    async fn prepare(
        &self,
        posts: &[Post],
        answers: &mut Vec<Answer>,
        shares: &mut Vec<Allowed>,
    ) -> Result<bool, Error> {
        let mut refused = false;
        for post in posts {
            let answer =
                if post.from_allowance { Some(self.federation.answer_to(post.to).await) } else { None };
            let draft = Draft { answer, unordered: true, ..draft(post) };
            match self.outbox.prepare_as(post.id, draft).await? {
                Some(Prepared { answer, allowed }) => {
                    answers.push(answer);
                    shares.extend(allowed);
                }
                None => refused = true,
            }
        }
        Ok(refused)
    }

    /// Shows what is in memory to whoever acts on it.
    pub(super) fn show(&self, memory: &Memory) {
        self.want(memory);
        self.changed.notify_one();
        self.tunnels_changed.notify_one();
        let mut totals = self.totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        totals.sold = [0; ContractState::ALL.len()];
        for contract in memory.book.contracts() {
            totals.sold[contract.state as usize] += 1;
        }
        let has_time = |purchase: &&Purchase| purchase.state == PurchaseState::Active;
        totals.bought = memory.purchases.purchases().filter(has_time).count() as u64;
        totals.refunds_due = memory.book.refunds_due() as u64;
    }

    /// Says which peers are to be on the device. Returns the number of this set.
    pub(super) fn want(&self, memory: &Memory) -> u64 {
        self.station.want(wanted(memory))
    }

    fn count_payments(&self, memory: &Memory, step: &seller::Step) {
        let mut totals = self.totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for payment in &step.put_payments {
            let before = memory.book.payments().find(|known| known.hash == payment.hash);
            if before.is_none_or(|before| before.state != payment.state) {
                totals.count(payment.state);
            }
        }
    }
}

/// The peers of contracts that have time left.
fn wanted(memory: &Memory) -> Vec<Wanted> {
    let contracts = memory.book.contracts().filter(|contract| contract.is_wanted());
    let mut wanted: Vec<_> = contracts.map(Wanted::from).collect();
    wanted.sort_by_key(|peer| peer.address);
    wanted
}

/// A message of the rules as the outbox takes it.
pub(super) fn draft(post: &Post) -> Draft {
    Draft {
        service: Service::Vpn,
        recipient: post.to,
        body: post.body.clone().into_bytes(),
        reply_to: post.reply_to.map(|id| id.to_string()).unwrap_or_default(),
        amount_sat: post.amount_sat,
        unordered: false,
        keep: post.keep.unwrap_or_default(),
        answer: None,
        fee_limit: post.fee_limit,
    }
}
