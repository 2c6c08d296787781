//! The embedded Lightning node's state.

use imp_lightning::blob::{BlobError, BlobKey, BlobStore, BlobWrite};
use rusqlite::{Connection, OptionalExtension, params};

use super::{SqliteStore, worker};
use crate::store::StoreError;

impl From<StoreError> for BlobError {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl SqliteStore {
    fn write_blob<F>(&self, work: F) -> BlobWrite
    where
        F: FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static,
    {
        // Submitted here and not in the future: the write must take its place in the order now.
        let pending = self.writer().map(|writer| writer.submit("blob", work));
        Box::pin(async move { Ok(worker::answer(pending?).await?) })
    }

    fn blocking<T, F>(&self, work: F) -> Result<T, BlobError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        Ok(self.writer()?.submit_blocking("blob", work)?)
    }
}

/// Reads go through the writer too, so that they see every write that was called before.
impl BlobStore for SqliteStore {
    fn read_blocking(&self, key: BlobKey) -> Result<Option<Vec<u8>>, BlobError> {
        self.blocking(move |connection| {
            Ok(connection
                .prepare_cached("SELECT value FROM blob WHERE namespace = ?1 AND subspace = ?2 AND key = ?3")?
                .query_row(params![key.primary, key.secondary, key.key], |row| row.get(0))
                .optional()?)
        })
    }

    fn list_blocking(&self, primary: &str, secondary: &str) -> Result<Vec<String>, BlobError> {
        let (primary, secondary) = (primary.to_owned(), secondary.to_owned());
        self.blocking(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT key FROM blob WHERE namespace = ?1 AND subspace = ?2")?;
            let keys = query.query_map(params![primary, secondary], |row| row.get(0))?;
            Ok(keys.collect::<Result<_, _>>()?)
        })
    }

    fn write(&self, key: BlobKey, value: Vec<u8>) -> BlobWrite {
        self.write_blob(move |connection| put(connection, &key, &value))
    }

    fn write_blocking(&self, key: BlobKey, value: Vec<u8>) -> Result<(), BlobError> {
        self.blocking(move |connection| put(connection, &key, &value))
    }

    fn remove(&self, key: BlobKey) -> BlobWrite {
        self.write_blob(move |connection| delete(connection, &key))
    }

    fn remove_blocking(&self, key: BlobKey) -> Result<(), BlobError> {
        self.blocking(move |connection| delete(connection, &key))
    }
}

fn put(connection: &Connection, key: &BlobKey, value: &[u8]) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO blob (namespace, subspace, key, value) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (namespace, subspace, key) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![key.primary, key.secondary, key.key, value])?;
    Ok(())
}

fn delete(connection: &Connection, key: &BlobKey) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM blob WHERE namespace = ?1 AND subspace = ?2 AND key = ?3")?
        .execute(params![key.primary, key.secondary, key.key])?;
    Ok(())
}
