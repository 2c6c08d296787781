//! The inbox in SQLite.

mod withheld;

use async_trait::async_trait;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::commit::{Consequences, Written};
use super::{SqliteStore, federate, row, vpn};
use crate::store::StoreError;
use crate::store::inbox::{
    InboxChange, InboxChunk, InboxMessage, InboxPayment, InboxStore, KeptMessage, KeptPart, PartName, Seen,
    SenderRows, WithheldPage, WithheldQuery,
};

/// Records of later versions that are kept for one that reads them; the oldest go first.
const MAX_UNREAD: i64 = 10_000;

/// Rows of each kind that one transaction forgets.
const FORGET_AT_ONCE: i64 = 1_000;

#[async_trait]
impl InboxStore for SqliteStore {
    async fn has_payment(&self, hash: PaymentHash) -> Result<bool, StoreError> {
        self.read(move |connection| {
            Ok(connection
                .prepare_cached("SELECT 1 FROM inbox_payment WHERE payment_hash = ?1")?
                .exists([hash.0])?)
        })
        .await
    }

    async fn seen(&self, part: PartName) -> Result<Seen, StoreError> {
        self.read(move |connection| seen(connection, part)).await
    }

    async fn list_withheld(&self, query: WithheldQuery) -> Result<WithheldPage, StoreError> {
        self.scan(move |connection| withheld::page(connection, query)).await
    }

    async fn withheld_counts(&self, senders: Vec<NodeId>) -> Result<Vec<u64>, StoreError> {
        self.read(move |connection| withheld::counts(connection, &senders)).await
    }

    async fn sender_rows(&self, sender: NodeId, service: Service) -> Result<SenderRows, StoreError> {
        self.read(move |connection| {
            let order = connection
                .prepare_cached("SELECT snapshot FROM inbox_order WHERE sender = ?1 AND service = ?2")?
                .query_row(params![sender.as_bytes(), service.name()], |row| row.get(0))
                .optional()?;
            let mut query = connection
                .prepare_cached("SELECT * FROM inbox_message WHERE sender = ?1 AND service = ?2")?;
            let mut rows = query.query(params![sender.as_bytes(), service.name()])?;
            let mut messages = Vec::new();
            while let Some(row) = rows.next()? {
                let message = message_from_row(row)?;
                let parts = parts_of(connection, sender, message.id)?;
                messages.push(KeptMessage { message, parts });
            }
            Ok(SenderRows { order, messages })
        })
        .await
    }

    async fn waiting_senders(&self) -> Result<Vec<(NodeId, Service)>, StoreError> {
        self.read(|connection| {
            let mut query =
                connection.prepare_cached("SELECT DISTINCT sender, service FROM inbox_message")?;
            let mut rows = query.query([])?;
            let mut senders = Vec::new();
            while let Some(row) = rows.next()? {
                senders.push((row::node_id(row, "sender")?, row::service(row, "service")?));
            }
            Ok(senders)
        })
        .await
    }

    async fn chunks(&self, sender: NodeId, id: MessageId) -> Result<Vec<InboxChunk>, StoreError> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT part, amount_msat, payment_hash, chunk FROM inbox_chunk
                 WHERE sender = ?1 AND message_id = ?2 ORDER BY part",
            )?;
            let mut rows = query.query(params![sender.as_bytes(), id.as_bytes()])?;
            let mut chunks = Vec::new();
            while let Some(row) = rows.next()? {
                chunks.push(InboxChunk {
                    part: row::small(row, "part")?,
                    amount: row::msat(row, "amount_msat")?,
                    payment: row::hash_or_null(row, "payment_hash")?,
                    chunk: row.get("chunk")?,
                });
            }
            Ok(chunks)
        })
        .await
    }

    async fn commit_inbox(&self, change: InboxChange) -> Result<(), StoreError> {
        let outcome = change.payment.as_ref().map(|payment| payment.outcome.name());
        let withheld = change.withheld.iter().map(|_| withheld::TOTAL);
        let noted: Vec<&'static str> = change.count.iter().copied().chain(withheld).collect();
        let work = move |connection: &Connection| apply(connection, change);
        self.commit("commit_inbox", work, move |metrics| {
            outcome.into_iter().for_each(|outcome| metrics.inbox_payment(outcome));
            noted.into_iter().for_each(|what| metrics.noted(what));
        })
        .await
    }

    async fn forget_payments_before(&self, time: UnixMillis) -> Result<usize, StoreError> {
        self.write("forget_payments_before", move |connection| {
            let payments = connection
                .prepare_cached(
                    "DELETE FROM inbox_payment WHERE rowid IN (SELECT rowid FROM inbox_payment
                     WHERE received_ms < ?1 AND outcome <> 'unread' ORDER BY received_ms LIMIT ?2)",
                )?
                .execute([row::int(time.0), FORGET_AT_ONCE])?;
            let unread = connection
                .prepare_cached(
                    "DELETE FROM inbox_payment WHERE rowid IN (SELECT rowid FROM inbox_payment
                     WHERE outcome = 'unread' ORDER BY received_ms DESC LIMIT ?2 OFFSET ?1)",
                )?
                .execute([MAX_UNREAD, FORGET_AT_ONCE])?;
            let orders = connection
                .prepare_cached(
                    "DELETE FROM inbox_order WHERE rowid IN (SELECT rowid FROM inbox_order
                     WHERE moved_ms < ?1 AND NOT EXISTS (SELECT 1 FROM inbox_message
                     WHERE inbox_message.sender = inbox_order.sender) ORDER BY moved_ms LIMIT ?2)",
                )?
                .execute([row::int(time.0), FORGET_AT_ONCE])?;
            let senders = withheld::forget_senders(connection, FORGET_AT_ONCE)?;
            Ok(payments + unread + orders + senders)
        })
        .await
    }

    async fn counter(&self, name: &'static str) -> Result<u64, StoreError> {
        self.read(move |connection| counter(connection, name)).await
    }
}

/// A message's service is that of its first part, also where its payments were forgotten and its parts are not.
fn seen(connection: &Connection, name: PartName) -> Result<Seen, StoreError> {
    let part = connection
        .prepare_cached(
            "SELECT 1 FROM inbox_payment
             WHERE sender = ?1 AND message_id = ?2 AND part = ?3 AND outcome = 'taken'",
        )?
        .exists(params![name.sender.as_bytes(), name.id.as_bytes(), name.part])?;
    let mut query = connection.prepare_cached(
        "SELECT service FROM inbox_message WHERE sender = ?1 AND message_id = ?2
         UNION ALL SELECT service FROM inbox_payment
         WHERE sender = ?1 AND message_id = ?2 AND outcome = 'taken' LIMIT 1",
    )?;
    let mut rows = query.query(params![name.sender.as_bytes(), name.id.as_bytes()])?;
    let service = rows.next()?.map(|row| row::service(row, "service")).transpose()?;
    Ok(Seen { part, service })
}

fn counter(connection: &Connection, name: &str) -> Result<u64, StoreError> {
    let mut query = connection.prepare_cached("SELECT value FROM counter WHERE name = ?1")?;
    let mut rows = query.query([name])?;
    rows.next()?.map_or(Ok(0), |row| row::uint(row, "value"))
}

pub(super) fn count(connection: &Connection, name: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO counter (name, value) VALUES (?1, 1)
             ON CONFLICT (name) DO UPDATE SET value = value + 1",
        )?
        .execute([name])?;
    Ok(())
}

fn apply(connection: &Connection, change: InboxChange) -> Result<Written, StoreError> {
    let InboxChange { payment, keep, remove, publish, order, withheld, peers, withdraw, vpn, answers, count } =
        change;
    if let Some(payment) = &payment {
        insert_payment(connection, payment)?;
    }
    if let Some((sender, service, message, chunk)) = &keep {
        put_message(connection, *sender, *service, message)?;
        if let Some(chunk) = chunk {
            insert_chunk(connection, *sender, message.id, chunk)?;
        }
    }
    for (sender, id) in &remove {
        for table in ["inbox_chunk", "inbox_message"] {
            connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE sender = ?1 AND message_id = ?2"))?
                .execute(params![sender.as_bytes(), id.as_bytes()])?;
        }
    }
    if let Some((sender, service, snapshot, moved)) = &order {
        connection
            .prepare_cached(
                "INSERT INTO inbox_order (sender, service, snapshot, moved_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (sender, service)
                 DO UPDATE SET snapshot = excluded.snapshot, moved_ms = excluded.moved_ms",
            )?
            .execute(params![sender.as_bytes(), service.name(), snapshot, row::int(moved.0)])?;
    }
    for withheld in &withheld {
        withheld::insert(connection, withheld)?;
    }
    for peer in &peers {
        federate::upsert_peer(connection, peer)?;
    }
    for inbound in &vpn {
        vpn::insert_inbound(connection, inbound)?;
    }
    Consequences { withdraw, give_up: Vec::new(), answers, key: None, count, publish }.write(connection)
}

fn insert_payment(connection: &Connection, payment: &InboxPayment) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO inbox_payment (payment_hash, record_type, amount_msat, received_ms, outcome, sender,
             message_id, part, raw, service) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            payment.hash.0,
            row::int(payment.record_type.number()),
            row::int(payment.amount.0),
            row::int(payment.received.0),
            payment.outcome.name(),
            payment.part.map(|part| part.sender.as_bytes().to_vec()),
            payment.part.map(|part| part.id.as_bytes().to_vec()),
            payment.part.map(|part| part.part),
            payment.raw,
            payment.service.name(),
        ])?;
    Ok(())
}

fn put_message(
    connection: &Connection,
    sender: NodeId,
    service: Service,
    message: &InboxMessage,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO inbox_message (sender, message_id, service, part_count, stream, seq, floor_back, unordered,
             reply_to, begun_ms, held_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (sender, message_id) DO UPDATE SET stream = excluded.stream, seq = excluded.seq,
             floor_back = excluded.floor_back, reply_to = excluded.reply_to, held_ms = excluded.held_ms",
        )?
        .execute(params![
            sender.as_bytes(),
            message.id.as_bytes(),
            service.name(),
            message.part_count,
            message.stream,
            message.seq,
            message.floor_back,
            message.unordered,
            message.reply_to,
            row::int(message.begun.0),
            message.held.map(|held| row::int(held.0)),
        ])?;
    Ok(())
}

fn insert_chunk(
    connection: &Connection,
    sender: NodeId,
    id: MessageId,
    chunk: &InboxChunk,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            // One that is there is of a payment that was forgotten before its message: the newer one is as good.
            "INSERT INTO inbox_chunk (sender, message_id, part, amount_msat, payment_hash, chunk)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (sender, message_id, part)
             DO UPDATE SET amount_msat = excluded.amount_msat, payment_hash = excluded.payment_hash,
             chunk = excluded.chunk",
        )?
        .execute(params![
            sender.as_bytes(),
            id.as_bytes(),
            chunk.part,
            row::int(chunk.amount.0),
            chunk.payment.map(|hash| hash.0),
            chunk.chunk,
        ])?;
    Ok(())
}

fn parts_of(connection: &Connection, sender: NodeId, id: MessageId) -> Result<Vec<KeptPart>, StoreError> {
    let mut query = connection.prepare_cached(
        "SELECT part, amount_msat, length(chunk) AS bytes FROM inbox_chunk
         WHERE sender = ?1 AND message_id = ?2 ORDER BY part",
    )?;
    let mut rows = query.query(params![sender.as_bytes(), id.as_bytes()])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        parts.push(KeptPart {
            part: row::small(row, "part")?,
            amount: row::msat(row, "amount_msat")?,
            bytes: row::small(row, "bytes")?,
        });
    }
    Ok(parts)
}

fn message_from_row(row: &Row<'_>) -> Result<InboxMessage, StoreError> {
    Ok(InboxMessage {
        id: row::message_id(row, "message_id")?,
        part_count: row::small(row, "part_count")?,
        stream: row::small(row, "stream")?,
        seq: row::small(row, "seq")?,
        floor_back: row::small(row, "floor_back")?,
        unordered: row.get("unordered")?,
        reply_to: row.get("reply_to")?,
        begun: row::time(row, "begun_ms")?,
        held: row::small_or_null(row, "held_ms")?.map(UnixMillis),
    })
}
