//! Keeps what is known of relays while they run, and closes them when the node stops.

use std::sync::Arc;
use std::time::Duration;

use imp_core::socket::RelayId;

use super::Inner;
use super::run::Running;
use crate::store::socket::RelayUse;

/// How often it is looked whether a source was learned or became firm.
const SAVE_PINS_EVERY: Duration = Duration::from_secs(1);

/// After so many looks what has gone through is saved too: what a relay may lose of its count by a crash.
const LOOKS_UNTIL_NUMBERS: u32 = 60;

/// Runs until the node stops. Then the relays' ports are closed and they are kept as they are, for the next run.
pub(super) async fn keep(inner: Arc<Inner>) {
    let stopped = inner.ports.tasks.token();
    let mut looks = 0;
    while stopped.run_until_cancelled(tokio::time::sleep(SAVE_PINS_EVERY)).await.is_some() {
        looks = (looks + 1) % LOOKS_UNTIL_NUMBERS;
        inner.save(if looks == 0 { What::Changed } else { What::ChangedPins }).await;
    }
    inner.save(What::All).await;
    inner.engine.shutdown().await;
}

/// What is worth a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    ChangedPins,
    Changed,
    All,
}

impl Inner {
    async fn save(&self, what: What) {
        let now = self.ports.clock.now();
        let running: Vec<Arc<Running>> = self.table().relays().collect();
        let used: Vec<(RelayId, RelayUse)> = running
            .iter()
            .filter(|running| what == What::All || has_news(running, what))
            .map(|running| (running.relay.id, running.used(now)))
            .collect();
        if used.is_empty() {
            return;
        }
        if let Err(error) = self.ports.store.save_relays(used).await {
            tracing::warn!("who is known on relays cannot be saved: {error}");
        }
    }
}

/// Whether there is something to save; it counts as saved.
fn has_news(running: &Running, what: What) -> bool {
    let mut saved = Inner::lock_saved(running);
    let has_pins = saved.pins.has_changed().unwrap_or(false);
    if has_pins {
        saved.pins.mark_unchanged();
    }
    if what == What::ChangedPins && !has_pins {
        return false;
    }
    let packets = running.handle.snapshot().sides.iter().map(|side| side.packets).sum();
    let has_packets = std::mem::replace(&mut saved.packets, packets) != packets;
    has_pins || has_packets
}
