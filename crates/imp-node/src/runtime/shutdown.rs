//! How the daemon ends: who asks for it, how long it may take, and what it tells its parent.

use std::io::{self, Write};
use std::process;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::tasks::{Failure, Tasks};

/// Longest time from the request to stop to the end of the process.
pub const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Exit codes of the daemon.
pub mod exit {
    /// It was asked to stop, and stopped.
    pub const CLEAN: u8 = 0;
    /// It could not start or go on.
    pub const FAILURE: u8 = 1;
    /// The configuration or the command line cannot be used (`EX_USAGE`).
    pub const CONFIG: u8 = 64;
    /// It was asked to stop and did not manage in time (`EX_TEMPFAIL`).
    pub const DEADLINE: u8 = 75;
}

/// Why the daemon stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// Somebody asked for it.
    Requested,
    /// A task ended that the daemon cannot be without.
    Failed(Failure),
}

/// The request to stop. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
}

impl Shutdown {
    /// A request that nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns SIGINT and SIGTERM into the request. A second signal ends the process at once with
    /// [`exit::FAILURE`]; so does, with [`exit::DEADLINE`], a stop that takes longer than `deadline`, which for the
    /// daemon is [`STOP_DEADLINE`]. Call it once, inside the runtime.
    pub fn listen(&self, deadline: Duration) -> io::Result<()> {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let requested = self.requested.clone();
        tokio::spawn(async move {
            tokio::select! {
                name = next(&mut interrupt, &mut terminate) => {
                    tracing::info!(signal = name, "asked to stop; a second signal ends the process at once");
                    requested.cancel();
                }
                () = requested.cancelled() => {}
            }
            watch_deadline(deadline);
            let name = next(&mut interrupt, &mut terminate).await;
            leave(exit::FAILURE, &format!("{name} again, leaving at once"));
        });
        Ok(())
    }

    /// Makes the request.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Whether the request was made.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Waits for the request. Safe to cancel.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Waits for a reason to stop: the request, or the end of an essential task, after which the request is made, so
    /// that the deadline runs. Safe to cancel.
    pub async fn wait(&self, tasks: &Tasks) -> StopCause {
        tokio::select! {
            biased;
            failure = tasks.failed() => {
                self.request();
                StopCause::Failed(failure)
            }
            () = self.requested() => StopCause::Requested,
        }
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}

/// Ends the process when `deadline` is over. A thread of its own, so that a runtime that is stuck cannot stop it.
fn watch_deadline(deadline: Duration) {
    let watch = move || {
        thread::sleep(deadline);
        leave(exit::DEADLINE, &format!("not stopped within {} ms, leaving", deadline.as_millis()));
    };
    if let Err(error) = thread::Builder::new().name("deadline".to_owned()).spawn(watch) {
        tracing::warn!(%error, "the stop goes without a deadline: no thread can be started");
    }
}

/// Ends the process without waiting for anything; the log may miss its last lines, so this one goes around it.
fn leave(code: u8, why: &str) -> ! {
    let _ = writeln!(io::stderr(), "impd: {why}");
    process::exit(i32::from(code))
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    const CHILD: &str = "SHUTDOWN_TEST_DEADLINE_MS";

    /// This test binary once more, with one test only, which then plays a daemon that does not stop.
    fn start_again(test: &str, deadline: Duration) -> (Child, BufReader<ChildStdout>) {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("runtime::shutdown::tests::{test}"), "--nocapture"])
            .env(CHILD, deadline.as_millis().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        wait_for("listening", &mut out);
        (child, out)
    }

    fn wait_for(word: &str, out: &mut impl BufRead) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "ended before {word}");
        }
    }

    fn send(signal: Signal, child: &Child) {
        kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// A daemon whose stop never ends, if this process is to be one.
    fn never_stop_if_child() {
        let Ok(deadline_ms) = env::var(CHILD) else { return };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let shutdown = Shutdown::new();
            shutdown.listen(Duration::from_millis(deadline_ms.parse().unwrap())).unwrap();
            println!("listening");
            shutdown.requested().await;
            println!("stopping");
            std::future::pending::<()>().await;
        });
    }

    #[test]
    fn a_second_signal_ends_the_process_at_once() {
        never_stop_if_child();
        for (first, second) in [(Signal::TERM, Signal::INT), (Signal::INT, Signal::INT)] {
            let (mut child, mut out) =
                start_again("a_second_signal_ends_the_process_at_once", Duration::from_secs(3600));
            send(first, &child);
            wait_for("stopping", &mut out);
            send(second, &child);
            assert_eq!(child.wait().unwrap().code(), Some(exit::FAILURE.into()));
        }
    }

    #[test]
    fn a_stop_that_takes_too_long_ends_at_the_deadline() {
        never_stop_if_child();
        let (mut child, _out) =
            start_again("a_stop_that_takes_too_long_ends_at_the_deadline", Duration::from_millis(50));
        send(Signal::TERM, &child);
        assert_eq!(child.wait().unwrap().code(), Some(exit::DEADLINE.into()));
    }

    #[tokio::test]
    async fn a_request_is_seen_by_all_clones() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(!other.is_requested());
        shutdown.request();
        other.requested().await;
        assert!(other.is_requested());
        assert_eq!(other.wait(&Tasks::new()).await, StopCause::Requested);
    }

    #[tokio::test]
    async fn the_end_of_an_essential_task_is_a_reason_to_stop() {
        let (shutdown, tasks) = (Shutdown::new(), Tasks::new());
        tasks.spawn_essential("pump", async {});
        let StopCause::Failed(failure) = shutdown.wait(&tasks).await else { panic!("no failure") };
        assert_eq!(failure.task, "pump");
        assert!(shutdown.is_requested());
    }
}
