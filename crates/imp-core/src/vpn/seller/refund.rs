//! Answers that did and did not get there, and money that goes back.

use super::book::{Book, is_refund_due};
use super::row::{Contract, ContractState, Payment, PaymentKind, PaymentState};
use super::step::Step;
use super::{LEAST_REFUND_SAT, REFUND_PAUSE, REFUND_TRIED};
use crate::amount::Msat;
use crate::id::MessageId;
use crate::vpn::outgoing::{Note, Post};
use crate::vpn::{End, Moment, Nonce, Response};

impl Book {
    /// A message of this node has ended. Most are none of a seller's.
    pub fn message_ended(&self, id: MessageId, end: End, moment: &mut Moment<'_>) -> Step {
        let mut step = Step { at: moment.now, ..Step::default() };
        let Some(stored) = self.payment_by_answer(id) else { return step };
        let mut payment = stored.clone();
        payment.answer_open = false;
        match payment.state {
            PaymentState::Served if payment.kind == PaymentKind::Contract => {
                return self.config_ended(payment, id, end, moment, step);
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
                End::Failed => self.withdraw(&mut contract, "not delivered", &mut step),
                End::Unknown => self.withdraw(&mut contract, "delivery unknown", &mut step),
            }
            step.put_contracts.push(contract);
        }
        if step.put_payments.is_empty() {
            step.put_payments.push(payment);
        }
        step
    }

    /// The buyer does not get what it paid for: its peer leaves the device, and it gets its money back once that is sure.
    pub(super) fn withdraw(&self, contract: &mut Contract, reason: &str, step: &mut Step) {
        contract.state = ContractState::RefundDue;
        reason.clone_into(&mut contract.reason);
        step.give_up.push(contract.config_id);
        let Some(stored) = self.payments.get(&contract.payment) else { return };
        step.put_payments.push(Payment {
            state: PaymentState::RefundDue,
            reason: reason.to_owned(),
            answer_id: None,
            answer_open: false,
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
            End::Unknown => "not known whether it was paid".clone_into(&mut payment.error),
        }
    }

    /// Sends back what a payment brought, but the fee. What is too little for that is kept, and the buyer told so, if that
    /// costs no more than came.
    pub(super) fn refund(&self, payment: &mut Payment, moment: &mut Moment<'_>, step: &mut Step) {
        let received_sat = payment.received.to_sat_floor();
        let is_first = payment.tries == 0;
        payment.next_try = None;
        payment.answer_id = None;
        payment.answer_open = false;
        // A channel with the buyer may have no balance on this side, which a way through others has.
        let is_direct = payment.tries.is_multiple_of(2) && (moment.is_direct)(&payment.buyer);
        let limit_sat = if is_direct { 0 } else { (received_sat / 50).max(1) };
        payment.tries = payment.tries.saturating_add(1);
        let (amount_sat, fee_limit) = if received_sat < LEAST_REFUND_SAT {
            payment.state = PaymentState::Kept;
            payment.refund_sat = 0;
            (1, payment.received.saturating_sub(Msat::from_sat(1)))
        } else {
            payment.state = PaymentState::RefundDue;
            payment.refund_sat = received_sat - limit_sat;
            (payment.refund_sat, Msat::from_sat(limit_sat))
        };
        let response = Response::Refund {
            nonce: payment.nonce.clone(),
            amount_sat: payment.refund_sat,
            received_sat,
            reason: payment.reason.clone(),
        };
        payment.answer = response.to_json();
        let id = moment.message_id();
        if received_sat > 0 {
            payment.answer_id = Some(id);
            payment.answer_open = true;
            step.send.push(Post {
                id,
                to: payment.buyer,
                body: payment.answer.clone(),
                reply_to: Some(payment.message),
                amount_sat,
                fee_limit: Some(fee_limit),
                keep: Some(REFUND_TRIED),
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
