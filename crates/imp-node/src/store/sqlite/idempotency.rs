//! Keys of repeatable calls in SQLite.

use async_trait::async_trait;
use imp_core::time::UnixMillis;
use rusqlite::{Connection, params};

use super::{SqliteStore, row};
use crate::store::StoreError;
use crate::store::idempotency::{IdempotencyStore, NewKey, StoredKey};

/// Keys that one transaction forgets.
const FORGET_AT_ONCE: i64 = 1_000;

#[async_trait]
impl IdempotencyStore for SqliteStore {
    async fn find_key(&self, method: &'static str, key: String) -> Result<Option<StoredKey>, StoreError> {
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT * FROM idempotency_key WHERE method = ?1 AND key = ?2")?;
            let mut rows = query.query(params![method, key])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            Ok(Some(StoredKey {
                request_digest: row::bytes(row, "request_digest")?,
                subject: row.get("subject")?,
                created: row::time(row, "created_ms")?,
            }))
        })
        .await
    }

    async fn store_key(&self, key: NewKey) -> Result<(), StoreError> {
        self.write("store_key", move |connection| insert(connection, &key)).await
    }

    async fn set_key_subject(
        &self,
        method: &'static str,
        key: String,
        subject: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.write("set_key_subject", move |connection| {
            connection
                .prepare_cached("UPDATE idempotency_key SET subject = ?3 WHERE method = ?1 AND key = ?2")?
                .execute(params![method, key, subject])?;
            Ok(())
        })
        .await
    }

    async fn remove_key(&self, method: &'static str, key: String) -> Result<(), StoreError> {
        self.write("remove_key", move |connection| {
            connection
                .prepare_cached("DELETE FROM idempotency_key WHERE method = ?1 AND key = ?2")?
                .execute(params![method, key])?;
            Ok(())
        })
        .await
    }

    async fn forget_keys_before(&self, before: UnixMillis) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        loop {
            let gone = self
                .write("forget_keys_before", move |connection| {
                    Ok(connection
                        .prepare_cached(
                            "DELETE FROM idempotency_key WHERE (method, key) IN
                             (SELECT method, key FROM idempotency_key WHERE created_ms < ?1 LIMIT ?2)",
                        )?
                        .execute(params![row::int(before.0), FORGET_AT_ONCE])?)
                })
                .await?;
            forgotten += gone;
            if gone == 0 {
                return Ok(forgotten);
            }
        }
    }
}

/// Stores a key within a transaction, or has the one that is there name what the same request began once more.
pub(super) fn put(connection: &Connection, key: &NewKey) -> Result<(), StoreError> {
    let led_on = connection
        .prepare_cached(
            "UPDATE idempotency_key SET subject = ?4 WHERE method = ?1 AND key = ?2 AND request_digest = ?3",
        )?
        .execute(params![key.method, key.key, key.request_digest, key.subject])?;
    if led_on == 0 { insert(connection, key) } else { Ok(()) }
}

/// Stores a key within a transaction.
pub(super) fn insert(connection: &Connection, key: &NewKey) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO idempotency_key (method, key, request_digest, subject, created_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![key.method, key.key, key.request_digest, key.subject, row::int(key.created.0)])?;
    Ok(())
}
