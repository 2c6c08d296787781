//! A node that notes what it was asked, and answers, refuses or keeps the caller waiting as the test wants it.

mod events;
mod federate;
mod lightning;
mod messaging;
mod node;
mod signing;
mod socket;
mod vpn;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::Stream;
use imp_api::error::StatusBody;
use imp_api::proto::federate::federate_server::FederateServer;
use imp_api::proto::imp::events::v1::events_server::EventsServer;
use imp_api::proto::imp::federate::v1::peers_server::PeersServer;
use imp_api::proto::imp::lightning::v1::payments_server::PaymentsServer;
use imp_api::proto::imp::messaging::v1::messages_server::MessagesServer;
use imp_api::proto::imp::node::v1::node_server::NodeServer;
use imp_api::proto::imp::socket::v1::relays_server::RelaysServer;
use imp_api::proto::imp::vpn::v1::contracts_server::ContractsServer;
use imp_api::proto::lightning::lightning_server::LightningServer;
use imp_api::proto::messaging::messaging_server::MessagingServer;
use imp_api::proto::signing::signing_server::SigningServer;
use imp_api::proto::socket::socket_server::SocketServer;
use imp_api::proto::vpn::vpn_server::VpnServer;
use imp_api::proto::websocket::SubscribeResponse;
use imp_api::proto::websocket::websocket_server::WebsocketServer;
use prost::{Message, Name};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::body::Body;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};
use tower::util::MapRequestLayer;

pub(crate) use events::CURSOR_AT_START;
pub(crate) use federate::named;
pub(crate) use messaging::UNREACHABLE;
pub(crate) use vpn::CONFIG;

/// What all services and the test share.
struct Shared {
    events: broadcast::Sender<SubscribeResponse>,
    /// The type and the bytes of each request.
    asked: Mutex<Vec<(&'static str, Vec<u8>)>>,
    /// The host that each request was made to.
    hosts: Mutex<Vec<String>>,
    /// What every call is refused with.
    refusal: Mutex<Option<StatusBody>>,
    /// Whether callers must wait.
    held: watch::Sender<bool>,
}

#[derive(Clone)]
struct Echo(Arc<Shared>);

impl Echo {
    /// Notes a request, then does with it what the test wants.
    async fn answer<Q: Message + Name, A>(
        &self,
        request: Request<Q>,
        answer: impl FnOnce(Q) -> Result<A, StatusBody>,
    ) -> Result<Response<A>, Status> {
        let request = request.into_inner();
        self.0.asked.lock().unwrap().push((Q::NAME, request.encode_to_vec()));
        self.0.held.subscribe().wait_for(|held| !held).await.expect("the sender is in self");
        if let Some(refusal) = self.0.refusal.lock().unwrap().clone() {
            return Err(refusal.into());
        }
        Ok(Response::new(answer(request)?))
    }
}

/// The id of whatever a service sends.
fn sent<Q, A>(answer: impl FnOnce(String) -> A) -> impl FnOnce(Q) -> Result<A, StatusBody> {
    move |_| Ok(answer("m1".to_owned()))
}

/// A server in a runtime of its own, so that it can be ended as a crash would end it.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            events: broadcast::channel(100).0,
            asked: Mutex::default(),
            hosts: Mutex::default(),
            refusal: Mutex::default(),
            held: watch::channel(false).0,
        });
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.spawn(bind(addr)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(serve(Arc::clone(&shared), TcpListenerStream::new(listener)));
        Self { addr, shared, runtime: Some(runtime) }
    }

    /// Serves on a unix socket too.
    pub(crate) async fn listen_at(&self, path: &Path) {
        let path = path.to_owned();
        let runtime = self.runtime.as_ref().unwrap();
        let listener = runtime.spawn(async move { UnixListener::bind(path).unwrap() }).await.unwrap();
        runtime.spawn(serve(Arc::clone(&self.shared), UnixListenerStream::new(listener)));
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Sends an event to all who subscribe now.
    pub(crate) fn publish(&self, event: SubscribeResponse) {
        self.shared.events.send(event).unwrap();
    }

    /// Refuses every call from now on.
    pub(crate) fn refuse(&self, refusal: StatusBody) {
        *self.shared.refusal.lock().unwrap() = Some(refusal);
    }

    /// Keeps callers waiting from now on, or no longer.
    pub(crate) fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// The host that each request was made to.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.shared.hosts.lock().unwrap().clone()
    }

    /// All requests of a type, oldest first.
    pub(crate) fn asked<Q: Message + Name + Default>(&self) -> Vec<Q> {
        let asked = self.shared.asked.lock().unwrap();
        let of_type = asked.iter().filter(|(name, _)| *name == Q::NAME);
        of_type.map(|(_, bytes)| Q::decode(bytes.as_slice()).unwrap()).collect()
    }

    /// Waits until this many requests of a type have come.
    pub(crate) async fn asked_times<Q: Message + Name + Default>(&self, count: usize) -> Vec<Q> {
        let wait = async {
            loop {
                let asked = self.asked();
                if asked.len() >= count {
                    return asked;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::PATIENCE, wait).await.expect("the request comes")
    }

    /// Ends all connections without a word.
    pub(crate) fn crash(mut self) -> SocketAddr {
        self.runtime.take().unwrap().shutdown_background();
        self.addr
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves all that come in, until the runtime ends.
async fn serve<C>(shared: Arc<Shared>, incoming: impl Stream<Item = io::Result<C>>)
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let echo = Echo(Arc::clone(&shared));
    let note_host = MapRequestLayer::new(move |request: http::Request<Body>| {
        shared.hosts.lock().unwrap().extend(request.uri().host().map(str::to_owned));
        request
    });
    tonic::transport::Server::builder()
        .layer(note_host)
        .add_service(MessagingServer::new(echo.clone()))
        .add_service(MessagesServer::new(echo.clone()))
        .add_service(WebsocketServer::new(echo.clone()))
        .add_service(EventsServer::new(echo.clone()))
        .add_service(LightningServer::new(echo.clone()))
        .add_service(PaymentsServer::new(echo.clone()))
        .add_service(SigningServer::new(echo.clone()))
        .add_service(NodeServer::new(echo.clone()))
        .add_service(FederateServer::new(echo.clone()))
        .add_service(PeersServer::new(echo.clone()))
        .add_service(SocketServer::new(echo.clone()))
        .add_service(RelaysServer::new(echo.clone()))
        .add_service(VpnServer::new(echo.clone()))
        .add_service(ContractsServer::new(echo))
        .serve_with_incoming(incoming)
        .await
        .unwrap();
}

/// Binds, once a server that crashed there has let go.
async fn bind(addr: SocketAddr) -> TcpListener {
    let bound = async {
        loop {
            match TcpListener::bind(addr).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                bound => return bound.unwrap(),
            }
        }
    };
    tokio::time::timeout(crate::PATIENCE, bound).await.expect("the address becomes free")
}
