//! The bytes of one connection, bounded in time.
//!
//! A reader that stands still would hold its connection, and what is to be sent on it, for ever; and a node that stops
//! must be able to let go of connections that do not end by themselves.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::WRITE_STALL;
use super::link::{Link, Peer};
use super::serve::{HEAD_TIMEOUT, Permit};

/// Later than the close frame that a stalled websocket gets; the limit for all other answers.
const LINE_STALL: Duration = WRITE_STALL.saturating_add(Duration::from_secs(10));

/// A stream that fails once the other end has taken nothing of a write for [`LINE_STALL`], has sent no beginning for
/// [`HEAD_TIMEOUT`] where that is asked for, or when it is cut.
pub(super) struct Line<S = Link> {
    stream: S,
    opening: Option<Opening>,
    stalled: Option<Pin<Box<Sleep>>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Counts the connection as long as it lives.
    _permit: Option<Permit>,
}

/// A connection whose other end has yet to say something.
struct Opening {
    bytes_left: usize,
    deadline: Pin<Box<Sleep>>,
}

impl<S> Line<S> {
    pub(super) fn new(stream: S, cut: CancellationToken) -> Self {
        Self { stream, opening: None, stalled: None, cut: Box::pin(cut.cancelled_owned()), _permit: None }
    }

    pub(super) fn holding(self, permit: Permit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    /// Has the other end send so many bytes within [`HEAD_TIMEOUT`].
    pub(super) fn opened_by(self, bytes: usize) -> Self {
        let deadline = Box::pin(sleep(HEAD_TIMEOUT));
        Self { opening: Some(Opening { bytes_left: bytes, deadline }), ..self }
    }

    /// Watches that the other end begins, where a read of it brought `read` bytes or has to wait.
    fn watch_opening(&mut self, cx: &mut Context<'_>, read: Poll<usize>) -> Poll<io::Result<()>> {
        let Some(opening) = &mut self.opening else { return read.map(|_| Ok(())) };
        match read {
            Poll::Ready(bytes) => {
                opening.bytes_left = opening.bytes_left.saturating_sub(bytes);
                if opening.bytes_left == 0 {
                    self.opening = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => opening.deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }

    fn watch_write<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(LINE_STALL)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => self.watch_opening(cx, Poll::Ready(buf.filled().len() - before)),
            Poll::Pending => self.watch_opening(cx, Poll::Pending),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Line {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.stream.peer()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_after_the_limit() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let started = Instant::now();
        let error = Line::new(ours, CancellationToken::new()).write_all(b"12345").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= LINE_STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let reader = tokio::spawn(async move {
            let mut got = Vec::new();
            while got.len() < 5 {
                sleep(LINE_STALL / 2).await;
                got.push(theirs.read_u8().await.unwrap());
            }
            got
        });
        Line::new(ours, CancellationToken::new()).write_all(b"12345").await.unwrap();
        assert_eq!(reader.await.unwrap(), b"12345");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_too_little_is_let_go_and_who_has_begun_may_be_silent() {
        for begun in [0, 23] {
            let (ours, mut theirs) = tokio::io::duplex(64);
            theirs.write_all(&vec![b'x'; begun]).await.unwrap();
            let mut line = Line::new(ours, CancellationToken::new()).opened_by(24);
            let started = Instant::now();
            let error = line.read_exact(&mut [0; 24]).await.unwrap_err();
            assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, HEAD_TIMEOUT));
        }
        let (ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(&[b'x'; 24]).await.unwrap();
        let mut line = Line::new(ours, CancellationToken::new()).opened_by(24);
        line.read_exact(&mut [0; 24]).await.unwrap();
        let silence = tokio::time::timeout(HEAD_TIMEOUT * 10, line.read_u8()).await;
        assert!(silence.is_err(), "it is still read from");
    }

    #[tokio::test]
    async fn a_line_that_is_cut_ends_a_read_under_way() {
        let (ours, _theirs) = tokio::io::duplex(1);
        let cut = CancellationToken::new();
        let mut line = Line::new(ours, cut.clone());
        let read = tokio::spawn(async move { line.read_u8().await });
        cut.cancel();
        assert_eq!(read.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
