//! Listening: connections, their limits and their end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::line::Line;

/// Connections of one listener at once, websockets included. Further ones wait in the listener's queue. Both listeners
/// together leave room for the database and the Lightning node where a process may have 1,024 files open.
pub(super) const MAX_CONNECTIONS: usize = 400;

/// How long a connection may be idle, or take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Header lines of a request, in number and in bytes.
const MAX_HEADERS: usize = 200;
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long to wait before the next try when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connection that a request came by; every request has it as an extension.
#[derive(Debug, Clone)]
pub struct Connection {
    /// This end.
    pub local_addr: Option<SocketAddr>,
    /// The other end.
    pub remote_addr: Option<SocketAddr>,
    tasks: TaskTracker,
    kill: CancellationToken,
    /// Held as long as anything of the connection lives, a websocket included.
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Connection {
    /// Runs what goes on after an upgrade, as part of the connection: counted, waited for at the end, and cut off where
    /// it takes too long.
    pub(super) async fn hold(self, work: impl Future<Output = ()>) {
        let kill = self.kill.clone();
        let work = self.tasks.track_future(async {
            tokio::select! {
                () = work => {}
                () = kill.cancelled() => {}
            }
        });
        work.await;
    }
}

/// Serves until `shutdown`, then lets what is under way finish for at most `grace`.
pub async fn http(listener: TcpListener, router: Router, shutdown: CancellationToken, grace: Duration) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = TaskTracker::new();
    let kill = CancellationToken::new();
    let accepting = async {
        loop {
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (stream, remote_addr) = accept(&listener).await;
            let connection = Connection {
                local_addr: stream.local_addr().ok(),
                remote_addr: Some(remote_addr),
                tasks: tasks.clone(),
                kill: kill.clone(),
                _permit: Arc::new(permit),
            };
            let (router, shutdown, kill) = (router.clone(), shutdown.clone(), kill.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = serve(stream, connection, router, shutdown) => {}
                    // A handler that runs on has no use for the line, so that cutting this would not end it.
                    () = kill.cancelled() => {}
                }
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    tasks.close();
    if timeout(grace, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "HTTP connections are cut off: they did not end in time");
        kill.cancel();
        tasks.wait().await;
    }
}

/// The next connection.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, remote_addr)) => {
                // An answer is one small write; waiting for more would only delay it. If it cannot be set, nothing breaks.
                let _ = stream.set_nodelay(true);
                return (stream, remote_addr);
            }
            // The client has gone already.
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn serve(stream: TcpStream, connection: Connection, router: Router, shutdown: CancellationToken) {
    let line = Line::new(stream, connection.kill.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(line), service)
        .with_upgrades();
    tokio::pin!(served);
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = shutdown.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}
