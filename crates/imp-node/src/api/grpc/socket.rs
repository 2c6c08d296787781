//! `socket.Socket` and `imp.socket.v1.Relays`.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use imp_api::proto::imp::socket::v1 as proto;
use imp_api::proto::imp::socket::v1::relays_server::Relays;
use imp_api::proto::socket::socket_server::Socket;
use imp_api::proto::socket::{
    SendSocketRequest, SendSocketResponse, StartSocketRequest, StartSocketResponse, StopSocketRequest,
    StopSocketResponse,
};
use imp_core::record::Service;
use imp_core::socket::{PROTOCOL, port_text};
use imp_core::time::UnixMillis;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Calls;
use super::calls::inactive;
use super::idempotency::call_key;
use super::owner::require_owner;
use crate::api::WRITE_STALL;
use crate::error::Error;
use crate::service::socket::{Connect, ConnectionView, RelayView, SideSnapshot, Sockets, StartRelay};

/// The calls that keys are given for.
const SEND_SOCKET: &str = "socket.Socket/SendSocket";
const SEND_RELAY: &str = "imp.socket.v1.Relays/SendRelay";

/// Milliseconds between the answers to one who watches, and what can be asked for.
const WATCH_MS: u64 = 1_000;
const WATCH_MS_RANGE: std::ops::RangeInclusive<u64> = 100..=60_000;

impl Calls {
    fn sockets(&self) -> Result<Sockets, Error> {
        self.active(Service::Socket)?;
        self.services()?.socket.clone().ok_or_else(|| inactive(Service::Socket))
    }
}

#[tonic::async_trait]
impl Socket for Calls {
    async fn start_socket(
        &self,
        _: Request<StartSocketRequest>,
    ) -> Result<Response<StartSocketResponse>, Status> {
        let RelayView { relay, ip, .. } = self.sockets()?.start_default().await?;
        Ok(Response::new(StartSocketResponse {
            protocol: PROTOCOL.to_owned(),
            ip: ip.to_string(),
            port1: port_text(relay.ports[0]),
            port2: port_text(relay.ports[1]),
        }))
    }

    async fn send_socket(
        &self,
        request: Request<SendSocketRequest>,
    ) -> Result<Response<SendSocketResponse>, Status> {
        let sockets = self.sockets().map_err(Error::of_send)?;
        let (metadata, _, mut request) = request.into_parts();
        let field = request.idempotency_key.take();
        let key = call_key(SEND_SOCKET, &metadata, field.as_deref(), &request)?;
        let id = sockets.send_default(&request.pubkey, key).await?;
        Ok(Response::new(SendSocketResponse { id: id.to_string() }))
    }

    async fn stop_socket(
        &self,
        _: Request<StopSocketRequest>,
    ) -> Result<Response<StopSocketResponse>, Status> {
        self.sockets()?.stop_default().await?;
        Ok(Response::new(StopSocketResponse {}))
    }
}

#[tonic::async_trait]
impl Relays for Calls {
    type WatchRelaysStream = Pin<Box<dyn Stream<Item = Result<proto::ListRelaysResponse, Status>> + Send>>;

    async fn start_relay(
        &self,
        request: Request<proto::StartRelayRequest>,
    ) -> Result<Response<proto::Relay>, Status> {
        let proto::StartRelayRequest {
            label,
            idle_secs,
            life_secs,
            max_packets,
            max_bytes,
            max_packets_per_sec,
            max_bytes_per_sec,
            require_token,
        } = request.into_inner();
        let request = StartRelay {
            label,
            idle_secs,
            life_secs,
            max_packets,
            max_bytes,
            max_packets_per_sec,
            max_bytes_per_sec,
            require_token,
        };
        Ok(Response::new(relay(self.sockets()?.start(request).await?)))
    }

    async fn list_relays(
        &self,
        request: Request<proto::ListRelaysRequest>,
    ) -> Result<Response<proto::ListRelaysResponse>, Status> {
        let relays = self.sockets()?.list(&request.get_ref().owner);
        Ok(Response::new(listed(relays)))
    }

    async fn get_relay(
        &self,
        request: Request<proto::GetRelayRequest>,
    ) -> Result<Response<proto::Relay>, Status> {
        Ok(Response::new(relay(self.sockets()?.get(&request.get_ref().id)?)))
    }

    async fn stop_relay(
        &self,
        request: Request<proto::StopRelayRequest>,
    ) -> Result<Response<proto::StopRelayResponse>, Status> {
        self.sockets()?.stop(&request.get_ref().id).await?;
        Ok(Response::new(proto::StopRelayResponse {}))
    }

    async fn send_relay(
        &self,
        request: Request<proto::SendRelayRequest>,
    ) -> Result<Response<proto::SendRelayResponse>, Status> {
        let sockets = self.sockets().map_err(Error::of_send)?;
        let (metadata, _, mut request) = request.into_parts();
        let field = request.idempotency_key.take();
        let key = call_key(SEND_RELAY, &metadata, field.as_deref(), &request)?;
        let id = sockets.send(&request.id, &request.pubkey, key).await?;
        Ok(Response::new(proto::SendRelayResponse { id: id.to_string() }))
    }

    async fn watch_relays(
        &self,
        request: Request<proto::WatchRelaysRequest>,
    ) -> Result<Response<Self::WatchRelaysStream>, Status> {
        let proto::WatchRelaysRequest { id, interval_ms } = request.into_inner();
        let sockets = self.sockets()?;
        let every = watch_interval(interval_ms)?;
        // The one to watch must run when the stream begins.
        let id = if id.is_empty() { None } else { Some(sockets.get(&id)?.relay.id) };
        let (answers, ready) = mpsc::channel(1);
        let stopped = self.shutdown.clone();
        let run = async move {
            stopped.run_until_cancelled(watch(&sockets, id, every, &answers)).await;
        };
        // Its end is the stream's; a panic is logged.
        drop(self.tasks.run_detached("relay watcher", run));
        Ok(Response::new(Box::pin(ReceiverStream::new(ready))))
    }

    async fn connect_socket(
        &self,
        request: Request<proto::ConnectSocketRequest>,
    ) -> Result<Response<proto::Connection>, Status> {
        require_owner(&request)?;
        let proto::ConnectSocketRequest { event_id, local_port, side, allow_private } = request.into_inner();
        let request = Connect { event_id, local_port, side, allow_private };
        Ok(Response::new(connection(self.sockets()?.connect(request).await?)))
    }

    async fn list_connections(
        &self,
        request: Request<proto::ListConnectionsRequest>,
    ) -> Result<Response<proto::ListConnectionsResponse>, Status> {
        require_owner(&request)?;
        let connections = self.sockets()?.connections().into_iter().map(connection).collect();
        Ok(Response::new(proto::ListConnectionsResponse { connections }))
    }

    async fn close_connection(
        &self,
        request: Request<proto::CloseConnectionRequest>,
    ) -> Result<Response<proto::CloseConnectionResponse>, Status> {
        require_owner(&request)?;
        self.sockets()?.close_connection(&request.get_ref().id).await?;
        Ok(Response::new(proto::CloseConnectionResponse {}))
    }
}

fn watch_interval(interval_ms: i64) -> Result<Duration, Error> {
    if interval_ms == 0 {
        return Ok(Duration::from_millis(WATCH_MS));
    }
    let wanted = u64::try_from(interval_ms).ok().filter(|ms| WATCH_MS_RANGE.contains(ms));
    wanted.map(Duration::from_millis).ok_or_else(|| {
        let (least, most) = (WATCH_MS_RANGE.start(), WATCH_MS_RANGE.end());
        let problem = format!("{interval_ms} is not from {least} to {most}: leave it out for {WATCH_MS}");
        Error::invalid("interval_ms", problem)
    })
}

/// Hands on how relays are, at once and then at each interval, until the client is gone or takes nothing for too long, or the
/// only relay that is watched has ended.
async fn watch(
    sockets: &Sockets,
    id: Option<imp_core::socket::RelayId>,
    every: Duration,
    answers: &mpsc::Sender<Result<proto::ListRelaysResponse, Status>>,
) {
    let mut due = interval(every);
    // One who reads slowly gets fewer answers, not old ones.
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = answers.closed() => return,
        }
        let mut relays = sockets.list("");
        relays.retain(|view| id.is_none_or(|id| view.relay.id == id));
        let is_over = id.is_some() && relays.is_empty();
        match answers.send_timeout(Ok(listed(relays)), WRITE_STALL).await {
            Ok(()) if is_over => return,
            Ok(()) => {}
            Err(SendTimeoutError::Closed(_) | SendTimeoutError::Timeout(_)) => return,
        }
    }
}

fn listed(relays: Vec<RelayView>) -> proto::ListRelaysResponse {
    proto::ListRelaysResponse { relays: relays.into_iter().map(relay).collect() }
}

fn relay(view: RelayView) -> proto::Relay {
    let RelayView { relay, ip, sides, drops } = view;
    proto::Relay {
        id: relay.id.to_string(),
        owner: relay.owner,
        label: relay.label,
        default: relay.is_default,
        protocol: PROTOCOL.to_owned(),
        ip: ip.to_string(),
        port1: port_text(relay.ports[0]),
        port2: port_text(relay.ports[1]),
        token: relay.token.as_str().to_owned(),
        require_token: relay.require_token,
        idle_secs: int(relay.idle.as_secs()),
        max_packets: int(relay.limits.max_packets),
        max_bytes: int(relay.limits.max_bytes),
        max_packets_per_sec: int(relay.limits.max_packets_per_sec),
        max_bytes_per_sec: int(relay.limits.max_bytes_per_sec),
        started_ms: time(relay.started),
        ends_ms: relay.ends.map(time),
        sides: sides.into_iter().map(side).collect(),
        drops: drops
            .into_iter()
            .map(|(reason, packets)| proto::RelayDrops { reason: reason.to_owned(), packets: int(packets) })
            .collect(),
    }
}

fn side(side: SideSnapshot) -> proto::RelaySide {
    proto::RelaySide {
        source: side.source.map(|source| source.to_string()).unwrap_or_default(),
        firm: side.is_firm,
        learned_ms: side.learned.map(time),
        last_heard_ms: side.last_heard.map(time),
        packets: int(side.packets),
        bytes: int(side.bytes),
    }
}

fn connection(view: ConnectionView) -> proto::Connection {
    proto::Connection {
        id: view.id.to_string(),
        event_id: view.event_id,
        pubkey: view.from.to_string(),
        local: view.local.to_string(),
        remote: view.remote.to_string(),
        state: view.state.as_str().to_owned(),
        opened_ms: time(view.opened),
        last_heard_ms: view.last_heard.map(time),
        program: view.program.map(|program| program.to_string()).unwrap_or_default(),
        packets_out: int(view.packets_out),
        packets_in: int(view.packets_in),
    }
}

fn time(time: UnixMillis) -> i64 {
    int(time.0)
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_asked_for_within_bounds() {
        assert_eq!(watch_interval(0), Ok(Duration::from_secs(1)));
        assert_eq!(watch_interval(100), Ok(Duration::from_millis(100)));
        for bad in [-1, 99, 60_001, i64::MIN] {
            let error = watch_interval(bad).unwrap_err();
            assert!(error.to_string().starts_with("interval_ms: "), "{error}");
        }
    }
}
