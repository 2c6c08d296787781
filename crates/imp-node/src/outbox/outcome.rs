//! What the Lightning node tells of attempts: stored first, then told to who waits.

use imp_core::amount::Msat;
use imp_core::attempt::{Attempt, AttemptEvent, AttemptState, FailureCause};
use imp_core::id::PaymentHash;
use imp_lightning::{FailureReason, Keysend, PaymentState};
use tokio::sync::oneshot;

use super::failure::{cause, refusal};
use super::{Inner, Live};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::outbox::AttemptEnd;

/// How long a payment whose begin is in doubt is looked for.
const LOOK_UP_PATIENCE: std::time::Duration = std::time::Duration::from_secs(45);

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Settled,
    Failed { cause: FailureCause, text: String },
    Unknown { doubt: String },
}

impl Inner {
    /// Registers for the end of an attempt.
    pub(super) fn follow(&self, hash: PaymentHash, attempt: Attempt) -> oneshot::Receiver<Ended> {
        let (tell, ended) = oneshot::channel();
        self.live().insert(hash, Live { attempt, tell });
        ended
    }

    pub(super) async fn settled(&self, hash: PaymentHash, fee: Option<Msat>) -> Result<(), StoreError> {
        self.take_event(hash, AttemptEvent::Settled, AttemptEnd::Settled { fee }, Ended::Settled).await
    }

    pub(super) async fn failed(&self, hash: PaymentHash, reason: &FailureReason) -> Result<(), StoreError> {
        let Some(channel_closed) = self.store.closed_since_attempt(hash).await? else { return Ok(()) };
        let event = AttemptEvent::Failed { cause: cause(reason), channel_closed };
        self.take_failure(hash, event, cause(reason), reason.to_string()).await
    }

    /// Takes what may be a failure and may only be the loss of the outcome: the rules of the attempt decide.
    pub(super) async fn take_failure(
        &self,
        hash: PaymentHash,
        event: AttemptEvent,
        cause: FailureCause,
        text: String,
    ) -> Result<(), StoreError> {
        let end = AttemptEnd::Failed { reason: text.clone() };
        self.take_event(hash, event, end, Ended::Failed { cause, text }).await
    }

    /// Applies an event to an attempt, stores what follows, and tells who waits. `end` and `ended` are what the event
    /// means if the rules do not find the outcome unknown.
    async fn take_event(
        &self,
        hash: PaymentHash,
        event: AttemptEvent,
        end: AttemptEnd,
        ended: Ended,
    ) -> Result<(), StoreError> {
        let known = self.live().get(&hash).map(|live| live.attempt);
        let mut attempt = match known {
            Some(attempt) => attempt,
            None => match self.store.attempt(hash).await? {
                Some(row) => Attempt::restore(row.state),
                None => return Ok(()),
            },
        };
        let (end, ended) = match attempt.apply(event) {
            Err(contradiction) => {
                tracing::warn!(payment = %hash, "{contradiction}");
                return Ok(());
            }
            Ok(AttemptState::Unknown) => {
                let doubt = match ended {
                    Ended::Failed { text, .. } => {
                        format!("{text}, which does not prove that it did not arrive")
                    }
                    Ended::Settled | Ended::Unknown { .. } => "the payment's outcome is not known".to_owned(),
                };
                (AttemptEnd::Unknown { reason: doubt.clone() }, Ended::Unknown { doubt })
            }
            Ok(_) => (end, ended),
        };
        self.store.end_attempt(hash, end, self.clock.now()).await?;
        let live = self.live().remove(&hash);
        if let Some(live) = live {
            // Whoever waited may have gone; the row says what became of the attempt.
            let _ = live.tell.send(ended);
        }
        self.freed.notify_waiters();
        Ok(())
    }

    pub(super) fn note_in_flight(&self, hash: PaymentHash) {
        if let Some(live) = self.live().get_mut(&hash) {
            // The end may have overtaken the answer to the call: then there is nothing to note.
            let _ = live.attempt.apply(AttemptEvent::InFlight);
        }
        self.store.attempt_sent(hash);
    }

    fn note_outcome_lost(&self, hash: PaymentHash) {
        if let Some(live) = self.live().get_mut(&hash) {
            let _ = live.attempt.apply(AttemptEvent::OutcomeLost);
        }
    }

    /// Finds out about an attempt whose begin is in doubt. Afterwards it has ended, or its end will come as an event.
    pub(super) async fn look_up(&self, keysend: Keysend) -> Result<(), Error> {
        let hash = keysend.preimage.payment_hash();
        self.note_outcome_lost(hash);
        match self.node.resume_keysend(keysend, LOOK_UP_PATIENCE).await {
            Ok(PaymentState::InFlight) => self.note_in_flight(hash),
            Ok(PaymentState::Settled { fee, .. }) => self.settled(hash, fee).await?,
            Ok(PaymentState::Failed(reason)) => self.failed(hash, &reason).await?,
            Err(error) => {
                let cause = refusal(&error);
                let event = AttemptEvent::Refused(cause);
                self.take_failure(hash, event, cause, error.to_string()).await?;
            }
        }
        Ok(())
    }
}
