//! The local end of another node's relay: a port for a plain program, and what keeps the relay open for it.

mod task;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use imp_core::relay::{KeepAlive, KeepAliveState, canonical};
use imp_core::socket::Token;
use imp_core::time::UnixMillis;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use self::task::{Far, Task};
use super::engine::{Engine, Place};
use super::sockets::Socket;

/// Which relay to join, and where the local program is to send.
#[derive(Clone, Debug)]
pub struct ConnectionSpec {
    /// The relay's address and port. Whether it may be sent to is for the caller to say.
    pub remote: SocketAddr,
    /// The port on 127.0.0.1 for the local program; nothing for one that is free.
    pub local_port: Option<u16>,
    /// What the relay was offered with. Without, keep-alives are empty packets.
    pub token: Option<Token>,
}

/// Why a relay cannot be joined.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The local port is taken.
    #[error("cannot bind UDP port {port} on 127.0.0.1: choose another one, or none")]
    Taken {
        /// Which.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no socket.
    #[error("cannot open a socket to reach {remote}")]
    Io {
        /// The relay's address and port.
        remote: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A local end that is open, or was. Clones are the same one; it is closed when the last of them is dropped.
#[derive(Clone, Debug)]
pub struct ConnectionHandle(Arc<Owner>);

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    /// Its threads run while anything is to run on them.
    engine: Engine,
    /// Stops the task when it is dropped.
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

/// What a connection's task and its handle share.
#[derive(Debug)]
struct Shared {
    local: SocketAddr,
    remote: SocketAddr,
    packets_out: AtomicU64,
    packets_in: AtomicU64,
    /// Written when one of them changes, for packets at most once in a batch.
    ends: Mutex<Ends>,
    is_closed: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    keep_alive: KeepAlive,
    program: Option<SocketAddr>,
}

/// A local end as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSnapshot {
    /// Where the local program sends to.
    pub local: SocketAddr,
    /// The relay.
    pub remote: SocketAddr,
    /// How it stands with the relay.
    pub state: KeepAliveState,
    /// When the relay was last heard.
    pub last_heard: Option<UnixMillis>,
    /// The local program: whoever sent last.
    pub program: Option<SocketAddr>,
    /// Packets from the program that went to the relay.
    pub packets_out: u64,
    /// Packets from the relay that went to the program.
    pub packets_in: u64,
}

impl ConnectionHandle {
    /// Where the local program sends to.
    pub fn local(&self) -> SocketAddr {
        self.0.shared.local
    }

    /// How it is now.
    pub fn snapshot(&self) -> ConnectionSnapshot {
        let Owner { shared, engine, .. } = &*self.0;
        let time = engine.time();
        let Ends { keep_alive, program } = *shared.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ConnectionSnapshot {
            local: shared.local,
            remote: shared.remote,
            state: keep_alive.state(time.now()),
            last_heard: keep_alive.last_heard().map(|heard| time.at(heard)),
            program,
            packets_out: shared.packets_out.load(Ordering::Relaxed),
            packets_in: shared.packets_in.load(Ordering::Relaxed),
        }
    }

    /// Waits until it is closed. Cancel-safe.
    pub async fn closed(&self) {
        let mut is_closed = self.0.shared.is_closed.subscribe();
        // The sender is in what the handle holds, so that it cannot be gone.
        let _ = is_closed.wait_for(|is_closed| *is_closed).await;
    }

    /// Closes it, if it is open. Its port is closed when this returns. Cancel-safe: it is closed all the same.
    pub async fn close(&self) {
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closed().await;
    }
}

/// Binds the sockets; what is returned must run in the runtime that is entered now.
pub(super) fn open(
    spec: ConnectionSpec,
    engine: &Engine,
    place: Place,
) -> Result<(ConnectionHandle, impl Future<Output = ()> + Send + use<>), ConnectError> {
    let port = spec.local_port.unwrap_or(0);
    let local = StdSocket::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(Socket::new)
        .map_err(|source| ConnectError::Taken { port, source })?;
    let remote = canonical(spec.remote);
    // Not connected to the relay: a change of this host's address would strand it.
    let any: SocketAddr =
        if remote.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let far = StdSocket::bind(any)
        .and_then(|socket| Far::new(socket, engine))
        .map_err(|source| ConnectError::Io { remote, source })?;
    let address = local.local_addr().map_err(|source| ConnectError::Taken { port, source })?;
    let keep_alive = KeepAlive::new(engine.time().now());
    let shared = Arc::new(Shared {
        local: address,
        remote,
        packets_out: AtomicU64::new(0),
        packets_in: AtomicU64::new(0),
        ends: Mutex::new(Ends { keep_alive, program: None }),
        is_closed: watch::Sender::new(false),
    });
    let (stop, stopped) = oneshot::channel();
    let task =
        Task::new(local, far, spec.token, keep_alive, Arc::clone(&shared), engine.time().clone(), place);
    let owner = Owner { shared, engine: engine.clone(), stop: Mutex::new(Some(stop)) };
    Ok((ConnectionHandle(Arc::new(owner)), task.run(stopped)))
}
