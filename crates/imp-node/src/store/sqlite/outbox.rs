//! The outbox in SQLite.

use async_trait::async_trait;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, PaymentHash, Preimage};
use imp_core::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SqliteStore, idempotency, row};
use crate::store::StoreError;
use crate::store::idempotency::NewKey;
use crate::store::outbox::{
    Attempt, AttemptEnd, Number, OpenMessage, OutboxMessage, OutboxStore, attempt_state_name,
    message_state_name,
};

const STREAM: &str = "outbox.stream";
const CHANNEL_CLOSED_MS: &str = "outbox.channel_closed_ms";

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn accept_message(&self, message: OutboxMessage, key: Option<NewKey>) -> Result<(), StoreError> {
        self.write("accept_message", move |connection| {
            insert_message(connection, &message)?;
            key.iter().try_for_each(|key| idempotency::insert(connection, key))
        })
        .await
    }

    async fn begin_attempt(&self, attempt: Attempt, number: Option<Number>) -> Result<(), StoreError> {
        self.write("begin_attempt", move |connection| {
            connection
                .prepare_cached(
                    "UPDATE outbox_message SET state = 'sending', stream = coalesce(stream, ?2),
                     seq = coalesce(seq, ?3) WHERE id = ?1",
                )?
                .execute(params![
                    attempt.message.as_bytes(),
                    number.map(|number| number.stream),
                    number.map(|number| number.seq),
                ])?;
            insert_attempt(connection, &attempt)
        })
        .await
    }

    fn attempt_sent(&self, hash: PaymentHash) {
        if let Ok(writer) = self.writer() {
            // Nobody waits for this one: see the trait.
            let _pending = writer.submit("attempt_sent", move |connection| {
                connection
                    .prepare_cached(
                        "UPDATE outbox_attempt SET state = 'sent' WHERE payment_hash = ?1 AND state = 'ready'",
                    )?
                    .execute([hash.0])?;
                Ok(())
            });
        }
    }

    async fn end_attempt(
        &self,
        hash: PaymentHash,
        end: AttemptEnd,
        now: UnixMillis,
    ) -> Result<Option<MessageId>, StoreError> {
        self.write("end_attempt", move |connection| {
            let (state, reason, fee) = match end {
                AttemptEnd::Settled { fee } => (AttemptState::Settled, None, fee),
                AttemptEnd::Failed { reason } => (AttemptState::Failed, Some(reason), None),
                AttemptEnd::Unknown { reason } => (AttemptState::Unknown, Some(reason), None),
            };
            let message = connection
                .prepare_cached(
                    "UPDATE outbox_attempt SET
                     state = CASE state WHEN 'settled' THEN state ELSE ?2 END,
                     reason = CASE state WHEN 'settled' THEN reason ELSE ?3 END,
                     fee_msat = coalesce(fee_msat, ?4), ended_ms = coalesce(ended_ms, ?5)
                     WHERE payment_hash = ?1 RETURNING message_id",
                )?
                .query_row(
                    params![
                        hash.0,
                        attempt_state_name(state),
                        reason,
                        fee.map(|fee| row::int(fee.0)),
                        row::int(now.0)
                    ],
                    |row| row.get::<_, Vec<u8>>(0),
                )
                .optional()?;
            let Some(message) = message else { return Ok(None) };
            if state == AttemptState::Settled {
                settle_message(connection, &message, now)?;
            }
            let id = message.try_into().map_err(|_| StoreError::Damaged {
                what: "outbox_attempt.message_id that is no id".to_owned(),
            })?;
            Ok(Some(MessageId::from_bytes(id)))
        })
        .await
    }

    async fn end_message(
        &self,
        id: MessageId,
        state: MessageState,
        error: String,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        self.write("end_message", move |connection| {
            connection
                .prepare_cached(
                    "UPDATE outbox_message SET state = ?2, error = ?3, ended_ms = ?4
                     WHERE id = ?1 AND state <> 'settled'",
                )?
                .execute(params![id.as_bytes(), message_state_name(state), error, row::int(now.0)])?;
            Ok(())
        })
        .await
    }

    async fn attempt(&self, hash: PaymentHash) -> Result<Option<Attempt>, StoreError> {
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT * FROM outbox_attempt WHERE payment_hash = ?1")?;
            let mut rows = query.query([hash.0])?;
            rows.next()?.map(attempt_from_row).transpose()
        })
        .await
    }

    async fn open_messages(&self) -> Result<Vec<OpenMessage>, StoreError> {
        self.read(|connection| {
            let mut query = connection
                .prepare_cached("SELECT * FROM outbox_message WHERE ended_ms IS NULL ORDER BY position")?;
            let mut rows = query.query([])?;
            let mut open = Vec::new();
            while let Some(row) = rows.next()? {
                let message = message_from_row(row)?;
                let attempts = attempts_of(connection, message.id)?;
                open.push(OpenMessage { number: number_from_row(row)?, message, attempts });
            }
            Ok(open)
        })
        .await
    }

    async fn all_messages(&self) -> Result<Vec<(MessageId, MessageState)>, StoreError> {
        self.read(|connection| {
            let mut query =
                connection.prepare_cached("SELECT id, state FROM outbox_message ORDER BY position")?;
            let mut rows = query.query([])?;
            let mut messages = Vec::new();
            while let Some(row) = rows.next()? {
                messages.push((row::message_id(row, "id")?, row::named(row, "state", message_state)?));
            }
            Ok(messages)
        })
        .await
    }

    async fn message_state(
        &self,
        id: MessageId,
    ) -> Result<Option<(MessageState, Option<String>)>, StoreError> {
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT state, error FROM outbox_message WHERE id = ?1")?;
            let mut rows = query.query([id.as_bytes()])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            Ok(Some((row::named(row, "state", message_state)?, row.get("error")?)))
        })
        .await
    }

    async fn next_stream(&self, now_secs: u32) -> Result<u32, StoreError> {
        self.write("next_stream", move |connection| {
            let last: Option<u32> = meta(connection, STREAM)?;
            let stream = last.map_or(now_secs, |last| now_secs.max(last.saturating_add(1)));
            set_meta(connection, STREAM, i64::from(stream))?;
            Ok(stream)
        })
        .await
    }

    async fn note_channel_closed(&self, now: UnixMillis) -> Result<(), StoreError> {
        self.write("note_channel_closed", move |connection| {
            set_meta(connection, CHANNEL_CLOSED_MS, row::int(now.0))
        })
        .await
    }

    async fn last_channel_closed(&self) -> Result<Option<UnixMillis>, StoreError> {
        self.read(|connection| Ok(meta(connection, CHANNEL_CLOSED_MS)?.map(UnixMillis))).await
    }
}

fn insert_message(connection: &Connection, message: &OutboxMessage) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO outbox_message (id, service, record_type, recipient, body, reply_to, amount_sat, parts,
             unordered, state, accepted_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'queued', ?10)",
        )?
        .execute(params![
            message.id.as_bytes(),
            message.service.name(),
            row::int(message.record_type.number()),
            message.recipient.as_bytes(),
            message.body,
            message.reply_to,
            row::int(message.amount_sat),
            message.parts,
            message.unordered,
            row::int(message.accepted.0),
        ])?;
    Ok(())
}

fn insert_attempt(connection: &Connection, attempt: &Attempt) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO outbox_attempt (payment_hash, message_id, part, preimage, envelope, amount_msat, state,
             begun_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
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

/// Settles a message whose parts are all paid. One that was reported unknown is settled late.
fn settle_message(connection: &Connection, id: &[u8], now: UnixMillis) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE outbox_message SET state = 'settled', error = NULL, ended_ms = ?2
             WHERE id = ?1 AND parts = (SELECT count(DISTINCT part) FROM outbox_attempt
             WHERE message_id = ?1 AND state = 'settled')",
        )?
        .execute(params![id, row::int(now.0)])?;
    Ok(())
}

fn attempts_of(connection: &Connection, id: MessageId) -> Result<Vec<Attempt>, StoreError> {
    let mut query = connection
        .prepare_cached("SELECT * FROM outbox_attempt WHERE message_id = ?1 ORDER BY begun_ms, part")?;
    let mut rows = query.query([id.as_bytes()])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(attempt_from_row(row)?);
    }
    Ok(attempts)
}

fn message_from_row(row: &Row<'_>) -> Result<OutboxMessage, StoreError> {
    Ok(OutboxMessage {
        id: row::message_id(row, "id")?,
        service: row::service(row, "service")?,
        record_type: row::record_type(row, "record_type")?,
        recipient: row::node_id(row, "recipient")?,
        body: row.get("body")?,
        reply_to: row.get("reply_to")?,
        amount_sat: row::uint(row, "amount_sat")?,
        parts: row::small(row, "parts")?,
        unordered: row.get("unordered")?,
        accepted: row::time(row, "accepted_ms")?,
    })
}

fn number_from_row(row: &Row<'_>) -> Result<Option<Number>, StoreError> {
    let stream = row::small_or_null(row, "stream")?;
    let seq = row::small_or_null(row, "seq")?;
    Ok(stream.zip(seq).map(|(stream, seq)| Number { stream, seq }))
}

fn attempt_from_row(row: &Row<'_>) -> Result<Attempt, StoreError> {
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

fn message_state(name: &str) -> Option<MessageState> {
    use MessageState::{Failed, Queued, Sending, Settled, Unknown};
    [Queued, Sending, Settled, Failed, Unknown].into_iter().find(|state| message_state_name(*state) == name)
}

fn attempt_state(name: &str) -> Option<AttemptState> {
    use AttemptState::{Failed, Ready, Sent, Settled, Unknown};
    [Ready, Sent, Settled, Failed, Unknown].into_iter().find(|state| attempt_state_name(*state) == name)
}

fn meta<T: TryFrom<i64>>(connection: &Connection, key: &str) -> Result<Option<T>, StoreError> {
    let value: Option<i64> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    value
        .map(|value| {
            T::try_from(value).map_err(|_| StoreError::Damaged { what: format!("meta {key} = {value}") })
        })
        .transpose()
}

fn set_meta(connection: &Connection, key: &str, value: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![key, value])?;
    Ok(())
}
