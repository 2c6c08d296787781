//! What the node keeps: one trait per noun, and the database behind them.
//!
//! Every method is one transaction and durable when it returns, unless its documentation says otherwise. Rules live in
//! `imp-core` and in the callers; the store only puts rows where they belong. That is what lets another database stand
//! behind the same traits and the same test suite.

pub mod federate;
pub mod idempotency;
pub mod inbox;
pub mod journal;
pub mod outbox;
pub mod payment;
pub mod socket;
pub mod sqlite;
pub mod vpn;

use thiserror::Error;

pub use federate::FederateStore;
pub use idempotency::IdempotencyStore;
pub use inbox::InboxStore;
pub use journal::JournalStore;
pub use outbox::OutboxStore;
pub use payment::PaymentStore;
pub use socket::SocketStore;
pub use sqlite::SqliteStore;
pub use vpn::VpnStore;

/// Everything that the daemon keeps.
pub trait Store:
    OutboxStore
    + InboxStore
    + JournalStore
    + IdempotencyStore
    + PaymentStore
    + SocketStore
    + FederateStore
    + VpnStore
{
}

impl<T> Store for T where
    T: OutboxStore
        + InboxStore
        + JournalStore
        + IdempotencyStore
        + PaymentStore
        + SocketStore
        + FederateStore
        + VpnStore
{
}

/// Why the store could not do what was asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// The database refused, in its words.
    #[error("database: {0}")]
    Database(String),
    /// A row does not make sense: written by a damaged disk, or by hand.
    #[error("the database holds what cannot be: {what}")]
    Damaged {
        /// Column and value.
        what: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A newer daemon wrote this database.
    #[error(
        "the database has schema {found}, and this impd knows schemas up to {known}: run the newer impd that wrote it"
    )]
    NewerSchema {
        /// Schema of the database.
        found: i64,
        /// Newest schema that this program knows.
        known: i64,
    },
    /// A file could not be opened or copied.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// Why, in the system's words.
        reason: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}
