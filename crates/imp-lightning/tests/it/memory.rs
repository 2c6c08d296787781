//! A store of blobs that lasts as long as the test.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Mutex;

use imp_lightning::blob::{BlobError, BlobKey, BlobStore, BlobWrite};

#[derive(Default)]
pub(crate) struct MemoryBlobs {
    blobs: Mutex<BTreeMap<(String, String, String), Vec<u8>>>,
}

fn name(key: BlobKey) -> (String, String, String) {
    (key.primary, key.secondary, key.key)
}

impl BlobStore for MemoryBlobs {
    fn read_blocking(&self, key: BlobKey) -> Result<Option<Vec<u8>>, BlobError> {
        Ok(self.blobs.lock().unwrap().get(&name(key)).cloned())
    }

    fn list_blocking(&self, primary: &str, secondary: &str) -> Result<Vec<String>, BlobError> {
        let blobs = self.blobs.lock().unwrap();
        let within = blobs.keys().filter(|(first, second, _)| first == primary && second == secondary);
        Ok(within.map(|(_, _, key)| key.clone()).collect())
    }

    fn write(&self, key: BlobKey, value: Vec<u8>) -> BlobWrite {
        Box::pin(ready(self.write_blocking(key, value)))
    }

    fn write_blocking(&self, key: BlobKey, value: Vec<u8>) -> Result<(), BlobError> {
        self.blobs.lock().unwrap().insert(name(key), value);
        Ok(())
    }

    fn remove(&self, key: BlobKey) -> BlobWrite {
        Box::pin(ready(self.remove_blocking(key)))
    }

    fn remove_blocking(&self, key: BlobKey) -> Result<(), BlobError> {
        self.blobs.lock().unwrap().remove(&name(key));
        Ok(())
    }
}
