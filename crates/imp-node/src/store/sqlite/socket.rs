//! UDP relays in SQLite.

use std::time::Duration;

use async_trait::async_trait;
use imp_core::relay::Limits;
use imp_core::socket::{RelayId, Token};
use rusqlite::types::Type;
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
    let [first, second] = used.pins.map(|pin| pin.map(PinColumns::from).unwrap_or_default());
    connection
        .prepare_cached(
            "UPDATE relay SET used_packets = ?2, used_bytes = ?3,
                source1 = ?4, is_firm1 = ?5, learned1_ms = ?6, heard1_ms = ?7, reached1 = ?8,
                source2 = ?9, is_firm2 = ?10, learned2_ms = ?11, heard2_ms = ?12, reached2 = ?13
             WHERE id = ?1",
        )?
        .execute(params![
            id.as_bytes(),
            row::int(used.packets),
            row::int(used.bytes),
            first.source,
            first.is_firm,
            first.learned_ms,
            first.heard_ms,
            first.reached,
            second.source,
            second.is_firm,
            second.learned_ms,
            second.heard_ms,
            second.reached,
        ])?;
    Ok(())
}

/// A pin as its columns hold it: all null where there is none.
#[derive(Default)]
struct PinColumns {
    source: Option<String>,
    is_firm: Option<bool>,
    learned_ms: Option<i64>,
    heard_ms: Option<i64>,
    reached: Option<String>,
}

impl From<StoredPin> for PinColumns {
    fn from(pin: StoredPin) -> Self {
        Self {
            source: Some(pin.source.to_string()),
            is_firm: Some(pin.is_firm),
            learned_ms: Some(row::int(pin.learned.0)),
            heard_ms: Some(row::int(pin.last_heard.0)),
            reached: pin.reached.map(|reached| reached.to_string()),
        }
    }
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
            pins: [pin(row, &FIRST)?, pin(row, &SECOND)?],
        },
    })
}

/// Without its text in the error: it is a secret.
fn token(row: &Row<'_>) -> Result<Token, StoreError> {
    let text: String = row.get("token")?;
    Token::parse(&text).ok_or_else(|| row::damaged("a relay's token".to_owned()))
}

/// The names of a pin's columns.
struct PinNames {
    source: &'static str,
    is_firm: &'static str,
    learned_ms: &'static str,
    heard_ms: &'static str,
    reached: &'static str,
}

const FIRST: PinNames = PinNames {
    source: "source1",
    is_firm: "is_firm1",
    learned_ms: "learned1_ms",
    heard_ms: "heard1_ms",
    reached: "reached1",
};

const SECOND: PinNames = PinNames {
    source: "source2",
    is_firm: "is_firm2",
    learned_ms: "learned2_ms",
    heard_ms: "heard2_ms",
    reached: "reached2",
};

fn pin(row: &Row<'_>, names: &PinNames) -> Result<Option<StoredPin>, StoreError> {
    let is_null = |name: &str| Ok::<_, StoreError>(row.get_ref(name)?.data_type() == Type::Null);
    if is_null(names.source)? {
        return Ok(None);
    }
    let reached = (!is_null(names.reached)?)
        .then(|| row::named(row, names.reached, |text| text.parse().ok()))
        .transpose()?;
    Ok(Some(StoredPin {
        source: row::named(row, names.source, |text| text.parse().ok())?,
        is_firm: row.get(names.is_firm)?,
        learned: row::time(row, names.learned_ms)?,
        last_heard: row::time(row, names.heard_ms)?,
        reached,
    }))
}
