//! Any bytes from a client of the HTTP side: after a websocket handshake, or instead of one. The connection ends with
//! its client, or at the latest with the node, and what the node writes is well-formed to the last byte.

#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the daemon's own files, of which a part is driven")]

#[path = "websocket/api.rs"]
mod api;
#[path = "websocket/telemetry.rs"]
mod telemetry;

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use imp_api::proto::websocket::websocket_server::{Websocket, WebsocketServer};
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

const HANDSHAKE: &[u8] =
    b"GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// How long the node may take to see that its client is gone. It need not: one who has sent more than was answered is
/// seen to be gone at the next event.
const GONE: Duration = Duration::from_millis(50);

/// How long the node may take to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// A few events, and then none for ever.
struct Events;

#[tonic::async_trait]
impl Websocket for Events {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        if request.into_inner().after == Some(-1) {
            return Err(Status::out_of_range("let go"));
        }
        let event = |n: usize| Ok(SubscribeResponse { data: "x".repeat(n), ..Default::default() });
        let events = stream::iter([0, 200, 70_000].map(event)).chain(stream::pending());
        Ok(Response::new(events.boxed()))
    }
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    static ROUTES: Routes = Routes::new(WebsocketServer::new(Events)).prepare();
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let is_websocket = choice % 2 == 0;
    let said = if is_websocket { [HANDSHAKE, bytes].concat() } else { bytes.to_vec() };
    let answer = RUNTIME.with(|runtime| runtime.block_on(answer(&said)));
    if answer.is_empty() {
        // The client was gone before the node began to answer.
        return;
    }
    if is_websocket {
        let head =
            answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer to the handshake");
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        check_frames(&answer[head + 4..]);
    } else {
        assert!(answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
        let status = answer.get(9..12).expect("a status");
        assert!(!status.starts_with(b"5") || status == b"501", "{}", String::from_utf8_lossy(&answer));
    }
});

/// What the node writes to a client that says this and then no more.
async fn answer(said: &[u8]) -> Vec<u8> {
    let shutdown = CancellationToken::new();
    let edge = api::Edge::open(shutdown.clone());
    let router = api::rest::router(&edge, ROUTES.with(Routes::clone), axum::Router::new());
    let (client, server) = UnixStream::pair().expect("two sockets");
    let (mut reader, mut writer) = client.into_split();
    let talk = async move {
        // The node may hang up before it has heard all.
        let _ = writer.write_all(said).await;
        let _ = writer.shutdown().await;
    };
    let listen = async {
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
        answer
    };
    let served = api::serve_one(server, router, &edge);
    let all = async { tokio::join!(talk, listen, served).1 };
    tokio::pin!(all);
    if let Ok(answer) = tokio::time::timeout(GONE, all.as_mut()).await {
        return answer;
    }
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, all).await.expect("the connection ends with the node")
}

/// Server frames: whole, unmasked, of a kind that a server sends; nothing after a close. The last may be cut off, since the
/// client is gone.
fn check_frames(mut rest: &[u8]) {
    while let [first, second, after @ ..] = rest {
        assert!(second & 0x80 == 0, "servers do not mask");
        let (length_bytes, length) = match second {
            126 => (
                2,
                after.get(..2).map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
            ),
            127 => (
                8,
                after.get(..8).map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))),
            ),
            short => (0, Some(usize::from(*short))),
        };
        let Some(payload) = length.and_then(|length| after.get(length_bytes..length_bytes + length)) else {
            return;
        };
        rest = &after[length_bytes + payload.len()..];
        match first {
            0x81 => assert!(serde_json::from_slice::<serde_json::Value>(payload).is_ok()),
            0x88 => assert!(payload.len() != 1 && rest.is_empty(), "a close is the last frame"),
            0x8a => assert!(payload.len() <= 125),
            other => panic!("a frame of the kind {other:#x}"),
        }
    }
}
