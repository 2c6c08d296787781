//! A thread that owns a connection to the database and works off a queue.
//!
//! An fsync takes 2-3 ms and is what limits the rate of durable writes, so all work that waits in the queue is put into
//! one transaction: each piece stands in a savepoint of its own, and all of them learn of the common commit. The store
//! of the embedded Lightning node goes through the same queue, so that its commits and ours share their fsyncs.

use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::StoreError;
use crate::telemetry::metrics::Metrics;

/// Most pieces of work in one transaction of a writer: bounds what one commit waits for.
pub(super) const MAX_GROUP: usize = 256;

/// A reader's: a transaction sees the database as it was at its begin, so that a piece that joined one under way would
/// miss commits that its submitter knows of.
pub(super) const ONE_BY_ONE: usize = 1;

/// Tells the submitter what became of its work, once the group's commit is known.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What a piece of work does: it gets the connection, or why there is no transaction, and says whether its writes are to
/// be kept.
type Run = Box<dyn FnOnce(Result<&Connection, StoreError>) -> (bool, Reply) + Send>;

/// A piece of work.
struct Work {
    name: &'static str,
    run: Run,
}

/// Where a store dies, for tests of crashes. The last commit is made and nobody learns of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Crash {
    /// With this commit, from 1, the store closes, as if its process were gone; what is around it sees
    /// [`StoreError::Closed`].
    StopAfterCommit(u64),
    /// With the commit that holds the work of this name for the `nth` time, from 1, the process aborts.
    AbortAfter {
        /// The work: the method of a store trait.
        work: String,
        /// Which time.
        nth: usize,
    },
}

impl Crash {
    /// Reads `work:nth`, as in `begin_attempt:1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (work, nth) = text.split_once(':')?;
        Some(Self::AbortAfter { work: work.to_owned(), nth: nth.parse().ok()? })
    }
}

/// A handle on the thread. The thread ends when the last handle is gone and the queue is empty.
///
/// The queue is not bounded: whoever submits waits for the answer, so that its length is bounded by the callers.
#[derive(Clone)]
pub(super) struct Worker {
    queue: Sender<Work>,
    /// Where it is counted what waits, and for how long.
    metrics: Option<Metrics>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

/// The answer to submitted work. Dropping it does not take the work back.
pub(super) type Pending<T> = oneshot::Receiver<Result<T, StoreError>>;

impl Worker {
    /// Starts the thread that owns `connection` and puts at most `max_group` pieces of work into one transaction.
    pub(super) fn spawn(
        name: &str,
        connection: Connection,
        max_group: usize,
        crash: Option<Crash>,
    ) -> std::io::Result<(Self, thread::JoinHandle<()>)> {
        let (queue, work) = mpsc::channel();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&connection, &work, max_group, crash.as_ref()))?;
        Ok((Self { queue, metrics: None }, thread))
    }

    pub(super) fn counted_by(self, metrics: Metrics) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Queues work; it has its place in the order of writes when this returns. `name` is the method that asks for it.
    pub(super) fn submit<T, F>(&self, name: &'static str, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        self.submit_then(name, work, |_| ())
    }

    /// Like [`Self::submit`], and calls `then` on this thread after the commit and before the next transaction: what it
    /// does happens in the order of commits.
    pub(super) fn submit_then<T, F, G>(&self, name: &'static str, work: F, then: G) -> Pending<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        G: FnOnce(&T) + Send + 'static,
    {
        let (answer, pending) = oneshot::channel();
        self.enqueue(name, work, move |result| {
            if let Ok(value) = &result {
                then(value);
            }
            // A submitter that is gone does not want the answer.
            let _ = answer.send(result);
        });
        pending
    }

    /// Queues work and waits for its commit. May be called on a thread of an async runtime, which it blocks.
    pub(super) fn submit_blocking<T, F>(&self, name: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, pending) = mpsc::sync_channel(1);
        self.enqueue(name, work, move |result| {
            let _ = answer.send(result);
        });
        pending.recv().map_err(|_| StoreError::Closed)?
    }

    fn enqueue<T, F, R>(&self, name: &'static str, work: F, answer: R)
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        R: FnOnce(Result<T, StoreError>) + Send + 'static,
    {
        let counted = self.metrics.as_ref().map(Metrics::write_queued);
        let run = Box::new(move |connection: Result<&Connection, StoreError>| {
            let result = connection.and_then(work);
            let keep = result.is_ok();
            let reply: Reply = Box::new(move |committed| {
                drop(counted);
                answer(committed.and(result));
            });
            (keep, reply)
        });
        let work = Work { name, run };
        // A closed queue drops the work and with it the answer's sender: the submitter sees `Closed`.
        let _ = self.queue.send(work);
    }
}

/// Waits for an answer; a thread that is gone is [`StoreError::Closed`].
pub(super) async fn answer<T>(pending: Pending<T>) -> Result<T, StoreError> {
    pending.await.map_err(|_| StoreError::Closed)?
}

fn run(connection: &Connection, queue: &Receiver<Work>, max_group: usize, crash: Option<&Crash>) {
    let mut group = Group { max: max_group, names: Vec::new(), replies: Vec::new() };
    let (mut commits, mut seen) = (0, 0);
    while let Ok(first) = queue.recv() {
        let committed = group.run(connection, first, queue);
        commits += 1;
        match crash {
            Some(Crash::StopAfterCommit(last)) if commits >= *last => return,
            Some(Crash::AbortAfter { work, nth }) => {
                seen += group.names.iter().filter(|name| *name == work).count();
                if seen >= *nth {
                    std::process::abort();
                }
            }
            _ => {}
        }
        group.names.clear();
        for reply in group.replies.drain(..) {
            reply(committed.clone());
        }
    }
}

/// The pieces of one transaction.
struct Group {
    max: usize,
    names: Vec<&'static str>,
    replies: Vec<Reply>,
}

impl Group {
    /// Runs `first` and what else waits, and commits.
    fn run(
        &mut self,
        connection: &Connection,
        first: Work,
        queue: &Receiver<Work>,
    ) -> Result<(), StoreError> {
        if let Err(error) = connection.execute_batch("BEGIN IMMEDIATE") {
            let error = StoreError::from(error);
            self.replies.push((first.run)(Err(error.clone())).1);
            return Err(error);
        }
        let mut ended = self.piece(connection, first);
        while ended.is_ok() && self.replies.len() < self.max {
            let Ok(work) = queue.try_recv() else { break };
            ended = self.piece(connection, work);
        }
        ended = ended.and_then(|()| Ok(connection.execute_batch("COMMIT")?));
        if ended.is_err() && !connection.is_autocommit() {
            // What cannot be committed must not stay open in front of the next group.
            let _ = connection.execute_batch("ROLLBACK");
        }
        ended
    }

    /// One piece of work in its savepoint.
    fn piece(&mut self, connection: &Connection, work: Work) -> Result<(), StoreError> {
        let begun = connection.execute_batch("SAVEPOINT piece").map_err(StoreError::from);
        let (keep, reply) = (work.run)(begun.clone().map(|()| connection));
        self.names.push(work.name);
        self.replies.push(reply);
        begun?;
        Ok(connection.execute_batch(if keep {
            "RELEASE piece"
        } else {
            "ROLLBACK TO piece; RELEASE piece"
        })?)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;

    use super::*;

    fn table() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").unwrap();
        connection
    }

    fn insert(n: i64) -> impl FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static {
        move |connection| {
            connection.execute("INSERT INTO t VALUES (?1)", [n])?;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_failed_piece_takes_nothing_of_its_group_with_it() {
        let (worker, _thread) = Worker::spawn("store", table(), MAX_GROUP, None).unwrap();
        let (first, second, third) = (
            worker.submit("insert", insert(1)),
            worker.submit("insert", insert(1)),
            worker.submit("insert", insert(2)),
        );
        answer(first).await.unwrap();
        assert!(matches!(answer(second).await, Err(StoreError::Database(_))));
        answer(third).await.unwrap();
        let rows = worker
            .submit("count", |c| Ok(c.query_row("SELECT count(*) FROM t", [], |r| r.get::<_, i64>(0))?));
        assert_eq!(answer(rows).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_follows_a_commit_runs_in_the_order_of_commits() {
        let (worker, _thread) = Worker::spawn("store", table(), MAX_GROUP, None).unwrap();
        let (tell, told) = mpsc::channel();
        let pending: Vec<_> = (0..500)
            .map(|n| {
                let tell = tell.clone();
                worker.submit_then("insert", insert(n), move |()| tell.send(n).unwrap())
            })
            .collect();
        for pending in pending {
            answer(pending).await.unwrap();
        }
        drop(tell);
        assert_eq!(told.into_iter().collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_read_sees_what_was_committed_before_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.db");
        let writer = Connection::open(&file).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY)").unwrap();
        let (writer, _writing) = Worker::spawn("write", writer, MAX_GROUP, None).unwrap();
        let reader = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let (reader, _reading) = Worker::spawn("read", reader, ONE_BY_ONE, None).unwrap();
        let count = |connection: &Connection| {
            Ok(connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))?)
        };
        let (tell, go_on) = mpsc::channel::<()>();
        let slow = reader.submit("slow", move |connection| {
            let seen = count(connection);
            go_on.recv().unwrap();
            seen
        });
        answer(writer.submit("insert", insert(1))).await.unwrap();
        let quick = reader.submit("quick", count);
        tell.send(()).unwrap();
        assert_eq!(answer(quick).await, Ok(1));
        answer(slow).await.unwrap();
    }

    #[test]
    fn the_thread_works_off_its_queue_before_it_ends() {
        let (worker, thread) = Worker::spawn("store", table(), MAX_GROUP, None).unwrap();
        let mut pending = worker.submit("insert", insert(7));
        drop(worker);
        thread.join().unwrap();
        assert!(matches!(pending.try_recv(), Ok(Ok(()))));
    }
}
