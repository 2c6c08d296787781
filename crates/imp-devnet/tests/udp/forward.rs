//! TCP between hosts that no route joins: what is needed besides UDP goes this way, and not through the relay.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::internet::Internet;
use crate::namespaces::Namespace;

/// Takes connections on one host and makes them on another. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    task: JoinHandle<()>,
}

/// Picks a host.
pub(crate) type Host = fn(&Internet) -> &Namespace;

impl Forward {
    /// Takes what comes to `at` on the one host to `target`, as the other host sees it.
    pub(crate) fn start(net: &Arc<Internet>, from: (Host, SocketAddr), into: (Host, SocketAddr)) -> Self {
        let ((taking, at), (making, target)) = (from, into);
        let listener = taking(net).listen(at).unwrap_or_else(|error| panic!("{at}: {error}"));
        let net = Arc::clone(net);
        let task = tokio::spawn(async move {
            while let Ok((mut taken, _)) = listener.accept().await {
                let net = Arc::clone(&net);
                tokio::spawn(async move {
                    let made = tokio::task::spawn_blocking(move || making(&net).connect(target)).await;
                    // Nobody listens there: the connection that was taken ends, as the one that was to be made.
                    if let Ok(Ok(made)) = made
                        && let Ok(mut made) = TcpStream::from_std(made)
                    {
                        let _ = tokio::io::copy_bidirectional(&mut taken, &mut made).await;
                    }
                });
            }
        });
        Self { task }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
