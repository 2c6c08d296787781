//! Relays of earlier runs of the node.

use std::sync::Arc;

use super::Inner;
use super::run::Running;
use crate::error::Error;
use crate::store::StoreError;
use crate::store::socket::StoredRelay;
use crate::udp::{OpenError, Ports};

/// Why a relay that is kept does not run.
enum Unopened {
    /// It has ended, for this reason.
    Ended(&'static str),
    /// The system has no sockets for it now. Later it may have.
    Failed(OpenError),
}

impl From<OpenError> for Unopened {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Taken { .. } => Self::Ended("port_taken"),
            OpenError::Io(_) | OpenError::NoPorts(_) => Self::Failed(error),
        }
    }
}

impl Inner {
    /// Opens the relays that are kept, and ends those that cannot go on: in one commit, before anything else runs. Those for
    /// which the system has no sockets wait for the next start.
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
                Err(Unopened::Ended(reason)) => {
                    tracing::info!(relay = %id, reason, "a relay of an earlier run has ended");
                    let event = self.ended(&relay, reason).map_err(|error| StoreError::File {
                        path: "random numbers".to_owned(),
                        reason: error.to_string(),
                    })?;
                    ended.push((id, event));
                }
                Err(Unopened::Failed(_)) => {
                    tracing::error!(relay = %id, "a relay does not run until the next start of the node");
                }
            }
        }
        if !ended.is_empty() {
            self.ports.store.end_relays(ended).await?;
        }
        Ok(())
    }

    /// Opens the relay of StartSocket where it is kept and does not run, or ends it where it cannot go on. The default relay
    /// is locked.
    pub(super) async fn open_waiting_default(self: &Arc<Self>) -> Result<Option<Arc<Running>>, Error> {
        let Some(relay) = self.waiting(|relay| relay.is_default).await? else { return Ok(None) };
        match self.open_again(&relay) {
            Ok(running) => Ok(Some(self.run(running))),
            Err(Unopened::Failed(error)) => Err(error.into()),
            Err(Unopened::Ended(reason)) => {
                self.end_kept(&relay, reason).await?;
                Ok(None)
            }
        }
    }

    /// Stops a relay that is kept and does not run; whether there was one. A default one is locked.
    pub(super) async fn stop_waiting(&self, wanted: impl Fn(&StoredRelay) -> bool) -> Result<bool, Error> {
        match self.waiting(wanted).await? {
            Some(relay) => self.end_kept(&relay, "stopped").await,
            None => Ok(false),
        }
    }

    async fn waiting(
        &self,
        wanted: impl Fn(&StoredRelay) -> bool,
    ) -> Result<Option<StoredRelay>, StoreError> {
        let kept = self.ports.store.relays().await?;
        let table = self.table();
        Ok(kept.into_iter().find(|relay| wanted(relay) && !table.has(relay.id)))
    }

    fn open_again(&self, relay: &StoredRelay) -> Result<Running, Unopened> {
        let now = self.ports.clock.now();
        if relay.ends.is_some_and(|ends| now >= ends) {
            return Err(Unopened::Ended("life"));
        }
        if relay.used.packets >= relay.limits.max_packets || relay.used.bytes >= relay.limits.max_bytes {
            return Err(Unopened::Ended("limit"));
        }
        let ip = self.address.find();
        let spec = self.spec(relay, Ports::Fixed(relay.ports), ip, now);
        let handle = self.engine.open(spec).inspect_err(|error| {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!(relay = %relay.id, "a relay cannot be opened again: {error}: {why}");
        })?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        Ok(Running::new(relay.clone(), ip, handle, place))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_relay_ends_for_a_port_that_is_taken_and_not_for_want_of_sockets() {
        let taken = OpenError::Taken { port: 1, source: io::ErrorKind::AddrInUse.into() };
        assert!(matches!(taken.into(), Unopened::Ended("port_taken")));
        let want = OpenError::Io(rustix::io::Errno::MFILE.into());
        assert!(matches!(want.into(), Unopened::Failed(_)));
    }
}
