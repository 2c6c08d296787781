//! What time makes of purchases.

use std::time::Duration;

use super::pay::begin_refresh;
use super::purchases::{Purchases, Subject};
use super::row::{HeldQuote, Inquiry, Purchase, PurchaseState};
use super::step::Step;
use super::{
    ANSWERABLE, AUTO_PAUSE, FIRST_INQUIRY, INQUIRIES, PAYING_LEAD, PURCHASES_KEPT, QUOTE_LISTED, REVIVABLE,
    UNANSWERED_AFTER,
};
use crate::id::{MessageId, NodeId};
use crate::time::UnixMillis;
use crate::vpn::outgoing::{Note, Post};
use crate::vpn::{EndReason, Moment, Nonce, Request, Response};

/// How long before its end programs are told, where a quarter of what a payment buys is not less.
const EXPIRING_LEAD: Duration = Duration::from_secs(300);

/// The least time before its end at which a contract is refreshed by this node itself, where half of it is not less.
const AUTO_LEAD: Duration = Duration::from_secs(90);

/// What the seller may have counted less since the contract began.
const START_SLACK: Duration = Duration::from_secs(5);

/// One part of so many of what a payment buys, by which two clocks may disagree about it.
const DRIFT_PART: u32 = 100;

impl HeldQuote {
    /// When it is forgotten.
    pub(super) const fn due(&self) -> UnixMillis {
        self.accept_until.plus(QUOTE_LISTED)
    }
}

impl Inquiry {
    /// An answer is waited for since then.
    pub(super) const fn after(since: UnixMillis) -> Self {
        Self { since, next: Some(since.plus(FIRST_INQUIRY)), tries: 0, told: false }
    }

    /// How long it waits before it asks again.
    fn pause(&self) -> Duration {
        FIRST_INQUIRY.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX))
    }

    /// When programs are told, if they are.
    const fn tells(&self) -> Option<UnixMillis> {
        if self.told { None } else { Some(self.since.plus(UNANSWERED_AFTER)) }
    }

    /// It was asked now.
    fn asked(&mut self, now: UnixMillis) {
        self.tries = self.tries.saturating_add(1);
        let next = now.plus(self.pause());
        self.next = (next <= self.since.plus(INQUIRIES)).then_some(next);
    }

    fn keep_within(&mut self, now: UnixMillis) {
        self.since = self.since.min(now);
        self.next = self.next.map(|next| next.min(now.plus(self.pause())));
    }
}

impl Purchase {
    /// How long it would last with what one more payment buys.
    pub(super) fn left_with_more(&self, now: UnixMillis) -> Duration {
        let ends = self.ends.filter(|_| self.state == PurchaseState::Active);
        let left = ends.map_or(Duration::ZERO, |ends| ends.since(now));
        left + Duration::from_secs(self.quote.duration_secs)
    }

    /// Whether what a seller says of the time that it gives is less than what it sold, by more than clocks disagree.
    pub(super) fn is_short_of(&self, own: Duration, remaining: Duration, duration: Duration) -> bool {
        let sold = Duration::from_secs(self.quote.duration_secs);
        duration != sold || remaining + START_SLACK.max(sold / DRIFT_PART) < own
    }

    /// As much went through as was paid for, as far as this node carried it.
    fn is_used_up(&self) -> bool {
        self.bytes_allowed.is_some_and(|allowed| self.meter.bytes() >= allowed)
    }

    /// It comes to its end.
    pub(super) fn expire(&mut self, reason: EndReason, now: UnixMillis) {
        self.state = PurchaseState::Expired;
        self.ends = self.ends.map(|ends| ends.min(now));
        // Another payment buys all that it says, also where a little more went through than was paid for.
        self.bytes_allowed = self.bytes_allowed.map(|allowed| allowed.max(self.meter.bytes()));
        reason.as_str().clone_into(&mut self.reason);
    }

    /// The least time between two refreshes of this node's own accord: a seller that says of each that it brought nothing is
    /// not paid again at once.
    pub(super) fn auto_pause(&self) -> Duration {
        AUTO_PAUSE.max(Duration::from_secs(self.quote.duration_secs) / 2)
    }

    /// When time, or what its meter shows, changes something.
    pub(super) fn due(&self) -> Option<UnixMillis> {
        let of_state = match self.state {
            PurchaseState::Paying => {
                let inquiry = self.inquiry.as_ref();
                inquiry.map(|inquiry| earliest(inquiry.next, Some(inquiry.since.plus(ANSWERABLE))))
            }
            PurchaseState::Paid => {
                let inquiry = self.inquiry.as_ref();
                inquiry.map(|inquiry| earliest(inquiry.next, inquiry.tells()))
            }
            PurchaseState::Unanswered if self.private_key.is_some() => {
                let inquiry = self.inquiry.as_ref();
                inquiry.map(|inquiry| earliest(inquiry.next, Some(inquiry.since.plus(ANSWERABLE))))
            }
            PurchaseState::Active if self.is_used_up() => Some(Some(UnixMillis::default())),
            PurchaseState::Active => Some(earliest(self.running_out(), self.auto_refresh())),
            PurchaseState::Expired if self.private_key.is_some() => {
                Some(self.ends.filter(|_| self.refresh.is_none()).map(|ends| ends.plus(REVIVABLE)))
            }
            _ => Some(self.forgotten().filter(|_| !self.payment_open && self.refresh.is_none())),
        };
        let refresh = self.refresh.as_ref().and_then(|refresh| refresh.inquiry.as_ref());
        let over = refresh.map(|inquiry| inquiry.since.plus(INQUIRIES));
        let asks = refresh
            .and_then(|inquiry| earliest(inquiry.next, inquiry.tells().filter(|_| self.is_refresh_paid())));
        earliest(of_state.flatten(), earliest(over, asks))
    }

    fn is_refresh_paid(&self) -> bool {
        self.refresh.as_ref().is_some_and(|refresh| refresh.settled)
    }

    fn running_out(&self) -> Option<UnixMillis> {
        if self.told_expiring {
            return self.ends;
        }
        let lead = EXPIRING_LEAD.min(Duration::from_secs(self.quote.duration_secs) / 4);
        Some(self.ends?.minus(lead))
    }

    /// When it is to be refreshed by this node itself.
    fn auto_refresh(&self) -> Option<UnixMillis> {
        let limit_sat = self.auto_limit_sat.filter(|_| self.refresh.is_none())?;
        if self.auto_spent_sat.saturating_add(self.quote.price_sat) > limit_sat {
            return None;
        }
        let ends = self.ends?;
        let duration = Duration::from_secs(self.quote.duration_secs);
        let lead = AUTO_LEAD.max(duration / 10).min(duration / 2);
        // Before that the seller would find that too much time is left.
        let room = ends.plus(duration + START_SLACK).minus(Duration::from_secs(self.quote.max_secs));
        let at = ends.minus(lead).max(room).max(self.auto_next.unwrap_or_default());
        (at < ends).then_some(at)
    }

    /// When it leaves the list.
    fn forgotten(&self) -> Option<UnixMillis> {
        Some(self.ends.unwrap_or(self.made).plus(PURCHASES_KEPT))
    }

    fn keep_within(&mut self, now: UnixMillis) {
        self.made = self.made.min(now);
        let latest = match self.state {
            PurchaseState::Active => now.plus(Duration::from_secs(self.left_secs)),
            _ => now,
        };
        self.ends = self.ends.map(|ends| ends.min(latest));
        self.auto_next = self.auto_next.map(|next| next.min(now.plus(self.auto_pause())));
        let refresh = self.refresh.as_mut().and_then(|refresh| refresh.inquiry.as_mut());
        self.inquiry.as_mut().into_iter().chain(refresh).for_each(|inquiry| inquiry.keep_within(now));
    }
}

impl Purchases {
    /// What time brings. To be asked when [`Self::next_deadline`] has come, and from time to time, since clocks are set.
    /// What this node is to pay by itself waits unless `may_pay`.
    pub fn tick(&self, may_pay: bool, moment: &mut Moment<'_>) -> Step {
        let all = self.clock_went_back(moment.now);
        let mut step = Step { at: moment.now, looked_at_all: all, ..Step::default() };
        if all {
            self.quotes.values().for_each(|quote| quote_at(quote, moment.now, &mut step));
            self.purchases.values().for_each(|purchase| purchase_at(purchase, may_pay, moment, &mut step));
            return step;
        }
        for subject in self.due(moment.now) {
            match subject {
                Subject::Quote(nonce) => {
                    let quote = self.quotes.get(nonce);
                    quote.into_iter().for_each(|quote| quote_at(quote, moment.now, &mut step));
                }
                Subject::Purchase(nonce) => {
                    let purchase = self.purchases.get(nonce);
                    purchase
                        .into_iter()
                        .for_each(|purchase| purchase_at(purchase, may_pay, moment, &mut step));
                }
            }
        }
        step
    }
}

fn quote_at(stored: &HeldQuote, now: UnixMillis, step: &mut Step) {
    let payable = Duration::from_secs(stored.quote.valid_secs).saturating_sub(PAYING_LEAD);
    let accept_until = stored.accept_until.min(now.plus(payable));
    if stored.due() <= now {
        step.forget_quotes.push(stored.quote.nonce.clone());
    } else if accept_until != stored.accept_until {
        step.put_quotes.push(HeldQuote { accept_until, ..stored.clone() });
    }
}

fn purchase_at(stored: &Purchase, may_pay: bool, moment: &mut Moment<'_>, step: &mut Step) {
    let now = moment.now;
    let mut purchase = stored.clone();
    purchase.keep_within(now);
    let is_past = |at: Option<UnixMillis>| at.is_some_and(|at| at <= now);
    if purchase.is_over() && is_past(purchase.due()) {
        step.forget_purchases.push(purchase.nonce().clone());
        return;
    }
    ask(&mut purchase, moment, step);
    ask_of_refresh(&mut purchase, moment, step);
    if purchase.state == PurchaseState::Active {
        run(&mut purchase, may_pay, moment, step);
    }
    let is_dead = purchase.state == PurchaseState::Expired
        && purchase.refresh.is_none()
        && is_past(purchase.ends.map(|ends| ends.plus(REVIVABLE)));
    if is_dead {
        purchase.forget_key();
    }
    if purchase != *stored {
        step.put_purchases.push(purchase);
    }
}

impl Purchase {
    /// Whether nothing but its place in lists is left of it.
    const fn is_over(&self) -> bool {
        self.private_key.is_none() && self.refresh.is_none() && !self.payment_open
    }
}

/// Asks what became of the contract, and notes that nobody says so.
fn ask(purchase: &mut Purchase, moment: &mut Moment<'_>, step: &mut Step) {
    let now = moment.now;
    let Some(mut inquiry) = purchase.inquiry else { return };
    if inquiry.next.is_some_and(|next| next <= now) {
        inquiry.asked(now);
        step.send.push(status(purchase.seller, purchase.nonce(), purchase.contract_id, moment));
    }
    if purchase.state == PurchaseState::Paid && inquiry.tells().is_some_and(|at| at <= now) {
        inquiry.told = true;
        purchase.state = PurchaseState::Unanswered;
        "the seller does not answer".clone_into(&mut purchase.reason);
        step.publish.push(unanswered(purchase, moment));
    }
    purchase.inquiry = Some(inquiry);
    if inquiry.since.plus(ANSWERABLE) <= now {
        purchase.inquiry = None;
        match purchase.state {
            PurchaseState::Paying => purchase.fail("not known whether it was paid"),
            _ => purchase.forget_key(),
        }
    }
}

/// Asks what became of a refresh, and gives it up where nobody says so.
fn ask_of_refresh(purchase: &mut Purchase, moment: &mut Moment<'_>, step: &mut Step) {
    let now = moment.now;
    let Some(mut refresh) = purchase.refresh else { return };
    let Some(inquiry) = &mut refresh.inquiry else { return };
    if inquiry.next.is_some_and(|next| next <= now) {
        inquiry.asked(now);
        step.send.push(status(purchase.seller, purchase.nonce(), refresh.id, moment));
    }
    if refresh.settled && inquiry.tells().is_some_and(|at| at <= now) {
        inquiry.told = true;
        step.publish.push(unanswered(purchase, moment));
    }
    let is_given_up = inquiry.since.plus(INQUIRIES) <= now;
    purchase.refresh = Some(refresh);
    if is_given_up {
        purchase.close_refresh();
    }
}

/// An active contract is refreshed, or comes to its end, or near it.
fn run(purchase: &mut Purchase, may_pay: bool, moment: &mut Moment<'_>, step: &mut Step) {
    let now = moment.now;
    let Some(ends) = purchase.ends else { return };
    let is_used_up = purchase.is_used_up();
    if ends <= now || is_used_up {
        let reason = if is_used_up { EndReason::Data } else { EndReason::Time };
        purchase.expire(reason, now);
        let response = Response::Expired { nonce: purchase.nonce().clone(), reason };
        step.publish.push(told(purchase, &response, moment));
        return;
    }
    if purchase.auto_refresh().is_some_and(|at| at <= now) {
        if may_pay {
            begin_refresh(purchase, true, moment, step);
        } else {
            purchase.auto_next = Some(now.plus(AUTO_PAUSE));
        }
    }
    if !purchase.told_expiring && purchase.running_out().is_some_and(|at| at <= now) {
        purchase.told_expiring = true;
        let remaining_secs = ends.since(now).as_secs();
        let response = Response::Expiring { nonce: purchase.nonce().clone(), remaining_secs };
        step.publish.push(told(purchase, &response, moment));
    }
}

fn status(seller: NodeId, nonce: &Nonce, id: MessageId, moment: &mut Moment<'_>) -> Post {
    let body = Request::Status { nonce: nonce.clone(), id }.to_json();
    Post::from_allowance(moment.message_id(), seller, body, None)
}

fn unanswered(purchase: &Purchase, moment: &mut Moment<'_>) -> Note {
    told(purchase, &Response::Unanswered { nonce: purchase.nonce().clone() }, moment)
}

/// An event of this node about a contract.
fn told(purchase: &Purchase, response: &Response, moment: &mut Moment<'_>) -> Note {
    Note {
        id: moment.message_id(),
        reply_to: String::new(),
        from: Some(purchase.seller),
        data: response.to_json(),
        amount_sat: 0,
    }
}

/// The earlier of the times that there are.
fn earliest(one: Option<UnixMillis>, other: Option<UnixMillis>) -> Option<UnixMillis> {
    one.into_iter().chain(other).min()
}
