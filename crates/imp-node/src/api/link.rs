//! What a connection goes over, and who may be at its other end.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Whom a request came from; every request has it as an extension, whatever edge it came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on the network.
    Tcp {
        /// The other end, if the system knows it.
        remote: Option<SocketAddr>,
    },
    /// Whoever may open the socket in the data directory: the user that the daemon runs as, and root.
    OwnerSocket,
}

impl Peer {
    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        match self {
            // An IPv4 client of a listener on `::` has a mapped address.
            Self::Tcp { remote } => remote.is_some_and(|peer| peer.ip().to_canonical().is_loopback()),
            Self::OwnerSocket => true,
        }
    }
}

/// The bytes of a connection.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    /// What was read already, to see what the other end speaks.
    read_ahead: Bytes,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Link {
    pub(super) fn tcp(stream: TcpStream) -> Self {
        Self { stream: Stream::Tcp(stream), read_ahead: Bytes::new() }
    }

    /// A connection of which `read_ahead` was read already.
    pub(super) fn unix(stream: UnixStream, read_ahead: Bytes) -> Self {
        Self { stream: Stream::Unix(stream), read_ahead }
    }

    pub(super) fn peer(&self) -> Peer {
        match &self.stream {
            Stream::Tcp(stream) => Peer::Tcp { remote: stream.peer_addr().ok() },
            Stream::Unix(_) => Peer::OwnerSocket,
        }
    }
}

/// Hands a call on to whichever stream it is.
macro_rules! of_stream {
    ($link:expr, $method:ident($($argument:expr),*)) => {
        match &mut $link.stream {
            Stream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Stream::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.has_remaining() {
            let length = self.read_ahead.len().min(buf.remaining());
            buf.put_slice(&self.read_ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        of_stream!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        of_stream!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_stream!(self, poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_stream!(self, poll_shutdown(cx))
    }
}
