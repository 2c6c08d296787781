//! The websocket: one text frame for each event.
//!
//! What the client sends is ignored, but always read: that answers pings and the close handshake, also while a write is
//! under way. A client that breaks the protocol is told how (RFC 6455, section 7.4.1). The server sends no pings, and
//! leaves idle sockets alone.

use std::time::Duration;

use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{CloseCode, CloseFrame, Message, WebSocket, close_code};
use axum::response::Response;
use futures_util::stream::SplitStream;
use futures_util::{FutureExt, Sink, SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error as ProtocolError;
use tokio_util::sync::CancellationToken;

use imp_api::error::{Code, StatusBody};

use super::WRITE_STALL;
use super::serve::Connection;
use super::stream::{Frames, error_frame};

/// The largest message that is read from a client, only to be ignored.
const CLIENT_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of frames that are written before they are flushed, where as many are at hand, and one frame more.
const BATCH_BYTES: usize = 128 * 1024;

/// How long the client may take to answer a close frame.
const GOODBYE: Duration = Duration::from_secs(2);

/// The answer to a good handshake. `Bearer`, the one subprotocol that clients of 2021 could name, is echoed.
pub(super) fn accept(
    upgrade: WebSocketUpgrade,
    frames: Frames,
    shutdown: CancellationToken,
    connection: Option<Connection>,
) -> Response {
    let upgrade =
        upgrade.protocols(["Bearer"]).max_message_size(CLIENT_MAX_BYTES).max_frame_size(CLIENT_MAX_BYTES);
    upgrade.on_upgrade(move |socket| async move {
        let run = run(socket, frames, shutdown);
        match connection {
            Some(connection) => connection.hold(run).await,
            None => run.await,
        }
    })
}

async fn run(socket: WebSocket, frames: Frames, shutdown: CancellationToken) {
    let (mut sink, mut source) = socket.split();
    let close = tokio::select! {
        ended = ignore(&mut source) => match ended {
            Some(fault) => fault,
            None => return,
        },
        close = tell(&mut sink, frames, &shutdown) => close,
    };
    if let Ok(Ok(())) = timeout(GOODBYE, sink.send(Message::Close(Some(close)))).await {
        let _ = timeout(GOODBYE, ignore(&mut source)).await;
    }
}

/// Reads until the client has closed or is gone, or has done what it may not: then with what to tell it.
async fn ignore(source: &mut SplitStream<WebSocket>) -> Option<CloseFrame> {
    loop {
        match source.next().await? {
            Ok(_) => {}
            Err(error) => return fault(error),
        }
    }
}

/// What a client is told whose bytes cannot be read; nothing where the connection is gone.
fn fault(error: axum::Error) -> Option<CloseFrame> {
    match *error.into_inner().downcast::<ProtocolError>().ok()? {
        ProtocolError::Protocol(_) | ProtocolError::AttackAttempt => {
            Some(close_frame(close_code::PROTOCOL, "this is no websocket frame that a client may send"))
        }
        ProtocolError::Utf8(_) => Some(close_frame(close_code::INVALID, "a text that is not UTF-8")),
        ProtocolError::Capacity(_) => Some(close_frame(close_code::SIZE, "a message over 4 MiB")),
        _ => None,
    }
}

/// Sends frames until there are no more, and says why that is so.
async fn tell(
    sink: &mut (impl Sink<Message> + Unpin),
    frames: Frames,
    shutdown: &CancellationToken,
) -> CloseFrame {
    let mut frames = frames.fuse();
    while let Some(first) = frames.next().await {
        let mut end = None;
        let write = async {
            let (mut next, mut bytes) = (Some(first), 0);
            while let Some(frame) = next {
                let text = frame.unwrap_or_else(|body| {
                    end = Some(close_frame(error_close_code(&body), "the events ended with an error"));
                    error_frame(&body)
                });
                bytes += text.len();
                sink.feed(Message::Text(text.into())).await?;
                let more = bytes < BATCH_BYTES && end.is_none();
                next = if more { frames.next().now_or_never().flatten() } else { None };
            }
            sink.flush().await
        };
        match timeout(WRITE_STALL, write).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return close_frame(close_code::ABNORMAL, ""),
            Err(_) => return close_frame(close_code::AGAIN, "nothing was read for 60 s"),
        }
        if let Some(end) = end {
            return end;
        }
    }
    if shutdown.is_cancelled() {
        close_frame(close_code::AWAY, "the node is stopping")
    } else {
        close_frame(close_code::NORMAL, "")
    }
}

fn close_frame(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

fn error_close_code(body: &StatusBody) -> CloseCode {
    match body.code {
        Code::Unavailable => close_code::AGAIN,
        code if code.http_status().is_client_error() => close_code::POLICY,
        _ => close_code::ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::stream;

    use super::*;

    /// A socket whose other end reads nothing.
    struct Stuck;

    impl Sink<Message> for Stuck {
        type Error = Infallible;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), Infallible> {
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_closed_after_a_minute() {
        let frames = stream::iter([Ok("{}".to_owned())]).chain(stream::pending()).boxed();
        let started = tokio::time::Instant::now();
        let close = tell(&mut Stuck, frames, &CancellationToken::new()).await;
        assert_eq!(close.code, 1013);
        assert_eq!(started.elapsed().as_secs(), WRITE_STALL.as_secs());
    }

    #[tokio::test]
    async fn the_close_code_tells_whose_fault_an_error_is() {
        for (code, expected) in [(Code::OutOfRange, 1008), (Code::Unavailable, 1013), (Code::Internal, 1011)]
        {
            let mut told = Vec::new();
            let frames = stream::iter([Err(StatusBody::new(code, "x"))]).boxed();
            let close = tell(&mut told, frames, &CancellationToken::new()).await;
            assert_eq!(close.code, expected, "{code}");
            assert!(matches!(&told[..], [Message::Text(text)] if text.starts_with(r#"{"error":{"code":"#)));
        }
    }
}
