//! What the buyer pays for, and what became of the payment.

use thiserror::Error;

use super::purchases::Purchases;
use super::row::{HeldQuote, Inquiry, OpenRefresh, Purchase, PurchaseState};
use super::step::Step;
use super::{AUTO_PAUSE, PAYING_LEAD, REVIVABLE};
use crate::id::{MessageId, NodeId};
use crate::time::UnixMillis;
use crate::vpn::outgoing::Post;
use crate::vpn::{End, Meter, Moment, Nonce, PrivateKey, Request};

/// Why a quote is not accepted. Nothing was paid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AcceptError {
    /// That node gave no quote with this nonce, or it is forgotten.
    #[error("failed: this node holds no quote with this nonce from that node. Request a quote")]
    NoQuote,
    /// The seller may not take the payment any more once it comes.
    #[error("failed: the quote with this nonce is too old to be paid for. Request another quote")]
    TooOld,
    /// Another price was quoted.
    #[error("failed: the quote with this nonce has the price {quoted_sat}")]
    Price {
        /// The quoted price in satoshis.
        quoted_sat: u64,
    },
    /// A contract was made of it.
    #[error("failed: the quote with this nonce was accepted before")]
    Bought,
}

/// Why a contract is not refreshed. Nothing was paid.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RefreshError {
    /// This node has no such contract with that node.
    #[error("failed: this node has no contract with this nonce from that node")]
    NoContract,
    /// It has no time that could be added to, or never will again.
    #[error("failed: the contract with this nonce is {}, so that no time can be added to it", .state.name())]
    State {
        /// How it stands.
        state: PurchaseState,
    },
    /// A refresh of it is under way.
    #[error("failed: another refresh of the contract with this nonce is not answered yet")]
    Open,
    /// It has another price.
    #[error("failed: the contract with this nonce has the price {price_sat}")]
    Price {
        /// Its price in satoshis.
        price_sat: u64,
    },
    /// The seller would refuse it, since it would have too much time left.
    #[error("failed: the contract with this nonce can have {max_secs} seconds left at most: try again later")]
    TooMuch {
        /// The most that it can have left, in seconds.
        max_secs: u64,
    },
}

impl HeldQuote {
    /// Whether it may be paid for. Also not where the clock was set back by so much that its age is not known.
    pub fn is_payable(&self, now: UnixMillis) -> bool {
        now < self.accept_until && self.received.since(now) < PAYING_LEAD
    }
}

impl Purchases {
    /// Accepts a quote at this price. [`Step::pay`] holds the payment, whose id is returned.
    pub fn accept(
        &self,
        seller: NodeId,
        nonce: &Nonce,
        price_sat: u64,
        moment: &mut Moment<'_>,
    ) -> Result<(MessageId, Step), AcceptError> {
        let is_bought =
            |purchase: &Purchase| purchase.state != PurchaseState::Failed || purchase.payment_open;
        if self.purchase_from(seller, nonce).is_some_and(is_bought) {
            return Err(AcceptError::Bought);
        }
        let held = self.quotes.get(nonce).filter(|held| held.seller == seller).ok_or(AcceptError::NoQuote)?;
        let quoted_sat = held.quote.price_sat;
        if price_sat != quoted_sat {
            return Err(AcceptError::Price { quoted_sat });
        }
        if !held.is_payable(moment.now) {
            return Err(AcceptError::TooOld);
        }
        let private_key = PrivateKey::from_random((moment.random)());
        let public_key = private_key.public();
        let id = moment.message_id();
        let request = Request::Contract { nonce: nonce.clone(), price_sat, public_key };
        let purchase = Purchase {
            quote: held.quote.clone(),
            seller,
            state: PurchaseState::Paying,
            private_key: Some(private_key),
            public_key,
            contract_id: id,
            payment_open: true,
            made: moment.now,
            config: None,
            event_id: None,
            started: None,
            ends: None,
            left_secs: 0,
            refresh: None,
            inquiry: None,
            paid_sat: 0,
            refunded_sat: 0,
            auto_limit_sat: None,
            auto_spent_sat: 0,
            auto_next: None,
            told_expiring: false,
            up: None,
            meter: Meter::default(),
            bytes_allowed: held.quote.limits.data_bytes,
            reason: String::new(),
        };
        let pay = vec![payment(id, &purchase, &request)];
        Ok((id, Step { at: moment.now, put_purchases: vec![purchase], pay, ..Step::default() }))
    }

    /// Pays for more time on a contract. [`Step::pay`] holds the payment, whose id is returned.
    pub fn refresh(
        &self,
        seller: NodeId,
        nonce: &Nonce,
        price_sat: u64,
        moment: &mut Moment<'_>,
    ) -> Result<(MessageId, Step), RefreshError> {
        let purchase = self.purchase_from(seller, nonce).ok_or(RefreshError::NoContract)?;
        let now = moment.now;
        let can_go_on = match purchase.state {
            PurchaseState::Active => true,
            PurchaseState::Expired => {
                purchase.private_key.is_some() && purchase.ends.is_some_and(|ends| now < ends.plus(REVIVABLE))
            }
            _ => false,
        };
        if !can_go_on {
            return Err(RefreshError::State { state: purchase.state });
        }
        if price_sat != purchase.quote.price_sat {
            return Err(RefreshError::Price { price_sat: purchase.quote.price_sat });
        }
        if purchase.refresh.is_some() {
            return Err(RefreshError::Open);
        }
        let max_secs = purchase.quote.max_secs;
        if purchase.left_with_more(now).as_secs() > max_secs {
            return Err(RefreshError::TooMuch { max_secs });
        }
        let mut purchase = purchase.clone();
        let mut step = Step { at: now, ..Step::default() };
        let id = begin_refresh(&mut purchase, false, moment, &mut step);
        step.put_purchases.push(purchase);
        Ok((id, step))
    }

    /// A message of this node has ended. Most are none of a buyer's.
    pub fn message_ended(&self, id: MessageId, end: End, now: UnixMillis) -> Step {
        let mut step = Step { at: now, ..Step::default() };
        let Some(stored) = self.purchase_by_payment(id) else { return step };
        let mut purchase = stored.clone();
        if purchase.contract_id == id {
            contract_ended(&mut purchase, end, now);
        } else {
            refresh_ended(&mut purchase, end, now);
        }
        if purchase != *stored {
            step.put_purchases.push(purchase);
        }
        step
    }
}

/// Notes a payment for more time, which the step then holds.
pub(super) fn begin_refresh(
    purchase: &mut Purchase,
    auto: bool,
    moment: &mut Moment<'_>,
    step: &mut Step,
) -> MessageId {
    let id = moment.message_id();
    let price_sat = purchase.quote.price_sat;
    let request = Request::Refresh { nonce: purchase.nonce().clone(), price_sat };
    purchase.refresh = Some(OpenRefresh { id, sent: moment.now, settled: false, auto, inquiry: None });
    if auto {
        purchase.auto_spent_sat = purchase.auto_spent_sat.saturating_add(price_sat);
        purchase.auto_next = Some(moment.now.plus(purchase.auto_pause()));
    }
    step.pay.push(payment(id, purchase, &request));
    id
}

fn payment(id: MessageId, purchase: &Purchase, request: &Request) -> Post {
    Post {
        id,
        to: purchase.seller,
        body: request.to_json(),
        reply_to: None,
        amount_sat: purchase.quote.price_sat,
        fee_limit: None,
        keep: None,
        from_allowance: false,
    }
}

fn contract_ended(purchase: &mut Purchase, end: End, now: UnixMillis) {
    let waits = purchase.state == PurchaseState::Paying;
    match end {
        End::Settled(at) => {
            purchase.payment_open = false;
            purchase.paid_sat = purchase.paid_sat.saturating_add(purchase.quote.price_sat);
            if waits {
                purchase.state = PurchaseState::Paid;
                purchase.inquiry = Some(Inquiry::after(at.min(now)));
            } else if purchase.state == PurchaseState::Failed {
                // So long after that nobody reckoned with it: the key is forgotten, and only a refund can come.
                purchase.state = PurchaseState::Unanswered;
            }
        }
        End::Failed | End::Missing => {
            purchase.payment_open = false;
            if waits {
                purchase.fail("not paid");
            }
        }
        End::Unknown if waits && purchase.inquiry.is_none() => {
            purchase.inquiry = Some(Inquiry::after(now));
            "not known whether it was paid".clone_into(&mut purchase.reason);
        }
        End::Unknown => {}
    }
}

fn refresh_ended(purchase: &mut Purchase, end: End, now: UnixMillis) {
    let price_sat = purchase.quote.price_sat;
    let Some(refresh) = &mut purchase.refresh else { return };
    match end {
        End::Settled(at) => {
            refresh.settled = true;
            refresh.inquiry = Some(Inquiry::after(at.min(now)));
            purchase.paid_sat = purchase.paid_sat.saturating_add(price_sat);
        }
        End::Failed | End::Missing => {
            if refresh.auto {
                purchase.auto_spent_sat = purchase.auto_spent_sat.saturating_sub(price_sat);
                purchase.auto_next = Some(now.plus(AUTO_PAUSE));
            }
            purchase.refresh = None;
        }
        End::Unknown if refresh.inquiry.is_none() => refresh.inquiry = Some(Inquiry::after(now)),
        End::Unknown => {}
    }
}

impl Purchase {
    /// Nothing was paid, as far as anybody knows: the key was for nothing.
    pub(super) fn fail(&mut self, reason: &str) {
        self.state = PurchaseState::Failed;
        reason.clone_into(&mut self.reason);
        self.inquiry = None;
        self.forget_key();
    }

    /// The open refresh was answered, or is given up. What may have been paid counts as paid.
    pub(super) fn close_refresh(&mut self) {
        if self.refresh.take().is_some_and(|refresh| !refresh.settled) {
            self.paid_sat = self.paid_sat.saturating_add(self.quote.price_sat);
        }
    }

    /// It is over for good.
    pub(super) fn forget_key(&mut self) {
        self.private_key = None;
        self.up = None;
    }
}
