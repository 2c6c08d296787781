//! Messages that came in and were not published.

use imp_core::federation::Denial;
use imp_core::id::NodeId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::row;
use crate::store::StoreError;
use crate::store::inbox::{Withheld, WithheldPage, WithheldQuery};

/// Messages that are listed; the oldest go first.
const MAX_LISTED: i64 = 10_000;

/// Senders of whom it is known how many there were; those of whom none came for longest go first.
const MAX_SENDERS: i64 = 100_000;

/// Counts all of them.
pub(super) const TOTAL: &str = "inbox_withheld";

pub(super) fn insert(connection: &Connection, withheld: &Withheld) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO withheld_message (sender, message_id, service, amount_sat, bytes, reason, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            withheld.sender.as_bytes(),
            withheld.id.as_bytes(),
            withheld.service.name(),
            row::int(withheld.amount_sat),
            row::int(withheld.bytes),
            withheld.reason.name(),
            row::int(withheld.at.0),
        ])?;
    let position = connection.last_insert_rowid();
    connection
        .prepare_cached("DELETE FROM withheld_message WHERE position <= ?1")?
        .execute([position - MAX_LISTED])?;
    connection
        .prepare_cached(
            "INSERT INTO withheld_sender (sender, count, position) VALUES (?1, 1, ?2)
             ON CONFLICT (sender) DO UPDATE SET count = count + 1, position = excluded.position",
        )?
        .execute(params![withheld.sender.as_bytes(), position])?;
    super::count(connection, TOTAL)
}

pub(super) fn page(connection: &Connection, query: WithheldQuery) -> Result<WithheldPage, StoreError> {
    let of_sender = if query.sender.is_some() { "AND sender = ?3" } else { "AND ?3 IS NULL" };
    let sql = format!(
        "SELECT * FROM withheld_message WHERE position < ?1 {of_sender} ORDER BY position DESC LIMIT ?2"
    );
    let before = query.before.map_or(i64::MAX, row::int);
    let sender = query.sender.map(|sender| sender.as_bytes().to_vec());
    let mut statement = connection.prepare_cached(&sql)?;
    // One more than is wanted says whether there are more.
    let mut rows = statement.query(params![before, row::int(query.limit as u64 + 1), sender])?;
    let mut page = WithheldPage { total: super::counter(connection, TOTAL)?, ..WithheldPage::default() };
    let mut last = None;
    while let Some(row) = rows.next()? {
        if page.messages.len() >= query.limit {
            page.next = last;
            break;
        }
        last = Some(row::uint(row, "position")?);
        page.messages.push(withheld(row)?);
    }
    Ok(page)
}

pub(super) fn counts(connection: &Connection, senders: &[NodeId]) -> Result<Vec<u64>, StoreError> {
    let mut query = connection.prepare_cached("SELECT count FROM withheld_sender WHERE sender = ?1")?;
    let mut of = |sender: &NodeId| -> Result<u64, StoreError> {
        let count: Option<i64> = query.query_row([sender.as_bytes()], |row| row.get(0)).optional()?;
        Ok(count.unwrap_or(0).unsigned_abs())
    };
    senders.iter().map(&mut of).collect()
}

/// Forgets some of the senders that are too many. Returns how many.
pub(super) fn forget_senders(connection: &Connection, at_once: i64) -> Result<usize, StoreError> {
    Ok(connection
        .prepare_cached(
            "DELETE FROM withheld_sender WHERE sender IN (SELECT sender FROM withheld_sender
             ORDER BY position DESC LIMIT ?2 OFFSET ?1)",
        )?
        .execute([MAX_SENDERS, at_once])?)
}

fn withheld(row: &Row<'_>) -> Result<Withheld, StoreError> {
    Ok(Withheld {
        sender: row::node_id(row, "sender")?,
        id: row::message_id(row, "message_id")?,
        service: row::service(row, "service")?,
        amount_sat: row::uint(row, "amount_sat")?,
        bytes: row::uint(row, "bytes")?,
        reason: row::named(row, "reason", Denial::from_name)?,
        at: row::time(row, "at_ms")?,
    })
}
