//! Answers that did and did not get there, and money that goes back.

use super::book::{Book, is_refund_due};
use super::row::{Contract, ContractState, Payment, PaymentKind, PaymentState};
use super::step::Step;
use super::{LEAST_REFUND_SAT, REFUND_PAUSE, REFUND_TRIED, fee_limit_sat};
use crate::amount::Msat;
use crate::id::MessageId;
use crate::vpn::outgoing::{Note, Post};
use crate::vpn::{End, Moment, Nonce, Response};
use crate::wire::envelope::{MAX_PARTS, ReplyTo};
use crate::wire::split::split;

impl Book {
    /// A message of this node has ended. Most are none of a seller's.
    pub fn message_ended(&self, id: MessageId, end: End, moment: &mut Moment<'_>) -> Step {
        let mut step = Step { at: moment.now, ..Step::default() };
        let Some(stored) = self.payment_by_answer(id) else { return step };
        // The outbox's row was committed with this one, so it was there.
        let end = if end == End::Missing { End::Unknown } else { end };
        let mut payment = stored.clone();
        payment.answer_open = false;
        match payment.state {
            PaymentState::Served if payment.kind == PaymentKind::Contract => {
                return self.config_ended(payment, id, end, moment, step);
            }
            // Of a CONFIG that was given up.
            PaymentState::RefundDue if payment.tries == 0 => {
                if end == End::Failed {
                    payment.withheld_sat = 0;
                }
            }
            PaymentState::RefundDue => self.refund_ended(&mut payment, end, moment, &mut step),
            PaymentState::Served | PaymentState::Refunded | PaymentState::Kept => {}
        }
        if payment != *stored {
            step.put_payments.push(payment);
        }
        step
    }

    /// The device was seen without the peer of a contract that is to be refunded: now it is.
    pub fn peer_gone(&self, nonce: &Nonce, moment: &mut Moment<'_>) -> Step {
        let mut step = Step { at: moment.now, ..Step::default() };
        let contract =
            self.contracts.get(nonce).filter(|contract| contract.leased && is_refund_due(contract));
        let Some(mut contract) = contract.cloned() else { return step };
        contract.leased = false;
        if let Some(mut payment) = self.payments.get(&contract.payment).cloned() {
            self.refund(&mut payment, moment, &mut step);
            if payment.state == PaymentState::Kept {
                contract.state = ContractState::Refunded;
            }
            step.put_payments.push(payment);
        }
        step.put_contracts.push(contract);
        step
    }

    fn config_ended(
        &self,
        payment: Payment,
        id: MessageId,
        end: End,
        moment: &Moment<'_>,
        mut step: Step,
    ) -> Step {
        let contract = self.contracts.get(&payment.nonce);
        let waits =
            |contract: &&Contract| contract.state == ContractState::Configuring && contract.config_id == id;
        if let Some(mut contract) = contract.filter(waits).cloned() {
            match end {
                End::Settled(at) => contract.start(at.min(moment.now)),
                End::Failed | End::Unknown | End::Missing => {
                    self.withdraw(&mut contract, Some(end), &mut step);
                }
            }
            step.put_contracts.push(contract);
        }
        if step.put_payments.is_empty() {
            step.put_payments.push(payment);
        }
        step
    }

    /// The buyer does not get what it paid for: its peer leaves the device, and it gets its money back once that is sure. Its
    /// CONFIG ended so; nothing where it is still on its way.
    pub(super) fn withdraw(&self, contract: &mut Contract, end: Option<End>, step: &mut Step) {
        contract.state = ContractState::RefundDue;
        contract.reason = match end {
            None | Some(End::Failed | End::Settled(_)) => "not delivered".to_owned(),
            Some(End::Unknown | End::Missing) => "delivery unknown".to_owned(),
        };
        step.give_up.push(contract.config_id);
        let Some(stored) = self.payments.get(&contract.payment) else { return };
        // Whoever holds that payment back could else have all of the price and what it brings.
        let withheld_sat = if end == Some(End::Failed) { 0 } else { config_cost_sat(contract, stored) };
        step.put_payments.push(Payment {
            state: PaymentState::RefundDue,
            reason: contract.reason.clone(),
            withheld_sat,
            answer_open: end.is_none(),
            ..stored.clone()
        });
    }

    fn refund_ended(&self, payment: &mut Payment, end: End, moment: &Moment<'_>, step: &mut Step) {
        match end {
            // Another one waits for its time.
            _ if payment.next_try.is_some() => {}
            End::Settled(_) => {
                payment.state = PaymentState::Refunded;
                payment.error.clear();
                let contract = self.contracts.get(&payment.nonce);
                let is_its = |contract: &&Contract| contract.payment == payment.hash;
                if let Some(mut contract) = contract.filter(is_its).cloned() {
                    contract.state = ContractState::Refunded;
                    contract.refunded_sat = contract.refunded_sat.saturating_add(payment.refund_sat);
                    step.put_contracts.push(contract);
                }
            }
            End::Failed => {
                payment.next_try = Some(moment.now.plus(REFUND_PAUSE));
                "could not be paid".clone_into(&mut payment.error);
            }
            // It may have got there: paying again could pay twice.
            End::Unknown | End::Missing => "not known whether it was paid".clone_into(&mut payment.error),
        }
    }

    /// Sends back what a payment brought, but the fee. Over the channels of others that is all of what the fee may be: a
    /// keysend says what it brings before anybody knows what its way costs, and what were left of the limit is less than
    /// another payment would cost.
    ///
    /// What is too little to send back is kept, and the buyer told so at once or when it asks, if that costs no more than
    /// came: nothing is kept open for it, since a stranger can cause any number of those.
    pub(super) fn refund(&self, payment: &mut Payment, moment: &mut Moment<'_>, step: &mut Step) {
        let received_sat = payment.received.to_sat_floor();
        let left_sat = received_sat.saturating_sub(payment.withheld_sat);
        let is_kept = left_sat < LEAST_REFUND_SAT;
        let is_first = payment.tries == 0;
        // A channel with the buyer may have no balance on this side, which a way through others has.
        let is_direct = payment.tries.is_multiple_of(2) && (moment.is_direct)(&payment.buyer);
        let limit_sat = match is_direct {
            _ if is_kept => left_sat.saturating_sub(1),
            true => 0,
            false => fee_limit_sat(left_sat),
        };
        payment.refund_sat = if is_kept { 0 } else { left_sat - limit_sat };
        payment.tries = payment.tries.saturating_add(1);
        payment.next_try = None;
        let response = Response::Refund {
            nonce: payment.nonce.clone(),
            amount_sat: payment.refund_sat,
            received_sat,
            reason: told_reason(payment),
        };
        payment.answer = response.to_json();
        let id = moment.message_id();
        let is_sent = left_sat > 0;
        payment.answer_id = is_sent.then_some(id);
        payment.answer_open = is_sent && !is_kept;
        let keep = if is_kept {
            payment.state = PaymentState::Kept;
            payment.repeated_at = is_sent.then_some(moment.now);
            None
        } else {
            payment.state = PaymentState::RefundDue;
            Some(if is_direct { REFUND_PAUSE } else { REFUND_TRIED })
        };
        if is_sent {
            step.send.push(Post {
                id,
                to: payment.buyer,
                body: payment.answer.clone(),
                reply_to: Some(payment.message),
                amount_sat: payment.refund_sat,
                fee_limit: Some(Msat::from_sat(limit_sat)),
                keep,
                from_allowance: false,
            });
        }
        if is_first {
            step.publish.push(Note {
                id,
                reply_to: payment.message.to_string(),
                from: None,
                data: response.to_json_about(&payment.buyer),
                amount_sat: 0,
            });
        }
    }
}

/// Why a payment goes back, as its buyer reads it.
fn told_reason(payment: &Payment) -> String {
    let Payment { reason, withheld_sat, .. } = payment;
    if *withheld_sat == 0 {
        return reason.clone();
    }
    format!("{reason}; less {withheld_sat} sat that the configuration may cost")
}

/// The most that the CONFIG of a contract costs: 1 sat and the fee for each of its parts.
fn config_cost_sat(contract: &Contract, payment: &Payment) -> u64 {
    let reply_to = ReplyTo::parse(&contract.contract_id.to_string()).unwrap_or_default();
    let text = contract.config.to_json();
    let parts = split(text.as_bytes(), reply_to.as_ref()).map_or(usize::from(MAX_PARTS), |parts| parts.len());
    parts as u64 * (1 + fee_limit_sat(payment.received.to_sat_floor()))
}
