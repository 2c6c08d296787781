//! Keys that callers gave to calls that pay, so that such a call can be repeated without paying twice.

use async_trait::async_trait;
use imp_core::time::UnixMillis;

use super::StoreError;

/// A key to be stored in the transaction that stores what its call begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// The call: package, service and method, as in `messaging.Messaging/SendMessage`.
    pub method: &'static str,
    /// The key, as the caller gave it.
    pub key: String,
    /// SHA-256 of what was asked for.
    pub request_digest: [u8; 32],
    /// What the call began: a message's id (16 bytes), a payment's hash (32 bytes); nothing as long as that is not known.
    pub subject: Vec<u8>,
    /// When the call came.
    pub created: UnixMillis,
}

/// A key that was used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// SHA-256 of what was asked for under it.
    pub request_digest: [u8; 32],
    /// What the first call began, as in [`NewKey::subject`].
    pub subject: Vec<u8>,
    /// When the first call came.
    pub created: UnixMillis,
}

/// The keys as a store keeps them. They are written with what their call begins, by the methods that store that; only a
/// call that begins nothing which has a row of its own stores its key by itself.
#[async_trait]
pub trait IdempotencyStore: Send + Sync + 'static {
    /// The key of a method, if it was used.
    async fn find_key(&self, method: &'static str, key: String) -> Result<Option<StoredKey>, StoreError>;

    /// Stores a key by itself. One that is there already is [`StoreError::Database`].
    async fn store_key(&self, key: NewKey) -> Result<(), StoreError>;

    /// Says what the call of a key began, where that was not known before.
    async fn set_key_subject(
        &self,
        method: &'static str,
        key: String,
        subject: Vec<u8>,
    ) -> Result<(), StoreError>;

    /// Forgets a key, since its call did nothing.
    async fn remove_key(&self, method: &'static str, key: String) -> Result<(), StoreError>;

    /// Forgets the keys that were first used before a time, some in each transaction. Returns how many.
    async fn forget_keys_before(&self, before: UnixMillis) -> Result<usize, StoreError>;
}
