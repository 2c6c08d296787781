//! The journal: events, in the order in which subscribers get them.

mod service_type;
mod tail;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use imp_core::id::NodeId;
use imp_core::time::UnixMillis;

use super::StoreError;

pub use service_type::{ServiceSet, ServiceType};
pub use tail::{FromTail, Tail};

/// An event that is not in the journal yet.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// When it is published.
    pub at: UnixMillis,
    /// The id that the sender's call returned; for what no call sent, an id of its own.
    pub id: String,
    /// The id of the message that this one answers, or nothing.
    pub reply_to: String,
    /// The sender; for what no other node sent, this node.
    pub from: NodeId,
    /// What it belongs to.
    pub service: ServiceType,
    /// The text.
    pub data: String,
    /// Satoshis that came with it.
    pub amount_sat: u64,
    /// It comes after a later one of the same sender.
    pub late: bool,
}

/// Without the text, which may hold keys.
impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("at", &self.at)
            .field("id", &self.id)
            .field("reply_to", &self.reply_to)
            .field("from", &self.from)
            .field("service", &self.service)
            .field("amount_sat", &self.amount_sat)
            .field("late", &self.late)
            .finish_non_exhaustive()
    }
}

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEvent {
    /// Its place: 1 for the first event that there ever was, and one more for each further one.
    pub cursor: i64,
    /// What happened.
    pub event: NewEvent,
}

/// How much of the journal is read in one go. The store reads for one caller at a time, so each takes small bites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bite {
    /// Most events.
    pub events: usize,
    /// No further event once the texts of those at hand take this many bytes.
    pub bytes: usize,
    /// Most events that are looked at, wanted or not.
    pub looked_at: usize,
}

/// A piece of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The events that are wanted, oldest first.
    pub events: Vec<JournalEvent>,
    /// Where it begins: the first cursor that is kept after the one asked for, wanted or not; nothing where there is none.
    pub first: Option<i64>,
    /// Up to where it was looked: every wanted event up to here is in `events`. The cursor asked for, where there is nothing
    /// after it.
    pub end: i64,
}

/// The journal as a store keeps it.
#[async_trait]
pub trait JournalStore: Send + Sync + 'static {
    /// The newest events, kept in memory, and the news that there are more.
    fn tail(&self) -> Arc<Tail>;

    /// Events of `services` after `cursor`, oldest first.
    async fn read_events(&self, cursor: i64, services: ServiceSet, bite: Bite)
    -> Result<Stretch, StoreError>;

    /// The cursor of the oldest event that is kept; nothing where there are none.
    async fn oldest_cursor(&self) -> Result<Option<i64>, StoreError>;

    /// Forgets the oldest events, as long as they are from before a time or all take more than `max_bytes`. Returns how
    /// many.
    async fn forget_events(&self, before: UnixMillis, max_bytes: u64) -> Result<usize, StoreError>;

    /// Appends events and returns their cursors.
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<i64>, StoreError>;
}
