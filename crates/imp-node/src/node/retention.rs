//! Keys of calls, ended messages and contracts that are over are let go in time, so that they do not grow for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::idempotency::KEPT_FOR;
use crate::runtime::clock::Clock;
use crate::store::{IdempotencyStore, OutboxStore, StoreError, VpnStore};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(3600);

/// For how long contracts of the VPN that are over are listed, and payments for them.
const KEEP_CONTRACTS: Duration = Duration::from_secs(90 * 24 * 3600);

/// Lets keys go that no call may use any more, messages that ended longer than `keep` ago, and contracts of the VPN, until
/// the node stops. Ends early where the store cannot; whoever started it starts it again.
pub(super) async fn let_old_rows_go<S>(
    store: Arc<S>,
    clock: Arc<dyn Clock>,
    keep: Duration,
    stopped: CancellationToken,
) where
    S: IdempotencyStore + OutboxStore + VpnStore + ?Sized,
{
    // A message is there as long as a key names it.
    let keep = keep.max(KEPT_FOR);
    loop {
        if let Err(error) = let_go(&*store, &*clock, keep).await {
            tracing::warn!("old rows cannot be let go: {error}");
            return;
        }
        if stopped.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

async fn let_go<S>(store: &S, clock: &dyn Clock, keep: Duration) -> Result<(), StoreError>
where
    S: IdempotencyStore + OutboxStore + VpnStore + ?Sized,
{
    let now = clock.now();
    store.forget_keys_before(now.minus(KEPT_FOR)).await?;
    let messages = store.forget_messages_before(now.minus(keep)).await?;
    if messages > 0 {
        tracing::info!(messages, "old messages that this node sent were let go: see journal.keep_days");
    }
    store.forget_vpn_before(now.minus(KEEP_CONTRACTS)).await?;
    Ok(())
}
