//! The first phases of a start, the same whatever the node then does: data directory, lock, seed, log.

use std::path::Path;

use thiserror::Error;

use crate::config::Config;
use crate::data_dir::{self, DataDir, DataDirError};
use crate::runtime::files;
use crate::seed::{self, Seed, SeedError};
use crate::telemetry::log::{self, LogError};
use crate::telemetry::queue::LogGuard;

/// What a node stands on. Dropped, it ends the log and then frees the data directory.
#[derive(Debug)]
pub struct Ground {
    seed: Seed,
    // Fields are dropped in this order: the last lines are written while the directory is still ours.
    _log: LogGuard,
    dir: DataDir,
}

/// Why there is nothing to stand on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GroundError {
    /// The data directory cannot be used, perhaps because a daemon runs on it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// There is no usable seed.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Ground {
    /// Takes the data directory, reads or makes the seed, and opens the process's log. Call it before the first thread.
    pub fn prepare(config: &Config) -> Result<Self, GroundError> {
        data_dir::restrict_umask();
        let dir = DataDir::open(&config.data_dir)?;
        let seed = Seed::load_or_create(dir.path())?;
        let rust_log = std::env::var("RUST_LOG").ok();
        let log = log::init(dir.path(), config.log.level, rust_log.as_deref())?;
        let file = config.file.as_ref().map(|file| file.display().to_string());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            pid = std::process::id(),
            config = file,
            "impd starts"
        );
        match files::raise_limit() {
            Ok(limit) => tracing::debug!(limit, "files that may be open"),
            Err(error) => tracing::warn!(%error, "the limit on open files cannot be raised"),
        }
        config.notices.iter().for_each(|notice| notice.log());
        tracing::info!(data_dir = %dir.path().display(), "the data directory is locked, the seed is read");
        if seed.is_new() {
            tracing::warn!(
                file = %seed::path(dir.path()).display(),
                "a new seed was made: whoever loses its words loses the money. Write them down with `impd seed show`"
            );
        }
        Ok(Self { seed, _log: log, dir })
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The seed.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }
}
