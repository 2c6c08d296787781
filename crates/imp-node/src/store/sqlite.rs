//! The store in one SQLite file, `imp.db`: WAL, `synchronous = FULL`, one thread that writes and one that reads.

mod blob;
mod commit;
mod federate;
mod idempotency;
mod inbox;
mod journal;
mod migrate;
mod outbox;
mod payment;
mod row;
mod socket;
mod vpn;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use imp_core::id::MessageId;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::broadcast;

use super::StoreError;
use super::journal::Tail;
use super::outbox::ENDS_KEPT;
use crate::telemetry::metrics::Metrics;
use worker::{MAX_GROUP, ONE_BY_ONE, Worker};

pub use worker::Crash;

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file; made where it is missing.
    pub file: PathBuf,
    /// Folder for the copy that is made before a migration.
    pub backup_dir: PathBuf,
    /// Where the store is to die, for tests of crashes.
    pub crash: Option<Crash>,
    /// Where it is counted what is committed.
    pub metrics: Metrics,
}

impl SqliteOptions {
    /// The database and its copies in a data directory.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            file: dir.join("imp.db"),
            backup_dir: dir.join("backup"),
            crash: None,
            metrics: Metrics::default(),
        }
    }
}

/// The store. Cheap to clone; [`Self::close`] ends it for all clones.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    workers: Arc<Mutex<Option<Workers>>>,
    tail: Arc<Tail>,
    ends: broadcast::Sender<MessageId>,
    metrics: Metrics,
}

#[derive(Clone, Debug)]
struct Workers {
    writer: Worker,
    reader: Worker,
    /// For reads that may take long: others do not wait behind them.
    scanner: Worker,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl SqliteStore {
    /// Opens the database and brings its schema up to date. Blocks.
    pub fn open(options: &SqliteOptions) -> Result<Self, StoreError> {
        let mut connection = open_file(&options.file)?;
        migrate::migrate(&mut connection, &options.backup_dir)?;
        let last = journal::last_cursor(&connection)?;
        let failed = |error: std::io::Error| StoreError::File {
            path: options.file.display().to_string(),
            reason: error.to_string(),
        };
        let (writer, writing) =
            Worker::spawn("store-write", connection, MAX_GROUP, options.crash.clone()).map_err(failed)?;
        let (reader, reading) =
            Worker::spawn("store-read", open_reader(&options.file)?, ONE_BY_ONE, None).map_err(failed)?;
        let (scanner, scanning) =
            Worker::spawn("store-scan", open_reader(&options.file)?, ONE_BY_ONE, None).map_err(failed)?;
        let threads = Arc::new(Mutex::new(vec![writing, reading, scanning]));
        let metrics = options.metrics.clone();
        let workers = Workers { writer: writer.counted_by(metrics.clone()), reader, scanner, threads };
        let tail = Arc::new(Tail::new(last, metrics.clone()));
        let ends = broadcast::Sender::new(ENDS_KEPT);
        Ok(Self { workers: Arc::new(Mutex::new(Some(workers))), tail, ends, metrics })
    }

    /// Works off what is queued and closes the files. Every later call is [`StoreError::Closed`]. Blocks.
    pub fn close(&self) {
        let Some(workers) = self.lock().take() else { return };
        let Workers { writer, reader, scanner, threads } = workers;
        drop((writer, reader, scanner));
        for thread in threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A thread that panicked has said so; the files are closed either way.
            let _ = thread.join();
        }
    }

    /// Whether the thread that writes has ended: the store was closed, or it came to its [`Crash`].
    pub fn is_dead(&self) -> bool {
        let workers = self.lock();
        workers.as_ref().is_none_or(|workers| {
            let threads = workers.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.first().is_none_or(JoinHandle::is_finished)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Workers>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> Result<Worker, StoreError> {
        self.lock().as_ref().map(|workers| workers.writer.clone()).ok_or(StoreError::Closed)
    }

    fn reader(&self) -> Result<Worker, StoreError> {
        self.lock().as_ref().map(|workers| workers.reader.clone()).ok_or(StoreError::Closed)
    }

    fn scanner(&self) -> Result<Worker, StoreError> {
        self.lock().as_ref().map(|workers| workers.scanner.clone()).ok_or(StoreError::Closed)
    }

    async fn write<T, F>(&self, name: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let pending = self.writer()?.submit(name, work);
        worker::answer(pending).await
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let pending = self.reader()?.submit("read", work);
        worker::answer(pending).await
    }

    /// Like [`Self::read`], for what reads many rows or large ones.
    async fn scan<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        // No handle is held while the answer is waited for: `close` waits until there is none.
        let pending = self.scanner()?.submit("scan", work);
        worker::answer(pending).await
    }
}

fn open_file(file: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(file)
        .map_err(|error| StoreError::File { path: file.display().to_string(), reason: error.to_string() })?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit must survive a power cut: the Lightning node's state, and messages that were acknowledged, hang on it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Private keys go when their contracts do: what is deleted or replaced within a page is overwritten. Pages that become
    // free as a whole are not, which would double the writes of everything that is let go.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    prepare(&connection)?;
    Ok(connection)
}

fn open_reader(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
