//! The journal in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, row, worker};
use crate::store::StoreError;
use crate::store::journal::{
    Bite, JournalEvent, JournalStore, NewEvent, ServiceSet, ServiceType, Stretch, Tail,
};

/// What an event takes beside its text, about.
const EVENT_COST_BYTES: i64 = 200;

/// Events that one transaction forgets.
const FORGET_AT_ONCE: i64 = 1_000;

#[async_trait]
impl JournalStore for SqliteStore {
    fn tail(&self) -> Arc<Tail> {
        Arc::clone(&self.tail)
    }

    async fn read_events(
        &self,
        cursor: i64,
        services: ServiceSet,
        bite: Bite,
    ) -> Result<Stretch, StoreError> {
        self.scan(move |connection| read(connection, cursor, services, bite)).await
    }

    async fn oldest_cursor(&self) -> Result<Option<i64>, StoreError> {
        self.read(|connection| {
            Ok(connection.query_row("SELECT min(cursor) FROM journal", [], |row| row.get(0))?)
        })
        .await
    }

    async fn forget_events(&self, before: UnixMillis, max_bytes: u64) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        loop {
            // In small transactions, between which others have their turn.
            let gone = self
                .write("forget_events", move |connection| forget_oldest(connection, before, max_bytes))
                .await?;
            forgotten += gone;
            if gone == 0 {
                return Ok(forgotten);
            }
        }
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

/// Every row is looked at, without an index: the service stands before the text, so that SQLite leaves the pages of a text
/// that is not wanted alone, and appending stays as cheap as it is.
fn read(
    connection: &Connection,
    cursor: i64,
    services: ServiceSet,
    bite: Bite,
) -> Result<Stretch, StoreError> {
    let mut query =
        connection.prepare_cached("SELECT * FROM journal WHERE cursor > ?1 ORDER BY cursor LIMIT ?2")?;
    let mut rows = query.query(params![cursor, row::int(bite.looked_at as u64)])?;
    let mut stretch = Stretch { events: Vec::new(), first: None, end: cursor };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let at = row.get("cursor")?;
        let service = row::named(row, "service", ServiceType::from_name)?;
        stretch.first = stretch.first.or(Some(at));
        if services.contains(service) {
            if stretch.events.len() >= bite.events || bytes >= bite.bytes {
                break;
            }
            let event = from_row(row, service)?;
            bytes += event.event.data.len();
            stretch.events.push(event);
        }
        stretch.end = at;
    }
    Ok(stretch)
}

/// The events of the service `socket` with an id, newest first.
pub(super) fn socket_events(
    connection: &Connection,
    id: &str,
    limit: usize,
) -> Result<Vec<JournalEvent>, StoreError> {
    // The service stands in the text for the index of these events alone to be used.
    let mut query = connection.prepare_cached(
        "SELECT * FROM journal WHERE service = 'socket' AND id = ?1 ORDER BY cursor DESC LIMIT ?2",
    )?;
    let mut rows = query.query(params![id, row::int(limit as u64)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(from_row(row, ServiceType::Record(Service::Socket))?);
    }
    Ok(events)
}

/// The newest cursor that was ever given, also where its event was let go.
pub(super) fn last_cursor(connection: &Connection) -> Result<i64, StoreError> {
    let last = connection
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'journal'", [], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// Forgets some of the oldest events, as long as each is from before a time or all take more than they may. Returns how
/// many; an event that is younger keeps those after it, whatever the clock said when they came.
fn forget_oldest(connection: &Connection, before: UnixMillis, max_bytes: u64) -> Result<usize, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT cursor, at_ms, length(CAST(data AS BLOB)) AS bytes FROM journal ORDER BY cursor LIMIT ?1",
    )?;
    let mut rows = query.query([FORGET_AT_ONCE])?;
    let mut kept_bytes = journal_bytes(connection)?;
    let mut last = None;
    let mut gone_bytes = 0;
    while let Some(row) = rows.next()? {
        if row::time(row, "at_ms")? >= before && kept_bytes <= row::int(max_bytes) {
            break;
        }
        let bytes = row.get::<_, i64>("bytes")? + EVENT_COST_BYTES;
        kept_bytes -= bytes;
        gone_bytes += bytes;
        last = Some(row.get::<_, i64>("cursor")?);
    }
    let Some(last) = last else { return Ok(0) };
    add_journal_bytes(connection, -gone_bytes)?;
    Ok(connection.prepare_cached("DELETE FROM journal WHERE cursor <= ?1")?.execute([last])?)
}

/// What all events take, as it is kept up to date with each of them.
fn journal_bytes(connection: &Connection) -> Result<i64, StoreError> {
    let bytes = connection
        .prepare_cached("SELECT value FROM counter WHERE name = 'journal_bytes'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(bytes.unwrap_or(0))
}

fn add_journal_bytes(connection: &Connection, bytes: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES ('journal_bytes', ?1)
             ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        )?
        .execute([bytes])?;
    Ok(())
}

/// Adds committed events to the tail.
pub(super) fn push(tail: &Tail, events: &[JournalEvent]) {
    for event in events {
        tail.push(event.clone());
    }
}

/// Appends an event within a transaction.
pub(super) fn insert(connection: &Connection, event: NewEvent) -> Result<JournalEvent, StoreError> {
    add_journal_bytes(connection, event.data.len() as i64 + EVENT_COST_BYTES)?;
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

fn from_row(row: &Row<'_>, service: ServiceType) -> Result<JournalEvent, StoreError> {
    let event = NewEvent {
        at: row::time(row, "at_ms")?,
        id: row.get("id")?,
        reply_to: row.get("reply_to")?,
        from: row::node_id(row, "from_pubkey")?,
        service,
        data: row.get("data")?,
        amount_sat: row::uint(row, "amount_sat")?,
        late: row.get("late")?,
    };
    Ok(JournalEvent { cursor: row.get("cursor")?, event })
}
