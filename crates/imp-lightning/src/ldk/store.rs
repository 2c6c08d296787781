//! The Lightning library's key-value store on top of a [`BlobStore`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use ldk_node::lightning::io;
use ldk_node::lightning::util::persist::{KVStore, KVStoreSync};

use crate::blob::{BlobError, BlobKey, BlobStore};

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, io::Error>> + Send>>;

/// A store that can be closed: what the library leaves behind of a stopped node must not write any more, nor keep the
/// daemon's store open.
pub(super) struct LdkStore {
    blobs: RwLock<Option<Arc<dyn BlobStore>>>,
}

impl fmt::Debug for LdkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdkStore").finish_non_exhaustive()
    }
}

impl LdkStore {
    pub(super) fn new(blobs: Arc<dyn BlobStore>) -> Self {
        Self { blobs: RwLock::new(Some(blobs)) }
    }

    /// From here on every access fails.
    pub(super) fn close(&self) {
        self.blobs.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn blobs(&self) -> Result<Arc<dyn BlobStore>, io::Error> {
        let blobs = self.blobs.read().unwrap_or_else(PoisonError::into_inner);
        blobs.clone().ok_or_else(|| io::Error::new(io::ErrorKind::Other, "the store is closed"))
    }
}

fn name(primary: &str, secondary: &str, key: &str) -> BlobKey {
    BlobKey { primary: primary.to_owned(), secondary: secondary.to_owned(), key: key.to_owned() }
}

fn failed(fault: BlobError) -> io::Error {
    io::Error::new(io::ErrorKind::Other, fault.0)
}

impl KVStoreSync for LdkStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Result<Vec<u8>, io::Error> {
        let found = self.blobs()?.read_blocking(name(primary, secondary, key)).map_err(failed)?;
        // The library takes this very kind for "not written yet", and every other one for a broken store.
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such key"))
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Result<(), io::Error> {
        self.blobs()?.write_blocking(name(primary, secondary, key), value).map_err(failed)
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> Result<(), io::Error> {
        self.blobs()?.remove_blocking(name(primary, secondary, key)).map_err(failed)
    }

    fn list(&self, primary: &str, secondary: &str) -> Result<Vec<String>, io::Error> {
        self.blobs()?.list_blocking(primary, secondary).map_err(failed)
    }
}

impl KVStore for LdkStore {
    fn read(&self, primary: &str, secondary: &str, key: &str) -> Answer<Vec<u8>> {
        let found = KVStoreSync::read(self, primary, secondary, key);
        Box::pin(async move { found })
    }

    fn write(&self, primary: &str, secondary: &str, key: &str, value: Vec<u8>) -> Answer<()> {
        // Called here and not in the future: the library relies on the order of the calls.
        match self.blobs() {
            Ok(blobs) => {
                let write = blobs.write(name(primary, secondary, key), value);
                Box::pin(async move { write.await.map_err(failed) })
            }
            Err(closed) => Box::pin(async move { Err(closed) }),
        }
    }

    fn remove(&self, primary: &str, secondary: &str, key: &str, _lazy: bool) -> Answer<()> {
        match self.blobs() {
            Ok(blobs) => {
                let removal = blobs.remove(name(primary, secondary, key));
                Box::pin(async move { removal.await.map_err(failed) })
            }
            Err(closed) => Box::pin(async move { Err(closed) }),
        }
    }

    fn list(&self, primary: &str, secondary: &str) -> Answer<Vec<String>> {
        let found = KVStoreSync::list(self, primary, secondary);
        Box::pin(async move { found })
    }
}
