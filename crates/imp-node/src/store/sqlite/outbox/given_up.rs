//! Messages that are not to be sent any more, and how an attempt finds out.

use imp_core::delivery::MessageState;
use imp_core::record::Service;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::row;
use crate::store::StoreError;
use crate::store::outbox::{Attempt, Begun, Number, Withdrawal, message_state_name};

/// Ends messages that wait, and says how many. Those that are on their way wait for no other try after this one.
pub(in crate::store::sqlite) fn withdraw_all(
    connection: &Connection,
    withdrawals: &[Withdrawal],
) -> Result<usize, StoreError> {
    withdrawals.iter().map(|withdrawal| withdraw(connection, withdrawal)).sum()
}

fn withdraw(connection: &Connection, withdrawal: &Withdrawal) -> Result<usize, StoreError> {
    let Withdrawal { recipient, service, only_ordered, failure, at } = withdrawal;
    connection
        .prepare_cached(
            "UPDATE outbox_message SET keep_until_ms = NULL WHERE ended_ms IS NULL AND state = 'sending'
             AND recipient = ?1 AND service = ?2 AND keep_until_ms IS NOT NULL AND NOT (?3 AND unordered)",
        )?
        .execute(params![recipient.as_bytes(), service.name(), only_ordered])?;
    Ok(connection
        .prepare_cached(
            "UPDATE outbox_message SET state = ?4, error = ?5, error_code = ?6, error_reason = ?7, ended_ms = ?8
             WHERE ended_ms IS NULL AND state = 'queued' AND recipient = ?1 AND service = ?2
             AND keep_until_ms IS NOT NULL AND NOT (?3 AND unordered)",
        )?
        .execute(params![
            recipient.as_bytes(),
            service.name(),
            only_ordered,
            message_state_name(MessageState::Failed),
            failure.text,
            failure.code,
            failure.reason,
            row::int(at.0),
        ])?)
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
