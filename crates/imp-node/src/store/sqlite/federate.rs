//! Peers in SQLite.

use std::collections::HashMap;

use async_trait::async_trait;
use imp_core::federation::{Ask, AskKind, AskedBy, Before, Peer, Rights, Standing, State};
use imp_core::id::{MessageId, NodeId};
use imp_core::time::UnixMillis;
use rusqlite::{Connection, Row, params};

use super::commit::{Consequences, Written};
use super::{SqliteStore, row};
use crate::store::StoreError;
use crate::store::federate::{FederateChange, FederateStore, PeerRow};

#[async_trait]
impl FederateStore for SqliteStore {
    async fn peers(&self) -> Result<Vec<PeerRow>, StoreError> {
        self.scan(|connection| {
            let mut asks = asks(connection)?;
            let mut query = connection.prepare_cached("SELECT * FROM peer ORDER BY node")?;
            let mut rows = query.query([])?;
            let mut peers = Vec::new();
            while let Some(row) = rows.next()? {
                let node = row::node_id(row, "node")?;
                let asks = asks.remove(&node).unwrap_or_default();
                peers.push(PeerRow { node, peer: from_row(row, asks)? });
            }
            Ok(peers)
        })
        .await
    }

    async fn commit_federation(&self, change: FederateChange) -> Result<(), StoreError> {
        let noted = change.count.clone();
        let work = move |connection: &Connection| apply(connection, change);
        self.commit("commit_federation", work, |metrics| {
            noted.into_iter().for_each(|what| metrics.noted(what))
        })
        .await
    }
}

fn apply(connection: &Connection, change: FederateChange) -> Result<Written, StoreError> {
    let FederateChange { peers, forget, publish, withdraw, answers, key, count } = change;
    // A name that goes from one to another must not be there twice in between.
    for node in &forget {
        forget_peer(connection, node)?;
    }
    for peer in &peers {
        upsert_peer(connection, peer)?;
    }
    Consequences { withdraw, give_up: Vec::new(), answers, key, count, publish }.write(connection)
}

fn forget_peer(connection: &Connection, node: &NodeId) -> Result<(), StoreError> {
    connection.prepare_cached("DELETE FROM peer WHERE node = ?1")?.execute([node.as_bytes()])?;
    connection.prepare_cached("DELETE FROM peer_ask WHERE node = ?1")?.execute([node.as_bytes()])?;
    Ok(())
}

/// Puts a peer's row in the place of the one that there may be.
pub(super) fn upsert_peer(connection: &Connection, row: &PeerRow) -> Result<(), StoreError> {
    let PeerRow { node, peer } = row;
    // Not REPLACE, which would take away another's row where the names are the same.
    forget_peer(connection, node)?;
    let (own, terms, before) = (peer.own_rights, peer.terms, peer.before);
    connection
        .prepare_cached(
            "INSERT INTO peer (node, name, imp_id, state, asked_by, standing, since_ms, until_ms, lasts_secs,
             renew_at_ms, blocked, last_seen_ms, own_messages, own_sockets, own_vpn_quotes, own_min_message_sat,
             terms_messages, terms_sockets, terms_vpn_quotes, terms_min_message_sat, to_decide, wished_secs,
             before_state, before_asked_by, before_since_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
             ?21, ?22, ?23, ?24, ?25)",
        )?
        .execute(params![
            node.as_bytes(),
            peer.name,
            peer.imp_id,
            peer.state.name(),
            peer.asked_by.map(AskedBy::name),
            peer.standing.map(Standing::name),
            row::int(peer.since.0),
            peer.until.map(|time| row::int(time.0)),
            row::int(peer.lasts_secs),
            peer.renew_at.map(|time| row::int(time.0)),
            peer.blocked,
            peer.last_seen.map(|time| row::int(time.0)),
            own.map(|rights| rights.messages),
            own.map(|rights| rights.sockets),
            own.map(|rights| rights.vpn_quotes),
            own.map(|rights| row::int(rights.min_message_sat)),
            terms.map(|rights| rights.messages),
            terms.map(|rights| rights.sockets),
            terms.map(|rights| rights.vpn_quotes),
            terms.map(|rights| row::int(rights.min_message_sat)),
            peer.to_decide.map(|id| id.as_bytes().to_vec()),
            row::int(peer.wished_secs),
            before.map(|before| before.state.name()),
            before.and_then(|before| before.asked_by).map(AskedBy::name),
            before.map(|before| row::int(before.since.0)),
        ])?;
    for (position, ask) in peer.asks.iter().enumerate() {
        connection
            .prepare_cached(
                "INSERT INTO peer_ask (node, position, message_id, is_renewal, told, crossed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                node.as_bytes(),
                row::int(position as u64),
                ask.id.as_bytes(),
                ask.kind == AskKind::Renew,
                ask.told,
                ask.crossed,
            ])?;
    }
    Ok(())
}

/// What was asked of each peer, oldest first.
fn asks(connection: &Connection) -> Result<HashMap<NodeId, Vec<Ask>>, StoreError> {
    let mut query = connection.prepare_cached("SELECT * FROM peer_ask ORDER BY node, position")?;
    let mut rows = query.query([])?;
    let mut asks: HashMap<_, Vec<_>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let kind = if row.get("is_renewal")? { AskKind::Renew } else { AskKind::Request };
        let ask = Ask {
            id: row::message_id(row, "message_id")?,
            kind,
            told: row.get("told")?,
            crossed: row.get("crossed")?,
        };
        asks.entry(row::node_id(row, "node")?).or_default().push(ask);
    }
    Ok(asks)
}

fn from_row(row: &Row<'_>, asks: Vec<Ask>) -> Result<Peer, StoreError> {
    let before = match optional(row, "before_state", State::from_name)? {
        None => None,
        Some(state) => Some(Before {
            state,
            asked_by: optional(row, "before_asked_by", AskedBy::from_name)?,
            since: row::time(row, "before_since_ms")?,
        }),
    };
    Ok(Peer {
        name: row.get("name")?,
        imp_id: row.get("imp_id")?,
        state: row::named(row, "state", State::from_name)?,
        asked_by: optional(row, "asked_by", AskedBy::from_name)?,
        standing: optional(row, "standing", Standing::from_name)?,
        since: row::time(row, "since_ms")?,
        until: row::small_or_null(row, "until_ms")?.map(UnixMillis),
        lasts_secs: row::uint(row, "lasts_secs")?,
        renew_at: row::small_or_null(row, "renew_at_ms")?.map(UnixMillis),
        blocked: row.get("blocked")?,
        last_seen: row::small_or_null(row, "last_seen_ms")?.map(UnixMillis),
        own_rights: rights(row, "own")?,
        terms: rights(row, "terms")?,
        asks,
        to_decide: match row.get::<_, Option<Vec<u8>>>("to_decide")? {
            None => None,
            Some(_) => Some(MessageId::from_bytes(row::bytes(row, "to_decide")?)),
        },
        wished_secs: row::uint(row, "wished_secs")?,
        before,
    })
}

/// The rights whose columns begin with `whose`.
fn rights(row: &Row<'_>, whose: &str) -> Result<Option<Rights>, StoreError> {
    let Some(messages) = row.get(format!("{whose}_messages").as_str())? else { return Ok(None) };
    Ok(Some(Rights {
        messages,
        sockets: row.get(format!("{whose}_sockets").as_str())?,
        vpn_quotes: row.get(format!("{whose}_vpn_quotes").as_str())?,
        min_message_sat: row::uint(row, &format!("{whose}_min_message_sat"))?,
    }))
}

/// Like [`row::named`], for a column that may be null.
fn optional<T>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    match row.get::<_, Option<String>>(column)? {
        None => Ok(None),
        Some(_) => row::named(row, column, parse).map(Some),
    }
}
