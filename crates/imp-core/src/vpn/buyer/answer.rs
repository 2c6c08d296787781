//! What sellers say.

use std::time::Duration;

use super::purchases::Purchases;
use super::row::{HeldQuote, OpenRefresh, Purchase, PurchaseState};
use super::step::Step;
use super::{MAX_QUOTES, MAX_QUOTES_OF_ONE, PAYING_LEAD, QUOTE_AWAITED};
use crate::id::MessageId;
use crate::time::UnixMillis;
use crate::vpn::outgoing::Note;
use crate::vpn::{Config, EndReason, Incoming, Nonce, PAID_TWICE, Quote, Response};

/// Why a contract is not refreshed by itself any more: else it would have to be, again and again.
const LESS_TIME: &str = "the seller counts less time than was paid for: not refreshed by itself any more";

/// What only the outbox and the rest of the store know of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// When this node sent the QUOTE request to its sender that it answers; nothing where it answers none.
    pub quote_asked: Option<UnixMillis>,
    /// The nonce that it names is that of something that this node sells or sold.
    pub nonce_taken: bool,
}

impl Purchases {
    /// Takes in what a seller says.
    pub fn take(&self, incoming: &Incoming<'_>, response: &Response, asked: Asked, now: UnixMillis) -> Step {
        let mut step = Step { at: now, ..Step::default() };
        // Else a seller could go on for as long as the request is remembered.
        let is_asked = asked.quote_asked.is_some_and(|at| incoming.at.since(at) <= QUOTE_AWAITED);
        let counts = match response {
            _ if incoming.repeated => Err("vpn_ignored"),
            Response::Quote(quote) if is_asked && !asked.nonce_taken && !incoming.blocked => {
                self.hold(incoming, quote, &mut step)
            }
            Response::Refused { .. } if is_asked => Ok(()),
            Response::Config(config) => self.configure(incoming, config, now, &mut step),
            Response::Refreshed { nonce, duration_secs, remaining_secs, .. } => {
                let said = [*duration_secs, *remaining_secs].map(Duration::from_secs);
                self.refreshed(incoming, nonce, said, now, &mut step)
            }
            Response::Refund { nonce, reason, .. } => self.refunded(incoming, nonce, reason, &mut step),
            Response::Expired { nonce, reason: EndReason::Data } => {
                self.used_up(incoming, nonce, now, &mut step)
            }
            Response::Quote(_)
            | Response::Refused { .. }
            | Response::Expiring { .. }
            | Response::Expired { .. }
            | Response::Unanswered { .. } => Err("vpn_ignored"),
        };
        match counts {
            Ok(()) => step.publish.push(Note {
                id: incoming.id,
                reply_to: incoming.reply_to.to_owned(),
                from: Some(incoming.from),
                data: response.to_json(),
                amount_sat: incoming.amount.to_sat_floor(),
            }),
            Err(name) => step.count.push(name),
        }
        step
    }

    fn hold(&self, incoming: &Incoming<'_>, quote: &Quote, step: &mut Step) -> Result<(), &'static str> {
        let request_id = MessageId::from_canonical(incoming.reply_to).ok_or("vpn_ignored")?;
        let is_known = self.quotes.contains_key(&quote.nonce) || self.purchases.contains_key(&quote.nonce);
        if is_known || self.quotes.values().any(|held| held.request_id == request_id) {
            return Err("vpn_ignored");
        }
        let of_seller = self.quotes.values().filter(|held| held.seller == incoming.from);
        if of_seller.clone().count() >= MAX_QUOTES_OF_ONE {
            step.forget_quotes.extend(oldest(of_seller));
        } else if self.quotes.len() >= MAX_QUOTES {
            step.forget_quotes.extend(oldest(self.quotes.values()));
        }
        let payable = Duration::from_secs(quote.valid_secs).saturating_sub(PAYING_LEAD);
        step.put_quotes.push(HeldQuote {
            quote: quote.clone(),
            seller: incoming.from,
            request_id,
            received: incoming.at,
            accept_until: incoming.at.plus(payable),
        });
        Ok(())
    }

    fn configure(
        &self,
        incoming: &Incoming<'_>,
        config: &Config,
        now: UnixMillis,
        step: &mut Step,
    ) -> Result<(), &'static str> {
        let purchase = self.purchase_from(incoming.from, &config.nonce).ok_or("vpn_ignored")?;
        match purchase.state {
            PurchaseState::Paying | PurchaseState::Paid | PurchaseState::Unanswered => {}
            PurchaseState::Active if purchase.config.as_ref() != Some(config) => {
                return Err("vpn_config_refused");
            }
            _ => return Err("vpn_ignored"),
        }
        let is_as_quoted = config.duration_secs == purchase.quote.duration_secs
            && config.limits == purchase.quote.limits
            && config.client_key == purchase.public_key;
        if !is_as_quoted || purchase.private_key.is_none() {
            return Err("vpn_config_refused");
        }
        let mut purchase = purchase.clone();
        purchase.config = Some(config.clone());
        purchase.event_id = Some(incoming.id);
        purchase.state = PurchaseState::Active;
        purchase.reason.clear();
        purchase.inquiry = None;
        // The seller's time runs from when it came, not from when it is read.
        let started = incoming.at.min(now);
        purchase.started = Some(started);
        purchase.ends = Some(started.plus(Duration::from_secs(config.duration_secs)));
        purchase.left_secs = config.duration_secs;
        step.put_purchases.push(purchase);
        Ok(())
    }

    fn refreshed(
        &self,
        incoming: &Incoming<'_>,
        nonce: &Nonce,
        [duration, remaining]: [Duration; 2],
        now: UnixMillis,
        step: &mut Step,
    ) -> Result<(), &'static str> {
        let purchase = self.purchase_from(incoming.from, nonce).ok_or("vpn_ignored")?;
        let answers = |refresh: &OpenRefresh| is(refresh.id, incoming.reply_to);
        if !purchase.refresh.as_ref().is_some_and(answers) {
            return Err("vpn_ignored");
        }
        let mut purchase = purchase.clone();
        purchase.close_refresh();
        if matches!(purchase.state, PurchaseState::Active | PurchaseState::Expired) {
            let at = incoming.at.min(now);
            let own = purchase.left_with_more(at);
            let left = own.min(remaining);
            purchase.state = PurchaseState::Active;
            purchase.reason.clear();
            if purchase.is_short_of(own, remaining, duration) && purchase.auto_limit_sat.take().is_some() {
                LESS_TIME.clone_into(&mut purchase.reason);
            }
            purchase.ends = Some(at.plus(left));
            purchase.left_secs = left.as_millis().div_ceil(1000) as u64;
            purchase.told_expiring = false;
            if let (Some(allowed), Some(more)) =
                (&mut purchase.bytes_allowed, purchase.quote.limits.data_bytes)
            {
                *allowed = allowed.saturating_add(more);
            }
        }
        step.put_purchases.push(purchase);
        Ok(())
    }

    /// The seller says that no data is left. It can cut the tunnel anyway.
    fn used_up(
        &self,
        incoming: &Incoming<'_>,
        nonce: &Nonce,
        now: UnixMillis,
        step: &mut Step,
    ) -> Result<(), &'static str> {
        let purchase = self.purchase_from(incoming.from, nonce).ok_or("vpn_ignored")?;
        if purchase.state != PurchaseState::Active || purchase.bytes_allowed.is_none() {
            return Err("vpn_ignored");
        }
        let mut purchase = purchase.clone();
        purchase.expire(EndReason::Data, now);
        step.put_purchases.push(purchase);
        Ok(())
    }

    fn refunded(
        &self,
        incoming: &Incoming<'_>,
        nonce: &Nonce,
        reason: &str,
        step: &mut Step,
    ) -> Result<(), &'static str> {
        let purchase = self.purchase_from(incoming.from, nonce).ok_or("vpn_ignored")?;
        let mut purchase = purchase.clone();
        purchase.refunded_sat = purchase.refunded_sat.saturating_add(incoming.amount.to_sat_floor());
        let refresh = purchase.refresh.filter(|refresh| is(refresh.id, incoming.reply_to));
        if let Some(refresh) = refresh {
            purchase.close_refresh();
            if refresh.auto {
                // This node does not go on to pay by itself what comes back less the fees.
                purchase.auto_limit_sat = None;
            }
        } else if reason != PAID_TWICE && purchase.is_refunded_by(incoming.reply_to) {
            purchase.state = PurchaseState::Refunded;
            purchase.ends = purchase.ends.map(|ends| ends.min(step.at));
            reason.clone_into(&mut purchase.reason);
            purchase.inquiry = None;
            purchase.forget_key();
        }
        step.put_purchases.push(purchase);
        Ok(())
    }
}

impl Purchase {
    /// Whether a REFUND that answers this message is one of the contract itself.
    fn is_refunded_by(&self, reply_to: &str) -> bool {
        match self.state {
            PurchaseState::Paying | PurchaseState::Paid | PurchaseState::Unanswered => true,
            PurchaseState::Active | PurchaseState::Expired => is(self.contract_id, reply_to),
            PurchaseState::Refunded | PurchaseState::Failed => false,
        }
    }
}

fn is(id: MessageId, text: &str) -> bool {
    MessageId::from_canonical(text) == Some(id)
}

fn oldest<'q>(quotes: impl Iterator<Item = &'q HeldQuote>) -> Option<Nonce> {
    quotes.min_by_key(|held| held.received).map(|held| held.quote.nonce.clone())
}
