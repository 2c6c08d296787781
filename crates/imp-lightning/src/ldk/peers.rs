//! Where the node's peers can be reached, remembered over restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_core::id::NodeId;
use ldk_node::Node;
use ldk_node::lightning::ln::msgs::SocketAddress;
use tracing::warn;

use crate::blob::{BlobError, BlobKey, BlobStore};
use crate::ldk::names::{graph_id, public_key};

const PRIMARY: &str = "imp";
const SECONDARY: &str = "peers";

/// Addresses kept of one peer; the oldest give way.
const MAX_ADDRESSES: usize = 4;

/// The addresses of peers, the last one that worked first. The library knows only those that this node dialled itself,
/// so that a node whose peers dialled it could not dial them.
pub(super) struct AddressBook {
    blobs: Arc<dyn BlobStore>,
    addresses: Mutex<BTreeMap<NodeId, Vec<String>>>,
}

impl AddressBook {
    /// Reads what is stored. Blocks.
    pub(super) fn open(blobs: Arc<dyn BlobStore>) -> Result<Self, BlobError> {
        let mut addresses = BTreeMap::new();
        for key in blobs.list_blocking(PRIMARY, SECONDARY)? {
            let Ok(peer) = key.parse::<NodeId>() else { continue };
            if let Some(stored) = blobs.read_blocking(blob(&peer))? {
                let lines = String::from_utf8_lossy(&stored).lines().map(str::to_owned).collect();
                addresses.insert(peer, lines);
            }
        }
        Ok(Self { blobs, addresses: Mutex::new(addresses) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Vec<String>>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an address that worked first.
    pub(super) fn remember(&self, peer: &NodeId, address: &str) {
        self.change(peer, |addresses| {
            addresses.retain(|known| known != address);
            addresses.insert(0, address.to_owned());
        });
    }

    /// Adds an address that may work, unless it is known.
    pub(super) fn note(&self, peer: &NodeId, address: &str) {
        self.change(peer, |addresses| {
            if !addresses.iter().any(|known| known == address) {
                addresses.push(address.to_owned());
            }
        });
    }

    fn change(&self, peer: &NodeId, change: impl FnOnce(&mut Vec<String>)) {
        let mut book = self.lock();
        let addresses = book.entry(*peer).or_default();
        let before = addresses.clone();
        change(addresses);
        addresses.truncate(MAX_ADDRESSES);
        if *addresses == before {
            return;
        }
        // Written under the lock, so that the stored list is the last one.
        let stored = self.blobs.write_blocking(blob(peer), addresses.join("\n").into_bytes());
        if let Err(fault) = stored {
            warn!(%peer, %fault, "the address of a peer could not be stored");
        }
    }

    /// Adds the addresses that a peer has announced.
    pub(super) fn note_announced(&self, node: &Node, peer: &NodeId) {
        for address in announced(node, peer) {
            self.note(peer, &address);
        }
    }

    /// The address of a peer that worked last, or else may work.
    pub(super) fn last_good(&self, peer: &NodeId) -> Option<String> {
        self.lock().get(peer)?.first().cloned()
    }

    /// Where to try a peer: what worked, what the peer has announced, what the library has.
    pub(super) fn candidates(&self, node: &Node, peer: &NodeId) -> Vec<String> {
        self.note_announced(node, peer);
        let mut candidates = self.lock().get(peer).cloned().unwrap_or_default();
        let key = public_key(peer);
        let dialled = node.list_peers().into_iter().find(|known| known.node_id == key && known.is_persisted);
        let dialled = dialled.filter(|known| !known.is_connected).map(|known| known.address.to_string());
        candidates.extend(dialled.filter(|address| !candidates.contains(address)));
        candidates
    }
}

/// The addresses in a peer's node announcement (BOLT 7) that can be dialled without a proxy.
fn announced(node: &Node, peer: &NodeId) -> Vec<String> {
    let Some(announcement) =
        node.network_graph().node(&graph_id(peer)).and_then(|node| node.announcement_info)
    else {
        return Vec::new();
    };
    let dialable = |address: &&SocketAddress| {
        matches!(
            address,
            SocketAddress::TcpIpV4 { .. } | SocketAddress::TcpIpV6 { .. } | SocketAddress::Hostname { .. }
        )
    };
    announcement.addresses().iter().filter(dialable).map(ToString::to_string).collect()
}

fn blob(peer: &NodeId) -> BlobKey {
    BlobKey { primary: PRIMARY.to_owned(), secondary: SECONDARY.to_owned(), key: peer.to_string() }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::blob::BlobWrite;

    /// Holds one namespace.
    #[derive(Default)]
    struct Blobs(Mutex<BTreeMap<String, Vec<u8>>>);

    impl BlobStore for Blobs {
        fn read_blocking(&self, key: BlobKey) -> Result<Option<Vec<u8>>, BlobError> {
            Ok(self.0.lock().unwrap().get(&key.key).cloned())
        }

        fn list_blocking(&self, primary: &str, secondary: &str) -> Result<Vec<String>, BlobError> {
            assert_eq!((primary, secondary), (PRIMARY, SECONDARY));
            Ok(self.0.lock().unwrap().keys().cloned().collect())
        }

        fn write(&self, key: BlobKey, value: Vec<u8>) -> BlobWrite {
            Box::pin(ready(self.write_blocking(key, value)))
        }

        fn write_blocking(&self, key: BlobKey, value: Vec<u8>) -> Result<(), BlobError> {
            assert_eq!((key.primary.as_str(), key.secondary.as_str()), (PRIMARY, SECONDARY));
            self.0.lock().unwrap().insert(key.key, value);
            Ok(())
        }

        fn remove(&self, key: BlobKey) -> BlobWrite {
            Box::pin(ready(self.remove_blocking(key)))
        }

        fn remove_blocking(&self, key: BlobKey) -> Result<(), BlobError> {
            self.0.lock().unwrap().remove(&key.key);
            Ok(())
        }
    }

    #[test]
    fn what_worked_last_comes_first_over_restarts() {
        let blobs = Arc::new(Blobs::default());
        let peer = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        let book = AddressBook::open(blobs.clone()).unwrap();
        book.remember(&peer, "a:1");
        book.note(&peer, "b:1");
        book.note(&peer, "a:1");
        book.remember(&peer, "c:1");
        book.remember(&peer, "b:1");
        book.note(&peer, "d:1");
        book.note(&peer, "one too many:1");
        blobs.write_blocking(BlobKey { key: "no key".to_owned(), ..blob(&peer) }, vec![]).unwrap();

        let book = AddressBook::open(blobs).unwrap();
        assert_eq!(book.lock()[&peer], ["b:1", "c:1", "a:1", "d:1"]);
    }
}
