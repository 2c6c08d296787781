//! Rows of messages and attempts.

use imp_core::amount::Msat;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, Preimage};
use imp_core::time::UnixMillis;
use rusqlite::{Connection, Row, params};

use super::super::{idempotency, row};
use crate::store::StoreError;
use crate::store::idempotency::NewKey;
use crate::store::outbox::{
    Attempt, Number, OutboxMessage, SendFailure, StoredAttempt, StoredMessage, Tally, attempt_state_name,
    message_state, message_state_name,
};

/// Adds a message as queued, its text, and the key of its call. Returns its place.
pub(super) fn accept(
    connection: &Connection,
    message: &OutboxMessage,
    body: &[u8],
    key: Option<&NewKey>,
) -> Result<u64, StoreError> {
    let place = insert_message(connection, message, MessageState::Queued, key)?;
    connection
        .prepare_cached("INSERT INTO outbox_body (position, body) VALUES (?1, ?2)")?
        .execute(params![row::int(place), body])?;
    Ok(place)
}

/// Adds a message, and the key of its call. Returns its place.
pub(super) fn insert_message(
    connection: &Connection,
    message: &OutboxMessage,
    state: MessageState,
    key: Option<&NewKey>,
) -> Result<u64, StoreError> {
    let ended = (state == MessageState::Settled).then_some(message.accepted);
    connection
        .prepare_cached(
            "INSERT INTO outbox_message (id, service, record_type, recipient, body_bytes, reply_to, amount_sat,
             parts, unordered, state, has_key, accepted_ms, ended_ms, keep_until_ms, answer_msat,
             fee_limit_msat)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            message.id.as_bytes(),
            message.service.name(),
            row::int(message.record_type.number()),
            message.recipient.as_bytes(),
            row::int(message.body_bytes),
            message.reply_to,
            row::int(message.amount_sat),
            message.parts,
            message.unordered,
            message_state_name(state),
            key.is_some(),
            row::int(message.accepted.0),
            ended.map(|ended| row::int(ended.0)),
            message.keep_until.map(|until| row::int(until.0)),
            message.answer.map(|most| row::int(most.0)),
            message.fee_limit.map(|limit| row::int(limit.0)),
        ])?;
    let place = connection.last_insert_rowid();
    if let Some(key) = key {
        idempotency::insert(connection, key)?;
    }
    Ok(place.unsigned_abs())
}

pub(super) fn insert_attempt(connection: &Connection, attempt: &Attempt) -> Result<(), StoreError> {
    connection
        .prepare_cached(&format!(
            "INSERT INTO outbox_attempt (payment_hash, message_id, part, preimage, envelope, amount_msat, state,
             begun_ms, closes_at_begin) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, {})",
            super::CLOSES
        ))?
        .execute(params![
            attempt.hash.0,
            attempt.message.as_bytes(),
            attempt.part,
            attempt.preimage.0,
            attempt.envelope,
            row::int(attempt.amount.0),
            attempt_state_name(attempt.state),
            row::int(attempt.begun.0),
        ])?;
    Ok(())
}

pub(super) fn find_message(
    connection: &Connection,
    id: MessageId,
) -> Result<Option<StoredMessage>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM outbox_message WHERE id = ?1")?;
    let mut rows = query.query([id.as_bytes()])?;
    rows.next()?.map(|row| message(connection, row)).transpose()
}

/// A message, with what its attempts sum up to.
pub(super) fn message(connection: &Connection, row: &Row<'_>) -> Result<StoredMessage, StoreError> {
    let id = row::message_id(row, "id")?;
    Ok(StoredMessage {
        place: row::uint(row, "position")?,
        state: row::named(row, "state", message_state)?,
        number: number(row)?,
        has_key: row.get("has_key")?,
        failure: failure(row)?,
        ended: time_or_null(row, "ended_ms")?,
        tally: tally(connection, id)?,
        message: OutboxMessage {
            id,
            service: row::service(row, "service")?,
            record_type: row::record_type(row, "record_type")?,
            recipient: row::node_id(row, "recipient")?,
            body_bytes: row::uint(row, "body_bytes")?,
            reply_to: row.get("reply_to")?,
            amount_sat: row::uint(row, "amount_sat")?,
            parts: row::small(row, "parts")?,
            unordered: row.get("unordered")?,
            accepted: row::time(row, "accepted_ms")?,
            keep_until: time_or_null(row, "keep_until_ms")?,
            answer: row::small_or_null(row, "answer_msat")?.map(Msat),
            fee_limit: row::small_or_null(row, "fee_limit_msat")?.map(Msat),
        },
    })
}

fn tally(connection: &Connection, id: MessageId) -> Result<Tally, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT count(*) AS attempts, count(DISTINCT CASE state WHEN 'settled' THEN part END) AS parts_settled,
         coalesce(sum(CASE state WHEN 'settled' THEN fee_msat END), 0) AS fee_msat
         FROM outbox_attempt WHERE message_id = ?1",
    )?;
    let mut rows = query.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(Tally::default()) };
    Ok(Tally {
        attempts: row::small(row, "attempts")?,
        parts_settled: row::small(row, "parts_settled")?,
        fee: row::msat(row, "fee_msat")?,
    })
}

pub(super) fn attempts_of(connection: &Connection, id: MessageId) -> Result<Vec<StoredAttempt>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT * FROM outbox_attempt WHERE message_id = ?1 ORDER BY begun_ms, part")?;
    let mut rows = query.query([id.as_bytes()])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(StoredAttempt {
            attempt: attempt(row)?,
            reason: row.get("reason")?,
            fee: row::small_or_null(row, "fee_msat")?.map(Msat),
            ended: time_or_null(row, "ended_ms")?,
        });
    }
    Ok(attempts)
}

pub(super) fn attempt(row: &Row<'_>) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        hash: row::hash(row, "payment_hash")?,
        message: row::message_id(row, "message_id")?,
        part: row::small(row, "part")?,
        preimage: Preimage(row::bytes(row, "preimage")?),
        envelope: row.get("envelope")?,
        amount: row::msat(row, "amount_msat")?,
        begun: row::time(row, "begun_ms")?,
        state: row::named(row, "state", attempt_state)?,
    })
}

fn number(row: &Row<'_>) -> Result<Option<Number>, StoreError> {
    let stream = row::small_or_null(row, "stream")?;
    let seq = row::small_or_null(row, "seq")?;
    Ok(stream.zip(seq).map(|(stream, seq)| Number { stream, seq }))
}

fn failure(row: &Row<'_>) -> Result<Option<SendFailure>, StoreError> {
    let text: Option<String> = row.get("error")?;
    let Some(text) = text else { return Ok(None) };
    // Earlier schemas had the text alone: 2 is the code for what is not known.
    let code = row::small_or_null(row, "error_code")?.unwrap_or(2);
    let reason: Option<String> = row.get("error_reason")?;
    Ok(Some(SendFailure { code, reason: reason.unwrap_or_default(), text }))
}

fn time_or_null(row: &Row<'_>, column: &str) -> Result<Option<UnixMillis>, StoreError> {
    Ok(row::small_or_null(row, column)?.map(UnixMillis))
}

fn attempt_state(name: &str) -> Option<AttemptState> {
    use AttemptState::{Failed, Ready, Sent, Settled, Unknown};
    [Ready, Sent, Settled, Failed, Unknown].into_iter().find(|state| attempt_state_name(*state) == name)
}
