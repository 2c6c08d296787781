//! The private keys of what this node bought, for the events that tell of it.
//!
//! The CONFIG of a contract stands in the journal without its private key, which is kept with the contract and goes with
//! it. Whoever reads the event while the contract lasts gets both as one text.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_core::id::NodeId;
use imp_core::vpn::buyer::Purchase;
use imp_core::vpn::{PrivateKey, join_private_key};

use crate::events::Completion;
use crate::store::journal::NewEvent;
use crate::store::{StoreError, VpnStore};

/// The event of a contract: who sells, and the message. Ids alone are the sellers' choice.
type EventName = (NodeId, String);

/// The keys, by the event that tells of their contract. Cheap to clone; the clones are one.
#[derive(Clone, Default)]
pub struct PrivateKeys {
    keys: Arc<Mutex<HashMap<EventName, PrivateKey>>>,
}

impl fmt::Debug for PrivateKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKeys").field("keys", &self.lock().len()).finish()
    }
}

impl PrivateKeys {
    /// The keys of the contracts in the store that have time left.
    pub async fn load(store: &dyn VpnStore) -> Result<Self, StoreError> {
        let keys = Self::default();
        for purchase in store.vpn_purchases().await? {
            keys.follow(&purchase);
        }
        Ok(keys)
    }

    /// Joins the key of a contract to its event from now on, as long as it has time left. To be called with each change of
    /// the contract, before it is committed: subscribers may have the event before the commit returns.
    pub fn follow(&self, purchase: &Purchase) {
        let Some(event) = event_of(purchase) else { return };
        match purchase.published_key() {
            Some((_, key)) => self.lock().insert(event, key.clone()),
            None => self.lock().remove(&event),
        };
    }

    /// Takes back a change that was not committed: the contract is as it was before, if it was at all.
    pub(super) fn follow_again(&self, changed: &Purchase, before: Option<&Purchase>) {
        if let Some(event) = event_of(changed) {
            self.lock().remove(&event);
        }
        if let Some(before) = before {
            self.follow(before);
        }
    }

    /// Single steps, which leave nothing half done.
    fn lock(&self) -> MutexGuard<'_, HashMap<EventName, PrivateKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event_of(purchase: &Purchase) -> Option<EventName> {
    Some((purchase.seller, purchase.event_id?.to_string()))
}

impl Completion for PrivateKeys {
    fn complete(&self, event: &NewEvent) -> Option<String> {
        let key = self.lock().get(&(event.from, event.id.clone())).cloned()?;
        Some(join_private_key(&event.data, &key))
    }
}

#[cfg(test)]
mod tests;
