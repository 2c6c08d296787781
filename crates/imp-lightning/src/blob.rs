//! Where an embedded Lightning node keeps its state: a store of blobs by name, durable and in order.

use std::future::Future;
use std::pin::Pin;

use thiserror::Error;

/// Name of a blob: two namespaces, either of which may be empty, and a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobKey {
    /// First namespace.
    pub primary: String,
    /// Second namespace.
    pub secondary: String,
    /// Name within the namespaces.
    pub key: String,
}

/// The store could not do what was asked. The text says why.
#[derive(Clone, Debug, Error)]
#[error("blob store: {0}")]
pub struct BlobError(pub String);

/// A write under way. Dropping it does not take the write back.
pub type BlobWrite = Pin<Box<dyn Future<Output = Result<(), BlobError>> + Send>>;

/// A store of blobs.
///
/// Duties of an implementation: a write has taken its place in the order of writes when the call returns, not when its
/// future is first polled; it is durable once the future is done; a read sees every write that was called before it.
/// The `_blocking` calls may be made from threads of an async runtime.
pub trait BlobStore: Send + Sync + 'static {
    /// The blob with this name, or nothing.
    fn read_blocking(&self, key: BlobKey) -> Result<Option<Vec<u8>>, BlobError>;

    /// The keys within the two namespaces, in no particular order.
    fn list_blocking(&self, primary: &str, secondary: &str) -> Result<Vec<String>, BlobError>;

    /// Writes a blob, over an older one of this name.
    fn write(&self, key: BlobKey, value: Vec<u8>) -> BlobWrite;

    /// Writes a blob and waits until it is durable.
    fn write_blocking(&self, key: BlobKey, value: Vec<u8>) -> Result<(), BlobError>;

    /// Removes a blob; one that is not there is no error.
    fn remove(&self, key: BlobKey) -> BlobWrite;

    /// Removes a blob and waits until that is durable.
    fn remove_blocking(&self, key: BlobKey) -> Result<(), BlobError>;
}
