//! Payments that calls of the API made, and invoices that they made.
//!
//! Payments that carry messages are attempts of the outbox, and not here.

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use imp_core::time::UnixMillis;

use super::StoreError;
use super::idempotency::NewKey;
use super::journal::NewEvent;

/// How a payment is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// By this invoice, in lower case.
    Invoice(String),
    /// Spontaneously, with this preimage.
    Keysend(Preimage),
}

impl Means {
    /// The name in the database and in answers.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Invoice(_) => "invoice",
            Self::Keysend(_) => "keysend",
        }
    }
}

/// A payment as it is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Which one.
    pub hash: PaymentHash,
    /// How it is made.
    pub means: Means,
    /// Who gets it.
    pub payee: NodeId,
    /// What they get.
    pub amount: Msat,
    /// The most that may go to forwarding nodes.
    pub fee_limit: Msat,
    /// When it was begun.
    pub begun: UnixMillis,
}

/// How a payment stands. The names are those in the database and in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaymentStatus {
    /// Begun, and its end is not known yet.
    Sending,
    /// Paid.
    Settled,
    /// Not paid.
    Failed,
    /// It cannot be told whether it was or will be paid.
    Unknown,
}

impl PaymentStatus {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Sending, Self::Settled, Self::Failed, Self::Unknown];

    /// The name in the database and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// How a payment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentEnd {
    /// Paid.
    Settled {
        /// The proof.
        preimage: Preimage,
        /// What forwarding nodes got, where the backend knows it.
        fee: Option<Msat>,
    },
    /// Definitely not paid.
    Failed {
        /// Why.
        error: String,
    },
    /// It may have been paid.
    Unknown {
        /// What is known.
        error: String,
    },
}

/// A payment that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPayment {
    /// Its place in the order in which payments were begun.
    pub position: i64,
    /// What it is.
    pub payment: Payment,
    /// How it stands.
    pub status: PaymentStatus,
    /// Why it failed, or is unknown.
    pub error: Option<String>,
    /// The proof, of one that is settled.
    pub proof: Option<Preimage>,
    /// What forwarding nodes got, where that is known.
    pub fee: Option<Msat>,
    /// When it ended.
    pub ended: Option<UnixMillis>,
}

/// An invoice of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// The payment that it asks for.
    pub hash: PaymentHash,
    /// The invoice (BOLT 11).
    pub invoice: String,
    /// What it asks for.
    pub amount_sat: u64,
    /// What the payer sees.
    pub memo: String,
    /// When it was made.
    pub created: UnixMillis,
    /// Until when it can be paid.
    pub expires: UnixMillis,
}

/// How an invoice stands. The names are those in answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InvoiceStatus {
    /// It can be paid.
    Open,
    /// It was paid in full.
    Paid,
    /// It was not paid in time.
    Expired,
}

impl InvoiceStatus {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Open, Self::Paid, Self::Expired];

    /// The name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paid => "paid",
            Self::Expired => "expired",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// An invoice that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptInvoice {
    /// Its place in the order in which invoices were made.
    pub position: i64,
    /// What it is.
    pub invoice: Invoice,
    /// When it was paid, and how much.
    pub paid: Option<(UnixMillis, Msat)>,
}

impl KeptInvoice {
    /// How it stands at a time.
    pub fn status(&self, now: UnixMillis) -> InvoiceStatus {
        if self.paid.is_some() {
            InvoiceStatus::Paid
        } else if self.invoice.expires < now {
            InvoiceStatus::Expired
        } else {
            InvoiceStatus::Open
        }
    }
}

/// A page of a list that shows the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<S> {
    /// Only rows before this position; nothing for the newest.
    pub before: Option<i64>,
    /// Only rows that stand like this; all where there is none.
    pub statuses: Vec<S>,
    /// How many at most.
    pub limit: usize,
}

/// Payments and invoices as a store keeps them.
#[async_trait]
pub trait PaymentStore: Send + Sync + 'static {
    /// Notes a payment before the backend is called, as `sending`, and the key that its caller gave, if any. One of the
    /// same hash that had failed is replaced; one that stands otherwise is an error.
    async fn begin_payment(&self, payment: Payment, key: Option<NewKey>) -> Result<(), StoreError>;

    /// Notes how a payment ended; says whether there is such a payment. Settled stays settled.
    async fn end_payment(
        &self,
        hash: PaymentHash,
        end: PaymentEnd,
        now: UnixMillis,
    ) -> Result<bool, StoreError>;

    /// Whether a channel closed since a payment was stored, whatever the clock says; nothing where there is none.
    async fn closed_since_payment(&self, hash: PaymentHash) -> Result<Option<bool>, StoreError>;

    /// The payment with this hash.
    async fn payment(&self, hash: PaymentHash) -> Result<Option<KeptPayment>, StoreError>;

    /// Payments that have not ended, in the order in which they were begun.
    async fn open_payments(&self) -> Result<Vec<KeptPayment>, StoreError>;

    /// Some payments, newest first.
    async fn list_payments(&self, page: Page<PaymentStatus>) -> Result<Vec<KeptPayment>, StoreError>;

    /// Notes an invoice that the backend has made.
    async fn add_invoice(&self, invoice: Invoice) -> Result<(), StoreError>;

    /// The invoice with this hash.
    async fn invoice(&self, hash: PaymentHash) -> Result<Option<KeptInvoice>, StoreError>;

    /// Some invoices, newest first, that stand so at `now`.
    async fn list_invoices(
        &self,
        page: Page<InvoiceStatus>,
        now: UnixMillis,
    ) -> Result<Vec<KeptInvoice>, StoreError>;

    /// Notes that an invoice was paid, and publishes `event`; neither where that was noted before, or there is no such
    /// invoice. The event is in the journal's tail when this returns.
    async fn invoice_paid(&self, hash: PaymentHash, amount: Msat, event: NewEvent) -> Result<(), StoreError>;

    /// Notes that a keysend without a record of ours came, and publishes `event`, unless that was done before. The event
    /// is in the journal's tail when this returns. Some of those that came before `forget_before` are forgotten.
    async fn keysend_received(
        &self,
        hash: PaymentHash,
        event: NewEvent,
        forget_before: UnixMillis,
    ) -> Result<(), StoreError>;
}
