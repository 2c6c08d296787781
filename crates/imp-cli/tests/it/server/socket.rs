use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::socket::v1::relays_server::Relays;
use imp_api::proto::imp::socket::v1::*;
use imp_api::proto::socket::socket_server::Socket;
use imp_api::proto::socket::*;
use tonic::{Request, Response, Status};

use super::{Echo, sent};

#[tonic::async_trait]
impl Socket for Echo {
    async fn send_socket(
        &self,
        request: Request<SendSocketRequest>,
    ) -> Result<Response<SendSocketResponse>, Status> {
        self.answer(request, sent(|id| SendSocketResponse { id })).await
    }

    async fn start_socket(
        &self,
        request: Request<StartSocketRequest>,
    ) -> Result<Response<StartSocketResponse>, Status> {
        self.answer(request, |_| {
            Ok(StartSocketResponse {
                protocol: "udp".into(),
                ip: "127.0.0.1".into(),
                port1: ":20000".into(),
                port2: ":20001".into(),
            })
        })
        .await
    }

    async fn stop_socket(
        &self,
        request: Request<StopSocketRequest>,
    ) -> Result<Response<StopSocketResponse>, Status> {
        self.answer(request, |_| Ok(StopSocketResponse {})).await
    }
}

/// Number 1 is the default relay.
fn relay(number: i64) -> Relay {
    let is_default = number == 1;
    let first = RelaySide {
        source: "127.0.0.1:5000".into(),
        firm: true,
        learned_ms: Some(1_700_000_001_000),
        last_heard_ms: Some(1_700_000_002_000),
        packets: 12,
        bytes: 6000,
    };
    let second =
        RelaySide { source: "127.0.0.1:5001".into(), firm: false, packets: 3, bytes: 300, ..first.clone() };
    Relay {
        id: format!("r{number}"),
        owner: "local".into(),
        label: if is_default { String::new() } else { "game\x1b[2J".into() },
        default: is_default,
        protocol: "udp".into(),
        ip: if is_default { "127.0.0.1".into() } else { "::1".into() },
        port1: ":20000".into(),
        port2: ":20001".into(),
        token: "0123456789abcdef0123456789abcdef".into(),
        require_token: !is_default,
        idle_secs: 120,
        max_packets: 1000,
        max_bytes: 2000,
        max_packets_per_sec: 30,
        max_bytes_per_sec: 40,
        started_ms: 1_700_000_000_000,
        ends_ms: (!is_default).then_some(1_700_086_400_000),
        sides: vec![first, if is_default { RelaySide::default() } else { second }],
        drops: vec![
            RelayDrops { reason: "other_source".into(), packets: 4 },
            RelayDrops { reason: "token".into(), packets: 1 },
        ],
    }
}

fn connection(request: &ConnectSocketRequest) -> Connection {
    Connection {
        id: "c1".into(),
        event_id: request.event_id.clone(),
        pubkey: "02ab".into(),
        local: format!("127.0.0.1:{}", request.local_port),
        remote: "192.0.2.1:20001".into(),
        state: "joining".into(),
        opened_ms: 1_700_000_000_000,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl Relays for Echo {
    async fn start_relay(&self, request: Request<StartRelayRequest>) -> Result<Response<Relay>, Status> {
        self.answer(request, |_| Ok(relay(2))).await
    }

    async fn list_relays(
        &self,
        request: Request<ListRelaysRequest>,
    ) -> Result<Response<ListRelaysResponse>, Status> {
        self.answer(request, |request| {
            let relays = if request.owner == "nobody" { Vec::new() } else { vec![relay(1), relay(2)] };
            Ok(ListRelaysResponse { relays })
        })
        .await
    }

    async fn get_relay(&self, request: Request<GetRelayRequest>) -> Result<Response<Relay>, Status> {
        self.answer(request, |request| match request.id.as_str() {
            "r1" => Ok(relay(1)),
            "r2" => Ok(relay(2)),
            _ => Err(StatusBody::new(Code::NotFound, "no relay with this id runs")),
        })
        .await
    }

    async fn stop_relay(
        &self,
        request: Request<StopRelayRequest>,
    ) -> Result<Response<StopRelayResponse>, Status> {
        self.answer(request, |_| Ok(StopRelayResponse {})).await
    }

    async fn send_relay(
        &self,
        request: Request<SendRelayRequest>,
    ) -> Result<Response<SendRelayResponse>, Status> {
        self.answer(request, sent(|id| SendRelayResponse { id })).await
    }

    type WatchRelaysStream = Pin<Box<dyn Stream<Item = Result<ListRelaysResponse, Status>> + Send>>;

    /// Two looks, and then none until the caller goes; only of relay `r1`, and then an error, if it is asked for.
    async fn watch_relays(
        &self,
        request: Request<WatchRelaysRequest>,
    ) -> Result<Response<Self::WatchRelaysStream>, Status> {
        self.answer(request, |request| {
            let looks = |relays: Vec<Relay>| vec![Ok(ListRelaysResponse { relays }); 2];
            Ok(match request.id.as_str() {
                "" => {
                    tokio_stream::iter(looks(vec![relay(1), relay(2)])).chain(tokio_stream::pending()).boxed()
                }
                _ => {
                    let gone = Status::from(StatusBody::new(Code::NotFound, "no relay with this id runs"));
                    tokio_stream::iter(looks(vec![relay(1)])).chain(tokio_stream::once(Err(gone))).boxed()
                }
            })
        })
        .await
    }

    async fn connect_socket(
        &self,
        request: Request<ConnectSocketRequest>,
    ) -> Result<Response<Connection>, Status> {
        self.answer(request, |request| Ok(connection(&request))).await
    }

    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsResponse>, Status> {
        self.answer(request, |_| {
            let joining = connection(&ConnectSocketRequest {
                event_id: "e1".into(),
                local_port: 4000,
                ..Default::default()
            });
            let joined = Connection {
                id: "c2".into(),
                state: "joined".into(),
                program: "127.0.0.1:5002".into(),
                packets_out: 7,
                packets_in: 8,
                ..joining.clone()
            };
            Ok(ListConnectionsResponse { connections: vec![joining, joined] })
        })
        .await
    }

    async fn close_connection(
        &self,
        request: Request<CloseConnectionRequest>,
    ) -> Result<Response<CloseConnectionResponse>, Status> {
        self.answer(request, |_| Ok(CloseConnectionResponse {})).await
    }
}
