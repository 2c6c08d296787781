//! Whether the node runs (`/health`) and can pay (`/ready`), in words that tell nothing else; and the same over gRPC.

use std::pin::Pin;

use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use http::{StatusCode, header};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use imp_api::descriptors;

/// What the node is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It answers, but cannot pay yet.
    Starting,
    /// It can pay.
    Ready,
    /// It could pay, but the Lightning backend or the chain is away.
    Degraded,
    /// It is stopping.
    Draining,
}

impl NodeState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Ready, Self::Degraded, Self::Draining];

    /// The word for it on `/ready`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
        }
    }

    const fn serving(self) -> ServingStatus {
        match self {
            Self::Ready => ServingStatus::Serving,
            Self::Starting | Self::Degraded | Self::Draining => ServingStatus::NotServing,
        }
    }
}

/// `GET /health`: 200 as long as the process answers.
pub(super) fn health() -> Response {
    status_word(StatusCode::OK, "ok")
}

/// `GET /ready`: 200 when the node can pay, else 503.
pub(super) fn ready(state: NodeState) -> Response {
    let status = if state == NodeState::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    status_word(status, state.word())
}

fn status_word(status: StatusCode, word: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!(r#"{{"status":"{word}"}}"#))
        .into_response()
}

/// `grpc.health.v1.Health`: the whole server's state stands for each service's.
#[derive(Debug, Clone)]
pub(super) struct HealthService {
    pub(super) state: watch::Receiver<NodeState>,
}

fn response(serving: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: serving.into() }
}

/// Whether a name is the server as a whole or one of its services.
fn is_known(service: &str) -> bool {
    service.is_empty() || descriptors::pool().get_service_by_name(service).is_some()
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !is_known(service) {
            return Err(Status::not_found(format!("unknown service {service}")));
        }
        Ok(tonic::Response::new(response(self.state.borrow().serving())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        let known = is_known(&request.get_ref().service);
        let states = WatchStream::new(self.state.clone());
        Ok(tonic::Response::new(Box::pin(states.map(move |state| {
            Ok(response(if known { state.serving() } else { ServingStatus::ServiceUnknown }))
        }))))
    }
}
