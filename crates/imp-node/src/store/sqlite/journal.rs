//! The journal in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use imp_core::time::UnixMillis;
use rusqlite::{Connection, Row, params};

use super::{SqliteStore, row, worker};
use crate::store::StoreError;
use crate::store::journal::{JournalEvent, JournalStore, NewEvent, Tail};

/// What an event takes beside its text, about.
const EVENT_COST_BYTES: i64 = 200;

/// Events that one transaction forgets.
const FORGET_AT_ONCE: i64 = 10_000;

#[async_trait]
impl JournalStore for SqliteStore {
    fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    async fn events_after(&self, cursor: i64, limit: usize) -> Result<Vec<JournalEvent>, StoreError> {
        self.read(move |connection| {
            let mut query = connection
                .prepare_cached("SELECT * FROM journal WHERE cursor > ?1 ORDER BY cursor LIMIT ?2")?;
            let mut rows = query.query(params![cursor, row::int(limit as u64)])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(from_row(row)?);
            }
            Ok(events)
        })
        .await
    }

    async fn oldest_cursor(&self) -> Result<Option<i64>, StoreError> {
        self.read(|connection| {
            Ok(connection.query_row("SELECT min(cursor) FROM journal", [], |row| row.get(0))?)
        })
        .await
    }

    async fn forget_events(&self, before: UnixMillis, max_bytes: u64) -> Result<usize, StoreError> {
        // Looked up beside the writer, which must not stand still for a look at every row.
        let last = self.read(move |connection| last_to_forget(connection, before, max_bytes)).await?;
        let mut forgotten = 0;
        while let Some(last) = last {
            let gone = self
                .write("forget_events", move |connection| {
                    Ok(connection
                        .prepare_cached(
                            "DELETE FROM journal WHERE cursor IN
                             (SELECT cursor FROM journal WHERE cursor <= ?1 ORDER BY cursor LIMIT ?2)",
                        )?
                        .execute(params![last, FORGET_AT_ONCE])?)
                })
                .await?;
            if gone == 0 {
                break;
            }
            forgotten += gone;
        }
        Ok(forgotten)
    }

    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<i64>, StoreError> {
        let tail = self.tail();
        let pending = self.writer()?.submit_then(
            "append",
            move |connection| events.into_iter().map(|event| insert(connection, event)).collect(),
            move |events: &Vec<JournalEvent>| push(&tail, events),
        );
        let events: Vec<JournalEvent> = worker::answer(pending).await?;
        Ok(events.into_iter().map(|event| event.cursor).collect())
    }
}

/// The last event that is too old, or that does not fit with those after it.
fn last_to_forget(
    connection: &Connection,
    before: UnixMillis,
    max_bytes: u64,
) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT max(cursor) FROM (SELECT cursor, at_ms,
             sum(length(CAST(data AS BLOB)) + ?3) OVER (ORDER BY cursor DESC) AS bytes FROM journal)
             WHERE at_ms < ?1 OR bytes > ?2",
        )?
        .query_row(params![row::int(before.0), row::int(max_bytes), EVENT_COST_BYTES], |row| row.get(0))?)
}

/// Adds committed events to the tail.
pub(super) fn push(tail: &Tail, events: &[JournalEvent]) {
    for event in events {
        tail.push(event.clone());
    }
}

/// Appends an event within a transaction.
pub(super) fn insert(connection: &Connection, event: NewEvent) -> Result<JournalEvent, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO journal (at_ms, id, reply_to, from_pubkey, service, data, amount_sat, late)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            row::int(event.at.0),
            event.id,
            event.reply_to,
            event.from.as_bytes(),
            event.service.name(),
            event.data,
            row::int(event.amount_sat),
            event.late,
        ])?;
    Ok(JournalEvent { cursor: connection.last_insert_rowid(), event })
}

fn from_row(row: &Row<'_>) -> Result<JournalEvent, StoreError> {
    let event = NewEvent {
        at: row::time(row, "at_ms")?,
        id: row.get("id")?,
        reply_to: row.get("reply_to")?,
        from: row::node_id(row, "from_pubkey")?,
        service: row::service(row, "service")?,
        data: row.get("data")?,
        amount_sat: row::uint(row, "amount_sat")?,
        late: row.get("late")?,
    };
    Ok(JournalEvent { cursor: row.get("cursor")?, event })
}
