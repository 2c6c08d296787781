//! Calls that can be repeated without being carried out twice.
//!
//! ```text
//! call with a key ── claim ──┬── fresh: the call begins; the key is stored in the transaction of what it begins
//!                            ├── used for the same request: what became of it is the answer
//!                            └── used for another request: ALREADY_EXISTS
//! ```
//!
//! A claim is held from the look at the store to the commit, so that of two calls at once only one begins. What a call
//! began goes on without its caller, so the claim belongs to whoever makes the commit. A call that fails before its commit
//! leaves nothing behind: its key is as good as new.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin_hashes::{Hash, sha256};
use imp_api::error::Code;
use imp_core::time::UnixMillis;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::error::Error;
use crate::store::IdempotencyStore;
use crate::store::idempotency::{NewKey, StoredKey};

/// How long a key is kept after its first use.
pub const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest key.
pub const MAX_KEY_BYTES: usize = 255;

/// The key of a call, and what the call asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct CallKey {
    method: &'static str,
    key: String,
    request_digest: [u8; 32],
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallKey").field("method", &self.method).finish_non_exhaustive()
    }
}

impl CallKey {
    /// The key of a call of `method`, given as the field `idempotency_key`, as metadata, or both and then the same;
    /// nothing where neither is given. `request` is the decoded request without the key, encoded again: what means the
    /// same has the same bytes then, however the caller spelled it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a key that is not 1 to 255 printable ASCII characters, and for two keys.
    pub fn of_call<'k>(
        method: &'static str,
        field: Option<&'k [u8]>,
        metadata: impl IntoIterator<Item = &'k [u8]>,
        request: &[u8],
    ) -> Result<Option<Self>, Error> {
        let mut given = field.into_iter().chain(metadata);
        let Some(key) = given.next() else { return Ok(None) };
        if given.any(|other| other != key) {
            return Err(invalid("is given more than once, and not as the same"));
        }
        let printable = key.iter().all(|byte| matches!(byte, 0x20..=0x7e));
        if !printable || key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(invalid("is not 1 to 255 printable ASCII characters"));
        }
        let key = String::from_utf8_lossy(key).into_owned();
        let request_digest = sha256::Hash::hash(request).to_byte_array();
        Ok(Some(Self { method, key, request_digest }))
    }

    fn name(&self) -> Name {
        (self.method, self.key.clone())
    }

    /// The row to store where the key is used once more, because what was begun under it had failed. `subject` as in
    /// [`Claim::key`].
    pub fn again(&self, subject: impl Into<Vec<u8>>, now: UnixMillis) -> NewKey {
        let Self { method, key, request_digest } = self.clone();
        NewKey { method, key, request_digest, subject: subject.into(), created: now }
    }

    fn check(&self, stored: &StoredKey) -> Result<(), Error> {
        if self.request_digest == stored.request_digest {
            return Ok(());
        }
        let message = "idempotency_key: failed, for this key was used for another request: take another key";
        Err(Error::new(Code::AlreadyExists, "IDEMPOTENCY_KEY_USED", message).with("field", "idempotency_key"))
    }
}

fn invalid(problem: &'static str) -> Error {
    Error::invalid("idempotency_key", problem).of_send()
}

/// Method and key.
type Name = (&'static str, String);

/// The keys in use. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    store: Arc<dyn IdempotencyStore>,
    /// Calls that are between their look at the store and their commit, and those that wait for them.
    claims: Arc<Mutex<HashMap<Name, Arc<AsyncMutex<()>>>>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// What is known of a key.
#[derive(Debug)]
pub enum KeyUse {
    /// It was not used: the call is to begin, and to store it.
    Fresh(Claim),
    /// It was used for the same request.
    Used(StoredKey),
}

/// The right to be the call that begins under a key. To be held until the key is stored, or the call has failed before.
#[derive(Debug)]
pub struct Claim {
    call: CallKey,
    // Given back before the place is looked at, so that the last one finds nobody else.
    _guard: OwnedMutexGuard<()>,
    _place: Place,
}

impl Claim {
    /// The row to store. `subject` names what the call begins, as in [`NewKey::subject`].
    pub fn key(&self, subject: impl Into<Vec<u8>>, now: UnixMillis) -> NewKey {
        self.call.again(subject, now)
    }
}

impl Keys {
    /// The keys in this store.
    pub fn new(store: Arc<dyn IdempotencyStore>) -> Self {
        Self { store, claims: Arc::default() }
    }

    /// Finds out whether the key of a call was used. Waits while another call under it is about to begin.
    ///
    /// Dropping the future gives the claim back.
    ///
    /// # Errors
    ///
    /// `ALREADY_EXISTS` where the key was used for another request.
    pub async fn claim(&self, call: CallKey) -> Result<KeyUse, Error> {
        let place = self.place(call.name());
        let guard = Arc::clone(&place.lock).lock_owned().await;
        let stored = self.store.find_key(call.method, call.key.clone()).await;
        match stored.map_err(|error| Error::from(error).of_send())? {
            None => Ok(KeyUse::Fresh(Claim { call, _guard: guard, _place: place })),
            Some(stored) => call.check(&stored).map(|()| KeyUse::Used(stored)),
        }
    }

    fn place(&self, name: Name) -> Place {
        let lock = Arc::clone(self.claims().entry(name.clone()).or_default());
        Place { keys: self.clone(), name, lock }
    }

    fn claims(&self) -> MutexGuard<'_, HashMap<Name, Arc<AsyncMutex<()>>>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call's hold on the lock of its key; the last one takes the lock off the list.
#[derive(Debug)]
struct Place {
    keys: Keys,
    name: Name,
    lock: Arc<AsyncMutex<()>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut claims = self.keys.claims();
        if let Entry::Occupied(entry) = claims.entry(self.name.clone()) {
            // The list's own and this one's; clones are made under the list's lock only.
            if Arc::strong_count(entry.get()) == 2 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
