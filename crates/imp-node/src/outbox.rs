//! The outbox: what this node sends is a row with attempts, each committed before the backend is called.
//!
//! ```text
//! send ── accept (commit) ── turn ── number, envelope, attempt (commit) ── backend
//!   ^                          ^                                             │
//!   │                          └── another attempt <── failed (commit) ──────┤
//!   └── answer <────────────────────────────────────── settled (commit) ─────┘
//! ```
//!
//! Each message is a task of its own that goes on when its caller is gone. While the outcome of an attempt is unknown
//! only that attempt is looked up or submitted again, byte for byte; after a definite failure the next attempt has a new
//! preimage and the same message id. A crash between any two steps leaves a row from which [`Outbox::recover`] goes on.

mod plan;
mod recover;
mod run;
mod turns;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::attempt::{Attempt, AttemptEvent, AttemptState, FailureCause};
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::record::{RecordTable, Service};
use imp_lightning::{FailureReason, LightningNode};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::Error;
use crate::runtime::clock::Clock;
use crate::runtime::tasks::{Detached, Tasks};
use crate::store::outbox::{AttemptEnd, OutboxMessage};
use crate::store::{OutboxStore, StoreError};
pub(crate) use plan::{room, too_little};

use plan::Plan;
use turns::Turns;

/// How long a call waits for its message's payments (2021 clients wait a minute).
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(60);

/// Messages that may be open at once: bounds memory, since the rows themselves are on disk.
const MAX_OPEN_MESSAGES: usize = 10_000;

/// What a fee may be at least, where the configuration does not say: 10 sat or 1 % of the payment.
const DEFAULT_FEE_LIMIT: Msat = Msat::from_sat(10);

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What it belongs to.
    pub service: Service,
    /// Who gets it.
    pub recipient: NodeId,
    /// The text.
    pub body: Vec<u8>,
    /// The id of the message that this one answers, or nothing.
    pub reply_to: String,
    /// Satoshis over all parts; 0 for the least that the parts take.
    pub amount_sat: u64,
    /// Send it outside of the order of messages: for what the node sends by itself.
    pub unordered: bool,
}

impl Draft {
    /// Whether it could be sent at all: sizes and amount.
    pub fn check(&self) -> Result<(), Error> {
        Plan::new(self).map(|_| ())
    }
}

/// Settings of the outbox.
#[derive(Clone, Debug)]
pub struct OutboxOptions {
    /// The most that a payment may pay to forwarding nodes; nothing for 10 sat or 1 %, whichever is more.
    pub fee_limit: Option<Msat>,
    /// Which record carries which service.
    pub records: RecordTable,
}

/// The outbox. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn OutboxStore>,
    node: Arc<dyn LightningNode>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    options: OutboxOptions,
    turns: Turns,
    open: Arc<Semaphore>,
    /// Attempts of this run, and those of earlier runs that it took up.
    live: Mutex<HashMap<PaymentHash, Live>>,
    /// A payment ended, so that a slot at the backend is free.
    freed: Notify,
}

/// An attempt that somebody waits for.
struct Live {
    attempt: Attempt,
    tell: oneshot::Sender<Ended>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    Settled,
    Failed { cause: FailureCause, text: String },
    Unknown { doubt: String },
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbox")
    }
}

impl Outbox {
    /// Opens the outbox for this run of the daemon. [`Self::recover`] takes up what earlier runs left.
    pub async fn open(
        store: Arc<dyn OutboxStore>,
        node: Arc<dyn LightningNode>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        options: OutboxOptions,
    ) -> Result<Self, StoreError> {
        // Numbers of streams are Unix seconds until 2106; the store makes them rise whatever the clock says.
        let now_secs = u32::try_from(clock.now().secs()).unwrap_or(u32::MAX);
        let stream = store.next_stream(now_secs).await?;
        let inner = Inner {
            store,
            node,
            clock,
            tasks,
            options,
            turns: Turns::new(stream),
            open: Arc::new(Semaphore::new(MAX_OPEN_MESSAGES)),
            live: Mutex::default(),
            freed: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends a message and waits until all of it is paid for, [`CONFIRM_WITHIN`] at most.
    ///
    /// Dropping the future does not take the message back. Every error holds the word "failed".
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what can never be sent, `RESOURCE_EXHAUSTED` while too many messages wait,
    /// `FAILED_PRECONDITION` for too little balance, `UNAVAILABLE` where no payment found its way, `DEADLINE_EXCEEDED`
    /// while the outcome is open, `UNKNOWN` where it cannot be known.
    pub async fn send(&self, draft: Draft) -> Result<MessageId, Error> {
        self.begin(draft).await.map_err(Error::of_send)
    }

    async fn begin(&self, draft: Draft) -> Result<MessageId, Error> {
        let id = MessageId::from_random(random()?);
        let inner = &self.inner;
        let permit = Arc::clone(&inner.open).try_acquire_owned().map_err(|_| {
            Error::new(
                Code::ResourceExhausted,
                "OUTBOX_FULL",
                format!("{MAX_OPEN_MESSAGES} messages wait to be sent: try again later"),
            )
        })?;
        let plan = Plan::new(&draft)?;
        // The place in the queue is taken before anything is waited for: calls that follow each other stay in order.
        let line = (!draft.unordered).then_some(draft.service);
        let ticket = inner.turns.enter(draft.recipient, line);
        inner.check_room(&draft.recipient, &plan).await?;
        let message = OutboxMessage {
            id,
            service: draft.service,
            record_type: inner.options.records.record_type(draft.service),
            recipient: draft.recipient,
            body: draft.body,
            reply_to: draft.reply_to,
            amount_sat: plan.amount_sat(),
            parts: plan.parts(),
            unordered: draft.unordered,
            accepted: inner.clock.now(),
        };
        let run = run::send_new(Arc::clone(inner), message, plan, ticket);
        let sent = inner.spawn(holding(permit, run));
        match tokio::time::timeout(CONFIRM_WITHIN, sent).await {
            Ok(Ok(Some(Ok(())))) => Ok(id),
            Ok(Ok(Some(Err(error)))) => Err(error.of_message(id)),
            Ok(Ok(None)) => Err(unconfirmed(id, "failed to confirm: the node is stopping")),
            Ok(Err(error)) => Err(Error::internal(error.to_string()).of_message(id)),
            Err(_) => Err(unconfirmed(id, "failed to confirm within 60 s: still in flight")),
        }
    }

    /// Takes up the messages that earlier runs left: what was never attempted is given up, what was is followed to its
    /// end in the background.
    pub async fn recover(&self) -> Result<(), StoreError> {
        recover::recover(&self.inner).await
    }

    /// A payment settled. Durable when this returns; nothing happens where it is not one of the outbox.
    pub async fn payment_settled(&self, hash: PaymentHash, fee: Option<Msat>) -> Result<(), StoreError> {
        self.inner.settled(hash, fee).await
    }

    /// A payment failed. Durable when this returns; nothing happens where it is not one of the outbox.
    pub async fn payment_failed(&self, hash: PaymentHash, reason: &FailureReason) -> Result<(), StoreError> {
        self.inner.failed(hash, reason).await
    }

    /// A channel closed: what fails from now on and was begun before may have arrived.
    pub async fn channel_closed(&self) -> Result<(), StoreError> {
        self.inner.store.note_channel_closed(self.inner.clock.now()).await
    }
}

impl Inner {
    /// Runs a message's task. It ends without a result when the node stops: the rows say where the next run goes on.
    fn spawn<F>(&self, run: F) -> Detached<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stopped = self.tasks.token();
        self.tasks.run_detached("message", async move { stopped.run_until_cancelled(run).await })
    }

    /// The most that may go to forwarding nodes for a payment of `amount`.
    fn fee_limit(&self, amount: Msat) -> Msat {
        fee_limit(self.options.fee_limit, amount)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<PaymentHash, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers for the end of an attempt.
    fn follow(&self, hash: PaymentHash, attempt: Attempt) -> oneshot::Receiver<Ended> {
        let (tell, ended) = oneshot::channel();
        self.live().insert(hash, Live { attempt, tell });
        ended
    }

    async fn settled(&self, hash: PaymentHash, fee: Option<Msat>) -> Result<(), StoreError> {
        self.take_event(hash, AttemptEvent::Settled, AttemptEnd::Settled { fee }, Ended::Settled).await
    }

    async fn failed(&self, hash: PaymentHash, reason: &FailureReason) -> Result<(), StoreError> {
        let Some(row) = self.store.attempt(hash).await? else { return Ok(()) };
        let closed = self.store.last_channel_closed().await?;
        let channel_closed = closed.is_some_and(|closed| closed >= row.begun);
        let event = AttemptEvent::Failed { cause: cause(reason), channel_closed };
        self.take_failure(hash, event, cause(reason), reason.to_string()).await
    }

    /// Takes what may be a failure and may only be the loss of the outcome: the rules of the attempt decide.
    async fn take_failure(
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
}

/// What a backend's reason means for the next step.
const fn cause(reason: &FailureReason) -> FailureCause {
    match reason {
        FailureReason::NoRoute => FailureCause::NoRoute,
        FailureReason::RecipientRejected => FailureCause::RecipientRejected,
        FailureReason::RetriesExhausted => FailureCause::RetriesExhausted,
        FailureReason::TimedOut => FailureCause::TimedOut,
        _ => FailureCause::Other,
    }
}

/// The most that may go to forwarding nodes for a payment of `amount`, by the configuration or else by default.
pub(crate) fn fee_limit(configured: Option<Msat>, amount: Msat) -> Msat {
    configured.unwrap_or(DEFAULT_FEE_LIMIT.max(Msat(amount.0 / 100)))
}

fn unconfirmed(id: MessageId, why: &str) -> Error {
    let message = format!("{why}, ask /v1/message/{id}");
    Error::new(Code::DeadlineExceeded, "UNCONFIRMED", message).of_message(id)
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::internal(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

async fn holding<F: Future>(permit: OwnedSemaphorePermit, future: F) -> F::Output {
    let output = future.await;
    drop(permit);
    output
}
