//! Rows of the VPN.

use imp_core::vpn::PrivateKey;
use imp_core::vpn::buyer::{HeldQuote, Purchase};
use imp_core::vpn::seller::{Contract, Offer, Payment};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::row;
use crate::store::StoreError;
use crate::store::vpn::VpnInbound;

/// Adds what came in, within a change of the inbox.
pub(in crate::store::sqlite) fn insert_inbound(
    connection: &Connection,
    inbound: &VpnInbound,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO vpn_inbound (payment_hash, sender, message_id, reply_to, text, amount_msat, at_ms,
             repeated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            inbound.hash.0,
            inbound.sender.as_bytes(),
            inbound.id.as_bytes(),
            inbound.reply_to,
            inbound.text,
            row::int(inbound.amount.0),
            row::int(inbound.at.0),
            inbound.repeated,
        ])?;
    Ok(())
}

pub(super) fn inbound(row: &Row<'_>) -> Result<VpnInbound, StoreError> {
    Ok(VpnInbound {
        hash: row::hash(row, "payment_hash")?,
        sender: row::node_id(row, "sender")?,
        id: row::message_id(row, "message_id")?,
        reply_to: row.get("reply_to")?,
        text: row.get("text")?,
        amount: row::msat(row, "amount_msat")?,
        at: row::time(row, "at_ms")?,
        repeated: row.get("repeated")?,
    })
}

pub(super) fn put_offer(connection: &Connection, offer: &Offer) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO vpn_offer (nonce, json) VALUES (?1, ?2)")?
        .execute(params![offer.nonce.as_str(), text(offer)?])?;
    Ok(())
}

pub(super) fn put_quote(connection: &Connection, held: &HeldQuote) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO vpn_quote (nonce, json) VALUES (?1, ?2)")?
        .execute(params![held.quote.nonce.as_str(), text(held)?])?;
    Ok(())
}

pub(super) fn put_contract(connection: &Connection, contract: &Contract) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO vpn_contract (nonce, buyer, state, is_open, made_ms, over_ms, json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            contract.nonce.as_str(),
            contract.buyer.as_bytes(),
            contract.state.name(),
            contract.is_open(),
            row::int(contract.made.0),
            row::int(contract.ends.unwrap_or(contract.made).0),
            text(contract)?,
        ])?;
    Ok(())
}

/// A payment keeps its place in the list.
pub(super) fn put_payment(connection: &Connection, payment: &Payment) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO vpn_payment (payment_hash, nonce, state, is_open, at_ms, json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (payment_hash)
             DO UPDATE SET state = excluded.state, is_open = excluded.is_open, json = excluded.json",
        )?
        .execute(params![
            payment.hash.0,
            payment.nonce.as_str(),
            payment.state.name(),
            payment.is_open(),
            row::int(payment.at.0),
            text(payment)?,
        ])?;
    Ok(())
}

pub(super) fn put_purchase(connection: &Connection, mut purchase: Purchase) -> Result<(), StoreError> {
    let key = purchase.private_key.take();
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO vpn_purchase (nonce, private_key, seller, state, made_ms, over_ms, json)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            purchase.nonce().as_str(),
            key.as_ref().map(|key| key.as_bytes().as_slice()),
            purchase.seller.as_bytes(),
            purchase.state.name(),
            row::int(purchase.made.0),
            row::int(purchase.ends.unwrap_or(purchase.made).0),
            text(&purchase)?,
        ])?;
    Ok(())
}

/// A purchase with its private key.
pub(super) fn purchase(row: &Row<'_>) -> Result<Purchase, StoreError> {
    let key = match row.get_ref("private_key")? {
        ValueRef::Null => None,
        _ => Some(PrivateKey::from_bytes(row::bytes(row, "private_key")?)),
    };
    Ok(Purchase { private_key: key, ..json(row)? })
}

/// A row that is kept as text.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>) -> Result<T, StoreError> {
    let text = row.get_ref("json")?.as_str().map_err(rusqlite::Error::from)?;
    // What is wrong with it is said by place alone: the text holds keys.
    serde_json::from_str(text).map_err(|error| {
        row::damaged(format!("json of the VPN, line {}, column {}", error.line(), error.column()))
    })
}

/// The rows that a statement finds.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut query = connection.prepare_cached(sql)?;
    let mut rows = query.query(parameters)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

fn text(row: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(row).map_err(|error| StoreError::Database(format!("a row of the VPN: {error}")))
}
