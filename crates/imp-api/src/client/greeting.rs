//! Connections that note whether the other end greets as a server of HTTP/2 does.
//!
//! A port that serves something else, such as a node's REST, drops the connection or answers with what HTTP/2 cannot
//! read: by the error alone that cannot be told from a node that went away during a call.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Error};
use tower::ServiceExt as _;

/// Where the header of a frame holds its type (RFC 9113, section 4.1).
const TYPE_AT: usize = 3;

/// The type of the frame that a server sends first (RFC 9113, section 3.4).
const SETTINGS: u8 = 0x04;

/// Whether a server of HTTP/2 has greeted on any connection so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Greeting(Arc<AtomicBool>);

impl Greeting {
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Connects to the endpoint by TCP.
    pub(super) async fn connect_tcp(&self, endpoint: &Endpoint) -> Result<Channel, Error> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(super::CONNECT_TIMEOUT));
        let greeting = self.clone();
        let heard = tcp.map_response(move |stream| TokioIo::new(Heard::new(stream.into_inner(), greeting)));
        endpoint.connect_with_connector(heard).await
    }

    /// Connects to the endpoint by a unix socket.
    pub(super) async fn connect_unix(&self, endpoint: &Endpoint, path: &str) -> Result<Channel, Error> {
        let (path, greeting) = (path.to_owned(), self.clone());
        let connector = tower::service_fn(move |_| {
            let (path, greeting) = (path.clone(), greeting.clone());
            async move {
                let stream = UnixStream::connect(path).await?;
                Ok::<_, io::Error>(TokioIo::new(Heard::new(stream, greeting)))
            }
        });
        endpoint.connect_with_connector(connector).await
    }
}

/// A stream whose first bytes are looked at.
struct Heard<S> {
    stream: S,
    greeting: Greeting,
    /// How many bytes have come, as far as that matters.
    seen: usize,
}

impl<S> Heard<S> {
    const fn new(stream: S, greeting: Greeting) -> Self {
        Self { stream, greeting, seen: 0 }
    }

    fn look_at(&mut self, came: &[u8]) {
        if let Some(at) = TYPE_AT.checked_sub(self.seen) {
            if came.get(at) == Some(&SETTINGS) {
                self.greeting.0.store(true, Ordering::Relaxed);
            }
            self.seen += came.len();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.look_at(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Whether these bytes, in pieces of a length, are a greeting.
    async fn greets(bytes: &[u8], piece: usize) -> bool {
        let mut script = in_pieces(bytes, piece);
        let greeting = Greeting::default();
        let mut heard = Heard::new(&mut script, greeting.clone());
        let mut read = Vec::new();
        heard.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes);
        greeting.came()
    }

    /// A stream that gives at most `piece` bytes at once.
    fn in_pieces(bytes: &[u8], piece: usize) -> impl AsyncRead + Unpin {
        bytes
            .chunks(piece)
            .fold(Box::new(tokio::io::empty()) as Box<dyn AsyncRead + Unpin>, |before, next| {
                Box::new(before.chain(io::Cursor::new(next.to_vec())))
            })
    }

    #[tokio::test]
    async fn a_server_of_http_2_is_told_from_others() {
        for piece in 1..=9 {
            assert!(greets(&[0, 0, 6, SETTINGS, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9], piece).await, "{piece}");
            assert!(!greets(b"HTTP/1.1 400 Bad Request\r\n\r\n\x04\x04\x04", piece).await, "{piece}");
            assert!(!greets(&[0, 0, 4], piece).await, "{piece}");
            assert!(!greets(&[SETTINGS, SETTINGS, SETTINGS, 7, SETTINGS], piece).await, "{piece}");
        }
        assert!(!greets(&[], 1).await);
    }
}
