//! The edges: gRPC on one address, REST, websocket and event streams on another.
//!
//! ```text
//! gRPC  ── guard ───────────────────────┐
//!                                       ├─> tonic services (one for each proto service)
//! HTTP  ── guard ── rest, ws, stream ───┘
//! ```
//!
//! The owner's unix socket ([`unix`]) leads to both.
//!
//! There is one implementation of each RPC, the tonic one. REST calls it in process: [`rest`] turns JSON into the
//! request's protobuf bytes, hands them to the same routes that gRPC serves, and turns the answer into JSON.

mod call;
pub mod docs;
mod file;
pub mod grpc;
pub mod guard;
pub mod health;
mod line;
pub mod link;
pub mod metrics;
mod picture;
pub mod rest;
pub mod serve;
mod stream;
#[cfg(test)]
mod tests;
pub mod unix;
mod ws;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::guard::Guard;
use self::health::NodeState;
use crate::telemetry::metrics::Metrics;

/// The largest request that is read unless the configuration says otherwise: 4 MiB, as in the 2021 API.
pub const DEFAULT_MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// How long a reader may take nothing of what is written to it before it is let go.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(60);

/// What the edges share.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Who may come in.
    pub guard: Arc<Guard>,
    /// The largest request, in bytes of its body: more is RESOURCE_EXHAUSTED.
    pub max_request_bytes: usize,
    /// What is counted.
    pub metrics: Metrics,
    /// What the node is up to, for `/ready` and gRPC's health service.
    pub state: watch::Receiver<NodeState>,
    /// Cancelled when the node stops: listeners close, event streams end, calls under way may finish.
    pub shutdown: CancellationToken,
}
