//! The newest events, in memory: subscribers who are up to date need no look into the database.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{JournalEvent, ServiceSet};
use crate::telemetry::metrics::Metrics;

/// Events that are kept.
const TAIL_EVENTS: usize = 1024;

/// Bytes of text that are kept.
const TAIL_BYTES: usize = 4 << 20;

/// The newest events. The store pushes to it in the order of commits.
#[derive(Debug)]
pub struct Tail {
    recent: Mutex<Recent>,
    last: watch::Sender<i64>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Recent {
    /// Every event after this cursor is in `events`.
    after: i64,
    events: VecDeque<Arc<JournalEvent>>,
    bytes: usize,
}

/// What the tail has for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromTail {
    /// The first event that the reader wants.
    Event(Arc<JournalEvent>),
    /// Nothing that the reader wants up to this cursor, the newest; it is never below the reader's own.
    UpTo(i64),
    /// The reader is too far behind: the database must be asked.
    Older,
}

impl Tail {
    /// The tail of a journal whose newest event is `last`.
    pub fn new(last: i64, metrics: Metrics) -> Self {
        let recent = Recent { after: last, events: VecDeque::new(), bytes: 0 };
        Self { recent: Mutex::new(recent), last: watch::Sender::new(last), metrics }
    }

    /// The newest cursor, and how to wait for a newer one.
    pub fn last(&self) -> watch::Receiver<i64> {
        self.last.subscribe()
    }

    /// Adds an event that was committed.
    pub fn push(&self, event: JournalEvent) {
        let cursor = event.cursor;
        self.metrics.event_published(event.event.service.name(), cursor);
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

    /// The first event after `cursor` of these services.
    pub fn next_after(&self, cursor: i64, services: ServiceSet) -> FromTail {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if cursor < recent.after {
            return FromTail::Older;
        }
        let at = recent.events.partition_point(|event| event.cursor <= cursor);
        match recent.events.range(at..).find(|event| services.contains(event.event.service)) {
            Some(event) => FromTail::Event(Arc::clone(event)),
            None => {
                FromTail::UpTo(recent.events.back().map_or(recent.after, |event| event.cursor).max(cursor))
            }
        }
    }
}
