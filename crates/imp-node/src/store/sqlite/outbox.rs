//! The outbox in SQLite.

mod answers;
mod given_up;
mod list;
mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::broadcast;

use super::{SqliteStore, journal, row, worker};
use crate::store::StoreError;
use crate::store::idempotency::NewKey;
use crate::store::journal::{JournalEvent, JournalStore, NewEvent};
use crate::store::outbox::{
    Answer, AnswerCost, Attempt, AttemptEnd, Begun, FullMessage, MessagePage, MessageQuery, Number,
    OutboxMessage, OutboxStore, SendFailure, StoredAttempt, StoredMessage, attempt_state_name,
    message_state_name,
};

pub(super) use given_up::give_up_all;

const STREAM: &str = "outbox.stream";

/// How many channels have closed, as the rows of payments have it; 0 before the first.
pub(super) const CLOSES: &str = "coalesce((SELECT value FROM meta WHERE key = 'outbox.channel_closes'), 0)";

#[async_trait]
impl OutboxStore for SqliteStore {
    fn ends(&self) -> broadcast::Receiver<MessageId> {
        self.ends.subscribe()
    }

    async fn accept_message(
        &self,
        message: OutboxMessage,
        body: Arc<[u8]>,
        key: Option<NewKey>,
    ) -> Result<u64, StoreError> {
        self.write("accept_message", move |connection| {
            rows::accept(connection, &message, &body, key.as_ref())
        })
        .await
    }

    async fn publish_own(
        &self,
        message: OutboxMessage,
        event: NewEvent,
        key: Option<NewKey>,
    ) -> Result<(), StoreError> {
        let (tail, metrics) = (self.tail(), self.metrics.clone());
        let pending = self.writer()?.submit_then(
            "publish_own",
            move |connection| {
                rows::insert_message(connection, &message, MessageState::Settled, key.as_ref())?;
                journal::insert(connection, event)
            },
            move |event: &JournalEvent| {
                metrics.message_ended(message_state_name(MessageState::Settled));
                journal::push(&tail, std::slice::from_ref(event));
            },
        );
        worker::answer(pending).await.map(|_| ())
    }

    async fn begin_attempt(&self, attempt: Attempt, number: Option<Number>) -> Result<Begun, StoreError> {
        self.write("begin_attempt", move |connection| {
            let begun = given_up::may_begin(connection, &attempt, number)?;
            if begun != Begun::Yes {
                return Ok(begun);
            }
            connection
                .prepare_cached(
                    "UPDATE outbox_message SET state = 'sending', stream = ?2, seq = ?3
                     WHERE id = ?1 AND NOT (state = 'sending' AND stream IS ?2 AND seq IS ?3)",
                )?
                .execute(params![
                    attempt.message.as_bytes(),
                    number.map(|number| number.stream),
                    number.map(|number| number.seq),
                ])?;
            rows::insert_attempt(connection, &attempt).map(|()| begun)
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
        let (metrics, ends) = (self.metrics.clone(), self.ends.clone());
        let pending = self.writer()?.submit_then(
            "end_attempt",
            move |connection| end_attempt(connection, hash, end, now),
            move |ended: &Option<Ended>| {
                let Some(ended) = ended else { return };
                metrics.attempt_ended(attempt_state_name(ended.state));
                if ended.message_settled {
                    metrics.message_ended(message_state_name(MessageState::Settled));
                    tell_end(&ends, ended.message);
                }
            },
        );
        Ok(worker::answer(pending).await?.map(|ended| ended.message))
    }

    async fn requeue_message(&self, id: MessageId, failure: SendFailure) -> Result<bool, StoreError> {
        self.write("requeue_message", move |connection| {
            let queued = connection
                .prepare_cached(
                    "UPDATE outbox_message SET state = 'queued', stream = NULL, seq = NULL, error = ?2,
                     error_code = ?3, error_reason = ?4
                     WHERE id = ?1 AND ended_ms IS NULL AND keep_until_ms IS NOT NULL",
                )?
                .execute(params![id.as_bytes(), failure.text, failure.code, failure.reason])?;
            Ok(queued > 0)
        })
        .await
    }

    async fn reopen_message(&self, id: MessageId) -> Result<bool, StoreError> {
        self.write("reopen_message", move |connection| {
            let opened = connection
                .prepare_cached(
                    "UPDATE outbox_message SET state = 'queued', stream = NULL, seq = NULL, error = NULL,
                     error_code = NULL, error_reason = NULL, ended_ms = NULL WHERE id = ?1 AND state = 'failed'",
                )?
                .execute([id.as_bytes()])?;
            Ok(opened > 0)
        })
        .await
    }

    async fn end_message(
        &self,
        id: MessageId,
        state: MessageState,
        failure: SendFailure,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let (metrics, ends) = (self.metrics.clone(), self.ends.clone());
        let pending = self.writer()?.submit_then(
            "end_message",
            move |connection| {
                Ok(connection
                .prepare_cached(
                    "UPDATE outbox_message SET state = ?2, error = ?3, error_code = ?4, error_reason = ?5,
                     ended_ms = ?6 WHERE id = ?1 AND state <> 'settled'",
                )?
                .execute(params![
                    id.as_bytes(),
                    message_state_name(state),
                    failure.text,
                    failure.code,
                    failure.reason,
                    row::int(now.0)
                ])?)
            },
            move |ended: &usize| {
                if *ended > 0 {
                    metrics.message_ended(message_state_name(state));
                    tell_end(&ends, id);
                }
            },
        );
        worker::answer(pending).await.map(|_| ())
    }

    async fn attempt(&self, hash: PaymentHash) -> Result<Option<Attempt>, StoreError> {
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT * FROM outbox_attempt WHERE payment_hash = ?1")?;
            let mut rows = query.query([hash.0])?;
            rows.next()?.map(rows::attempt).transpose()
        })
        .await
    }

    async fn open_messages(&self) -> Result<Vec<StoredMessage>, StoreError> {
        self.scan(|connection| {
            let mut query = connection
                .prepare_cached("SELECT * FROM outbox_message WHERE ended_ms IS NULL ORDER BY position")?;
            let mut rows = query.query([])?;
            let mut open = Vec::new();
            while let Some(row) = rows.next()? {
                open.push(rows::message(connection, row)?);
            }
            Ok(open)
        })
        .await
    }

    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, StoreError> {
        self.read(move |connection| rows::find_message(connection, id)).await
    }

    async fn full_message(&self, id: MessageId) -> Result<Option<FullMessage>, StoreError> {
        self.scan(move |connection| {
            let Some(stored) = rows::find_message(connection, id)? else { return Ok(None) };
            let body = connection
                .prepare_cached("SELECT body FROM outbox_body WHERE position = ?1")?
                .query_row([row::int(stored.place)], |row| row.get(0))
                .optional()?;
            let attempts = rows::attempts_of(connection, id)?;
            Ok(Some(FullMessage { stored, body: body.unwrap_or_default(), attempts }))
        })
        .await
    }

    async fn message_body(&self, id: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        self.scan(move |connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT body FROM outbox_body WHERE position = (SELECT position FROM outbox_message
                     WHERE id = ?1)",
                )?
                .query_row([id.as_bytes()], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    async fn attempts(&self, id: MessageId) -> Result<Vec<StoredAttempt>, StoreError> {
        self.scan(move |connection| rows::attempts_of(connection, id)).await
    }

    async fn answers_since(&self, time: UnixMillis, recipient: NodeId) -> Result<AnswerCost, StoreError> {
        self.read(move |connection| answers::cost(connection, time, recipient)).await
    }

    async fn list_messages(&self, query: MessageQuery) -> Result<MessagePage, StoreError> {
        self.scan(move |connection| list::page(connection, &query)).await
    }

    async fn forget_messages_before(&self, before: UnixMillis) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        loop {
            let step = self
                .write("forget_messages", move |connection| list::forget_some(connection, before))
                .await?;
            forgotten += step.messages;
            if step.is_last {
                return Ok(forgotten);
            }
        }
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

    async fn note_channel_closed(&self) -> Result<(), StoreError> {
        self.write("note_channel_closed", |connection| {
            connection
                .prepare_cached(
                    "INSERT INTO meta (key, value) VALUES ('outbox.channel_closes', 1)
                     ON CONFLICT (key) DO UPDATE SET value = value + 1",
                )?
                .execute([])?;
            Ok(())
        })
        .await
    }

    async fn closed_since_attempt(&self, hash: PaymentHash) -> Result<Option<bool>, StoreError> {
        self.read(move |connection| {
            let sql =
                format!("SELECT closes_at_begin < {CLOSES} FROM outbox_attempt WHERE payment_hash = ?1");
            Ok(connection.prepare_cached(&sql)?.query_row([hash.0], |row| row.get(0)).optional()?)
        })
        .await
    }
}

/// Takes a message in as queued, within a change of another noun.
pub(super) fn insert_answer(connection: &Connection, answer: &Answer) -> Result<(), StoreError> {
    rows::accept(connection, &answer.message, &answer.body, None).map(|_| ())
}

/// Tells whoever follows ends of messages of one.
pub(super) fn tell_end(ends: &broadcast::Sender<MessageId>, id: MessageId) {
    // Nobody follows them, then.
    let _ = ends.send(id);
}

/// What the end of an attempt changed.
struct Ended {
    message: MessageId,
    state: AttemptState,
    message_settled: bool,
}

fn end_attempt(
    connection: &Connection,
    hash: PaymentHash,
    end: AttemptEnd,
    now: UnixMillis,
) -> Result<Option<Ended>, StoreError> {
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
    let message_settled = state == AttemptState::Settled && settle_message(connection, &message, now)?;
    let id = message
        .try_into()
        .map_err(|_| StoreError::Damaged { what: "outbox_attempt.message_id that is no id".to_owned() })?;
    Ok(Some(Ended { message: MessageId::from_bytes(id), state, message_settled }))
}

/// Settles a message whose parts are all paid, and says whether that is so. One that was reported unknown is settled late.
fn settle_message(connection: &Connection, id: &[u8], now: UnixMillis) -> Result<bool, StoreError> {
    let settled = connection
        .prepare_cached(
            "UPDATE outbox_message SET state = 'settled', error = NULL, error_code = NULL, error_reason = NULL,
             ended_ms = ?2
             WHERE id = ?1 AND parts = (SELECT count(DISTINCT part) FROM outbox_attempt
             WHERE message_id = ?1 AND state = 'settled')",
        )?
        .execute(params![id, row::int(now.0)])?;
    Ok(settled > 0)
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
