//! What changes of several nouns have in common: messages that they send or give up, events that they publish, and what
//! is told of that once they are committed.

use imp_core::delivery::MessageState;
use imp_core::id::MessageId;
use rusqlite::Connection;

use super::{SqliteStore, idempotency, inbox, journal, outbox, worker};
use crate::store::StoreError;
use crate::store::idempotency::NewKey;
use crate::store::journal::{JournalEvent, JournalStore, NewEvent};
use crate::store::outbox::{Answer, GiveUp, Withdrawal, message_state_name};
use crate::telemetry::metrics::Metrics;

/// The part of a change that is the same for all nouns.
#[derive(Debug, Default)]
pub(super) struct Consequences {
    /// Messages to give up, before others are taken in.
    pub(super) withdraw: Vec<Withdrawal>,
    /// Likewise, by their ids.
    pub(super) give_up: Vec<GiveUp>,
    /// Messages to send, as queued.
    pub(super) answers: Vec<Answer>,
    /// The key of the call that caused the change.
    pub(super) key: Option<NewKey>,
    /// Things to count.
    pub(super) count: Vec<&'static str>,
    /// Events to append, in order.
    pub(super) publish: Vec<NewEvent>,
}

/// What was written that others learn of.
#[derive(Debug)]
pub(super) struct Written {
    /// Events, for the tail.
    events: Vec<JournalEvent>,
    /// Messages that ended because they were given up.
    given_up: Vec<MessageId>,
}

impl Consequences {
    /// Writes it within a transaction.
    pub(super) fn write(self, connection: &Connection) -> Result<Written, StoreError> {
        let given_up = outbox::give_up_all(connection, &self.withdraw, &self.give_up)?;
        for answer in &self.answers {
            outbox::insert_answer(connection, answer)?;
        }
        if let Some(key) = &self.key {
            idempotency::put(connection, key)?;
        }
        for name in &self.count {
            inbox::count(connection, name)?;
        }
        let events = self.publish.into_iter().map(|event| journal::insert(connection, event));
        Ok(Written { events: events.collect::<Result<_, _>>()?, given_up })
    }
}

impl SqliteStore {
    /// Makes a change, whole or not at all. After the commit and before the next transaction, ends of messages and events
    /// are told, and `noted` has its turn.
    pub(super) async fn commit<F, G>(&self, name: &'static str, work: F, noted: G) -> Result<(), StoreError>
    where
        F: FnOnce(&Connection) -> Result<Written, StoreError> + Send + 'static,
        G: FnOnce(&Metrics) + Send + 'static,
    {
        let (tail, ends, metrics) = (self.tail(), self.ends.clone(), self.metrics.clone());
        let pending = self.writer()?.submit_then(name, work, move |written: &Written| {
            for id in &written.given_up {
                metrics.message_ended(message_state_name(MessageState::Failed));
                outbox::tell_end(&ends, *id);
            }
            noted(&metrics);
            journal::push(&tail, &written.events);
        });
        worker::answer(pending).await.map(|_| ())
    }
}
