//! The edges through real sockets, on services made for the purpose.

mod anything;
mod crowd;
mod events;
mod frames;
mod golden;
mod grpc;
mod history;
mod http1;
mod messages;
mod payments;
mod rest;
mod sockets;
mod unix;
mod vpn;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use imp_api::client::{CURSOR_METADATA, Client};
use imp_api::error::{Code, ErrorInfo, StatusBody};
use imp_api::proto::messaging::messaging_server::Messaging;
use imp_api::proto::messaging::{SendMessageRequest, SendMessageResponse};
use imp_api::proto::websocket::websocket_server::Websocket;
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};

use super::grpc::Services;
use super::guard::Guard;
use super::health::NodeState;
use super::link::Peer;
use super::unix::OwnerSocket;
use super::{DEFAULT_MAX_REQUEST_BYTES, Edge};
use crate::telemetry::metrics::Metrics;

/// Longer than anything here takes, shorter than a test run may hang.
const PATIENCE: Duration = Duration::from_secs(20);

const GRACE: Duration = Duration::from_secs(1);

/// Answers with what it was asked; `msg` chooses how.
struct Echo;

#[tonic::async_trait]
impl Messaging for Echo {
    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let peer = request.extensions().get::<Peer>().copied();
        let request_id = request.metadata().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
        let asked = request.into_inner();
        let id = match asked.msg.as_str() {
            "fail" => {
                let info = Some(ErrorInfo::new("NO_ROUTE").with("messageId", "m"));
                let body = StatusBody { info, ..StatusBody::new(Code::Unavailable, "send failed: no route") };
                return Err(body.into());
            }
            "wait" => std::future::pending().await,
            "who" => match peer.unwrap() {
                Peer::Tcp { remote } => remote.unwrap().ip().to_string(),
                Peer::OwnerSocket => "owner".to_owned(),
            },
            "request" => request_id.unwrap(),
            _ => format!("{}|{}|{}|{}", asked.msg, asked.pubkey, asked.amount, asked.reply_to_id),
        };
        Ok(Response::new(SendMessageResponse { state: None, id }))
    }
}

/// Streams what the test publishes. A negative cursor is refused.
struct Publisher {
    events: EventSender,
}

/// What a test publishes by.
type EventSender = broadcast::Sender<Result<SubscribeResponse, Status>>;

#[tonic::async_trait]
impl Websocket for Publisher {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        if request.into_inner().after.is_some_and(|after| after < 0) {
            return Err(Status::out_of_range("the oldest cursor is 0"));
        }
        let events = BroadcastStream::new(self.events.subscribe());
        let mut response: Response<Self::SubscribeStream> =
            Response::new(events.map(|event| event.expect("the test does not lag")).boxed());
        response.metadata_mut().insert(CURSOR_METADATA, 41.into());
        Ok(response)
    }
}

/// Both edges on free ports.
struct TestNode {
    http: SocketAddr,
    grpc: SocketAddr,
    /// The owner's socket.
    owner: PathBuf,
    events: EventSender,
    state: watch::Sender<NodeState>,
    shutdown: CancellationToken,
    served: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl TestNode {
    /// On services that do what the test tells them.
    async fn start() -> Self {
        Self::with(tempfile::tempdir().unwrap(), |services, events| {
            services.messaging(Arc::new(Echo)).websocket(Arc::new(Publisher { events }))
        })
        .await
    }

    /// On other services, which may keep something in `dir`.
    async fn with(dir: tempfile::TempDir, add: impl FnOnce(Services, EventSender) -> Services) -> Self {
        let (events, _) = broadcast::channel(1000);
        let (state, state_seen) = watch::channel(NodeState::Starting);
        let shutdown = CancellationToken::new();
        let edge = Edge {
            guard: Arc::new(Guard::new(&["node.example".into()], &["https://app.example".into()])),
            max_request_bytes: DEFAULT_MAX_REQUEST_BYTES,
            metrics: Metrics::default(),
            state: state_seen,
            shutdown: shutdown.clone(),
        };
        let routes = add(Services::new(&edge), events.clone()).into_routes();
        let http_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, grpc) = (http_listener.local_addr().unwrap(), grpc_listener.local_addr().unwrap());
        let owner_socket = OwnerSocket::bind(dir.path()).unwrap();
        let owner = owner_socket.path().to_owned();
        let more = Router::new().route("/docs", axum::routing::get(|| async { "docs" }));
        let router = super::rest::router(&edge, routes.clone(), more);
        let served = tokio::spawn(async move {
            let owner = super::unix::serve(owner_socket, &edge, router.clone(), routes.clone(), GRACE);
            let http = super::serve::http(&edge, http_listener, router, GRACE);
            let grpc = super::grpc::serve(&edge, grpc_listener, routes, GRACE);
            let ((), (), grpc) = tokio::join!(owner, http, grpc);
            grpc.unwrap();
        });
        Self { http, grpc, owner, events, state, shutdown, served, _dir: dir }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    async fn client(&self) -> Client {
        Client::connect(&self.grpc.to_string()).await.unwrap()
    }

    /// POSTs a body; status and text of the answer.
    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let answer = reqwest::Client::new().post(self.url(path)).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Sends bytes and reads until the node closes, which a request asks for by `Connection: close` or HTTP/1.0.
    async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the node closes")
            .unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// A GET over a bare socket with further header lines; the whole answer.
    async fn get_raw(&self, path: &str, headers: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")).await
    }

    fn publish(&self, event: SubscribeResponse) {
        self.events.send(Ok(event)).expect("somebody listens");
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.served).await.expect("the node stops").unwrap();
    }
}

fn event(id: &str) -> SubscribeResponse {
    SubscribeResponse { id: id.into(), amount: 1, service_type: "message".into(), ..Default::default() }
}
