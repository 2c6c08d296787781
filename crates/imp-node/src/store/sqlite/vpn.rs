//! The VPN in SQLite.

mod list;
mod rows;

use std::collections::HashSet;

use async_trait::async_trait;
use imp_core::id::MessageId;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{HeldQuote, Purchase, PurchaseState};
use imp_core::vpn::seller::{Contract, Offer, Payment};
use imp_core::vpn::{Nonce, PrivateKey};
use rusqlite::{Connection, ToSql, params};

use super::commit::{Consequences, Written};
use super::{SqliteStore, row};
use crate::store::StoreError;
use crate::store::vpn::{
    Deal, DealPage, DealQuery, VpnChange, VpnInbound, VpnPaymentPage, VpnPaymentQuery, VpnStore,
};

pub(super) use rows::insert_inbound;

/// Rows of each kind that one transaction forgets.
const FORGET_AT_ONCE: i64 = 1_000;

#[async_trait]
impl VpnStore for SqliteStore {
    async fn vpn_inbound(&self, limit: usize) -> Result<Vec<VpnInbound>, StoreError> {
        let limit = row::int(limit as u64);
        let sql = "SELECT * FROM vpn_inbound ORDER BY position LIMIT ?1";
        self.scan(move |connection| rows::all(connection, sql, params![limit], rows::inbound)).await
    }

    async fn vpn_server_key(&self, fresh: PrivateKey) -> Result<PrivateKey, StoreError> {
        self.write("vpn_server_key", move |connection| {
            connection
                .prepare_cached("INSERT OR IGNORE INTO vpn_server (id, private_key) VALUES (1, ?1)")?
                .execute([fresh.as_bytes()])?;
            let mut query = connection.prepare_cached("SELECT private_key FROM vpn_server")?;
            let mut rows = query.query([])?;
            let kept = rows.next()?.map(|row| row::bytes(row, "private_key")).transpose()?;
            Ok(kept.map_or(fresh, PrivateKey::from_bytes))
        })
        .await
    }

    async fn vpn_offers(&self) -> Result<Vec<Offer>, StoreError> {
        self.vpn_rows("SELECT json FROM vpn_offer ORDER BY nonce", None).await
    }

    async fn vpn_contracts(&self, since: UnixMillis) -> Result<Vec<Contract>, StoreError> {
        let sql = "SELECT json FROM vpn_contract WHERE is_open OR over_ms > ?1 ORDER BY made_ms, nonce";
        self.vpn_rows(sql, Some(since)).await
    }

    async fn vpn_payments(&self, since: UnixMillis) -> Result<Vec<Payment>, StoreError> {
        let sql = "SELECT json FROM vpn_payment WHERE is_open OR at_ms > ?1 ORDER BY position";
        self.vpn_rows(sql, Some(since)).await
    }

    async fn vpn_quotes(&self) -> Result<Vec<HeldQuote>, StoreError> {
        self.vpn_rows("SELECT json FROM vpn_quote ORDER BY nonce", None).await
    }

    async fn vpn_purchases(&self) -> Result<Vec<Purchase>, StoreError> {
        let sql = "SELECT private_key, json FROM vpn_purchase ORDER BY made_ms, nonce";
        self.scan(move |connection| rows::all(connection, sql, [], rows::purchase)).await
    }

    async fn vpn_deal(&self, nonce: Nonce) -> Result<Option<Deal>, StoreError> {
        self.read(move |connection| list::deal(connection, &nonce)).await
    }

    async fn list_vpn_deals(&self, query: DealQuery) -> Result<DealPage, StoreError> {
        self.scan(move |connection| list::deals(connection, &query)).await
    }

    async fn list_vpn_payments(&self, query: VpnPaymentQuery) -> Result<VpnPaymentPage, StoreError> {
        self.scan(move |connection| list::payments(connection, &query)).await
    }

    async fn commit_vpn(&self, change: VpnChange) -> Result<(), StoreError> {
        let noted = change.count.clone();
        let work = move |connection: &Connection| apply(connection, change);
        self.commit("commit_vpn", work, |metrics| noted.into_iter().for_each(|what| metrics.noted(what)))
            .await
    }

    async fn forget_vpn_before(&self, before: UnixMillis) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        loop {
            let gone =
                self.write("forget_vpn_before", move |connection| forget_some(connection, before)).await?;
            forgotten += gone;
            if gone == 0 {
                return Ok(forgotten);
            }
        }
    }
}

impl SqliteStore {
    /// The rows that a statement finds, which may name a time.
    async fn vpn_rows<T>(&self, sql: &'static str, since: Option<UnixMillis>) -> Result<Vec<T>, StoreError>
    where
        T: serde::de::DeserializeOwned + Send + 'static,
    {
        self.scan(move |connection| {
            let since = since.map(|since| row::int(since.0));
            let parameters: Vec<&dyn ToSql> = since.iter().map(|since| since as &dyn ToSql).collect();
            rows::all(connection, sql, parameters.as_slice(), rows::json)
        })
        .await
    }
}

fn apply(connection: &Connection, change: VpnChange) -> Result<Written, StoreError> {
    let VpnChange {
        handled,
        put_offers,
        forget_offers,
        put_contracts,
        put_payments,
        put_quotes,
        forget_quotes,
        put_purchases,
        forget_purchases,
        publish,
        give_up,
        answers,
        key,
        count,
    } = change;
    for hash in &handled {
        connection
            .prepare_cached("DELETE FROM vpn_inbound WHERE payment_hash = ?1")?
            .execute(params![hash.0])?;
    }
    for (table, nonces) in
        [("vpn_offer", &forget_offers), ("vpn_quote", &forget_quotes), ("vpn_purchase", &forget_purchases)]
    {
        for nonce in nonces {
            connection
                .prepare_cached(&format!("DELETE FROM {table} WHERE nonce = ?1"))?
                .execute([nonce.as_str()])?;
        }
    }
    put_offers.iter().try_for_each(|offer| rows::put_offer(connection, offer))?;
    put_contracts.iter().try_for_each(|contract| rows::put_contract(connection, contract))?;
    put_payments.iter().try_for_each(|payment| rows::put_payment(connection, payment))?;
    put_quotes.iter().try_for_each(|quote| rows::put_quote(connection, quote))?;
    put_purchases.into_iter().try_for_each(|purchase| rows::put_purchase(connection, purchase))?;
    Consequences { withdraw: Vec::new(), give_up, answers, key, count, publish }.write(connection)
}

/// Messages whose ends the service waits for, or that it has to find when it is asked what was paid.
pub(super) fn awaited_messages(connection: &Connection) -> Result<HashSet<MessageId>, StoreError> {
    let sql = "SELECT json FROM vpn_payment WHERE is_open";
    let payments: Vec<Payment> = rows::all(connection, sql, [], rows::json)?;
    let purchases: Vec<Purchase> = rows::all(connection, "SELECT json FROM vpn_purchase", [], rows::json)?;
    let is_open = |purchase: &&Purchase| {
        purchase.payment_open
            || matches!(
                purchase.state,
                PurchaseState::Paying | PurchaseState::Paid | PurchaseState::Unanswered
            )
    };
    let refreshes = purchases.iter().filter_map(|purchase| Some(purchase.refresh?.id));
    let contracts = purchases.iter().filter(is_open).map(|purchase| purchase.contract_id);
    let answers = payments.iter().filter_map(|payment| payment.answer_id);
    Ok(answers.chain(contracts).chain(refreshes).collect())
}

/// A purchase that has its private key may have time left, or get some.
fn forget_some(connection: &Connection, before: UnixMillis) -> Result<usize, StoreError> {
    let conditions = [
        ("vpn_contract", "NOT is_open AND over_ms < ?1"),
        ("vpn_payment", "NOT is_open AND at_ms < ?1 AND nonce NOT IN (SELECT nonce FROM vpn_contract)"),
        (
            "vpn_purchase",
            "private_key IS NULL AND state IN ('expired', 'refunded', 'failed') AND over_ms < ?1",
        ),
    ];
    let mut gone = 0;
    for (table, condition) in conditions {
        gone += connection
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {condition} LIMIT ?2)"
            ))?
            .execute([row::int(before.0), FORGET_AT_ONCE])?;
    }
    Ok(gone)
}
