//! UDP relays in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use imp_core::relay::Limits;
use imp_core::socket::{RelayId, Token};
use rusqlite::{Connection, Row, params};

use super::{SqliteStore, journal, row, worker};
use crate::store::StoreError;
use crate::store::journal::{JournalEvent, JournalStore, NewEvent};
use crate::store::socket::{MAX_EVENTS_OF_ID, RelayUse, SocketStore, StoredPin, StoredRelay};

#[async_trait]
impl SocketStore for SqliteStore {
    async fn add_relay(&self, relay: StoredRelay) -> Result<(), StoreError> {
        self.write("add_relay", move |connection| insert(connection, &relay)).await
    }

    async fn relays(&self) -> Result<Vec<StoredRelay>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT * FROM relay ORDER BY position")?;
            let mut rows = query.query([])?;
            let mut relays = Vec::new();
            while let Some(row) = rows.next()? {
                relays.push(from_row(row)?);
            }
            Ok(relays)
        })
        .await
    }

    async fn save_relays(&self, used: Vec<(RelayId, RelayUse)>) -> Result<(), StoreError> {
        self.write("save_relays", move |connection| {
            used.iter().try_for_each(|(id, used)| update(connection, *id, used))
        })
        .await
    }

    async fn end_relays(&self, ended: Vec<(RelayId, NewEvent)>) -> Result<usize, StoreError> {
        let tail = self.tail();
        let pending = self.writer()?.submit_then(
            "end_relays",
            move |connection| {
                let mut events = Vec::new();
                for (id, event) in ended {
                    let mut delete = connection.prepare_cached("DELETE FROM relay WHERE id = ?1")?;
                    if delete.execute([id.as_bytes()])? > 0 {
                        events.push(journal::insert(connection, event)?);
                    }
                }
                Ok(events)
            },
            move |events: &Vec<JournalEvent>| journal::push(&tail, events),
        );
        Ok(worker::answer(pending).await?.len())
    }

    async fn socket_events(&self, id: String) -> Result<Vec<JournalEvent>, StoreError> {
        self.read(move |connection| journal::socket_events(connection, &id, MAX_EVENTS_OF_ID)).await
    }
}

fn insert(connection: &Connection, relay: &StoredRelay) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO relay (id, owner, label, is_default, port1, port2, token, require_token, idle_secs,
                                max_packets, max_bytes, max_packets_per_sec, max_bytes_per_sec, started_ms, ends_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            relay.id.as_bytes(),
            relay.owner,
            relay.label,
            relay.is_default,
            relay.ports[0],
            relay.ports[1],
            relay.token.as_str(),
            relay.require_token,
            row::int(relay.idle.as_secs()),
            row::int(relay.limits.max_packets),
            row::int(relay.limits.max_bytes),
            row::int(relay.limits.max_packets_per_sec),
            row::int(relay.limits.max_bytes_per_sec),
            row::int(relay.started.0),
            relay.ends.map(|ends| row::int(ends.0)),
        ])?;
    update(connection, relay.id, &relay.used)
}

fn update(connection: &Connection, id: RelayId, used: &RelayUse) -> Result<(), StoreError> {
    let source = |side: usize| used.pins[side].map(|pin| pin.source.to_string());
    let is_firm = |side: usize| used.pins[side].map(|pin| pin.is_firm);
    let learned = |side: usize| used.pins[side].map(|pin| row::int(pin.learned.0));
    connection
        .prepare_cached(
            "UPDATE relay SET used_packets = ?2, used_bytes = ?3, source1 = ?4, is_firm1 = ?5, learned1_ms = ?6,
                              source2 = ?7, is_firm2 = ?8, learned2_ms = ?9
             WHERE id = ?1",
        )?
        .execute(params![
            id.as_bytes(),
            row::int(used.packets),
            row::int(used.bytes),
            source(0),
            is_firm(0),
            learned(0),
            source(1),
            is_firm(1),
            learned(1),
        ])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<StoredRelay, StoreError> {
    let ends: Option<i64> = row::small_or_null(row, "ends_ms")?;
    Ok(StoredRelay {
        id: RelayId::from_bytes(row::bytes(row, "id")?),
        owner: row.get("owner")?,
        label: row.get("label")?,
        is_default: row.get("is_default")?,
        ports: [row::small(row, "port1")?, row::small(row, "port2")?],
        token: token(row)?,
        require_token: row.get("require_token")?,
        idle: Duration::from_secs(row::uint(row, "idle_secs")?),
        limits: Limits {
            max_packets: row::uint(row, "max_packets")?,
            max_bytes: row::uint(row, "max_bytes")?,
            max_packets_per_sec: row::uint(row, "max_packets_per_sec")?,
            max_bytes_per_sec: row::uint(row, "max_bytes_per_sec")?,
        },
        started: row::time(row, "started_ms")?,
        ends: ends.map(|_| row::time(row, "ends_ms")).transpose()?,
        used: RelayUse {
            packets: row::uint(row, "used_packets")?,
            bytes: row::uint(row, "used_bytes")?,
            pins: [
                pin(row, "source1", "is_firm1", "learned1_ms")?,
                pin(row, "source2", "is_firm2", "learned2_ms")?,
            ],
        },
    })
}

/// Without its text in the error: it is a secret.
fn token(row: &Row<'_>) -> Result<Token, StoreError> {
    let text: String = row.get("token")?;
    Token::parse(&text).ok_or_else(|| row::damaged("a relay's token".to_owned()))
}

fn pin(row: &Row<'_>, source: &str, is_firm: &str, learned: &str) -> Result<Option<StoredPin>, StoreError> {
    if row.get::<_, Option<String>>(source)?.is_none() {
        return Ok(None);
    }
    Ok(Some(StoredPin {
        source: row::named(row, source, |text| text.parse().ok())?,
        is_firm: row.get(is_firm)?,
        learned: row::time(row, learned)?,
    }))
}
