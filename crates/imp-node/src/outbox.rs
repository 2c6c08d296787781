//! The outbox: what this node sends is a row with attempts, each committed before the backend is called.
//!
//! ```text
//! send ── accept (commit) ── turn ── number, envelope, attempt (commit) ── backend
//!   ^                          ^                                             │
//!   │                          ├── another attempt <── failed (commit) ──────┤
//!   │                          └── line of kept messages <── try failed ─────┤
//!   └── answer <────────────────────────────────────── settled (commit) ─────┘
//! ```
//!
//! Each message is a task of its own that goes on when its caller is gone. While the outcome of an attempt is unknown
//! only that attempt is looked up or submitted again, byte for byte; after a definite failure the next attempt has a new
//! preimage and the same message id. A crash between any two steps leaves a row from which [`Outbox::recover`] goes on.

mod again;
mod allowance;
mod answer;
mod begin;
pub(crate) mod failure;
mod kept;
mod outcome;
mod own;
mod plan;
mod recover;
mod run;
mod running;
mod text;
mod turns;
pub(crate) mod under_way;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::attempt::Attempt;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::record::{RecordTable, Service};
use imp_lightning::{FailureReason, LightningNode};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, oneshot, watch};

use crate::error::Error;
use crate::idempotency::Claim;
use crate::runtime::clock::Clock;
use crate::runtime::tasks::{Detached, Tasks};
use crate::store::outbox::{OutboxMessage, StoredMessage};
use crate::store::{OutboxStore, StoreError};
pub use allowance::{ANSWERS_REFUSED, Allowed, AnswerTo};
pub use answer::Prepared;
pub(crate) use plan::{room, too_little};

use allowance::Allowance;
use outcome::Ended;
use running::{Registry, Running, Stage};
use text::Texts;
use turns::{Ticket, Turns};

/// How long a call waits for its message's payments (2021 clients wait a minute).
pub const CONFIRM_WITHIN: Duration = Duration::from_secs(60);

/// Messages that may be open at once, and as many more that are kept: bounds memory and the time of a start.
const MAX_OPEN_MESSAGES: usize = 10_000;

/// Messages that may be kept for one recipient: one that never comes back leaves room for the others.
const MAX_KEPT_FOR_ONE: usize = 1_000;

/// [`OutboxOptions::text_bytes`] of a node.
pub const TEXT_BYTES: usize = 64 << 20;

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
    /// For how long it is tried again where its recipient cannot be reached; zero for one try.
    pub keep: Duration,
    /// For whom, where the node sends it by itself: it comes out of the allowance for answers.
    pub answer: Option<AnswerTo>,
    /// The most that each of its payments may pay to forwarding nodes; nothing for [`OutboxOptions::fee_limit`].
    pub fee_limit: Option<Msat>,
}

/// A message that was sent, or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its name.
    pub id: MessageId,
    /// `Settled`; of a message that is kept also `Queued`, where its try failed, and `Sending`, where none has an end yet.
    pub state: MessageState,
}

/// Settings of the outbox.
#[derive(Clone, Debug)]
pub struct OutboxOptions {
    /// The most that a payment may pay to forwarding nodes; nothing for 10 sat or 1 %, whichever is more.
    pub fee_limit: Option<Msat>,
    /// Which record carries which service.
    pub records: RecordTable,
    /// The most that messages may cost within 24 hours that nobody at this node asked for, fees included.
    pub answers: Msat,
    /// Bytes of texts in memory of messages on their way, at least 1; as many again of those that wait, and of those that are looked at.
    pub text_bytes: usize,
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
    allowance: Allowance,
    texts: Texts,
    /// Who works on which message.
    running: Registry,
    /// Messages that wait for another try.
    lines: kept::Lines,
    /// How many more messages may be open, and how many more kept.
    open: Arc<Semaphore>,
    keep: Arc<Semaphore>,
    /// How many more messages of the node itself may be kept: others cause them, and must not use up what callers have.
    keep_own: Arc<Semaphore>,
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

/// A message that was accepted, in the hands of whoever works on it.
#[derive(Debug)]
struct Open {
    /// Its place in the order of acceptance.
    place: u64,
    message: OutboxMessage,
    running: Running,
    /// Its share of what may be open at once; none for what an earlier run left beyond it.
    _permit: Option<OwnedSemaphorePermit>,
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
            allowance: Allowance::new(options.answers),
            texts: Texts::new(options.text_bytes),
            turns: Turns::new(stream, options.text_bytes),
            options,
            running: Registry::default(),
            lines: kept::Lines::default(),
            open: Arc::new(Semaphore::new(MAX_OPEN_MESSAGES)),
            keep: Arc::new(Semaphore::new(MAX_OPEN_MESSAGES)),
            keep_own: Arc::new(Semaphore::new(MAX_OPEN_MESSAGES)),
            live: Mutex::default(),
            freed: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends a message and waits until all of it is paid for, or until its try has failed and it is kept, but at most
    /// [`CONFIRM_WITHIN`]. The key of a `claim` is stored with the message.
    ///
    /// Dropping the future does not take the message back. Every error holds the word "failed".
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what can never be sent, `RESOURCE_EXHAUSTED` while too many messages wait,
    /// `FAILED_PRECONDITION` for too little balance, `UNAVAILABLE` where no payment found its way, `DEADLINE_EXCEEDED`
    /// while the outcome is open, `UNKNOWN` where it cannot be known.
    pub async fn send(&self, draft: Draft, claim: Option<Claim>) -> Result<Sent, Error> {
        self.send_as(Self::new_id().map_err(Error::of_send)?, draft, claim).await
    }

    /// Like [`Self::send`], with an id that the caller drew before ([`Self::new_id`]) and may have noted.
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`]; `RESOURCE_EXHAUSTED` too for an answer for which the allowance is used up.
    pub async fn send_as(&self, id: MessageId, draft: Draft, claim: Option<Claim>) -> Result<Sent, Error> {
        self.begin(id, draft, claim).await.map_err(Error::of_send)
    }

    /// Waits for what comes of a message.
    async fn outcome(&self, mut stage: watch::Receiver<Stage>) -> News {
        let news = stage.wait_for(|stage| !matches!(stage, Stage::Trying));
        match tokio::time::timeout(CONFIRM_WITHIN, news).await.map(|stage| stage.map(|stage| stage.clone())) {
            Err(_) => News::Open,
            Ok(Err(_)) => News::Dropped,
            Ok(Ok(Stage::Ended(Err(error)))) => News::Ended(error),
            Ok(Ok(Stage::Ended(Ok(())))) => News::Settled,
            Ok(Ok(Stage::Waiting | Stage::Trying)) => News::Waits,
        }
    }

    /// The error of a message that nobody works on any more, though it has not ended.
    fn dropped(&self, id: MessageId) -> Error {
        if self.inner.tasks.token().is_cancelled() {
            unconfirmed(id, "failed to confirm: the node is stopping")
        } else {
            Error::internal(
                "failed: the work on the message broke off; the next run of the node goes on with it",
            )
            .of_message(id)
        }
    }

    /// Takes up the messages that earlier runs left, in the background: kept ones join their lines, what was attempted is
    /// followed to its end, and what was not is given up, unless its call had a key.
    pub async fn recover(&self) -> Result<(), StoreError> {
        recover::recover(&self.inner).await?;
        let inner = Arc::clone(&self.inner);
        let watching = move || {
            let inner = Arc::clone(&inner);
            async move {
                let stopped = inner.tasks.token();
                stopped.run_until_cancelled(kept::watch_channels(&inner)).await;
            }
        };
        self.inner.tasks.spawn_service("kept messages", watching);
        Ok(())
    }

    /// Messages that end from now on, as [`OutboxStore::ends`] tells them. Those of [`Self::recover`] are among them for
    /// whoever asks before it.
    pub fn ends(&self) -> broadcast::Receiver<MessageId> {
        self.inner.store.ends()
    }

    /// How a message stands; nothing where this node never took it in, or has let it go.
    pub async fn state(&self, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        self.inner.store.message(id).await
    }

    /// A node may be reached now, or any where none is named: messages that are kept for it are tried soon.
    pub fn reachable(&self, node: Option<NodeId>) {
        match node {
            Some(node) => self.inner.lines.wake(&node, self.inner.clock.now()),
            None => self.inner.lines.wake_all(self.inner.clock.now()),
        }
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
        self.inner.store.note_channel_closed().await
    }
}

/// What a caller learns of a message.
enum News {
    /// All of it is paid for.
    Settled,
    /// Its try failed, and it waits for another.
    Waits,
    /// It has no end yet.
    Open,
    /// It ended otherwise.
    Ended(Error),
    /// Whoever worked on it does not any more.
    Dropped,
}

impl Inner {
    /// Runs a message's task. It ends without a result when the node stops: the rows say where the next run goes on.
    fn spawn<F>(&self, name: &'static str, run: F) -> Detached<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stopped = self.tasks.token();
        self.tasks.run_detached(name, async move { stopped.run_until_cancelled(run).await })
    }

    /// A share of what may be open, or kept, at once.
    fn permit(&self, is_kept: bool) -> Result<OwnedSemaphorePermit, Error> {
        let (shares, wait) = if is_kept { (&self.keep, "are kept") } else { (&self.open, "wait to be sent") };
        Arc::clone(shares).try_acquire_owned().map_err(|_| full(MAX_OPEN_MESSAGES, wait))
    }

    /// A share of what may be kept at once of messages of the node itself, where there is one.
    fn permit_of_own(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.keep_own).try_acquire_owned().ok()
    }

    /// Takes a place in the recipient's queue.
    fn enter(&self, recipient: &NodeId, service: Service, unordered: bool, text_bytes: usize) -> Ticket {
        self.turns.enter(*recipient, (!unordered).then_some(service), text_bytes)
    }

    /// Takes the place of a message that is stored.
    fn enter_again(&self, message: &OutboxMessage) -> Ticket {
        self.enter(&message.recipient, message.service, message.unordered, message.text_bytes())
    }

    /// The most that may go to forwarding nodes for a payment of `amount`, where its message has a limit of its own or none.
    fn fee_limit(&self, of_message: Option<Msat>, amount: Msat) -> Msat {
        fee_limit(of_message.or(self.options.fee_limit), amount)
    }

    /// The most that may go to forwarding nodes for these payments of a message together.
    fn fees(&self, of_message: Option<Msat>, amounts: &[Msat]) -> Msat {
        amounts.iter().map(|amount| self.fee_limit(of_message, *amount)).sum()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<PaymentHash, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most that may go to forwarding nodes for a payment of `amount`, by the configuration or else by default.
pub(crate) fn fee_limit(configured: Option<Msat>, amount: Msat) -> Msat {
    configured.unwrap_or(DEFAULT_FEE_LIMIT.max(Msat(amount.0 / 100)))
}

fn full(messages: usize, wait: &str) -> Error {
    let text = format!("{messages} messages {wait}: try again later");
    Error::new(Code::ResourceExhausted, "OUTBOX_FULL", text)
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
