//! One payment on its way: handed to the backend, looked up where the outcome was lost, ended.

use std::time::Duration;

use imp_api::error::Code;
use imp_core::attempt::{Attempt, AttemptEvent, AttemptState, FailureCause};
use imp_core::id::{PaymentHash, Preimage};
use imp_core::retry::Try;
use imp_lightning::{FailureReason, InvoiceFault, Keysend, PaymentState, SendError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Inner, Outcome, Paid, SEE};
use crate::error::Error;
use crate::idempotency::Claim;
use crate::outbox::{failure, too_little};
use crate::runtime::tasks::Detached;
use crate::store::StoreError;
use crate::store::idempotency::NewKey;
use crate::store::payment::{Means, Payment, PaymentEnd, PaymentStatus};

/// How long the backend looks for a payment in one go.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(45);

/// How long after its begin a keysend may still be made, as many hours as an invoice lasts that says nothing else.
const MAKE_KEYSEND_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// How long a payment is looked for in one run. Beyond it one that had never gone would surprise whoever asked for it.
const LOOK_UP_FOR: Duration = Duration::from_secs(600);

/// Pause between two such looks.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(3);

/// When a payment was begun that the backend knows.
enum Begun {
    /// With this call, or it was refused.
    Now,
    /// By an earlier one, of which there is no row.
    Before,
}

impl Inner {
    /// Runs a payment's task. It ends without a result when the node stops: the rows say where the next run goes on.
    pub(super) fn spawn<F>(&self, run: F) -> Detached<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stopped = self.tasks.token();
        self.tasks.run_detached("payment", async move { stopped.run_until_cancelled(run).await })
    }

    /// Makes a payment and waits for its end. `claim` is held until `key` is stored.
    pub(super) async fn make(&self, payment: &Payment, key: Option<NewKey>, claim: Option<Claim>) -> Outcome {
        let ended = self.follow(payment.hash, Attempt::new());
        let begun = self.store.begin_payment(payment.clone(), key).await;
        drop(claim);
        if let Err(error) = begun {
            self.live().remove(&payment.hash);
            // It may be stored all the same, and be made by the next run.
            return Err(unconfirmed(&error.into()));
        }
        match self.submit(payment).await.map_err(|error| unconfirmed(&error))? {
            Begun::Now => end_of(ended).await,
            Begun::Before => Err(Error::from(InvoiceFault::Paid).of_payment()),
        }
    }

    /// Goes on with a payment that an earlier run had begun, and waits for its end.
    pub(super) async fn take_up(&self, payment: &Payment) -> Outcome {
        let ended = self.follow(payment.hash, Attempt::restore(AttemptState::Sent));
        self.look_up(payment).await.map_err(|error| unconfirmed(&error))?;
        end_of(ended).await
    }

    /// Hands a payment to the backend. Afterwards it has ended, or its end will come as an event.
    async fn submit(&self, payment: &Payment) -> Result<Begun, Error> {
        let attempt_until = Try::new(self.clock.now());
        let mut refusals = 0;
        loop {
            let error = match self.hand_over(payment).await {
                Ok(()) | Err(SendError::Known) => {
                    self.note(&payment.hash, AttemptEvent::InFlight);
                    return Ok(Begun::Now);
                }
                Err(SendError::Unknown(_)) => {
                    self.look_up(payment).await?;
                    return Ok(Begun::Now);
                }
                // The backend knows of a payment that the rows do not: they are not those of its last run.
                Err(SendError::InvalidInvoice(InvoiceFault::Paid)) => {
                    self.look_up(payment).await?;
                    return Ok(Begun::Before);
                }
                Err(error) => error,
            };
            // Nothing was sent, so that the same payment may be handed over again.
            refusals += 1;
            let (cause, now) = (failure::refusal(&error), self.clock.now());
            let Some(again) = attempt_until.retry_at(cause, refusals, now) else {
                let event = AttemptEvent::Refused(cause);
                self.take_failure(&payment.hash, event, refused(&error)).await?;
                return Ok(Begun::Now);
            };
            tokio::time::sleep(again.since(now)).await;
        }
    }

    async fn hand_over(&self, payment: &Payment) -> Result<(), SendError> {
        let handed_over = self.handed_over(&payment.hash);
        let mut is_handed_over = match &handed_over {
            Some(handed_over) => Some(handed_over.lock().await),
            None => None,
        };
        let begun = match &payment.means {
            Means::Invoice(invoice) => self.node.pay_invoice(invoice, payment.fee_limit).await.map(|_| ()),
            Means::Keysend(preimage) => self.node.send_keysend(keysend(payment, *preimage)).await,
        };
        let knows_it = matches!(
            begun,
            Ok(())
                | Err(SendError::Known
                    | SendError::Unknown(_)
                    | SendError::InvalidInvoice(InvoiceFault::Paid))
        );
        if let Some(is_handed_over) = &mut is_handed_over {
            **is_handed_over |= knows_it;
        }
        begun
    }

    async fn resume(&self, payment: &Payment) -> Result<PaymentState, SendError> {
        match &payment.means {
            Means::Invoice(invoice) => {
                self.node.resume_invoice(invoice, payment.fee_limit, LOOK_UP_PATIENCE).await
            }
            Means::Keysend(preimage) => {
                self.node.resume_keysend(keysend(payment, *preimage), LOOK_UP_PATIENCE).await
            }
        }
    }

    /// Finds out about a payment whose begin is in doubt. Afterwards it has ended, or its end will come as an event.
    async fn look_up(&self, payment: &Payment) -> Result<(), Error> {
        let hash = payment.hash;
        self.note(&hash, AttemptEvent::OutcomeLost);
        if matches!(payment.means, Means::Keysend(_))
            && self.clock.now().since(payment.begun) >= MAKE_KEYSEND_WITHIN
        {
            return self.look_at_old(payment).await;
        }
        let until = Instant::now() + LOOK_UP_FOR;
        loop {
            match self.resume(payment).await {
                Ok(PaymentState::InFlight) | Err(SendError::Known) => {
                    self.note(&hash, AttemptEvent::InFlight);
                    return Ok(());
                }
                Ok(PaymentState::Settled { preimage, fee }) => {
                    return Ok(self.settle(Paid { hash, preimage, fee }).await?);
                }
                Ok(PaymentState::Failed(reason)) => {
                    return Ok(self.fail(payment, failure::cause(&reason), failed(&reason)).await?);
                }
                Err(SendError::Unknown(_) | SendError::Unavailable(_)) if Instant::now() < until => {
                    tokio::time::sleep(LOOK_UP_PAUSE).await;
                    // Its end may have come meanwhile.
                    if !self.live().contains_key(&hash) {
                        return Ok(());
                    }
                }
                Err(SendError::Unknown(text)) => {
                    let event = AttemptEvent::OutcomeLost;
                    return Ok(self.take_failure(&hash, event, Error::unavailable(text)).await?);
                }
                Err(SendError::Unavailable(text)) => return Err(Error::unavailable(text)),
                // It had never gone, and does not go now.
                Err(error) => {
                    return Ok(self.fail(payment, failure::refusal(&error), refused(&error)).await?);
                }
            }
        }
    }

    /// Finds out about a keysend that is too old to be made now: nobody reckons with it any more, and to look for it as the
    /// backend does would make it. An invoice that is too old has expired.
    async fn look_at_old(&self, payment: &Payment) -> Result<(), Error> {
        let hash = payment.hash;
        match self.node.payment(hash).await? {
            Some(PaymentState::Settled { preimage, fee }) => {
                self.settle(Paid { hash, preimage, fee }).await?
            }
            Some(PaymentState::Failed(reason)) => {
                self.fail(payment, failure::cause(&reason), failed(&reason)).await?;
            }
            Some(PaymentState::InFlight) | None => {
                let error =
                    Error::unavailable("the daemon did not run for a day, and it is too old to be made");
                self.take_failure(&hash, AttemptEvent::OutcomeLost, error).await?;
            }
        }
        Ok(())
    }

    fn note(&self, hash: &PaymentHash, event: AttemptEvent) {
        if let Some(live) = self.live().get_mut(hash) {
            // The end may have overtaken the answer to the call: then there is nothing to note.
            let _ = live.attempt.apply(event);
        }
    }

    /// A payment is paid. The preimage is proof, whatever was thought of it before.
    pub(super) async fn settle(&self, paid: Paid) -> Result<(), StoreError> {
        let end = PaymentEnd::Settled { preimage: paid.preimage, fee: paid.fee };
        self.store.end_payment(paid.hash, end, self.clock.now()).await?;
        self.tell(&paid.hash, Ok(paid));
        Ok(())
    }

    /// The backend tells that a payment failed.
    pub(super) async fn failed(&self, hash: PaymentHash, reason: &FailureReason) -> Result<(), StoreError> {
        let Some(kept) = self.store.payment(hash).await? else { return Ok(()) };
        if matches!(kept.status, PaymentStatus::Settled | PaymentStatus::Failed) {
            return Ok(());
        }
        // What failed before and is told again is not the payment that was begun since under the same hash.
        if let Some(handed_over) = self.handed_over(&hash)
            && !*handed_over.lock().await
        {
            tracing::debug!(payment = %hash, "the failure of an earlier try is told before the next is begun");
            return Ok(());
        }
        let stands = self.node.payment(hash).await;
        if matches!(stands, Ok(Some(PaymentState::InFlight | PaymentState::Settled { .. }))) {
            tracing::debug!(payment = %hash, "the failure of an earlier try is told again");
            return Ok(());
        }
        self.fail(&kept.payment, failure::cause(reason), failed(reason)).await
    }

    /// A payment failed: definitely, unless a channel closed since it was begun.
    async fn fail(&self, payment: &Payment, cause: FailureCause, error: Error) -> Result<(), StoreError> {
        let channel_closed = self.store.closed_since_payment(payment.hash).await?.unwrap_or(true);
        self.take_failure(&payment.hash, AttemptEvent::Failed { cause, channel_closed }, error).await
    }

    /// Takes what may be a failure and may only be the loss of the outcome: the rules of the attempt decide.
    async fn take_failure(
        &self,
        hash: &PaymentHash,
        event: AttemptEvent,
        error: Error,
    ) -> Result<(), StoreError> {
        let (end, error) = match self.attempt(hash).apply(event) {
            Err(contradiction) => {
                tracing::warn!(payment = %hash, "{contradiction}");
                return Ok(());
            }
            Ok(AttemptState::Unknown) => {
                let error = in_doubt(&error.to_string());
                (PaymentEnd::Unknown { error: error.to_string() }, error)
            }
            Ok(_) => (PaymentEnd::Failed { error: error.to_string() }, error),
        };
        self.store.end_payment(*hash, end, self.clock.now()).await?;
        self.tell(hash, Err(error));
        Ok(())
    }
}

async fn end_of(ended: oneshot::Receiver<Outcome>) -> Outcome {
    ended.await.unwrap_or_else(|_| Err(unconfirmed(&Error::internal("the node lost track of the payment"))))
}

/// A payment was begun, or may have been, and the node cannot go on with it: its row says where the next run does.
fn unconfirmed(error: &Error) -> Error {
    Error::new(error.code(), error.reason(), format!("failed to confirm the payment: {error}, {SEE}"))
}

fn keysend(payment: &Payment, preimage: Preimage) -> Keysend {
    Keysend {
        recipient: payment.payee,
        preimage,
        amount: payment.amount,
        fee_limit: payment.fee_limit,
        record: None,
    }
}

/// The backend refused to begin a payment.
fn refused(error: &SendError) -> Error {
    let error = match error {
        SendError::InsufficientBalance { spendable, needed } => too_little(format!(
            "not enough balance: {} sat are needed, and {} sat can be sent now",
            needed.to_sat_ceil(),
            spendable.to_sat_floor()
        )),
        error => Error::from(error.clone()),
    };
    error.of_payment()
}

/// A payment failed on its way.
fn failed(reason: &FailureReason) -> Error {
    let hint = match reason {
        FailureReason::NoRoute => ": open a channel to it, or try again later",
        FailureReason::RetriesExhausted | FailureReason::TimedOut => ": try again later",
        _ => "",
    };
    let cause = failure::cause(reason);
    Error::new(failure::code(cause), failure::reason(cause), format!("{reason}{hint}")).of_payment()
}

/// It cannot be told what became of a payment.
pub(super) fn in_doubt(why: &str) -> Error {
    let message = format!(
        "failed to learn what became of the payment: it may have been paid, or be paid yet ({why}). \
         Ask the recipient before you pay in another way"
    );
    Error::new(Code::Unknown, "OUTCOME_UNKNOWN", message)
}
