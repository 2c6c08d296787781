//! Keeps the process of a node running.
//!
//! One task for each node owns its process, so that a signal never goes to a number that has become another's.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::node::{NodeSpec, NodeState};
use super::options::Report;
use super::process::{self, Spawner};

/// A node that has ended without an answer this many times in a row is not started again.
const MOST_DEATHS: usize = 5;

/// A node that lived longer than this counts as one that has answered.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// Pauses before the next start, by the number of such deaths.
const PAUSES_MS: [u64; MOST_DEATHS] = [0, 100, 500, 1_000, 2_000];

/// What the supervisor of a node is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// End the process as a crash would, and answer when it is gone.
    Kill(oneshot::Sender<()>),
    /// Stop the node as it should be stopped, and start it again.
    Restart,
    /// Start the node if it has ended and is not started again.
    Start,
}

/// What the supervisors of all nodes share.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) spawner: Spawner,
    pub(super) report: Report,
    /// Start nodes again.
    pub(super) restart: bool,
    /// The nodes are to stop.
    pub(super) stop: CancellationToken,
    /// They are to stop without a chance to store anything.
    pub(super) stop_at_once: CancellationToken,
}

/// The supervisor of one node.
pub(super) struct Supervisor {
    pub(super) spec: NodeSpec,
    pub(super) around: Arc<Surroundings>,
    pub(super) state: watch::Sender<NodeState>,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Called when other programs should know of a change.
    pub(super) changed: Box<dyn Fn() + Send + Sync>,
}

/// How a process came to its end.
enum End {
    /// The net stops.
    Stopped,
    /// It was told to stop, and is to be started again.
    Restarted,
    /// It ended by itself, or was killed.
    Died { how: String, answered: bool },
}

/// Why a process is no longer attended to.
enum Ended {
    Stopped,
    Restarted,
    Died(io::Result<ExitStatus>),
}

impl Supervisor {
    /// Runs until the net stops; the process has ended then.
    pub(super) async fn run(mut self) {
        let mut deaths = Deaths::default();
        let mut first = true;
        loop {
            let end = self.live(first).await;
            first = false;
            let (how, answered) = match end {
                End::Stopped => return,
                End::Restarted => continue,
                End::Died { how, answered } => (how, answered),
            };
            let name = &self.spec.name;
            let given_up = match deaths.pause_after(answered) {
                None => format!(
                    "{name} {how} before it answered, and is not started again; {}",
                    self.spec.last_words()
                ),
                Some(_) if !self.around.restart => format!("{name} {how}, and is not started again"),
                Some(pause) => {
                    self.around.report.say(format!("{name} {how}: it is started again"));
                    tokio::select! {
                        () = sleep(pause) => continue,
                        () = self.around.stop.cancelled() => return,
                    }
                }
            };
            self.state.send_modify(|state| state.given_up = Some(given_up.clone()));
            (self.changed)();
            if deaths.proven {
                // Else it is the start of the net that fails, with the same text.
                self.around.report.say(given_up);
            }
            if !self.wait_for_start().await {
                return;
            }
        }
    }

    /// One process, from its start to its end.
    async fn live(&mut self, first: bool) -> End {
        let mut child = match self.around.spawner.start(&self.spec, first).await {
            Ok(child) => child,
            Err(error) => {
                return End::Died { how: format!("could not be started ({error})"), answered: false };
            }
        };
        let started = Instant::now();
        self.state.send_modify(|state| (state.pid, state.given_up) = (child.id(), None));
        (self.changed)();
        let mut asked = None;
        let ended = self.attend(&mut child, &mut asked).await;
        let answered = self.state.borrow().up || started.elapsed() >= LONG_LIFE;
        self.state.send_modify(|state| (state.pid, state.up) = (None, false));
        if let Some(asked) = asked {
            let _ = asked.send(());
        }
        match ended {
            Ended::Stopped => End::Stopped,
            Ended::Restarted => End::Restarted,
            Ended::Died(status) => End::Died { how: describe(status), answered },
        }
    }

    /// Waits until the process has ended. Who asked for its death, if anybody did, is left in `asked`.
    async fn attend(&mut self, child: &mut Child, asked: &mut Option<oneshot::Sender<()>>) -> Ended {
        let spec = self.spec.clone();
        let answers = spec.answers();
        tokio::pin!(answers);
        let mut up = false;
        loop {
            tokio::select! {
                biased;
                () = self.around.stop.cancelled() => {
                    self.stop(child).await;
                    return Ended::Stopped;
                }
                status = child.wait() => return Ended::Died(status),
                Some(order) = self.orders.recv() => match order {
                    Order::Start => {}
                    Order::Restart => {
                        self.stop(child).await;
                        return Ended::Restarted;
                    }
                    Order::Kill(done) => {
                        *asked = Some(done);
                        if let Err(error) = child.start_kill() {
                            return Ended::Died(Err(error));
                        }
                    }
                },
                node = &mut answers, if !up => {
                    up = true;
                    self.state.send_modify(|state| (state.up, state.pubkey) = (true, node.pubkey));
                }
            }
        }
    }

    async fn stop(&self, child: &mut Child) {
        if !process::stop(child, &self.around.stop_at_once).await {
            self.around.report.say(format!("{} had to be killed", self.spec.name));
        }
    }

    /// Waits for the order to start; false if the net stops instead.
    async fn wait_for_start(&mut self) -> bool {
        loop {
            tokio::select! {
                () = self.around.stop.cancelled() => return false,
                order = self.orders.recv() => match order {
                    Some(Order::Start | Order::Restart) => return true,
                    Some(Order::Kill(done)) => { let _ = done.send(()); }
                    None => return false,
                },
            }
        }
    }
}

fn describe(status: io::Result<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Ok((Some(0), _)) => "has stopped".to_owned(),
        Ok((Some(code), _)) => format!("has ended with exit code {code}"),
        Ok((None, Some(signal))) => format!("was killed (signal {signal})"),
        Ok((None, None)) => "has ended".to_owned(),
        Err(error) => format!("cannot be waited for ({error})"),
    }
}

/// Tells when a node that ends is started again.
///
/// Deaths count only as long as the node does not answer: one that is killed again and again, but works in between, is
/// started as often.
#[derive(Debug, Default)]
struct Deaths {
    /// It has answered once in this run: it can work.
    proven: bool,
    in_a_row: usize,
}

impl Deaths {
    /// The pause before the next start; nothing if there is to be none.
    fn pause_after(&mut self, answered: bool) -> Option<Duration> {
        self.in_a_row = if answered { 0 } else { self.in_a_row + 1 };
        self.proven |= answered;
        let pause_ms = PAUSES_MS.get(self.in_a_row).filter(|_| self.proven);
        if pause_ms.is_none() {
            self.in_a_row = 0;
        }
        pause_ms.copied().map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_never_worked_is_given_up_at_once() {
        assert_eq!(Deaths::default().pause_after(false), None);
    }

    #[test]
    fn a_node_that_works_is_started_again_at_once_however_often() {
        let mut deaths = Deaths::default();
        for _ in 0..100 {
            assert_eq!(deaths.pause_after(true), Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_node_that_no_longer_starts_is_given_up_after_five_times() {
        let mut deaths = Deaths::default();
        deaths.pause_after(true);
        for pause_ms in &PAUSES_MS[1..] {
            assert_eq!(deaths.pause_after(false), Some(Duration::from_millis(*pause_ms)));
        }
        assert_eq!(deaths.pause_after(false), None);
        assert_eq!(
            deaths.pause_after(false),
            Some(Duration::from_millis(PAUSES_MS[1])),
            "somebody started it by hand"
        );
        assert_eq!(deaths.pause_after(true), Some(Duration::ZERO), "an answer makes good for all before");
    }

    #[test]
    fn ends_are_told_in_words() {
        for (raw, words) in
            [(0, "has stopped"), (1 << 8, "has ended with exit code 1"), (9, "was killed (signal 9)")]
        {
            assert_eq!(describe(Ok(ExitStatus::from_raw(raw))), words);
        }
    }
}
