//! Events for subscribers, out of the journal.
//!
//! ```text
//! inbox ── commit ──> journal (database) ──> tail (memory) ──> subscription ──> websocket, HTTP stream, gRPC
//!                          └──────────── replay, laggards ────────┘
//! ```
//!
//! A subscription is a cursor that moves. One that is up to date reads the tail in memory; one that replays or lags
//! reads the database in batches. So no subscriber waits for another, and none can make the node hold events for it.
//! What a subscriber does not want is left out here, and its cursor moves on over it.

pub mod filter;
pub mod history;

use std::collections::VecDeque;
use std::sync::Arc;

use imp_core::record::Service;
use tokio::sync::watch;

use crate::error::Error;
use crate::store::journal::{Bite, FromTail, JournalEvent, NewEvent, ServiceSet, ServiceType, Tail};
use crate::store::{JournalStore, StoreError};

/// What a subscriber reads from the database in one go.
const BATCH: Bite = Bite { events: 256, bytes: 256 << 10, looked_at: 4 * 1024 };

/// Completes the text of an event with what the journal does not hold, each time that it is read: what is secret is kept in
/// one place, from which it can go.
pub trait Completion: Send + Sync + 'static {
    /// The text, where it is not the one in the journal. Called for every event of the VPN that goes to a subscriber or
    /// onto a page, so it must not wait.
    fn complete(&self, event: &NewEvent) -> Option<String>;
}

/// Leaves every event as it is in the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsStored;

impl Completion for AsStored {
    fn complete(&self, _event: &NewEvent) -> Option<String> {
        None
    }
}

/// The events of this node.
#[derive(Clone)]
pub struct Events {
    store: Arc<dyn JournalStore>,
    completion: Arc<dyn Completion>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// The events in this journal.
    pub fn new(store: Arc<dyn JournalStore>, completion: Arc<dyn Completion>) -> Self {
        Self { store, completion }
    }

    /// The same events as they are in the journal: for readers who may not have what completes them.
    pub fn as_stored(&self) -> Self {
        Self { store: Arc::clone(&self.store), completion: Arc::new(AsStored) }
    }

    /// Subscribes to what comes from now on, or to what came after the cursor `after` and then goes on, of `services`.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RANGE` for a cursor whose successors are not all kept, and for one that this journal never reached: the
    /// error names what can be asked for.
    pub async fn subscribe(&self, after: Option<i64>, services: ServiceSet) -> Result<Subscription, Error> {
        let tail = self.store.tail();
        let last = tail.last();
        let position = match after {
            None => *last.borrow(),
            Some(after) => {
                self.kept().await?.check(after)?;
                after
            }
        };
        let (store, completion) = (Arc::clone(&self.store), Arc::clone(&self.completion));
        let batch = Batch { events: VecDeque::new(), end: position };
        Ok(Subscription { store, completion, tail, last, services, position, batch })
    }

    async fn kept(&self) -> Result<Kept, Error> {
        let newest = *self.store.tail().last().borrow();
        Ok(Kept { oldest: self.store.oldest_cursor().await?, newest })
    }
}

/// The cursors that a reader can ask for.
struct Kept {
    oldest: Option<i64>,
    newest: i64,
}

impl Kept {
    /// The first cursor after which everything is kept.
    fn before_oldest(&self) -> i64 {
        self.oldest.map_or(self.newest, |oldest| oldest - 1)
    }

    fn check(&self, after: i64) -> Result<(), Error> {
        if after > self.newest {
            let newest = self.newest;
            return Err(Error::out_of_range(format!("after: {after} is beyond the newest cursor, {newest}")));
        }
        let first = self.before_oldest();
        if after < first {
            return Err(Error::out_of_range(format!(
                "after: events from {} on are kept; the oldest cursor to ask for is {first}",
                first + 1
            )));
        }
        Ok(())
    }
}

/// A place in the journal that moves on.
pub struct Subscription {
    store: Arc<dyn JournalStore>,
    completion: Arc<dyn Completion>,
    tail: Arc<Tail>,
    last: watch::Receiver<i64>,
    services: ServiceSet,
    position: i64,
    batch: Batch,
}

/// What was read from the database.
struct Batch {
    events: VecDeque<Arc<JournalEvent>>,
    /// Every wanted event up to this cursor was in it.
    end: i64,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("services", &self.services)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    /// The cursor up to which it has given every event that is wanted: at first, where it starts.
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// The next event; waits for one. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RANGE` where it lags so far that events were let go which it has not come to, wanted or not.
    pub async fn next(&mut self) -> Result<Arc<JournalEvent>, Error> {
        loop {
            if let Some(event) = self.batch.events.pop_front() {
                return Ok(self.give(event));
            }
            self.position = self.position.max(self.batch.end);
            match self.tail.next_after(self.position, self.services) {
                FromTail::Event(event) => return Ok(self.give(event)),
                FromTail::UpTo(cursor) => {
                    self.position = cursor;
                    if *self.last.borrow_and_update() <= self.position {
                        self.last.changed().await.map_err(|_| StoreError::Closed)?;
                    }
                }
                FromTail::Older => self.read().await?,
            }
        }
    }

    fn give(&mut self, event: Arc<JournalEvent>) -> Arc<JournalEvent> {
        self.position = event.cursor;
        match completed(&*self.completion, &event.event) {
            Some(data) => {
                let completed = NewEvent { data, ..event.event.clone() };
                Arc::new(JournalEvent { cursor: event.cursor, event: completed })
            }
            None => event,
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let stretch = self.store.read_events(self.position, self.services, BATCH).await?;
        // Cursors follow each other without holes, so what is missing was let go.
        if stretch.first != Some(self.position + 1) {
            return Err(Error::out_of_range(format!(
                "events after cursor {} were let go before this subscriber took them",
                self.position
            )));
        }
        let events = stretch.events.into_iter().map(Arc::new).collect();
        self.batch = Batch { events, end: stretch.end };
        Ok(())
    }
}

/// Events of other services are not even looked at.
fn completed(completion: &dyn Completion, event: &NewEvent) -> Option<String> {
    (event.service == ServiceType::Record(Service::Vpn)).then(|| completion.complete(event)).flatten()
}

#[cfg(test)]
mod tests;
