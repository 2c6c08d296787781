//! The owner's socket: `imp.sock` in the data directory, for REST, websocket and gRPC alike.
//!
//! Who can open it is decided by the file system: the directory and the socket are the daemon's user's alone. So calls for
//! the owner are answered there, and the name in `Host` does not matter. Pages of other sites stay out even if the owner
//! leads a web server to it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::link::Link;
use super::serve::{ACCEPT_PAUSE, Connections, HEAD_TIMEOUT, Permit, Place};
use super::{Edge, grpc};

/// The file's name in the data directory.
pub const FILE_NAME: &str = "imp.sock";

/// Connections at once. Further ones wait in the socket's queue.
const MAX_CONNECTIONS: usize = 100;

/// What HTTP/2 begins with (RFC 9113, section 3.4) and HTTP/1 cannot.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest path that the system takes for a socket (`sun_path` less its final zero).
const MAX_PATH_BYTES: usize = 107;

/// Why there is no socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The system has a limit.
    #[error(
        "the path {} has {} bytes and a socket's may have {MAX_PATH_BYTES}; name a shorter data_dir to have one",
        .path.display(), .path.as_os_str().len()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{} is no socket; move it away to have one", .path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{} cannot be made: {source}", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The socket. Dropped, it removes its file.
#[derive(Debug)]
pub struct OwnerSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl OwnerSocket {
    /// Makes the socket in a data directory that is closed to other users and whose lock this process holds: a socket that
    /// is there already is one that a dead daemon left.
    ///
    /// # Errors
    ///
    /// [`SocketError`]; the node can do without.
    pub fn bind(dir: &Path) -> Result<Self, SocketError> {
        let path = dir.join(FILE_NAME);
        let failed = |source| SocketError::Io { path: path.clone(), source };
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return Err(SocketError::TooLong { path });
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path).map_err(failed)?,
            Ok(_) => return Err(SocketError::Occupied { path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        let socket = Self { listener, path };
        // Nobody else can have come in between: the directory is closed.
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&socket.path, mode)
            .map_err(|source| SocketError::Io { path: socket.path.clone(), source })?;
        Ok(socket)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted on the owner's socket");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for OwnerSocket {
    fn drop(&mut self) {
        // If it cannot be removed, the next start does.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves until the node stops, then lets what is under way finish for at most `grace`.
pub async fn serve(socket: OwnerSocket, edge: &Edge, router: Router, routes: Routes, grace: Duration) {
    let connections = Connections::new(MAX_CONNECTIONS, edge, "owner");
    let (to_grpc, incoming) = mpsc::channel(1);
    let http = async {
        let accepting = async {
            loop {
                let place = connections.place().await;
                let stream = socket.accept().await;
                let (router, shutdown) = (router.clone(), edge.shutdown.clone());
                let to_grpc = to_grpc.clone();
                connections.spawn(place, move |place| sort(stream, place, router, shutdown, to_grpc));
            }
        };
        edge.shutdown.run_until_cancelled(accepting).await;
        drop((socket, to_grpc));
        connections.end(grace, "the owner's socket").await;
    };
    let ((), served) =
        tokio::join!(http, grpc::serve_links(edge, ReceiverStream::new(incoming), routes, grace));
    if let Err(error) = served {
        tracing::error!("gRPC on the owner's socket: {error}");
    }
}

/// Brings a connection to what it speaks.
async fn sort(
    mut stream: UnixStream,
    place: Place,
    router: Router,
    shutdown: CancellationToken,
    to_grpc: mpsc::Sender<(Link, Permit)>,
) {
    let first = shutdown.run_until_cancelled(timeout(HEAD_TIMEOUT, first_bytes(&mut stream))).await;
    let Some(Ok(Ok(first))) = first else { return };
    let is_http2 = first.as_ref() == HTTP2_PREFACE;
    let link = Link::unix(stream, first);
    if is_http2 {
        // Nobody takes it once the node stops.
        let _ = to_grpc.send((link, place.into_permit())).await;
    } else {
        place.serve_http(link, router, shutdown).await;
    }
}

/// Reads until it is clear whether HTTP/2 is spoken.
async fn first_bytes(stream: &mut UnixStream) -> io::Result<Bytes> {
    let mut first = BytesMut::with_capacity(HTTP2_PREFACE.len());
    while first.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&first) {
        let mut rest = [0; HTTP2_PREFACE.len()];
        let length = stream.read(&mut rest[first.len()..]).await?;
        if length == 0 {
            break;
        }
        let read = first.len()..first.len() + length;
        first.extend_from_slice(&rest[read]);
    }
    Ok(first.freeze())
}
