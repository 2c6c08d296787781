//! Columns to types and back.

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::record::{RecordType, Service};
use imp_core::time::UnixMillis;
use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::store::StoreError;

/// A number as SQLite keeps it. What does not fit is 292 million years or 92 million bitcoin away.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column that was written from an unsigned number.
pub(super) fn uint(row: &Row<'_>, column: &str) -> Result<u64, StoreError> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| damaged(format!("{column} = {number}")))
}

/// A column with a number of a smaller type.
pub(super) fn small<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<T, StoreError> {
    let number: i64 = row.get(column)?;
    T::try_from(number).map_err(|_| damaged(format!("{column} = {number}")))
}

/// Like [`small`], for a column that may be null.
pub(super) fn small_or_null<T: TryFrom<i64>>(row: &Row<'_>, column: &str) -> Result<Option<T>, StoreError> {
    let number: Option<i64> = row.get(column)?;
    number.map(|number| T::try_from(number).map_err(|_| damaged(format!("{column} = {number}")))).transpose()
}

pub(super) fn msat(row: &Row<'_>, column: &str) -> Result<Msat, StoreError> {
    Ok(Msat(uint(row, column)?))
}

pub(super) fn time(row: &Row<'_>, column: &str) -> Result<UnixMillis, StoreError> {
    Ok(UnixMillis(uint(row, column)?))
}

pub(super) fn bytes<const N: usize>(row: &Row<'_>, column: &str) -> Result<[u8; N], StoreError> {
    let blob: Vec<u8> = row.get(column)?;
    let length = blob.len();
    blob.try_into().map_err(|_| damaged(format!("{column} of {length} bytes")))
}

pub(super) fn hash(row: &Row<'_>, column: &str) -> Result<PaymentHash, StoreError> {
    Ok(PaymentHash(bytes(row, column)?))
}

/// Like [`hash`], for a column that may be null.
pub(super) fn hash_or_null(row: &Row<'_>, column: &str) -> Result<Option<PaymentHash>, StoreError> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => hash(row, column).map(Some),
    }
}

pub(super) fn message_id(row: &Row<'_>, column: &str) -> Result<MessageId, StoreError> {
    Ok(MessageId::from_bytes(bytes(row, column)?))
}

pub(super) fn node_id(row: &Row<'_>, column: &str) -> Result<NodeId, StoreError> {
    NodeId::from_bytes(bytes(row, column)?).map_err(|error| damaged(format!("{column}: a key that {error}")))
}

pub(super) fn service(row: &Row<'_>, column: &str) -> Result<Service, StoreError> {
    named(row, column, Service::from_name)
}

pub(super) fn record_type(row: &Row<'_>, column: &str) -> Result<RecordType, StoreError> {
    RecordType::from_configured(uint(row, column)?).map_err(|error| damaged(format!("{column}: {error}")))
}

/// A column with the name of something.
pub(super) fn named<T>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let name: String = row.get(column)?;
    parse(&name).ok_or_else(|| damaged(format!("{column} = {name}")))
}

/// A row that does not make sense.
pub(super) fn damaged(what: String) -> StoreError {
    StoreError::Damaged { what }
}
