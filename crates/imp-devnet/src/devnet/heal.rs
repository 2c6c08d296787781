//! Opens channels again that a crash has closed.
//!
//! A Lightning node that is killed while payments pass may find its channel newer on disk than its own state, and then
//! closes it for good. A net for tests is of no use without its channels.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Net;
use super::channels::{CONFIRMATIONS, EdgeState};
use super::options::Edge;

/// How often the channels are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// In how many looks in a row a channel must be missing: its ends do not learn of its end at the same moment.
const LOOKS: u32 = 2;

/// How long a repair may take before it is told that it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks after the channels until the net stops.
pub(super) async fn keep_channels(net: Arc<Net>, stop: CancellationToken) {
    let mut missing_for = vec![0_u32; net.edges.len()];
    let look_after = async {
        loop {
            sleep(INTERVAL).await;
            for (looks, (_, state)) in missing_for.iter_mut().zip(net.survey().await) {
                match state {
                    EdgeState::Missing => *looks += 1,
                    // What was seen before still holds when a node that is down comes back.
                    EdgeState::Unknown => {}
                    EdgeState::Pending | EdgeState::Apart | EdgeState::Usable => *looks = 0,
                }
            }
            let gone: Vec<Edge> = net
                .edges
                .iter()
                .zip(&missing_for)
                .filter(|(_, looks)| **looks >= LOOKS)
                .map(|(edge, _)| *edge)
                .collect();
            if !gone.is_empty() {
                repair(&net, &gone).await;
                missing_for.fill(0);
            }
        }
    };
    tokio::select! {
        () = look_after => {}
        () = stop.cancelled() => {}
    }
}

async fn repair(net: &Net, gone: &[Edge]) {
    let names = net.names(gone);
    net.report.say(format!("channel {names} was closed, as can happen in a crash: it is opened again"));
    let opened = async {
        net.connect(gone, PATIENCE).await?;
        // Payments that were under way in the old channel end when its closing is deep enough.
        net.mine(CONFIRMATIONS).await
    };
    match opened.await {
        Ok(()) => net.report.say(format!("channel {names} can be used again")),
        Err(error) => net.report.say(format!("channel {names} is not open again yet: {error:#}")),
    }
}
