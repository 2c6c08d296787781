//! Whether a device still works.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::sync::watch;

/// Ends once, told by whichever part of a device notices first. Clones are the same life.
#[derive(Clone, Debug)]
pub(super) struct Life {
    name: Arc<str>,
    alive: watch::Sender<bool>,
}

impl Life {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), alive: watch::Sender::new(true) }
    }

    /// Whether an error of the interface is one that stays.
    pub(super) fn is_deadly(&self, error: &io::Error) -> bool {
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::BADFD | Errno::BADF | Errno::NODEV))
    }

    /// The device has failed.
    pub(super) fn end(&self, error: &io::Error) {
        if self.alive.send_replace(false) {
            tracing::warn!(interface = %self.name, %error, "a tunnel has failed");
        }
    }

    /// The device is taken away.
    pub(super) fn finish(&self) {
        self.alive.send_replace(false);
    }

    pub(super) fn is_over(&self) -> bool {
        !*self.alive.borrow()
    }

    /// Waits for the end.
    pub(super) async fn over(&self) {
        // There is a sender as long as there is this.
        let _ = self.alive.subscribe().wait_for(|alive| !alive).await;
    }
}
