//! gRPC: which services there are, and listening for them.

mod calls;
mod events;
mod federate;
mod idempotency;
mod lightning;
mod messages;
mod messaging;
mod node;
mod owner;
mod payments;
mod signing;
mod socket;
mod vpn;
mod websocket;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};
use http::Uri;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

use imp_api::descriptors;
use imp_api::proto::federate::federate_server::{Federate, FederateServer};
use imp_api::proto::imp::events::v1::events_server::{Events, EventsServer};
use imp_api::proto::imp::federate::v1::peers_server::{Peers, PeersServer};
use imp_api::proto::imp::lightning::v1::payments_server::{Payments, PaymentsServer};
use imp_api::proto::imp::messaging::v1::messages_server::{Messages, MessagesServer};
use imp_api::proto::imp::node::v1::node_server::{Node, NodeServer};
use imp_api::proto::imp::socket::v1::relays_server::{Relays, RelaysServer};
use imp_api::proto::imp::vpn::v1::contracts_server::{Contracts, ContractsServer};
use imp_api::proto::lightning::lightning_server::{Lightning, LightningServer};
use imp_api::proto::messaging::messaging_server::{Messaging, MessagingServer};
use imp_api::proto::signing::signing_server::{Signing, SigningServer};
use imp_api::proto::socket::socket_server::{Socket, SocketServer};
use imp_api::proto::vpn::vpn_server::{Vpn, VpnServer};
use imp_api::proto::websocket::websocket_server::{Websocket, WebsocketServer};

use super::health::HealthService;
use super::line::Line;
use super::link::Link;
use super::serve::{Connections, MAX_CONNECTIONS, Permit, accept};
use super::{Edge, guard, metrics, rest};
use crate::telemetry::metrics::Metrics;

pub use calls::Calls;

/// Header bytes of one call.
const MAX_HEADER_BYTES: u32 = 64 * 1024;

/// Calls at once on one connection, subscriptions included.
const MAX_STREAMS: u32 = 1000;

/// What a client of HTTP/2 sends first (RFC 9113, section 3.4): so many bytes must come in time.
const PREFACE_BYTES: usize = 24;

/// A client that went away without a word is noticed within the sum of both.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// gRPC could not be served.
#[derive(Debug, Error)]
#[error("gRPC cannot be served")]
pub struct ServeError(#[from] tonic::transport::Error);

/// The services of this node, with reflection and health. An RPC of the API whose service is not among them answers
/// UNIMPLEMENTED.
#[derive(Debug)]
pub struct Services {
    routes: Routes,
    max_request_bytes: usize,
    metrics: Metrics,
}

/// Methods of [`Services`] that add one.
macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $service:ident as $server:ident,)+) => {
        impl Services {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name<T: $service>(self, service: Arc<T>) -> Self {
                    let server = $server::from_arc(service).max_decoding_message_size(self.max_request_bytes);
                    Self { routes: self.routes.add_service(server), ..self }
                }
            )+
        }
    };
}

services! {
    /// Adds contracts of the VPN.
    contracts: Contracts as ContractsServer,
    /// Adds the history of events.
    events: Events as EventsServer,
    /// Adds federation.
    federate: Federate as FederateServer,
    /// Adds invoices.
    lightning: Lightning as LightningServer,
    /// Adds what became of messages.
    messages: Messages as MessagesServer,
    /// Adds messages.
    messaging: Messaging as MessagingServer,
    /// Adds the node's own affairs.
    node: Node as NodeServer,
    /// Adds payments and invoices.
    payments: Payments as PaymentsServer,
    /// Adds what this node remembers of others.
    peers: Peers as PeersServer,
    /// Adds UDP relays, as many as are wanted.
    relays: Relays as RelaysServer,
    /// Adds signatures.
    signing: Signing as SigningServer,
    /// Adds the UDP relay of the 2021 API.
    socket: Socket as SocketServer,
    /// Adds the VPN.
    vpn: Vpn as VpnServer,
    /// Adds events.
    websocket: Websocket as WebsocketServer,
}

impl Services {
    /// Reflection and health only.
    pub fn new(edge: &Edge) -> Self {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(descriptors::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let routes = Routes::from(Router::new().fallback(|uri: Uri| async move { not_served(&uri) }))
            .add_service(reflection().build_v1().expect("the descriptors were made by the protobuf compiler"))
            .add_service(
                reflection().build_v1alpha().expect("the descriptors were made by the protobuf compiler"),
            )
            .add_service(HealthServer::new(HealthService { state: edge.state.clone() }));
        Self { routes, max_request_bytes: edge.max_request_bytes, metrics: edge.metrics.clone() }
    }

    /// What [`serve`] serves and REST calls.
    pub fn into_routes(self) -> Routes {
        let named = self.routes.into_axum_router().layer(from_fn(name_errors));
        Routes::from(named.layer(from_fn_with_state(self.metrics, metrics::count_call))).prepare()
    }
}

/// Serves gRPC over plaintext HTTP/2 until the node stops, then lets calls under way finish for at most `grace`.
///
/// # Errors
/// If the listener breaks.
pub async fn serve(
    edge: &Edge,
    listener: TcpListener,
    routes: Routes,
    grace: Duration,
) -> Result<(), ServeError> {
    let connections = Connections::new(MAX_CONNECTIONS, edge, "grpc");
    let incoming = stream::unfold(listener, |listener| async {
        let place = connections.place().await;
        let link = Link::tcp(accept(&listener).await);
        Some(((link, place.into_permit()), listener))
    });
    serve_links(edge, incoming, routes, grace).await
}

/// Serves gRPC on these connections, each with what counts it, until the node stops, then lets calls under way finish for at most `grace`.
pub(super) async fn serve_links(
    edge: &Edge,
    links: impl Stream<Item = (Link, Permit)>,
    routes: Routes,
    grace: Duration,
) -> Result<(), ServeError> {
    let guarded = routes
        .into_axum_router()
        .layer(from_fn_with_state(edge.clone(), guard::grpc_layer))
        .layer(from_fn(rest::request_layer));
    let cut = CancellationToken::new();
    let lines = links.map(|(link, permit)| {
        Ok::<_, Infallible>(Line::new(link, cut.clone()).opened_by(PREFACE_BYTES).holding(permit))
    });
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .add_routes(Routes::from(guarded))
        .serve_with_incoming_shutdown(lines, edge.shutdown.clone().cancelled_owned());
    tokio::pin!(served);
    let deadline = async {
        edge.shutdown.cancelled().await;
        sleep(grace).await;
    };
    tokio::select! {
        served = served.as_mut() => return Ok(served?),
        () = deadline => {}
    }
    tracing::warn!("gRPC connections are cut off: they did not end in time");
    cut.cancel();
    Ok(served.await?)
}

/// The two halves of `/package.Service/Method`.
fn split_path(uri: &Uri) -> Option<(&str, &str)> {
    uri.path().strip_prefix('/')?.split_once('/')
}

/// The answer where no service is registered.
fn not_served(uri: &Uri) -> Response {
    let message = match split_path(uri) {
        Some((service, method)) if descriptors::pool().get_service_by_name(service).is_some() => {
            format!("method {method} not implemented")
        }
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: {}", uri.path()),
    };
    Status::unimplemented(message).into_http::<Body>()
}

/// Says what tonic leaves without words or says under another code than gRPC servers elsewhere: a method that does not
/// exist, and a request that is too large.
async fn name_errors(request: Request, next: Next) -> Response {
    if let Some((service, method)) = split_path(request.uri())
        && let Some(known) = descriptors::pool().get_service_by_name(service)
        && known.methods().all(|candidate| candidate.name() != method)
    {
        return Status::unimplemented(format!("unknown method {method} for service {service}"))
            .into_http::<Body>();
    }
    let response = next.run(request).await;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() == tonic::Code::OutOfRange => match too_large(status.message()) {
            Some(message) => Status::resource_exhausted(message).into_http::<Body>(),
            None => response,
        },
        _ => response,
    }
}

/// What is said of a request over the limit, from what tonic says of it.
fn too_large(message: &str) -> Option<String> {
    let numbers =
        message.strip_prefix("Error, decoded message length too large: found ")?.strip_suffix(" bytes")?;
    let (size, limit) = numbers.split_once(" bytes, the limit is: ")?;
    Some(format!("received message larger than max ({size} vs. {limit})"))
}
