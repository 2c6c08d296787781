//! Whether the node is ready for its programs, which `/ready` tells.

use std::sync::Arc;
use std::time::Duration;

use imp_lightning::LightningNode;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::health::NodeState;

/// How often it is looked whether the node can pay.
const READY_POLL: Duration = Duration::from_millis(500);

/// Keeps `/ready` true: the node can pay once the chain is synced and a channel is usable, or there is none to wait for.
pub(super) async fn watch_readiness(
    lightning: Arc<dyn LightningNode>,
    state: watch::Sender<NodeState>,
    stopped: CancellationToken,
) {
    while !stopped.is_cancelled() {
        let can_pay = can_pay(&*lightning).await;
        state.send_if_modified(|state| {
            let next = match (*state, can_pay) {
                (NodeState::Draining, _) => NodeState::Draining,
                (_, true) => NodeState::Ready,
                (NodeState::Starting, false) => NodeState::Starting,
                (NodeState::Ready | NodeState::Degraded, false) => NodeState::Degraded,
            };
            let changed = next != *state;
            if changed {
                tracing::info!(from = state.word(), to = next.word(), "the node's state changed");
            }
            *state = next;
            changed
        });
        tokio::select! {
            () = stopped.cancelled() => {}
            () = tokio::time::sleep(READY_POLL) => {}
        }
    }
}

async fn can_pay(lightning: &dyn LightningNode) -> bool {
    let Ok(status) = lightning.status().await else { return false };
    let Ok(channels) = lightning.channels().await else { return false };
    status.synced && (channels.is_empty() || channels.iter().any(|channel| channel.usable))
}
