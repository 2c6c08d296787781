//! What time and meters make of a seller's book.

use std::time::Duration;

use super::book::{Book, Subject};
use super::row::{Contract, ContractState, Offer, Payment, PaymentState};
use super::step::Step;
use super::{ANSWER_TRIED, QUOTE_GRACE, QUOTE_VALID, REFUND_PAUSE};
use crate::time::UnixMillis;
use crate::vpn::meter::Reading;
use crate::vpn::outgoing::{Note, Post};
use crate::vpn::{EndReason, Moment, PublicKey, Response};

/// How long before its end programs are told, where a quarter of what a payment buys is not less.
const EXPIRING_LEAD: Duration = Duration::from_secs(300);

impl Offer {
    /// When it is over.
    pub(super) const fn due(&self) -> UnixMillis {
        self.accept_until.plus(Duration::from_millis(1))
    }
}

impl Payment {
    /// When its refund is tried again.
    pub(super) fn due(&self) -> Option<UnixMillis> {
        self.next_try.filter(|_| self.state == PaymentState::RefundDue)
    }
}

impl Contract {
    /// When time, or what its meter shows, changes something.
    pub(super) fn due(&self) -> Option<UnixMillis> {
        match self.state {
            ContractState::Configuring if self.has_arrived() => Some(UnixMillis::default()),
            ContractState::Configuring => Some(self.give_up),
            ContractState::Active if self.is_used_up() => Some(UnixMillis::default()),
            ContractState::Active if self.told_expiring => self.ends,
            ContractState::Active => self.expiring(),
            ContractState::Expired if self.leased => self.rests_until(),
            _ => None,
        }
    }

    /// A handshake shows that the buyer has the CONFIG, since nobody else has the key of both ends. Whoever does not
    /// settle the payment that brings it does not get time for nothing by that.
    fn has_arrived(&self) -> bool {
        self.meter.last_handshake.is_some_and(|at| at >= self.made)
    }

    fn is_used_up(&self) -> bool {
        self.bytes_allowed.is_some_and(|allowed| self.meter.bytes() >= allowed)
    }

    fn expiring(&self) -> Option<UnixMillis> {
        let lead = EXPIRING_LEAD.min(Duration::from_secs(self.duration_secs) / 4);
        Some(self.ends?.minus(lead))
    }

    /// Until when it keeps its address, once it has expired.
    fn rests_until(&self) -> Option<UnixMillis> {
        Some(self.ends?.plus(Duration::from_secs(self.rest_secs)))
    }

    /// Its time begins.
    pub(super) fn start(&mut self, at: UnixMillis) {
        self.state = ContractState::Active;
        self.started = Some(at);
        self.ends = Some(at.plus(Duration::from_secs(self.duration_secs)));
        self.left_secs = self.duration_secs;
    }

    /// Seconds that it would have left with what one more payment buys.
    pub(super) fn left_with_more(&self, now: UnixMillis) -> u64 {
        let left = match self.state {
            ContractState::Active => self.ends.unwrap_or(now).since(now),
            _ => Duration::ZERO,
        };
        left.as_millis().div_ceil(1000) as u64 + self.duration_secs
    }

    /// One more payment's worth of time and data is added. What has expired goes on.
    pub(super) fn extend(&mut self, now: UnixMillis) {
        let from = self.ends.filter(|_| self.state == ContractState::Active).unwrap_or(now).max(now);
        let ends = from.plus(Duration::from_secs(self.duration_secs));
        self.left_secs = ends.since(now).as_millis().div_ceil(1000) as u64;
        self.state = ContractState::Active;
        self.ends = Some(ends);
        self.told_expiring = false;
        self.reason.clear();
        self.paid_sat = self.paid_sat.saturating_add(self.price_sat);
        if let (Some(allowed), Some(more)) = (&mut self.bytes_allowed, self.limits.data_bytes) {
            *allowed = allowed.saturating_add(more);
        }
    }

    /// Keeps its times within what was agreed, after a step back of the clock.
    fn keep_within(&mut self, now: UnixMillis) {
        match self.state {
            ContractState::Configuring => {
                self.made = self.made.min(now);
                self.give_up = self.give_up.min(now.plus(ANSWER_TRIED));
            }
            ContractState::Active => {
                let latest = now.plus(Duration::from_secs(self.left_secs));
                self.ends = self.ends.map(|ends| ends.min(latest));
            }
            ContractState::Expired => self.ends = self.ends.map(|ends| ends.min(now)),
            ContractState::RefundDue | ContractState::Refunded => {}
        }
    }
}

impl Book {
    /// What time brings. To be asked when [`Self::next_deadline`] has come, and from time to time, since clocks are set.
    pub fn tick(&self, moment: &mut Moment<'_>) -> Step {
        let now = moment.now;
        let all = self.clock_went_back(now);
        let mut step = Step { at: now, looked_at_all: all, ..Step::default() };
        if all {
            self.offers.values().for_each(|offer| offer_at(offer, now, &mut step));
            self.contracts.values().for_each(|contract| self.contract_at(contract, moment, &mut step));
            self.payments.values().for_each(|payment| self.payment_at(payment, moment, &mut step));
            return step;
        }
        for subject in self.due(now) {
            match subject {
                Subject::Offer(nonce) => {
                    self.offers.get(nonce).into_iter().for_each(|offer| offer_at(offer, now, &mut step));
                }
                Subject::Contract(nonce) => {
                    let contract = self.contracts.get(nonce);
                    contract.into_iter().for_each(|contract| self.contract_at(contract, moment, &mut step));
                }
                Subject::Payment(hash) => {
                    let payment = self.payments.get(hash);
                    payment.into_iter().for_each(|payment| self.payment_at(payment, moment, &mut step));
                }
            }
        }
        step
    }

    /// Takes in what the device says of a peer: in memory, until the next step about its contract or
    /// [`Self::save_meters`]. Handshakes and used up data count at the next [`Self::tick`].
    pub fn read_meter(&mut self, key: &PublicKey, reading: &Reading) {
        let contract = self.nonce_of_key(key).and_then(|nonce| self.contracts.get(nonce));
        let Some(mut contract) = contract.filter(|contract| contract.is_wanted()).cloned() else { return };
        if contract.meter.read(reading) {
            self.put_metered(contract);
        }
    }

    /// What meters have shown since it was last committed.
    pub fn save_meters(&self, now: UnixMillis) -> Step {
        Step { at: now, put_contracts: self.unsaved().cloned().collect(), ..Step::default() }
    }

    fn contract_at(&self, stored: &Contract, moment: &mut Moment<'_>, step: &mut Step) {
        let now = moment.now;
        let mut contract = stored.clone();
        contract.keep_within(now);
        while contract.due().is_some_and(|due| due <= now) {
            match contract.state {
                ContractState::Configuring if contract.has_arrived() => contract.start(now),
                ContractState::Configuring => self.withdraw(&mut contract, None, step),
                ContractState::Active => run_out(&mut contract, moment, step),
                _ => contract.leased = false,
            }
        }
        if contract != *stored {
            step.put_contracts.push(contract);
        }
    }

    fn payment_at(&self, stored: &Payment, moment: &mut Moment<'_>, step: &mut Step) {
        let mut payment = stored.clone();
        payment.next_try = payment.next_try.map(|at| at.min(moment.now.plus(REFUND_PAUSE)));
        if payment.due().is_some_and(|due| due <= moment.now) {
            self.refund(&mut payment, moment, step);
        }
        if payment != *stored {
            step.put_payments.push(payment);
        }
    }
}

fn offer_at(stored: &Offer, now: UnixMillis, step: &mut Step) {
    let latest = now.plus(QUOTE_VALID).plus(QUOTE_GRACE);
    if stored.due() <= now {
        step.forget_offers.push(stored.nonce.clone());
    } else if stored.accept_until > latest {
        step.put_offers.push(Offer { accept_until: latest, ..stored.clone() });
    }
}

/// An active contract comes to its end, or near it.
fn run_out(contract: &mut Contract, moment: &mut Moment<'_>, step: &mut Step) {
    let now = moment.now;
    let reason = match contract.ends {
        _ if contract.is_used_up() => EndReason::Data,
        Some(ends) if ends > now => {
            contract.told_expiring = true;
            let remaining_secs = ends.since(now).as_secs();
            let response = Response::Expiring { nonce: contract.nonce.clone(), remaining_secs };
            step.publish.push(told(contract, &response, moment));
            return;
        }
        _ => EndReason::Time,
    };
    contract.state = ContractState::Expired;
    contract.ends = contract.ends.map(|ends| ends.min(now));
    // Another payment buys all that it says, also where a little more went through than was paid for.
    contract.bytes_allowed = contract.bytes_allowed.map(|allowed| allowed.max(contract.meter.bytes()));
    contract.reason = reason.as_str().to_owned();
    let response = Response::Expired { nonce: contract.nonce.clone(), reason };
    if reason == EndReason::Data {
        // The buyer has a clock, but may not see what went through.
        let (id, body) = (moment.message_id(), response.to_json());
        step.send.push(Post::from_allowance(id, contract.buyer, body, None));
    }
    step.publish.push(told(contract, &response, moment));
}

/// An event of this node about a contract.
fn told(contract: &Contract, response: &Response, moment: &mut Moment<'_>) -> Note {
    Note {
        id: moment.message_id(),
        reply_to: String::new(),
        from: Some(contract.buyer),
        data: response.to_json(),
        amount_sat: 0,
    }
}
