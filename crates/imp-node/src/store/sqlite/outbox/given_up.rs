//! Messages that are not to be sent any more, and how an attempt finds out.

use imp_core::id::MessageId;
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::super::row;
use crate::store::StoreError;
use crate::store::outbox::{Attempt, Begun, GiveUp, Number, SendFailure, Withdrawal};

/// Ends messages that wait, and returns them. Those that are on their way wait for no other try after this one.
pub(in crate::store::sqlite) fn give_up_all(
    connection: &Connection,
    withdraw: &[Withdrawal],
    give_up: &[GiveUp],
) -> Result<Vec<MessageId>, StoreError> {
    let mut ended = Vec::new();
    for Withdrawal { recipient, service, only_ordered, failure, at } in withdraw {
        let which = params![recipient.as_bytes(), service.name(), only_ordered];
        let condition =
            "recipient = ?1 AND service = ?2 AND keep_until_ms IS NOT NULL AND NOT (?3 AND unordered)";
        ended.append(&mut end(connection, condition, which, failure, *at)?);
    }
    for GiveUp { id, failure, at } in give_up {
        ended.append(&mut end(connection, "id = ?1", params![id.as_bytes()], failure, *at)?);
    }
    Ok(ended)
}

/// Gives up the open messages that meet a condition with these parameters.
fn end(
    connection: &Connection,
    condition: &str,
    which: &[&dyn ToSql],
    failure: &SendFailure,
    at: UnixMillis,
) -> Result<Vec<MessageId>, StoreError> {
    connection
        .prepare_cached(&format!(
            "UPDATE outbox_message SET keep_until_ms = NULL
             WHERE ended_ms IS NULL AND state = 'sending' AND {condition}"
        ))?
        .execute(which)?;
    let next = which.len() + 1;
    let mut statement = connection.prepare_cached(&format!(
        "UPDATE outbox_message SET state = 'failed', error = ?{next}, error_code = ?{}, error_reason = ?{},
         ended_ms = ?{} WHERE ended_ms IS NULL AND state = 'queued' AND {condition} RETURNING id",
        next + 1,
        next + 2,
        next + 3
    ))?;
    let at = row::int(at.0);
    let ending: [&dyn ToSql; 4] = [&failure.text, &failure.code, &failure.reason, &at];
    let all: Vec<&dyn ToSql> = which.iter().chain(&ending).copied().collect();
    let mut rows = statement.query(all.as_slice())?;
    let mut ended = Vec::new();
    while let Some(row) = rows.next()? {
        ended.push(row::message_id(row, "id")?);
    }
    Ok(ended)
}

/// Whether an attempt may be begun.
pub(super) fn may_begin(
    connection: &Connection,
    attempt: &Attempt,
    number: Option<Number>,
) -> Result<Begun, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT position, recipient, ended_ms IS NULL, service = ?2 AND NOT unordered FROM outbox_message
             WHERE id = ?1",
        )?
        .query_row(params![attempt.message.as_bytes(), Service::Federate.name()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?, row.get::<_, bool>(3)?))
        })
        .optional()?;
    let Some((position, recipient, true, last_word_counts)) = found else { return Ok(Begun::Ended) };
    if !last_word_counts {
        return Ok(Begun::Yes);
    }
    let mut query = connection.prepare_cached(
        "SELECT coalesce(max(state IN ('settled', 'unknown') OR keep_until_ms IS NOT NULL), FALSE),
         coalesce(max((stream, seq) < (?4, ?5)), FALSE) FROM outbox_message
         WHERE recipient = ?1 AND position > ?2 AND service = ?3 AND NOT unordered AND state <> 'failed'",
    )?;
    let number = number.unwrap_or(Number { stream: 0, seq: 0 });
    let younger = params![recipient, position, Service::Federate.name(), number.stream, number.seq];
    Ok(match query.query_row(younger, |row| Ok((row.get(0)?, row.get(1)?)))? {
        (true, _) => Begun::Overtaken,
        (false, true) => Begun::Behind,
        (false, false) => Begun::Yes,
    })
}
