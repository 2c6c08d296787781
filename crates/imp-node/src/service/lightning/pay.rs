//! The calls that pay: by an invoice, and without one.

use std::sync::Arc;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use imp_lightning::{InvoiceFacts, InvoiceFault, PaymentState, read_payable};

use super::run::in_doubt;
use super::turns::{Entry, Turn};
use super::{Inner, Lightning, MAX_AMOUNT_SAT, Outcome, Paid, SEE, amount_sat, at};
use crate::error::Error;
use crate::idempotency::{CallKey, Claim, KeyUse};
use crate::outbox::{CONFIRM_WITHIN, fee_limit, random, room, too_little};
use crate::service::pubkey;
use crate::store::payment::{KeptPayment, Means, Payment, PaymentStatus};

/// A payment without an invoice that a caller wants to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendKeysend {
    /// The recipient's public key, as the caller wrote it.
    pub pubkey: String,
    /// Satoshis.
    pub amount: i64,
}

impl Lightning {
    /// Pays an invoice and waits for the proof of payment, 60 s at most. Dropping the future does not stop a payment that
    /// was begun. A call for an invoice that is being paid waits for the outcome; one that failed is tried again. Under
    /// a key that paid it before, the answer is the same again.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for an invoice that cannot be paid, the reason beginning with `INVOICE_`; `UNAVAILABLE` without
    /// a route; `FAILED_PRECONDITION` for too little balance or a refusal; `DEADLINE_EXCEEDED` while the payment is in
    /// flight; `UNKNOWN` where it cannot be told whether it was made.
    pub async fn pay_invoice(&self, invoice: &str, key: Option<CallKey>) -> Result<Preimage, Error> {
        let paid = confirmed(Inner::pay_invoice(&self.inner, invoice, key)).await?;
        Ok(paid.preimage)
    }

    /// Pays a node without an invoice and waits for the proof of payment, 60 s at most. Dropping the future does not stop
    /// a payment that was begun. Under a key that paid before, the answer is the same again; after a failure the payment
    /// is made anew.
    ///
    /// # Errors
    ///
    /// As [`Self::pay_invoice`]; `INVALID_ARGUMENT` for an amount that is not 1 sat to 21 million bitcoin, and for this
    /// node itself.
    pub async fn send_keysend(&self, request: SendKeysend, key: Option<CallKey>) -> Result<Paid, Error> {
        confirmed(Inner::send_keysend(&self.inner, &request, key)).await
    }
}

/// Waits for an outcome as long as callers do.
async fn confirmed(paying: impl Future<Output = Outcome>) -> Outcome {
    let outcome = tokio::time::timeout(CONFIRM_WITHIN, paying).await;
    let outcome = outcome.unwrap_or_else(|_| Err(unconfirmed("within 60 s: the payment is still in flight")));
    outcome.map_err(Error::of_payment)
}

fn unconfirmed(why: &str) -> Error {
    Error::new(Code::DeadlineExceeded, "UNCONFIRMED", format!("failed to confirm {why}, {SEE}"))
}

fn stopping() -> Error {
    unconfirmed("the payment: the node is stopping")
}

impl Inner {
    async fn pay_invoice(self: &Arc<Self>, invoice: &str, key: Option<CallKey>) -> Outcome {
        let facts = read_payable(invoice, &self.node.id(), self.node.network())?;
        let (claim, repeated) = match key {
            None => (None, false),
            Some(call) => match self.keys.claim(call).await? {
                KeyUse::Fresh(claim) => (Some(claim), false),
                KeyUse::Used(_) => (None, true),
            },
        };
        match self.turns.enter(facts.hash)? {
            Entry::Wait(told) => {
                if let Some(claim) = claim {
                    self.store.store_key(claim.key(facts.hash.0, self.clock.now())).await?;
                }
                told.await.unwrap_or_else(|_| Err(stopping()))
            }
            Entry::Turn(turn) => {
                let inner = Arc::clone(self);
                self.take_turn(turn, async move { inner.pay(&facts, claim, repeated).await }).await
            }
        }
    }

    async fn send_keysend(self: &Arc<Self>, request: &SendKeysend, key: Option<CallKey>) -> Outcome {
        let payee = pubkey(&request.pubkey)?;
        let amount = Msat::from_sat(amount_sat(request.amount, MAX_AMOUNT_SAT, "a payment is of")?);
        if payee == self.node.id() {
            return Err(Error::invalid("pubkey", "is this node's own: a node cannot pay itself"));
        }
        let Some(call) = key else { return self.send_new(payee, amount, None).await };
        loop {
            let first = match self.keys.claim(call.clone()).await? {
                KeyUse::Fresh(claim) => return self.send_new(payee, amount, Some(claim)).await,
                KeyUse::Used(stored) => subject(&stored.subject)?,
            };
            let turn = match self.turns.enter(first)? {
                Entry::Wait(told) => return told.await.unwrap_or_else(|_| Err(stopping())),
                Entry::Turn(turn) => turn,
            };
            // Whoever has the turn may lead the key to another payment, and did so if it leads elsewhere by now.
            match self.keys.claim(call.clone()).await? {
                KeyUse::Used(stored) if subject(&stored.subject)? == first => {
                    let inner = Arc::clone(self);
                    return self
                        .take_turn(turn, async move { inner.send_again(first, payee, amount, call).await })
                        .await;
                }
                KeyUse::Used(_) | KeyUse::Fresh(_) => drop(turn),
            }
        }
    }

    /// Does what is this call's turn, whether or not the caller waits.
    async fn take_turn(&self, turn: Turn, doing: impl Future<Output = Outcome> + Send + 'static) -> Outcome {
        let doing = self.spawn(async move {
            let outcome = doing.await.map_err(Error::of_payment);
            turn.end(outcome.clone());
            outcome
        });
        match doing.await {
            Ok(outcome) => outcome.unwrap_or_else(|| Err(stopping())),
            Err(error) => Err(Error::internal(error.to_string())),
        }
    }

    /// Pays an invoice, unless that was done.
    async fn pay(&self, facts: &InvoiceFacts, claim: Option<Claim>, repeated: bool) -> Outcome {
        if let Some(kept) = self.store.payment(facts.hash).await? {
            match kept.status {
                PaymentStatus::Failed => {}
                PaymentStatus::Sending => {
                    if let Some(claim) = claim {
                        self.store.store_key(claim.key(facts.hash.0, self.clock.now())).await?;
                    }
                    return self.take_up(&kept.payment).await;
                }
                PaymentStatus::Settled | PaymentStatus::Unknown => {
                    let paid = self.what_came_of(&kept).await?;
                    return if repeated { Ok(paid) } else { Err(InvoiceFault::Paid.into()) };
                }
            }
        }
        let now = self.clock.now();
        let expires = at(facts.expires_at);
        if expires < now {
            return Err(InvoiceFault::Expired { ago_secs: now.since(expires).as_secs() }.into());
        }
        let amount = facts.amount.unwrap_or_default();
        let payment = Payment {
            hash: facts.hash,
            means: Means::Invoice(facts.invoice.clone()),
            payee: facts.payee,
            amount,
            fee_limit: fee_limit(self.options.fee_limit, amount),
            begun: now,
        };
        self.check_room(&payment).await?;
        let key = claim.as_ref().map(|claim| claim.key(payment.hash.0, now));
        self.make(&payment, key, claim).await
    }

    /// Makes a keysend that nobody has asked for before.
    async fn send_new(self: &Arc<Self>, payee: NodeId, amount: Msat, claim: Option<Claim>) -> Outcome {
        let (payment, turn) = self.keysend(payee, amount)?;
        let inner = Arc::clone(self);
        let making = async move {
            inner.check_room(&payment).await?;
            let key = claim.as_ref().map(|claim| claim.key(payment.hash.0, payment.begun));
            inner.make(&payment, key, claim).await
        };
        self.take_turn(turn, making).await
    }

    /// Answers a call whose key led to the payment `first`, and makes a new one if that failed.
    async fn send_again(&self, first: PaymentHash, payee: NodeId, amount: Msat, call: CallKey) -> Outcome {
        if let Some(kept) = self.store.payment(first).await? {
            match kept.status {
                PaymentStatus::Failed => {}
                PaymentStatus::Sending => return self.take_up(&kept.payment).await,
                PaymentStatus::Settled | PaymentStatus::Unknown => return self.what_came_of(&kept).await,
            }
        }
        let (payment, turn) = self.keysend(payee, amount)?;
        self.check_room(&payment).await?;
        let key = call.again(payment.hash.0, payment.begun);
        // From here on the key leads others to the new payment.
        let outcome = self.make(&payment, Some(key), None).await.map_err(Error::of_payment);
        turn.end(outcome.clone());
        outcome
    }

    /// A keysend with a fresh preimage, and the turn for it.
    fn keysend(&self, payee: NodeId, amount: Msat) -> Result<(Payment, Turn), Error> {
        let preimage = Preimage(random()?);
        let payment = Payment {
            hash: preimage.payment_hash(),
            means: Means::Keysend(preimage),
            payee,
            amount,
            fee_limit: fee_limit(self.options.fee_limit, amount),
            begun: self.clock.now(),
        };
        match self.turns.enter(payment.hash)? {
            Entry::Turn(turn) => Ok((payment, turn)),
            Entry::Wait(_) => Err(Error::internal("a fresh preimage is in use")),
        }
    }

    /// The proof of a payment that has ended; an error where there is none, and none can be had now.
    async fn what_came_of(&self, kept: &KeptPayment) -> Outcome {
        let hash = kept.payment.hash;
        if let Some(preimage) = kept.proof {
            return Ok(Paid { hash, preimage, fee: kept.fee });
        }
        match self.node.payment(hash).await? {
            Some(PaymentState::Settled { preimage, fee }) => {
                let paid = Paid { hash, preimage, fee };
                self.settle(paid).await?;
                Ok(paid)
            }
            _ => Err(in_doubt("its outcome was lost, and is not known yet")),
        }
    }

    /// Whether the node can pay now, as far as can be seen before: waits a little for channels to come back.
    async fn check_room(&self, payment: &Payment) -> Result<(), Error> {
        let room = room(&*self.node, &payment.payee).await?;
        let (most, how) = match payment.means {
            Means::Invoice(_) => (room.spendable, ""),
            Means::Keysend(_) => (room.largest, " in one payment"),
        };
        if most < payment.amount {
            return Err(too_little(format!(
                "not enough balance: {} sat are needed, and {} sat can be sent{how} now",
                payment.amount.to_sat_ceil(),
                most.to_sat_floor()
            )));
        }
        Ok(())
    }
}

/// The payment that a key leads to.
fn subject(subject: &[u8]) -> Result<PaymentHash, Error> {
    let hash = subject.try_into().map_err(|_| Error::internal("a key leads to what is no payment"))?;
    Ok(PaymentHash(hash))
}
