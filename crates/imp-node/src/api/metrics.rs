//! `/metrics`, and what the edges count for it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;
use http::header;
use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use imp_api::error::{Code, StatusBody};
use imp_api::rest::{Route, routes};

use super::health::NodeState;
use super::rest;
use crate::store::JournalStore;
use crate::telemetry::metrics::{CONTENT_TYPE, Metrics};

/// What calls go by that are none of the API.
const OTHER: &str = "other";

/// The route of `/metrics`, for GET and HEAD.
pub fn router(metrics: Metrics, journal: Arc<dyn JournalStore>, state: watch::Receiver<NodeState>) -> Router {
    let wrong_method = || async { rest::error(&StatusBody::new(Code::Unimplemented, "Method Not Allowed")) };
    let page = move || async move {
        metrics.set_state(state.borrow().word(), &NodeState::ALL.map(NodeState::word));
        // A store that is closing has no more to tell; the rest is as true as before.
        if let Ok(oldest) = journal.oldest_cursor().await {
            metrics.set_cursors(oldest.unwrap_or(0), *journal.tail().last().borrow());
        }
        ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], metrics.text())
    };
    Router::new().route("/metrics", get(page).fallback(wrong_method))
}

/// The layer around the RPCs, through which gRPC and REST come alike.
pub(super) async fn count_call(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = route_of(request.uri().path());
    let mut call =
        Call { metrics, rpc: route.map_or(OTHER, name), begun: Instant::now(), code: Code::Canceled };
    let response = next.run(request).await;
    call.code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code().into());
    if call.code != Code::Ok || !route.is_some_and(|route| route.server_streaming) {
        return response;
    }
    let open = call.metrics.subscription();
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _until_the_stream_ends = &open;
            frame
        }))
    })
}

/// A call under way. One that is dropped before its answer was given up by its caller.
struct Call {
    metrics: Metrics,
    rpc: &'static str,
    begun: Instant,
    code: Code,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.call_ended(self.rpc, self.code.name(), self.begun.elapsed());
    }
}

fn route_of(path: &str) -> Option<&'static Route> {
    static ROUTES: LazyLock<HashMap<&'static str, &'static Route>> =
        LazyLock::new(|| routes().iter().map(|route| (route.grpc_path.as_str(), route)).collect());
    ROUTES.get(path).copied()
}

/// An RPC as gRPC tools write it: `package.Service/Method`.
fn name(route: &'static Route) -> &'static str {
    route.grpc_path.trim_start_matches('/')
}
