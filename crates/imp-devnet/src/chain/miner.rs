//! The miner: turns waiting transactions into blocks while the chain is served.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{DevChain, unix_now};

/// The shortest interval between two looks at the mempool.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The age of the newest block at which one is mined even if nothing waits. lnd takes a chain whose newest block is two
/// hours old for one that is still being downloaded, and does not start on it.
const MAX_TIP_AGE_SECS: u32 = 60 * 60;

/// Mines until it is stopped. Dropping it between two blocks loses nothing.
pub(super) async fn run(chain: DevChain, stop: CancellationToken) {
    let mut interval = chain.shared.mine_interval.subscribe();
    loop {
        let current = *interval.borrow_and_update();
        let pause = async {
            match current {
                Some(pause) => tokio::time::sleep(pause.max(MIN_INTERVAL)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = interval.changed() => if changed.is_err() { return },
            () = pause => {
                let chain = chain.clone();
                match tokio::task::spawn_blocking(move || chain.mine_if_due()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "no block was mined"),
                    Err(error) => tracing::error!(%error, "the miner failed"),
                }
            }
        }
    }
}

impl DevChain {
    fn mine_if_due(&self) -> Result<(), super::MineError> {
        let due = {
            let state = self.state();
            let tip_time = state.ledger.chain().tip().block.header.time;
            !state.ledger.mempool().is_empty() || unix_now() >= tip_time.saturating_add(MAX_TIP_AGE_SECS)
        };
        if due {
            self.mine(1)?;
        }
        Ok(())
    }
}
