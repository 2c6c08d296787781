//! What a person at a terminal sees while the node takes its time, and the end of waiting by Ctrl-C.

use std::future::{Future, pending};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use imp_api::client::ClientError;
use tokio::time::{Instant, interval_at};

use crate::failure::Failure;

/// Most calls are answered sooner, and a line that only flashes up disturbs.
const DELAY: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_secs(1);

/// Waits for an answer; if `shown` and at a terminal, with a line on standard error that says what is `doing`.
///
/// # Errors
/// Those of the call, or [`Failure::Interrupted`].
pub(crate) async fn wait<A>(
    doing: &str,
    shown: bool,
    call: impl Future<Output = Result<A, ClientError>>,
) -> Result<A, Failure> {
    let mut line = Line { is_drawn: false };
    let shown =
        shown && io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let started = Instant::now();
    let mut steps = interval_at(started + DELAY, STEP);
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    };
    tokio::pin!(call, interrupted);
    loop {
        tokio::select! {
            biased;
            answer = &mut call => return Ok(answer?),
            () = &mut interrupted => return Err(Failure::Interrupted),
            _ = steps.tick(), if shown => line.draw(&format!("{doing}: {} s", started.elapsed().as_secs())),
        }
    }
}

/// A line that is written over, and gone when this is dropped.
struct Line {
    is_drawn: bool,
}

impl Line {
    /// If the terminal cannot be written there is nobody to tell.
    fn draw(&mut self, text: &str) {
        self.is_drawn = true;
        let _ = write!(io::stderr().lock(), "\r{text}\x1b[K");
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_drawn {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
