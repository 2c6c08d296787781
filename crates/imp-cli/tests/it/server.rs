//! A node that answers with what it was asked.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::{Stream, StreamExt};
use imp_api::client::CURSOR_METADATA;
use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::node::v1::node_server::{Node, NodeServer};
use imp_api::proto::imp::node::v1::*;
use imp_api::proto::lightning::lightning_server::{Lightning, LightningServer};
use imp_api::proto::lightning::*;
use imp_api::proto::messaging::messaging_server::{Messaging, MessagingServer};
use imp_api::proto::messaging::*;
use imp_api::proto::signing::signing_server::{Signing, SigningServer};
use imp_api::proto::signing::*;
use imp_api::proto::websocket::websocket_server::{Websocket, WebsocketServer};
use imp_api::proto::websocket::*;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::{Request, Response, Status};

/// The cursor that a new subscription stands at.
pub(crate) const CURSOR_AT_START: i64 = 41;

#[derive(Clone)]
struct Echo {
    events: broadcast::Sender<SubscribeResponse>,
    /// `after` of each subscription.
    asked: Arc<Mutex<Vec<Option<i64>>>>,
}

/// A server in a runtime of its own, so that it can be ended as a crash would end it.
pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) events: broadcast::Sender<SubscribeResponse>,
    asked: Arc<Mutex<Vec<Option<i64>>>>,
    runtime: Option<Runtime>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_at(addr: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (events, _) = broadcast::channel(100);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let echo = Echo { events: events.clone(), asked: Arc::clone(&asked) };
        let listener = runtime.spawn(bind(addr)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(MessagingServer::new(echo.clone()))
            .add_service(LightningServer::new(echo.clone()))
            .add_service(SigningServer::new(echo.clone()))
            .add_service(NodeServer::new(echo.clone()))
            .add_service(WebsocketServer::new(echo));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { addr, events, asked, runtime: Some(runtime) }
    }

    pub(crate) fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Waits until this many subscriptions have been made, and tells what they asked for.
    pub(crate) async fn subscriptions(&self, count: usize) -> Vec<Option<i64>> {
        let wait = async {
            loop {
                let asked = self.asked.lock().unwrap().clone();
                if asked.len() >= count {
                    return asked;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::PATIENCE, wait).await.expect("a subscription comes")
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

fn refused(code: Code, message: &str) -> Status {
    StatusBody::new(code, message).into()
}

#[tonic::async_trait]
impl Messaging for Echo {
    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let SendMessageRequest { msg, pubkey, amount, reply_to_id } = request.into_inner();
        if pubkey == "nowhere" {
            return Err(refused(Code::Unavailable, "send failed: no route\nat all"));
        }
        Ok(Response::new(SendMessageResponse { id: format!("{msg:?} {pubkey} {amount} {reply_to_id:?}") }))
    }
}

#[tonic::async_trait]
impl Lightning for Echo {
    async fn generate_invoice(
        &self,
        request: Request<GenerateInvoiceRequest>,
    ) -> Result<Response<GenerateInvoiceResponse>, Status> {
        let GenerateInvoiceRequest { amount, memo } = request.into_inner();
        Ok(Response::new(GenerateInvoiceResponse { invoice: format!("ln {amount} {memo:?}") }))
    }

    async fn pay_invoice(
        &self,
        request: Request<PayInvoiceRequest>,
    ) -> Result<Response<PayInvoiceResponse>, Status> {
        Ok(Response::new(PayInvoiceResponse { preimage: format!("for {}", request.into_inner().invoice) }))
    }

    async fn check_invoice(
        &self,
        request: Request<CheckInvoiceRequest>,
    ) -> Result<Response<CheckInvoiceResponse>, Status> {
        match request.into_inner().invoice.as_str() {
            "paid" => Ok(Response::new(CheckInvoiceResponse { paid: true })),
            "unpaid" => Ok(Response::new(CheckInvoiceResponse { paid: false })),
            _ => Err(refused(Code::NotFound, "no invoice of this node")),
        }
    }
}

#[tonic::async_trait]
impl Signing for Echo {
    async fn sign_message(&self, request: Request<SignRequest>) -> Result<Response<SignResponse>, Status> {
        Ok(Response::new(SignResponse { signature: format!("over {:?}", request.into_inner().msg) }))
    }

    async fn verify_signature(
        &self,
        request: Request<VerifyRequest>,
    ) -> Result<Response<VerifyResponse>, Status> {
        let VerifyRequest { msg, signature } = request.into_inner();
        Ok(Response::new(VerifyResponse { result: msg == signature }))
    }
}

#[tonic::async_trait]
impl Websocket for Echo {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let SubscribeRequest { after, cursor } = request.into_inner();
        assert_eq!(cursor, Some(true), "without cursors nothing can be resumed");
        if after == Some(5) {
            return Err(refused(Code::OutOfRange, "the oldest cursor to ask for is 6"));
        }
        let events = BroadcastStream::new(self.events.subscribe());
        self.asked.lock().unwrap().push(after);
        let mut response: Response<Self::SubscribeStream> =
            Response::new(events.map(|event| Ok(event.expect("the test does not lag"))).boxed());
        let position = after.unwrap_or(CURSOR_AT_START);
        response.metadata_mut().insert(CURSOR_METADATA, position.into());
        Ok(response)
    }
}

#[tonic::async_trait]
impl Node for Echo {
    async fn get_node(&self, _: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        Ok(Response::new(GetNodeResponse {
            pubkey: "02ab".into(),
            alias: "alice\x1b[2J".into(),
            network: "regtest".into(),
            backend: "ldk".into(),
            version: "0.1.0".into(),
            synced: true,
            block_height: 120,
            onchain_sat: 1000,
            channel_sat: 500_000,
            spendable_sat: 490_000,
            listen: vec!["127.0.0.1:9735".into()],
        }))
    }

    async fn list_channels(
        &self,
        _: Request<ListChannelsRequest>,
    ) -> Result<Response<ListChannelsResponse>, Status> {
        let usable = Channel {
            pubkey: "03cd".into(),
            capacity_sat: 1_000_000,
            outbound_sat: 490_000,
            inbound_sat: 7,
            ready: true,
            usable: true,
            user_channel_id: "17".into(),
            ..Channel::default()
        };
        let away = Channel { usable: false, ..usable.clone() };
        let opening = Channel { ready: false, ..away.clone() };
        Ok(Response::new(ListChannelsResponse { channels: vec![usable, away, opening] }))
    }

    async fn new_address(
        &self,
        _: Request<NewAddressRequest>,
    ) -> Result<Response<NewAddressResponse>, Status> {
        Ok(Response::new(NewAddressResponse { address: "bcrt1q".into() }))
    }

    async fn connect_peer(
        &self,
        _: Request<ConnectPeerRequest>,
    ) -> Result<Response<ConnectPeerResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn open_channel(
        &self,
        _: Request<OpenChannelRequest>,
    ) -> Result<Response<OpenChannelResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }

    async fn sync_chain(&self, _: Request<SyncChainRequest>) -> Result<Response<SyncChainResponse>, Status> {
        Err(Status::unimplemented("not called"))
    }
}
