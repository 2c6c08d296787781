//! TCP between hosts that no route joins.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Namespace;

/// Pause after a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes connections on one host and makes them on another. Ends when dropped.
#[derive(Debug)]
pub struct Forward {
    task: JoinHandle<()>,
}

impl Forward {
    /// Takes what comes to `at` on the one host to `target`, as the other host sees it. Must be called in a tokio runtime.
    pub fn start(from: (&Namespace, SocketAddr), into: (&Namespace, SocketAddr)) -> io::Result<Self> {
        let listener = from.0.listen(from.1)?;
        let (host, target) = (into.0.clone(), into.1);
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((taken, _)) => {
                        tokio::spawn(carry(taken, host.clone(), target));
                    }
                    // One that was given up meanwhile, or too many files that are open for the moment.
                    Err(error) => {
                        tracing::debug!(%error, "a connection is not taken");
                        sleep(PAUSE).await;
                    }
                }
            }
        });
        Ok(Self { task })
    }
}

async fn carry(mut taken: TcpStream, host: Namespace, target: SocketAddr) {
    // Where nobody listens, the connection that was taken ends, as the one that was to be made.
    let Ok(socket) = host.tcp() else { return };
    if let Ok(mut made) = socket.connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut taken, &mut made).await;
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}
