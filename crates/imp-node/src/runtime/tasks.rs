//! Named tasks in groups that end in order.
//!
//! ```text
//! Tasks (the node) ─ token ─┬─ group "api"  ─ token ─ handlers ...
//!                           └─ group "pump" ─ token ─ the event pump, the outbox ...
//! ```
//!
//! Cancelling a group's token asks its tasks, and those of the groups below, to end; [`Tasks::drain`] does so and waits.
//! Nothing is aborted: a task that writes state ends where it chose to.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// First pause before a service is started again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause before a service is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A service that ran this long has recovered: its next pause is the first one again.
const RECOVERED_AFTER: Duration = Duration::from_secs(60);

/// How often a drain tells what it waits for.
const DRAIN_REPORT: Duration = Duration::from_secs(2);

/// A group of tasks. Clones are the same group.
#[derive(Clone, Debug)]
pub struct Tasks {
    registry: Arc<Registry>,
    /// This group and those above it.
    groups: Arc<[u64]>,
    token: CancellationToken,
}

#[derive(Debug)]
struct Registry {
    running: Mutex<BTreeMap<u64, Running>>,
    next_id: AtomicU64,
    ended: Notify,
    failure: watch::Sender<Option<Failure>>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    groups: Arc<[u64]>,
}

/// An essential task that ended.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the task {task} {}", how_ended(.panic.as_deref()))]
pub struct Failure {
    /// Its name.
    pub task: &'static str,
    /// What it panicked with, if it did.
    pub panic: Option<String>,
}

/// Why a detached task has no result.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// It panicked. The panic was logged.
    #[error("the task {task} panicked: {panic}")]
    Panicked {
        /// Its name.
        task: &'static str,
        /// What it panicked with.
        panic: String,
    },
    /// The runtime ended before it did.
    #[error("the task {task} was cut off by the end of the process")]
    CutOff {
        /// Its name.
        task: &'static str,
    },
}

/// Tasks that did not end in time.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("still running after {} ms: {}", .waited.as_millis(), .names.join(", "))]
pub struct DrainTimeout {
    /// How long was waited.
    pub waited: Duration,
    /// Names of those that still run, each as often as it runs.
    pub names: Vec<&'static str>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// The group at the top.
    pub fn new() -> Self {
        let registry = Registry {
            running: Mutex::default(),
            next_id: AtomicU64::new(1),
            ended: Notify::new(),
            failure: watch::Sender::new(None),
        };
        Self { registry: Arc::new(registry), groups: Arc::new([0]), token: CancellationToken::new() }
    }

    /// A group below this one: it can be drained alone, and is drained with this one.
    pub fn group(&self) -> Self {
        let id = self.registry.next_id.fetch_add(1, Ordering::Relaxed);
        Self {
            registry: self.registry.clone(),
            groups: self.groups.iter().copied().chain([id]).collect(),
            token: self.token.child_token(),
        }
    }

    /// Cancelled when this group is to end.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Asks the tasks of this group and of those below to end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Runs a task that the node cannot be without. If it ends or panics before the group is cancelled,
    /// [`Self::failed`] tells.
    pub fn spawn_essential<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (registry, token) = (self.registry.clone(), self.token.clone());
        self.spawn(name, async move {
            let panic = AssertUnwindSafe(future).catch_unwind().await.err().map(|panic| text_of(&*panic));
            if panic.is_none() && token.is_cancelled() {
                return;
            }
            let failure = Failure { task: name, panic };
            tracing::error!(task = name, "{failure}, which stops the node");
            // The first failure is the cause; those after it are its effects.
            registry.failure.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(failure);
                is_first
            });
        });
    }

    /// Runs a task that is started again, after a pause, when it ends or panics. Once the group is cancelled it is
    /// expected to end by itself and is not started again.
    pub fn spawn_service<S, F>(&self, name: &'static str, mut start: S)
    where
        S: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        self.spawn(name, async move {
            let mut pause = FIRST_PAUSE;
            while !token.is_cancelled() {
                let started = Instant::now();
                // The factory may panic as well as what it makes.
                let run = AssertUnwindSafe(async { start().await }).catch_unwind().await;
                if token.is_cancelled() {
                    break;
                }
                if started.elapsed() >= RECOVERED_AFTER {
                    pause = FIRST_PAUSE;
                }
                let panic = run.err().map(|panic| text_of(&*panic));
                let (how, pause_ms) = (how_ended(panic.as_deref()), pause.as_millis() as u64);
                tracing::warn!(task = name, pause_ms, "the service {how}; it is started again");
                tokio::select! {
                    () = token.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// Runs `future` to its end, whether or not anybody waits for the result: what moves money or writes state must not
    /// be cut in half by a caller who hangs up. The result can be waited for.
    pub fn run_detached<F, T>(&self, name: &'static str, future: F) -> Detached<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let run = async move {
            AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| {
                let panic = text_of(&*panic);
                tracing::error!(task = name, "the task panicked: {panic}");
                TaskError::Panicked { task: name, panic }
            })
        };
        Detached { name, handle: self.spawn(name, run.in_current_span()) }
    }

    /// Waits for the first essential task that fails. Safe to cancel.
    pub async fn failed(&self) -> Failure {
        let mut failure = self.registry.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        match failed {
            Some(failure) => failure,
            // The sender lives in the registry that `self` holds.
            None => std::future::pending().await,
        }
    }

    /// Names of the tasks that run in this group and those below, each as often as it runs.
    pub fn running(&self) -> Vec<&'static str> {
        let Some(own) = self.groups.last() else { return Vec::new() };
        let running = self.registry.lock();
        running.values().filter(|task| task.groups.contains(own)).map(|task| task.name).collect()
    }

    /// Cancels the group and waits for its tasks and those of the groups below. Every two seconds the log names those
    /// that are waited for. What has not ended at the deadline goes on.
    pub async fn drain(&self, deadline: Duration) -> Result<(), DrainTimeout> {
        self.cancel();
        let started = Instant::now();
        let mut report = started + DRAIN_REPORT;
        loop {
            let ended = self.registry.ended.notified();
            tokio::pin!(ended);
            // Whoever ends between the look and the wait is not missed.
            ended.as_mut().enable();
            let names = self.running();
            if names.is_empty() {
                return Ok(());
            }
            let now = Instant::now();
            if now >= started + deadline {
                return Err(DrainTimeout { waited: deadline, names });
            }
            if now >= report {
                tracing::info!(waiting_for = names.join(", "), "stopping");
                report = now + DRAIN_REPORT;
            }
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep_until(report.min(started + deadline)) => {}
            }
        }
    }

    fn spawn<F, T>(&self, name: &'static str, future: F) -> JoinHandle<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let id = self.registry.next_id.fetch_add(1, Ordering::Relaxed);
        self.registry.lock().insert(id, Running { name, groups: self.groups.clone() });
        let entry = Entry { registry: self.registry.clone(), id };
        tokio::spawn(async move {
            let _entry = entry;
            future.await
        })
    }
}

impl Registry {
    /// The lock is held for single steps that cannot leave the map half changed.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Strikes a task off when it ends, in whatever way.
struct Entry {
    registry: Arc<Registry>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.id);
        self.registry.ended.notify_waiters();
    }
}

/// The result of a task that runs on by itself. Dropped, it does not stop the task.
#[derive(Debug)]
#[must_use = "the task runs on by itself, but its failure would go unseen"]
pub struct Detached<T> {
    name: &'static str,
    handle: JoinHandle<Result<T, TaskError>>,
}

impl<T> Future for Detached<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = self.name;
        self.handle.poll_unpin(cx).map(|joined| joined.unwrap_or(Err(TaskError::CutOff { task })))
    }
}

fn how_ended(panic: Option<&str>) -> String {
    panic.map_or_else(|| "ended".to_owned(), |text| format!("panicked: {text}"))
}

/// The text that a panic came with.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
        .to_owned()
}

#[cfg(test)]
mod tests;
