//! Relays of earlier runs of the node.

use std::sync::Arc;

use super::Inner;
use super::run::Running;
use crate::store::StoreError;
use crate::store::socket::StoredRelay;
use crate::udp::Ports;

impl Inner {
    /// Opens the relays that are kept, and ends those that cannot go on: in one commit, before anything else runs.
    pub(super) async fn reopen(self: &Arc<Self>) -> Result<(), StoreError> {
        let kept = self.ports.store.relays().await?;
        if kept.is_empty() {
            return Ok(());
        }
        let mut ended = Vec::new();
        for relay in kept {
            let id = relay.id;
            match self.open_again(&relay) {
                Ok(running) => {
                    self.run(running);
                }
                Err(reason) => {
                    tracing::info!(relay = %id, reason, "a relay of an earlier run has ended");
                    let event = self.ended(&relay, reason).map_err(|error| StoreError::File {
                        path: "random numbers".to_owned(),
                        reason: error.to_string(),
                    })?;
                    ended.push((id, event));
                }
            }
        }
        if !ended.is_empty() {
            self.ports.store.end_relays(ended).await?;
        }
        Ok(())
    }

    /// Why it has ended, where it has.
    fn open_again(&self, relay: &StoredRelay) -> Result<Running, &'static str> {
        let now = self.ports.clock.now();
        if relay.ends.is_some_and(|ends| now >= ends) {
            return Err("life");
        }
        if relay.used.packets >= relay.limits.max_packets || relay.used.bytes >= relay.limits.max_bytes {
            return Err("limit");
        }
        let ip = self.address.find();
        let spec = self.spec(relay, Ports::Fixed(relay.ports), ip, now);
        let handle = self.engine.open(spec).map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(relay = %relay.id, "a relay cannot be opened again: {error}: {why}");
            "port_taken"
        })?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        Ok(Running::new(relay.clone(), ip, handle, place))
    }
}
