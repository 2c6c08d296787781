//! What buyers ask and pay for.

use ipnet::Ipv4Net;

use super::book::Book;
use super::row::{Contract, ContractState, Offer, Payment, PaymentKind, PaymentState};
use super::step::Step;
use super::{ANSWER_TRIED, QUOTE_GRACE, QUOTE_VALID, REPEAT_PAUSE, fee_limit_sat};
use crate::amount::Msat;
use crate::id::MessageId;
use crate::vpn::PAID_TWICE;
use crate::vpn::outgoing::{Note, Post};
use crate::vpn::{Config, Incoming, Meter, Moment, Nonce, PresharedKey, PublicKey, Quote, Request, Response};

/// Why a payment is not served, in a few words that buyer and seller read.
type Reason = &'static str;

impl Book {
    /// Takes in what a buyer asks or pays for.
    pub fn take(&self, incoming: &Incoming<'_>, request: &Request, moment: &mut Moment<'_>) -> Step {
        let mut step = Step { at: moment.now, ..Step::default() };
        if self.payments.contains_key(&incoming.hash) || (incoming.repeated && !request.is_payment()) {
            step.count.push("vpn_ignored");
            return step;
        }
        if !incoming.repeated {
            step.publish.push(Note {
                id: incoming.id,
                reply_to: incoming.reply_to.to_owned(),
                from: Some(incoming.from),
                data: request.to_json(),
                amount_sat: incoming.amount.to_sat_floor(),
            });
        }
        match request {
            Request::Quote => self.quote(incoming, moment, &mut step),
            Request::Contract { nonce, price_sat, public_key } => {
                let served = self.may_contract(incoming, nonce, *price_sat, public_key);
                let payment = payment(incoming, PaymentKind::Contract, nonce);
                match served {
                    Ok(offer) => self.serve(payment, offer, *public_key, moment, &mut step),
                    Err(reason) => self.send_back(payment, reason, moment, &mut step),
                }
            }
            Request::Refresh { nonce, price_sat } => {
                let served = self.may_refresh(incoming, nonce, *price_sat, moment);
                let payment = payment(incoming, PaymentKind::Refresh, nonce);
                match served {
                    Ok(contract) => extend(payment, contract, moment, &mut step),
                    Err(reason) => self.send_back(payment, reason, moment, &mut step),
                }
            }
            Request::Status { nonce, id } => self.status(incoming, nonce, *id, moment, &mut step),
        }
        step
    }

    fn quote(&self, incoming: &Incoming<'_>, moment: &mut Moment<'_>, step: &mut Step) {
        let refusal = if incoming.blocked || !self.terms.selling {
            Some("not selling")
        } else if !self.has_room_for(&incoming.from) {
            Some("too many open quotes")
        } else if self.addresses.lowest_free().is_none() {
            Some("no address free")
        } else {
            None
        };
        let response = match refusal {
            Some(reason) => Response::Refused { reason: reason.to_owned() },
            None => {
                let valid_until = moment.now.plus(QUOTE_VALID);
                let offer = Offer {
                    nonce: Nonce::from_random(moment.half()),
                    buyer: incoming.from,
                    price_sat: self.terms.price_sat,
                    duration_secs: self.terms.duration_secs,
                    max_secs: self.terms.max_secs,
                    limits: self.terms.limits,
                    made: moment.now,
                    accept_until: valid_until.plus(QUOTE_GRACE),
                };
                let quote = Quote {
                    nonce: offer.nonce.clone(),
                    price_sat: offer.price_sat,
                    valid_secs: QUOTE_VALID.as_secs(),
                    expiry_secs: valid_until.secs(),
                    duration_secs: offer.duration_secs,
                    max_secs: offer.max_secs,
                    limits: offer.limits,
                };
                step.put_offers.push(offer);
                Response::Quote(quote)
            }
        };
        let (id, body) = (moment.message_id(), response.to_json());
        step.send.push(Post::from_allowance(id, incoming.from, body, Some(incoming.id)));
    }

    /// The offer that a payment accepts. What was paid in time counts, however long the node was away since.
    fn may_contract(
        &self,
        incoming: &Incoming<'_>,
        nonce: &Nonce,
        price_sat: u64,
        key: &PublicKey,
    ) -> Result<&Offer, Reason> {
        let is_buyers = |contract: &Contract| contract.buyer == incoming.from;
        if incoming.repeated || self.contracts.get(nonce).is_some_and(is_buyers) {
            return Err(PAID_TWICE);
        }
        let offer = self.offers.get(nonce).filter(|offer| offer.buyer == incoming.from);
        let offer = offer.ok_or("no such quote")?;
        if incoming.blocked {
            Err("blocked")
        } else if !offer.is_open(incoming.at) {
            Err("quote expired")
        } else if price_sat != offer.price_sat || incoming.amount.to_sat_floor() != offer.price_sat {
            Err("price")
        } else if !self.terms.selling {
            Err("not selling")
        } else if key.is_low_order()
            || !key.is_canonical()
            || *key == self.terms.server_key
            || self.has_key(key)
        {
            Err("key")
        } else {
            Ok(offer)
        }
    }

    /// The contract that a payment gives more time.
    fn may_refresh(
        &self,
        incoming: &Incoming<'_>,
        nonce: &Nonce,
        price_sat: u64,
        moment: &Moment<'_>,
    ) -> Result<&Contract, Reason> {
        if incoming.repeated {
            return Err(PAID_TWICE);
        }
        let contract = self.contracts.get(nonce).filter(|contract| contract.buyer == incoming.from);
        let contract = contract.ok_or("no such contract")?;
        let can_go_on = match contract.state {
            ContractState::Active => true,
            ContractState::Expired => contract.leased && contract.due().is_some_and(|end| moment.now < end),
            ContractState::Configuring => return Err("not active yet"),
            ContractState::RefundDue | ContractState::Refunded => return Err("refunded"),
        };
        if incoming.blocked {
            Err("blocked")
        } else if !can_go_on {
            Err("ended")
        } else if price_sat != contract.price_sat || incoming.amount.to_sat_floor() != contract.price_sat {
            Err("price")
        } else if !self.terms.carrying {
            Err("not selling")
        } else if contract.left_with_more(moment.now) > contract.max_secs {
            Err("too much time")
        } else {
            Ok(contract)
        }
    }

    fn serve(
        &self,
        mut payment: Payment,
        offer: &Offer,
        client_key: PublicKey,
        moment: &mut Moment<'_>,
        step: &mut Step,
    ) {
        let prefix = self.terms.subnet.prefix_len();
        let address = self.addresses.lowest_free();
        let Some(client) = address.and_then(|address| Ipv4Net::new(address, prefix).ok()) else {
            return self.send_back(payment, "no address free", moment, step);
        };
        let config = Config {
            client_key,
            server: self.terms.server,
            server_key: self.terms.server_key,
            client,
            allowed: self.terms.allowed.clone(),
            dns: self.terms.dns,
            psk: PresharedKey::from_random((moment.random)()),
            nonce: offer.nonce.clone(),
            expiry_secs: moment.now.secs().saturating_add(offer.duration_secs),
            duration_secs: offer.duration_secs,
            mtu: self.terms.mtu,
            limits: offer.limits,
        };
        // Nothing is sent that no buyer could read, nor kept that could not be read back.
        let Ok(config) = Config::try_from(config.to_json()) else {
            step.count.push("vpn_config_invalid");
            return self.send_back(payment, "not selling", moment, step);
        };
        let config_id = moment.message_id();
        payment.answer_id = Some(config_id);
        payment.answer_open = true;
        step.send.push(answer(&payment, config_id, config.to_json()));
        step.forget_offers.push(offer.nonce.clone());
        step.put_contracts.push(Contract {
            nonce: offer.nonce.clone(),
            buyer: offer.buyer,
            config,
            leased: true,
            price_sat: offer.price_sat,
            duration_secs: offer.duration_secs,
            max_secs: offer.max_secs,
            rest_secs: self.terms.rest.as_secs(),
            limits: offer.limits,
            state: ContractState::Configuring,
            config_id,
            contract_id: payment.message,
            payment: payment.hash,
            made: moment.now,
            give_up: moment.now.plus(ANSWER_TRIED),
            started: None,
            ends: None,
            left_secs: 0,
            told_expiring: false,
            bytes_allowed: offer.limits.data_bytes,
            meter: Meter::default(),
            paid_sat: payment.received.to_sat_floor(),
            refunded_sat: 0,
            reason: String::new(),
        });
        step.put_payments.push(payment);
    }

    fn send_back(&self, mut payment: Payment, reason: Reason, moment: &mut Moment<'_>, step: &mut Step) {
        reason.clone_into(&mut payment.reason);
        self.refund(&mut payment, moment, step);
        step.put_payments.push(payment);
    }

    /// Repeats the answer to a payment, once the first one is not on its way any more. What is not answered yet will be.
    fn status(
        &self,
        incoming: &Incoming<'_>,
        nonce: &Nonce,
        id: MessageId,
        moment: &mut Moment<'_>,
        step: &mut Step,
    ) {
        let payment = self.payment_by_message(incoming.from, id).filter(|payment| payment.nonce == *nonce);
        let Some((payment, body)) = payment.and_then(|payment| Some((payment, self.answer_to(payment)?)))
        else {
            step.count.push("vpn_status_ignored");
            return;
        };
        let mut payment = payment.clone();
        let is_too_soon = |at| moment.now.since(at) < REPEAT_PAUSE && at.since(moment.now) < REPEAT_PAUSE;
        if payment.repeated_at.is_some_and(is_too_soon) {
            step.count.push("vpn_status_ignored");
            return;
        }
        payment.repeated_at = Some(moment.now);
        step.send.push(Post::from_allowance(moment.message_id(), payment.buyer, body, Some(id)));
        step.put_payments.push(payment);
    }

    fn answer_to(&self, payment: &Payment) -> Option<String> {
        match payment.state {
            _ if payment.answer_open => None,
            PaymentState::RefundDue => None,
            PaymentState::Served if payment.kind == PaymentKind::Contract => {
                self.contracts.get(&payment.nonce).map(|contract| contract.config.to_json())
            }
            PaymentState::Served | PaymentState::Refunded | PaymentState::Kept => {
                Some(payment.answer.clone())
            }
        }
    }
}

/// A payment that is served, unless something else becomes of it.
fn payment(incoming: &Incoming<'_>, kind: PaymentKind, nonce: &Nonce) -> Payment {
    Payment {
        hash: incoming.hash,
        buyer: incoming.from,
        message: incoming.id,
        repeated: incoming.repeated,
        kind,
        nonce: nonce.clone(),
        received: incoming.amount,
        at: incoming.at,
        state: PaymentState::Served,
        reason: String::new(),
        refund_sat: 0,
        withheld_sat: 0,
        answer_id: None,
        answer_open: false,
        answer: String::new(),
        next_try: None,
        tries: 0,
        repeated_at: None,
        error: String::new(),
    }
}

/// A message that answers a payment, paid for by that: who cannot be reached for little is not sold to at a loss.
fn answer(payment: &Payment, id: MessageId, body: String) -> Post {
    Post {
        id,
        to: payment.buyer,
        body,
        reply_to: Some(payment.message),
        amount_sat: 0,
        fee_limit: Some(Msat::from_sat(fee_limit_sat(payment.received.to_sat_floor()))),
        keep: Some(ANSWER_TRIED),
        from_allowance: false,
    }
}

fn extend(mut payment: Payment, contract: &Contract, moment: &mut Moment<'_>, step: &mut Step) {
    let mut contract = contract.clone();
    contract.extend(moment.now);
    let response = Response::Refreshed {
        nonce: contract.nonce.clone(),
        duration_secs: contract.duration_secs,
        remaining_secs: contract.left_secs,
        expiry_secs: contract.ends.unwrap_or(moment.now).secs(),
    };
    let id = moment.message_id();
    payment.answer_id = Some(id);
    payment.answer_open = true;
    payment.answer = response.to_json();
    step.send.push(answer(&payment, id, payment.answer.clone()));
    step.publish.push(Note {
        id,
        reply_to: payment.message.to_string(),
        from: None,
        data: response.to_json_about(&payment.buyer),
        amount_sat: 0,
    });
    step.put_payments.push(payment);
    step.put_contracts.push(contract);
}
