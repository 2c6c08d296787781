//! Messages a page at a time, and letting old ones go.

use imp_core::delivery::MessageState;
use imp_core::id::MessageId;
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};

use super::super::{row, vpn};
use super::rows;
use crate::store::StoreError;
use crate::store::outbox::{MessagePage, MessageQuery, message_state};

/// Messages that are looked at for one page, wanted or not: bounds how long others wait.
const LOOK_AT_MOST: usize = 20_000;

/// Rows that one transaction forgets, about.
const FORGET_AT_ONCE: usize = 1_000;

pub(super) fn page(connection: &Connection, query: &MessageQuery) -> Result<MessagePage, StoreError> {
    let (sql, arguments) = statement(query);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(arguments))?;
    let mut messages = Vec::new();
    let (mut looked_at, mut last, mut last_taken) = (0, 0, None);
    while let Some(row) = rows.next()? {
        looked_at += 1;
        last = row::uint(row, "position")?;
        if !is_wanted(query, row)? {
            continue;
        }
        if messages.len() >= query.limit {
            return Ok(MessagePage { messages, next: last_taken });
        }
        messages.push(rows::message(connection, row)?);
        last_taken = Some(last);
    }
    let next = (looked_at >= LOOK_AT_MOST).then_some(last);
    Ok(MessagePage { messages, next })
}

/// The narrowest way to the messages: those of a recipient, else those that are not settled, else all, the newest first.
fn statement(query: &MessageQuery) -> (String, Vec<Value>) {
    let before = query.before.map_or(i64::MAX, row::int);
    let mut arguments = vec![Value::Integer(before), Value::Integer(LOOK_AT_MOST as i64)];
    let not_settled = !query.states.is_empty() && !query.states.contains(&MessageState::Settled);
    let (index, narrowed) = match &query.recipient {
        Some(recipient) => {
            arguments.push(Value::Blob(recipient.as_bytes().to_vec()));
            ("INDEXED BY outbox_message_recipient", "AND recipient = ?3")
        }
        None if not_settled => ("INDEXED BY outbox_message_not_settled", "AND state <> 'settled'"),
        None => ("NOT INDEXED", ""),
    };
    let sql = format!(
        "SELECT * FROM outbox_message {index} WHERE position < ?1 {narrowed} ORDER BY position DESC LIMIT ?2"
    );
    (sql, arguments)
}

fn is_wanted(query: &MessageQuery, row: &Row<'_>) -> Result<bool, StoreError> {
    let state = row::named(row, "state", message_state)?;
    let service: Service = row::service(row, "service")?;
    Ok((query.states.is_empty() || query.states.contains(&state))
        && (query.services.is_empty() || query.services.contains(&service)))
}

/// What one transaction forgot.
pub(super) struct Forgotten {
    pub(super) messages: usize,
    /// Nothing is left to forget.
    pub(super) is_last: bool,
}

/// Forgets some of the messages that ended before a time, and their attempts.
pub(super) fn forget_some(connection: &Connection, before: UnixMillis) -> Result<Forgotten, StoreError> {
    // How those ended is not noted yet, or nobody can tell: a row that is gone would say that nothing was paid.
    let awaited = vpn::awaited_messages(connection)?;
    let (mut messages, mut rows_left, mut left_out) = (0, FORGET_AT_ONCE, 0);
    while rows_left > 0 {
        let oldest: Option<(i64, Vec<u8>)> = connection
            .prepare_cached(
                "SELECT position, id FROM outbox_message WHERE ended_ms IS NOT NULL AND ended_ms < ?1
                 ORDER BY ended_ms, position LIMIT 1 OFFSET ?2",
            )?
            .query_row([row::int(before.0), left_out], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((position, id)) = oldest else { return Ok(Forgotten { messages, is_last: true }) };
        if id.as_slice().try_into().is_ok_and(|id| awaited.contains(&MessageId::from_bytes(id))) {
            left_out += 1;
            continue;
        }
        rows_left -= connection
            .prepare_cached(
                "DELETE FROM outbox_attempt WHERE payment_hash IN
                 (SELECT payment_hash FROM outbox_attempt WHERE message_id = ?1 LIMIT ?2)",
            )?
            .execute(params![id, row::int(rows_left as u64)])?;
        if rows_left == 0 {
            break;
        }
        connection.prepare_cached("DELETE FROM outbox_body WHERE position = ?1")?.execute([position])?;
        connection.prepare_cached("DELETE FROM outbox_message WHERE position = ?1")?.execute([position])?;
        rows_left -= 1;
        messages += 1;
    }
    Ok(Forgotten { messages, is_last: false })
}
