//! The journal: events, in the order in which subscribers get them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use imp_core::id::NodeId;
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use tokio::sync::watch;

use super::StoreError;

/// What an event belongs to: its `serviceType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceType {
    /// What came from another node under the record of a service: all that the 2021 API had.
    Record(Service),
    /// Payments and invoices of this node.
    Lightning,
}

impl ServiceType {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::Record(Service::Federate),
        Self::Record(Service::Message),
        Self::Record(Service::Sign),
        Self::Record(Service::Socket),
        Self::Record(Service::Vpn),
        Self::Lightning,
    ];

    /// Its name in events and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record(service) => service.name(),
            Self::Lightning => "lightning",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// Whether the 2021 API had it. Events of the others reach only subscribers that ask for them.
    pub const fn is_original(self) -> bool {
        matches!(self, Self::Record(_))
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Service> for ServiceType {
    fn from(service: Service) -> Self {
        Self::Record(service)
    }
}

/// An event that is not in the journal yet.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// An event with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEvent {
    /// Its place; larger is later, and numbers may be left out.
    pub cursor: i64,
    /// What happened.
    pub event: NewEvent,
}

/// The journal as a store keeps it.
#[async_trait]
pub trait JournalStore: Send + Sync + 'static {
    /// The newest events, kept in memory, and the news that there are more.
    fn tail(&self) -> Arc<Tail>;

    /// At most `limit` events after `cursor`, oldest first.
    async fn events_after(&self, cursor: i64, limit: usize) -> Result<Vec<JournalEvent>, StoreError>;

    /// The cursor of the oldest event that is kept; nothing where there are none.
    async fn oldest_cursor(&self) -> Result<Option<i64>, StoreError>;

    /// Forgets the oldest events, as long as they are from before a time or all take more than `max_bytes`. Returns how
    /// many.
    async fn forget_events(&self, before: UnixMillis, max_bytes: u64) -> Result<usize, StoreError>;

    /// Appends events and returns their cursors.
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<i64>, StoreError>;
}

/// Events that are kept in memory for subscribers who are up to date: those need no look into the database.
const TAIL_EVENTS: usize = 1024;

/// Bytes of text that are kept in memory.
const TAIL_BYTES: usize = 4 << 20;

/// The newest events. The store pushes to it in the order of commits.
#[derive(Debug)]
pub struct Tail {
    recent: Mutex<Recent>,
    last: watch::Sender<i64>,
}

#[derive(Debug)]
struct Recent {
    /// Every event after this cursor is in `events`.
    after: i64,
    events: VecDeque<Arc<JournalEvent>>,
    bytes: usize,
}

impl Tail {
    /// The tail of a journal whose newest event is `last`.
    pub fn new(last: i64) -> Self {
        let recent = Recent { after: last, events: VecDeque::new(), bytes: 0 };
        Self { recent: Mutex::new(recent), last: watch::Sender::new(last) }
    }

    /// The newest cursor, and how to wait for a newer one.
    pub fn last(&self) -> watch::Receiver<i64> {
        self.last.subscribe()
    }

    /// Adds an event that was committed.
    pub fn push(&self, event: JournalEvent) {
        let cursor = event.cursor;
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.bytes += event.event.data.len();
            recent.events.push_back(Arc::new(event));
            while recent.events.len() > TAIL_EVENTS || recent.bytes > TAIL_BYTES {
                let Some(gone) = recent.events.pop_front() else { break };
                recent.after = gone.cursor;
                recent.bytes -= gone.event.data.len();
            }
        }
        self.last.send_replace(cursor);
    }

    /// The first event after `cursor`, if it is in memory; `None` means that the database must be asked.
    pub fn next_after(&self, cursor: i64) -> Option<Arc<JournalEvent>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor < recent.after {
            return None;
        }
        let at = recent.events.partition_point(|event| event.cursor <= cursor);
        recent.events.get(at).cloned()
    }
}
