//! The daemon's HTTP side, file by file: to link `imp-node` would be to link LDK.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::Metrics;

#[path = "../../../crates/imp-node/src/api/call.rs"]
mod call;
#[path = "../../../crates/imp-node/src/api/file.rs"]
mod file;
#[path = "../../../crates/imp-node/src/api/guard.rs"]
pub mod guard;
#[path = "../../../crates/imp-node/src/api/health.rs"]
pub mod health;
#[path = "../../../crates/imp-node/src/api/line.rs"]
mod line;
#[path = "../../../crates/imp-node/src/api/link.rs"]
pub mod link;
#[path = "../../../crates/imp-node/src/api/rest.rs"]
pub mod rest;
#[path = "../../../crates/imp-node/src/api/serve.rs"]
pub mod serve;
#[path = "../../../crates/imp-node/src/api/stream.rs"]
mod stream;
#[path = "../../../crates/imp-node/src/api/ws.rs"]
mod ws;

const WRITE_STALL: Duration = Duration::from_secs(60);

/// What the edges share, as in the daemon.
#[derive(Debug, Clone)]
pub struct Edge {
    pub guard: Arc<guard::Guard>,
    pub metrics: Metrics,
    pub max_request_bytes: usize,
    pub state: watch::Receiver<health::NodeState>,
    pub shutdown: CancellationToken,
}

impl Edge {
    /// One that lets everybody on this machine in, until it is cancelled.
    pub fn open(shutdown: CancellationToken) -> Self {
        let (_, state) = watch::channel(health::NodeState::Ready);
        Self {
            guard: Arc::default(),
            metrics: Metrics::default(),
            max_request_bytes: 1 << 16,
            state,
            shutdown,
        }
    }
}

/// Serves one connection to its end, as the listener does.
pub async fn serve_one(stream: tokio::net::UnixStream, router: axum::Router, edge: &Edge) {
    let connections = serve::Connections::new(1, edge, "fuzz");
    let place = connections.place().await;
    let link = link::Link::unix(stream, bytes::Bytes::new());
    place.serve_http(link, router, edge.shutdown.clone()).await;
    connections.end(Duration::from_secs(5), "fuzz").await;
}
