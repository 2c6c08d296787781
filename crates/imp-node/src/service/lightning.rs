//! Payments and invoices of this node, beside the payments that carry its messages.
//!
//! ```text
//! call ── checks ── payment, key (commit) ── backend ── event ── end (commit) ──┬── acknowledge
//!                                                                               └── answer
//! ```
//!
//! A payment is a row before the backend hears of it, and its end is a row before the backend's event is acknowledged.
//! While the outcome is unknown the same payment is looked up, never another one made; the rules are those of
//! [`imp_core::attempt`]. Each payment is a task of its own that goes on when its caller is gone; a second call for it
//! waits for the first one's outcome. [`Lightning::recover`] takes up what an earlier run left.

mod list;
mod pay;
mod received;
mod run;
mod turns;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::attempt::{Attempt, AttemptState};
use imp_core::id::{PaymentHash, Preimage};
use imp_core::record::RecordTable;
use imp_core::time::UnixMillis;
use imp_lightning::{FailureReason, InvoiceState, LightningNode, read_invoice};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::error::Error;
use crate::idempotency::Keys;
use crate::runtime::clock::Clock;
use crate::runtime::tasks::Tasks;
use crate::store::payment::{Invoice, PaymentStatus};
use crate::store::{Store, StoreError};
use turns::{Entry, Turns};

pub use list::{ListQuery, Listed};
pub use pay::SendKeysend;

/// How long an invoice can be paid where the caller does not say: a day, as LND's.
const DEFAULT_EXPIRY_SECS: i64 = 24 * 3600;

/// The longest time that an invoice can be paid: a year, as LND's.
const MAX_EXPIRY_SECS: i64 = 365 * 24 * 3600;

/// All the bitcoin there will ever be, in satoshis.
const MAX_AMOUNT_SAT: u64 = 21_000_000 * 100_000_000;

/// The largest amount of an invoice, in satoshis: BOLT 11 counts tenths of a millisatoshi, here in 64 bits.
const MAX_INVOICE_SAT: u64 = u64::MAX / 10_000;

/// The longest description (BOLT 11: a field has at most 1023 groups of five bits).
const MAX_MEMO_BYTES: usize = 639;

/// Where callers learn what became of a payment.
const SEE: &str = "see /v1/lightning/payments";

/// What came of a payment. Every error holds the word "failed".
type Outcome = Result<Paid, Error>;

/// A payment that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Which one.
    pub hash: PaymentHash,
    /// The proof.
    pub preimage: Preimage,
    /// What forwarding nodes got, where the backend knows it.
    pub fee: Option<Msat>,
}

/// What an invoice is to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerateInvoice {
    /// Satoshis.
    pub amount: i64,
    /// What the payer sees.
    pub memo: String,
    /// For how many seconds it can be paid; nothing for a day.
    pub expiry_secs: Option<i64>,
}

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct LightningOptions {
    /// The most that a payment may pay to forwarding nodes; nothing for 10 sat or 1 %, whichever is more.
    pub fee_limit: Option<Msat>,
    /// Which record carries which service: keysends that bring none of these are told as payments.
    pub records: RecordTable,
}

/// The lightning service. Cheap to clone.
#[derive(Clone)]
pub struct Lightning {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    node: Arc<dyn LightningNode>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    keys: Keys,
    options: LightningOptions,
    turns: Turns,
    /// Payments of this run, and those of earlier runs that it took up.
    live: Mutex<HashMap<PaymentHash, Live>>,
}

/// A payment that somebody waits for.
struct Live {
    attempt: Attempt,
    /// Whether the backend has it; held while the backend is asked. What fails before is an earlier try of the same hash.
    handed_over: Arc<AsyncMutex<bool>>,
    tell: oneshot::Sender<Outcome>,
}

impl fmt::Debug for Lightning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lightning")
    }
}

impl Lightning {
    /// The service of a node. [`Self::recover`] takes up what earlier runs left.
    pub fn new(
        store: Arc<dyn Store>,
        node: Arc<dyn LightningNode>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        keys: Keys,
        options: LightningOptions,
    ) -> Self {
        let inner = Inner {
            store,
            node,
            clock,
            tasks,
            keys,
            options,
            turns: Turns::default(),
            live: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes an invoice; it is stored when this returns.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for an amount that is not 1 sat to 18 million bitcoin, a memo of more than 639 bytes, and a time
    /// that is not 1 s to a year.
    pub async fn generate_invoice(&self, request: GenerateInvoice) -> Result<String, Error> {
        let GenerateInvoice { amount, memo, expiry_secs } = request;
        let amount_sat = amount_sat(amount, MAX_INVOICE_SAT, "an invoice asks for")?;
        if memo.len() > MAX_MEMO_BYTES {
            let problem = format!("has {} bytes, an invoice has room for {MAX_MEMO_BYTES}", memo.len());
            return Err(Error::invalid("memo", problem));
        }
        let expiry_secs = expiry_secs.unwrap_or(DEFAULT_EXPIRY_SECS);
        if !(1..=MAX_EXPIRY_SECS).contains(&expiry_secs) {
            let problem =
                format!("is {expiry_secs}; an invoice expires after 1 to {MAX_EXPIRY_SECS} seconds");
            return Err(Error::invalid("expiry_secs", problem));
        }
        let expiry = Duration::from_secs(expiry_secs.unsigned_abs());
        let inner = &self.inner;
        let text = inner.node.create_invoice(Msat::from_sat(amount_sat), &memo, expiry).await?;
        let facts = read_invoice(&text)?;
        let invoice = Invoice {
            hash: facts.hash,
            invoice: facts.invoice,
            amount_sat,
            memo,
            created: inner.clock.now(),
            expires: at(facts.expires_at),
        };
        inner.store.add_invoice(invoice).await?;
        Ok(text)
    }

    /// Whether an invoice of this node is paid.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no invoice, `NOT_FOUND` for one that this node did not make.
    pub async fn check_invoice(&self, invoice: &str) -> Result<bool, Error> {
        let facts = read_invoice(invoice)?;
        let inner = &self.inner;
        // Anybody can write an invoice with the hash of one of ours.
        if facts.payee == inner.node.id() {
            let kept = inner.store.invoice(facts.hash).await?;
            if kept.as_ref().is_some_and(|kept| kept.paid.is_some()) {
                return Ok(true);
            }
            if let Some(state) = inner.node.invoice(facts.hash).await? {
                return Ok(state == InvoiceState::Paid);
            }
            if kept.is_some() {
                return Ok(false);
            }
        }
        let message = format!("this node did not make the invoice: it is one of {}", facts.payee);
        Err(Error::new(Code::NotFound, "INVOICE_NOT_FOUND", message))
    }

    /// A payment of this node settled. Durable when this returns; nothing happens where it is none of these.
    pub async fn payment_settled(
        &self,
        hash: PaymentHash,
        preimage: Preimage,
        fee: Option<Msat>,
    ) -> Result<(), StoreError> {
        match self.inner.store.payment(hash).await? {
            Some(kept) if kept.status != PaymentStatus::Settled => {
                self.inner.settle(Paid { hash, preimage, fee }).await
            }
            _ => Ok(()),
        }
    }

    /// A payment of this node failed. Durable when this returns; nothing happens where it is none of these.
    pub async fn payment_failed(&self, hash: PaymentHash, reason: &FailureReason) -> Result<(), StoreError> {
        self.inner.failed(hash, reason).await
    }

    /// Takes up the payments that earlier runs left: each is looked up in the background, and made if it had never gone.
    ///
    /// None is given up for want of a key. A row is there only because the backend was about to be called, so no row
    /// tells that it was not; and that the backend has no record proves nothing, for LDK writes its own after the payment
    /// has left. What is called failed must not be paid, and looking it up under its hash pays it at most once.
    pub async fn recover(&self) -> Result<(), StoreError> {
        for kept in self.inner.store.open_payments().await? {
            let hash = kept.payment.hash;
            let Ok(Entry::Turn(turn)) = self.inner.turns.enter(hash) else { continue };
            let inner = Arc::clone(&self.inner);
            // Nobody waits for it: the row says what became of it.
            drop(self.inner.spawn(async move {
                let outcome = inner.take_up(&kept.payment).await;
                match &outcome {
                    Ok(_) => tracing::info!(payment = %hash, "a payment of an earlier run is settled"),
                    Err(error) => tracing::warn!(payment = %hash, "a payment of an earlier run: {error}"),
                }
                turn.end(outcome);
            }));
        }
        Ok(())
    }
}

impl Inner {
    fn live(&self) -> MutexGuard<'_, HashMap<PaymentHash, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers for the end of a payment that stands so.
    fn follow(&self, hash: PaymentHash, attempt: Attempt) -> oneshot::Receiver<Outcome> {
        let (tell, ended) = oneshot::channel();
        let handed_over = Arc::new(AsyncMutex::new(attempt.state() != AttemptState::Ready));
        self.live().insert(hash, Live { attempt, handed_over, tell });
        ended
    }

    /// Whether the backend has a payment that somebody waits for.
    fn handed_over(&self, hash: &PaymentHash) -> Option<Arc<AsyncMutex<bool>>> {
        self.live().get(hash).map(|live| Arc::clone(&live.handed_over))
    }

    /// How a payment stands, as far as it is known: one that nobody waits for was begun in an earlier run.
    fn attempt(&self, hash: &PaymentHash) -> Attempt {
        let known = self.live().get(hash).map(|live| live.attempt);
        known.unwrap_or_else(|| Attempt::restore(AttemptState::Sent))
    }

    /// Tells who waits how a payment ended.
    fn tell(&self, hash: &PaymentHash, outcome: Outcome) {
        let live = self.live().remove(hash);
        if let Some(live) = live {
            // Whoever waited may have gone; the row says what became of it.
            let _ = live.tell.send(outcome);
        }
    }
}

/// An amount out of a request, for `what` it says.
fn amount_sat(amount: i64, most_sat: u64, what: &str) -> Result<u64, Error> {
    let amount_sat = u64::try_from(amount).ok().filter(|sat| (1..=most_sat).contains(sat));
    amount_sat.ok_or_else(|| Error::invalid("amount", format!("{amount} sat: {what} 1 to {most_sat} sat")))
}

/// A time since the Unix epoch.
fn at(since_epoch: Duration) -> UnixMillis {
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
