//! Old events are let go, so that the journal does not grow for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::runtime::clock::Clock;
use crate::store::JournalStore;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(3600);

/// Lets events go that are older than `keep`, and the oldest of what takes more than `max_bytes`, until the node stops.
/// Ends early where the store cannot; whoever started it starts it again.
pub(super) async fn let_old_events_go(
    store: Arc<dyn JournalStore>,
    clock: Arc<dyn Clock>,
    keep: Duration,
    max_bytes: u64,
    stopped: CancellationToken,
) {
    loop {
        match store.forget_events(clock.now().minus(keep), max_bytes).await {
            Ok(0) => {}
            Ok(events) => {
                tracing::info!(events, "old events were let go: see journal.keep_days and journal.max_mb");
            }
            Err(error) => {
                tracing::warn!("old events cannot be let go: {error}");
                return;
            }
        }
        if stopped.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
