//! Listening: connections, their limits and their end.

use std::future::Future;
use std::io;
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

use super::Edge;
use super::line::Line;
use super::link::{Link, Peer};
use crate::telemetry::metrics::{Metrics, Open};

/// Connections of one listener at once, websockets included. Further ones wait in the listener's queue. All listeners
/// together leave room for the database and the Lightning node where a process may have 1,024 files open.
pub(super) const MAX_CONNECTIONS: usize = 400;

/// How long a connection may be idle, or take to send the head of a request.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Header lines of a request, in number and in bytes.
const MAX_HEADERS: usize = 200;
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How long to wait before the next try when the process has no file descriptor left.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connection that a request came by; every request has it as an extension.
#[derive(Debug, Clone)]
pub struct Connection {
    tasks: TaskTracker,
    kill: CancellationToken,
    /// Held as long as anything of the connection lives, a websocket included.
    _permit: Arc<Permit>,
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

/// The connections of a listener.
pub(super) struct Connections {
    permits: Arc<Semaphore>,
    metrics: Metrics,
    listener: &'static str,
    tasks: TaskTracker,
    kill: CancellationToken,
}

/// The place of one connection among those that there may be at once.
pub(super) struct Place {
    permit: OwnedSemaphorePermit,
    metrics: Metrics,
    listener: &'static str,
    tasks: TaskTracker,
    kill: CancellationToken,
}

/// Counts a connection as long as it lives: among those that there may be, and for `/metrics`.
#[derive(Debug)]
pub(super) struct Permit {
    _among: OwnedSemaphorePermit,
    _open: Open,
}

impl Connections {
    pub(super) fn new(max: usize, edge: &Edge, listener: &'static str) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max)),
            metrics: edge.metrics.clone(),
            listener,
            tasks: TaskTracker::new(),
            kill: CancellationToken::new(),
        }
    }

    /// Waits until there may be one more.
    pub(super) async fn place(&self) -> Place {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (tasks, kill) = (self.tasks.clone(), self.kill.clone());
        Place { permit, metrics: self.metrics.clone(), listener: self.listener, tasks, kill }
    }

    /// Runs a connection until it ends or is cut off.
    pub(super) fn spawn<F>(&self, place: Place, connection: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (kill, connection) = (self.kill.clone(), connection(place));
        self.tasks.spawn(async move {
            tokio::select! {
                () = connection => {}
                // A handler that runs on has no use for the line, so that cutting this would not end it.
                () = kill.cancelled() => {}
            }
        });
    }

    /// Lets connections finish for at most `grace`, then cuts them off.
    pub(super) async fn end(&self, grace: Duration, listener: &'static str) {
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_err() {
            let connections = self.tasks.len();
            tracing::warn!(connections, listener, "HTTP connections are cut off: they did not end in time");
            self.kill.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Place {
    /// What counts the connection.
    pub(super) fn into_permit(self) -> Permit {
        Permit { _among: self.permit, _open: self.metrics.connection(self.listener) }
    }

    /// Serves HTTP/1 until the connection ends.
    pub(super) async fn serve_http(self, link: Link, router: Router, shutdown: CancellationToken) {
        let peer = link.peer();
        let line = Line::new(link, self.kill.clone());
        let (tasks, kill) = (self.tasks.clone(), self.kill.clone());
        let connection = Connection { tasks, kill, _permit: Arc::new(self.into_permit()) };
        serve(line, peer, connection, router, shutdown).await;
    }
}

/// Serves until the node stops, then lets what is under way finish for at most `grace`.
pub async fn http(edge: &Edge, listener: TcpListener, router: Router, grace: Duration) {
    let connections = Connections::new(MAX_CONNECTIONS, edge, "http");
    let accepting = async {
        loop {
            let place = connections.place().await;
            let link = Link::tcp(accept(&listener).await);
            let (router, shutdown) = (router.clone(), edge.shutdown.clone());
            connections.spawn(place, move |place| place.serve_http(link, router, shutdown));
        }
    };
    edge.shutdown.run_until_cancelled(accepting).await;
    drop(listener);
    connections.end(grace, "http").await;
}

/// The next connection.
pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer is one small write; waiting for more would only delay it. If it cannot be set, nothing breaks.
                let _ = stream.set_nodelay(true);
                return stream;
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

async fn serve(line: Line, peer: Peer, connection: Connection, router: Router, shutdown: CancellationToken) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        request.extensions_mut().insert(peer);
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
