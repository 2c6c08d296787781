//! A typed client: one method for each RPC, over plaintext HTTP/2, by TCP or by a unix socket.

mod calls;
mod greeting;

use std::error::Error as _;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};
use tonic::{ConnectError, Status, Streaming};

use self::greeting::Greeting;
use crate::error::StatusBody;
use crate::proto::imp::socket::v1::relays_client::RelaysClient;
use crate::proto::imp::socket::v1::{ListRelaysResponse, WatchRelaysRequest};
use crate::proto::websocket::websocket_client::WebsocketClient;
use crate::proto::websocket::{SubscribeRequest, SubscribeResponse};

/// Where a node serves gRPC unless it is told otherwise.
pub const DEFAULT_ADDR: &str = "127.0.0.1:8881";

/// Metadata of a subscription's answer: the cursor that it stands at, so that one that breaks before its first event
/// can be resumed without a gap.
pub const CURSOR_METADATA: &str = "imp-cursor";

/// Metadata of a call that pays, and the header of its REST form: the name under which it may be repeated.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The largest answer that is read: 64 MiB.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that went away without a word is noticed within the sum of both.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a call has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is none.
    #[error("{addr:?} is no address: give host:port, such as {DEFAULT_ADDR}, or unix:PATH")]
    Address {
        /// The address as given.
        addr: String,
    },
    /// Nothing was sent, for nobody listens there.
    #[error("no IMP node answers at {addr}: is impd running?")]
    NotReachable {
        /// Host and port, or `unix:` and the path.
        addr: String,
        /// What the network said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection ended before the answer. What was asked for may have been done all the same.
    #[error("the connection to the IMP node at {addr} broke before it answered")]
    Lost {
        /// Host and port, or `unix:` and the path.
        addr: String,
        /// Whether a server of HTTP/2 has ever greeted this client there. Where none has, it is most likely no gRPC port.
        greeted: bool,
        /// What the network said.
        #[source]
        source: Box<Status>,
    },
    /// The node answered with an error.
    #[error("{0}")]
    Refused(Box<StatusBody>),
}

/// A connection to a node. Clones share it; it is made anew when it was lost.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    addr: String,
    greeting: Greeting,
}

impl Client {
    /// Connects to a node's gRPC address: `host:port`, or `unix:` and the path of a socket.
    ///
    /// # Errors
    /// [`ClientError::Address`], or [`ClientError::NotReachable`] after five seconds at most.
    pub async fn connect(addr: &str) -> Result<Self, ClientError> {
        let (addr, endpoint) =
            endpoint(addr).ok_or_else(|| ClientError::Address { addr: addr.to_owned() })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let greeting = Greeting::default();
        let connected = match addr.strip_prefix("unix:") {
            Some(path) => greeting.connect_unix(&endpoint, path).await,
            None => greeting.connect_tcp(&endpoint).await,
        };
        match connected {
            Ok(channel) => Ok(Self { channel, addr, greeting }),
            Err(error) => Err(ClientError::NotReachable { addr, source: error.into() }),
        }
    }

    /// The node's address: `host:port`, or `unix:` and the path of a socket.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// The events of the node, from now on or from a cursor. The subscription stands when this returns.
    ///
    /// # Errors
    /// [`ClientError`]; later ones come out of the stream.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<Events, ClientError> {
        let mut client =
            WebsocketClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = client.subscribe(request).await.map_err(|status| self.error(status))?;
        let position =
            answer.metadata().get(CURSOR_METADATA).and_then(|cursor| cursor.to_str().ok()?.parse().ok());
        Ok(Events { stream: answer.into_inner(), client: self.clone(), position })
    }

    /// The relays that run, now and again at each interval. Errors come out of the stream.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch_relays(
        &self,
        request: WatchRelaysRequest,
    ) -> Result<Streaming<ListRelaysResponse>, ClientError> {
        let mut client = RelaysClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let answer = client.watch_relays(request).await.map_err(|status| self.error(status))?;
        Ok(answer.into_inner())
    }

    /// Statuses that tonic makes of a broken connection have a source; those that a node sent have none.
    fn error(&self, status: Status) -> ClientError {
        let mut source = status.source();
        if source.is_none() {
            return ClientError::Refused(Box::new(StatusBody::from(&status)));
        }
        let addr = self.addr.clone();
        while let Some(error) = source {
            if error.is::<ConnectError>() {
                return ClientError::NotReachable { addr, source: status.into() };
            }
            source = error.source();
        }
        ClientError::Lost { addr, greeted: self.greeting.came(), source: Box::new(status) }
    }
}

/// An address as it is shown, and where it leads; nothing if it is none.
fn endpoint(addr: &str) -> Option<(String, Endpoint)> {
    if let Some(path) = addr.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.contains('\0') {
            return None;
        }
        let addr = format!("unix:{path}");
        let endpoint = Endpoint::from_shared(addr.clone()).ok()?;
        // A socket has no host, and HTTP needs one: the name that every node lets in.
        return Some((addr, endpoint.origin(Uri::from_static("http://localhost"))));
    }
    let authority = addr.strip_prefix("http://").unwrap_or(addr).trim_end_matches('/');
    let authority: Authority = authority.parse().ok()?;
    if authority.port_u16().is_none() || authority.as_str().contains('@') {
        return None;
    }
    Some((authority.to_string(), Endpoint::from_shared(format!("http://{authority}")).ok()?))
}

/// A running subscription.
#[derive(Debug)]
pub struct Events {
    stream: Streaming<SubscribeResponse>,
    client: Client,
    position: Option<i64>,
}

impl Events {
    /// The next event; nothing when the node ended the stream. Cancel-safe: an event that was not returned is returned
    /// by the next call.
    ///
    /// # Errors
    /// [`ClientError`]; the subscription has ended then.
    pub async fn next(&mut self) -> Result<Option<SubscribeResponse>, ClientError> {
        let event = self.stream.message().await.map_err(|status| self.client.error(status))?;
        if let Some(cursor) = event.as_ref().and_then(|event| event.cursor) {
            self.position = Some(cursor);
        }
        Ok(event)
    }

    /// The cursor after which a new subscription would go on where this one is; nothing if the node did not say.
    pub const fn position(&self) -> Option<i64> {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_is_none_is_told_so() {
        for addr in [
            "",
            "127.0.0.1",
            "nonsense here:1",
            "https://127.0.0.1:1",
            "a@b:1",
            "127.0.0.1:99999",
            "/x",
            "unix:",
            "unix://",
        ] {
            let error = Client::connect(addr).await.expect_err(addr);
            assert!(matches!(error, ClientError::Address { .. }), "{addr}: {error}");
        }
    }

    #[tokio::test]
    async fn a_node_that_does_not_run_is_told_so() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for addr in [format!("{free}"), format!("http://{free}/")] {
            let error = Client::connect(&addr).await.unwrap_err();
            assert_eq!(error.to_string(), format!("no IMP node answers at {free}: is impd running?"));
        }
        for addr in ["unix:/nowhere/imp.sock", "unix:///nowhere/imp.sock"] {
            let error = Client::connect(addr).await.unwrap_err();
            assert!(matches!(error, ClientError::NotReachable { .. }));
            let expected = "no IMP node answers at unix:/nowhere/imp.sock: is impd running?";
            assert_eq!(error.to_string(), expected);
        }
    }
}
