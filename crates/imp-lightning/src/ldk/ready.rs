//! Channels that have carried payments, or could have, remembered until their end is taken.
//!
//! Whoever can connect to a node can open channels to it and break them off, for nothing. Payments are in doubt only
//! after the end of a channel that was ready.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ldk_node::lightning::events::ClosureReason;
use tracing::warn;

use crate::blob::{BlobError, BlobKey, BlobStore};

const PRIMARY: &str = "imp";
const SECONDARY: &str = "ready-channels";

/// The channels that were ready, by the library's random name of each (`user_channel_id`).
///
/// Stored, for the end of a channel may come first of all after a start, when the library lists it no more.
pub(super) struct ReadyChannels {
    blobs: Arc<dyn BlobStore>,
    names: Mutex<HashSet<u128>>,
}

impl ReadyChannels {
    /// Reads what is stored. Blocks.
    pub(super) fn open(blobs: Arc<dyn BlobStore>) -> Result<Self, BlobError> {
        let keys = blobs.list_blocking(PRIMARY, SECONDARY)?;
        let names = keys.iter().filter_map(|key| u128::from_str_radix(key, 16).ok()).collect();
        Ok(Self { blobs, names: Mutex::new(names) })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u128>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A channel is ready. Durable when this returns. Blocks.
    pub(super) fn note(&self, name: u128) -> Result<(), BlobError> {
        let mut names = self.lock();
        if !names.contains(&name) {
            self.blobs.write_blocking(blob(name), Vec::new())?;
            names.insert(name);
        }
        Ok(())
    }

    /// The end of a channel was taken, and will not be told again. Blocks.
    pub(super) fn forget(&self, name: u128) {
        if !self.lock().remove(&name) {
            return;
        }
        // One that stays does no harm: no other channel gets its name.
        if let Err(fault) = self.blobs.remove_blocking(blob(name)) {
            warn!(%fault, "the name of a closed channel stays in the store");
        }
    }

    /// Whether payments may have been under way in a channel that closed for this reason.
    pub(super) fn may_have_carried(&self, name: u128, reason: Option<&ClosureReason>) -> bool {
        let is_in_doubt = match reason {
            // A state older than the channel's may be from before it was ready.
            None | Some(ClosureReason::OutdatedChannelManager | ClosureReason::HTLCsTimedOut { .. }) => true,
            Some(_) => false,
        };
        is_in_doubt || self.lock().contains(&name)
    }
}

fn blob(name: u128) -> BlobKey {
    BlobKey { primary: PRIMARY.to_owned(), secondary: SECONDARY.to_owned(), key: format!("{name:032x}") }
}
