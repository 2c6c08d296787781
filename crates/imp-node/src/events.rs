//! Events for subscribers, out of the journal.
//!
//! ```text
//! inbox ── commit ──> journal (database) ──> tail (memory) ──> subscription ──> websocket, HTTP stream, gRPC
//!                          └──────────── replay, laggards ────────┘
//! ```
//!
//! A subscription is a cursor that moves. One that is up to date reads the tail in memory; one that replays or lags
//! reads the database in batches. So no subscriber waits for another, and none can make the node hold events for it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::error::Error;
use crate::store::journal::{JournalEvent, Tail};
use crate::store::{JournalStore, StoreError};

/// Events read from the database at once.
const BATCH: usize = 256;

/// The events of this node.
#[derive(Clone)]
pub struct Events {
    store: Arc<dyn JournalStore>,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

impl Events {
    /// The events in this journal.
    pub fn new(store: Arc<dyn JournalStore>) -> Self {
        Self { store }
    }

    /// Subscribes to what comes from now on, or to what came after the cursor `after` and then goes on.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RANGE` for a cursor whose successors are not all kept, and for one that this journal never reached: the
    /// error names what can be asked for.
    pub async fn subscribe(&self, after: Option<i64>) -> Result<Subscription, Error> {
        let tail = self.store.tail();
        let last = tail.last();
        let newest = *last.borrow();
        let position = match after {
            None => newest,
            Some(after) => {
                self.check(after, newest).await?;
                after
            }
        };
        let store = Arc::clone(&self.store);
        Ok(Subscription { store, tail, last, position, batch: VecDeque::new() })
    }

    async fn check(&self, after: i64, newest: i64) -> Result<(), Error> {
        if after > newest {
            return Err(Error::out_of_range(format!("after: {after} is beyond the newest cursor, {newest}")));
        }
        let first = self.store.oldest_cursor().await?.unwrap_or(newest + 1);
        if after < first - 1 {
            return Err(Error::out_of_range(format!(
                "after: events from {} on are kept; the oldest cursor to ask for is {}",
                first,
                first - 1
            )));
        }
        Ok(())
    }
}

/// A place in the journal that moves on.
pub struct Subscription {
    store: Arc<dyn JournalStore>,
    tail: Arc<Tail>,
    last: watch::Receiver<i64>,
    position: i64,
    batch: VecDeque<Arc<JournalEvent>>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Subscription {
    /// The cursor of the last event that it has given, or where it started.
    pub const fn position(&self) -> i64 {
        self.position
    }

    /// The next event; waits for one. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// `OUT_OF_RANGE` where it lags so far that events it has not given were let go.
    pub async fn next(&mut self) -> Result<Arc<JournalEvent>, Error> {
        loop {
            if let Some(event) = self.batch.pop_front().or_else(|| self.tail.next_after(self.position)) {
                self.position = event.cursor;
                return Ok(event);
            }
            if *self.last.borrow_and_update() > self.position {
                let events = self.store.events_after(self.position, BATCH).await?;
                // Cursors follow each other without holes, so what is missing was let go.
                if events.first().is_none_or(|event| event.cursor != self.position + 1) {
                    return Err(Error::out_of_range(format!(
                        "events after cursor {} were let go before this subscriber took them",
                        self.position
                    )));
                }
                self.batch = events.into_iter().map(Arc::new).collect();
            } else {
                self.last.changed().await.map_err(|_| StoreError::Closed)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use imp_core::id::NodeId;
    use imp_core::record::Service;
    use imp_core::time::UnixMillis;

    use super::*;
    use crate::store::SqliteStore;
    use crate::store::journal::NewEvent;
    use crate::store::sqlite::SqliteOptions;

    fn event(n: usize) -> NewEvent {
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        NewEvent {
            at: UnixMillis(n as u64),
            id: n.to_string(),
            reply_to: String::new(),
            from: key.parse::<NodeId>().unwrap(),
            service: Service::Message.into(),
            data: format!("text {n}"),
            amount_sat: 1,
            late: false,
        }
    }

    async fn take(subscription: &mut Subscription, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(subscription.next().await.unwrap().event.id.clone());
        }
        ids
    }

    fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|n| n.to_string()).collect()
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_comes_after_it_and_one_with_a_cursor_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let cursors = store.append((0..3).map(event).collect()).await.unwrap();
        let events = Events::new(Arc::new(store.clone()));
        let mut live = events.subscribe(None).await.unwrap();
        let mut replay = events.subscribe(Some(cursors[0])).await.unwrap();
        let mut all = events.subscribe(Some(0)).await.unwrap();
        store.append((3..5).map(event).collect()).await.unwrap();
        assert_eq!(take(&mut live, 2).await, ids(3..5));
        assert_eq!(take(&mut replay, 4).await, ids(1..5));
        assert_eq!(take(&mut all, 5).await, ids(0..5));
    }

    #[tokio::test]
    async fn one_that_lags_beyond_the_memory_is_fed_from_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let events = Events::new(Arc::new(store.clone()));
        let mut slow = events.subscribe(None).await.unwrap();
        for from in (0..3000).step_by(500) {
            store.append((from..from + 500).map(event).collect()).await.unwrap();
        }
        assert_eq!(take(&mut slow, 3000).await, ids(0..3000));
    }

    #[tokio::test]
    async fn events_survive_a_restart_and_cursors_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions::in_dir(dir.path());
        let store = SqliteStore::open(&options).unwrap();
        let before = store.append((0..2).map(event).collect()).await.unwrap();
        store.close();
        assert_eq!(store.append(vec![event(9)]).await, Err(StoreError::Closed));
        let store = SqliteStore::open(&options).unwrap();
        let after = store.append(vec![event(2)]).await.unwrap();
        assert!(after[0] > before[1]);
        let mut all = Events::new(Arc::new(store)).subscribe(Some(0)).await.unwrap();
        assert_eq!(take(&mut all, 3).await, ids(0..3));
    }

    #[tokio::test]
    async fn what_was_let_go_is_out_of_range_and_the_error_names_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        store.append((0..10).map(event).collect()).await.unwrap();
        assert_eq!(store.forget_events(UnixMillis(4), u64::MAX).await, Ok(4), "by time");
        assert_eq!(store.forget_events(UnixMillis(0), 3 * 250).await, Ok(3), "by size, the oldest first");
        let events = Events::new(Arc::new(store.clone()));
        let refused = events.subscribe(Some(6)).await.unwrap_err();
        assert_eq!(refused.code(), imp_api::error::Code::OutOfRange);
        assert!(refused.to_string().contains("oldest cursor to ask for is 7"), "{refused}");
        let mut kept = events.subscribe(Some(7)).await.unwrap();
        assert_eq!(take(&mut kept, 3).await, ids(7..10));
        let mut lagging = events.subscribe(Some(7)).await.unwrap();
        let reopened = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        assert_eq!(reopened.forget_events(UnixMillis(9), u64::MAX).await, Ok(2));
        let mut lagging_elsewhere = Events::new(Arc::new(reopened)).subscribe(Some(9)).await.unwrap();
        assert_eq!(take(&mut lagging_elsewhere, 1).await, ids(9..10));
        assert_eq!(take(&mut lagging, 3).await, ids(7..10), "from memory");
        assert!(events.subscribe(Some(8)).await.is_err());
        let mut live = events.subscribe(Some(10)).await.unwrap();
        store.append(vec![event(10)]).await.unwrap();
        assert_eq!(take(&mut live, 1).await, ids(10..11));
    }

    #[tokio::test]
    async fn a_subscriber_is_told_when_events_were_let_go_before_it_took_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        store.append((0..10).map(event).collect()).await.unwrap();
        store.close();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let mut lagging = Events::new(Arc::new(store.clone())).subscribe(Some(2)).await.unwrap();
        store.forget_events(UnixMillis(5), u64::MAX).await.unwrap();
        let refused = lagging.next().await.unwrap_err();
        assert_eq!(refused.code(), imp_api::error::Code::OutOfRange);
        assert!(refused.to_string().contains("after cursor 2 were let go"), "{refused}");
    }

    #[tokio::test]
    async fn cursors_go_on_after_a_restart_with_an_empty_journal() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        store.append((0..3).map(event).collect()).await.unwrap();
        assert_eq!(store.forget_events(UnixMillis(0), 0).await, Ok(3));
        store.close();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let mut where_it_was = Events::new(Arc::new(store.clone())).subscribe(Some(3)).await.unwrap();
        assert_eq!(store.append(vec![event(3)]).await, Ok(vec![4]));
        assert_eq!(take(&mut where_it_was, 1).await, ids(3..4));
    }

    #[tokio::test]
    async fn a_cursor_that_was_never_reached_is_out_of_range() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let cursors = store.append(vec![event(0)]).await.unwrap();
        let events = Events::new(Arc::new(store));
        let refused = events.subscribe(Some(cursors[0] + 1)).await.unwrap_err();
        assert_eq!(refused.code(), imp_api::error::Code::OutOfRange);
        assert!(refused.to_string().contains("newest cursor, 1"), "{refused}");
    }
}
