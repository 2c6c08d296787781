//! The data directory: made, closed to other users, and held by one process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use thiserror::Error;

use crate::lock::{Lock, LockError};

/// A data directory that this process holds until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Lock,
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The system refused.
    #[error("{} cannot be the data directory (check the path and its permissions)", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is open to other users, and nothing says that it is ours to close.
    #[error(
        "the data directory {} is open to other users (mode {mode:03o}) and holds other files. \
         Name a directory of its own, or run: chmod 700 {}", .path.display(), .path.display()
    )]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Files that the daemon makes, or that of 2021 made: a directory that holds one of them is ours.
const OURS: [&str; 4] = ["lock", "seed", "imp.db", "log.txt"];

impl DataDir {
    /// Makes the directory with mode 0700 if it is absent, closes it to other users, and takes its lock.
    ///
    /// A directory that is open to others is closed only if it is empty, but for a configuration, or holds files of this daemon: the path may be
    /// a mistake, and taking `/tmp` away from everybody is no way to answer one.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError::Io { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        let failed = |source| DataDirError::Io { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let mode = fs::metadata(&path).map_err(failed)?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            if !is_ours(&path).map_err(failed)? {
                return Err(DataDirError::Open { path, mode });
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let lock = Lock::take(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn is_ours(path: &Path) -> io::Result<bool> {
    if OURS.iter().any(|name| path.join(name).symlink_metadata().is_ok_and(|found| found.is_file())) {
        return Ok(true);
    }
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != "config.yml" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes all rights from other users on every file that this process makes from now on. Call it before the first thread.
pub fn restrict_umask() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_new_directory_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let opened = DataDir::open(&path).unwrap();
        assert_eq!((mode(&path), opened.path()), (0o700, path.as_path()));
    }

    #[test]
    fn a_directory_of_ours_is_closed() {
        for files in [&[][..], &["config.yml"], &["log.txt", "other"]] {
            let dir = tempfile::tempdir().unwrap();
            files.iter().for_each(|name| fs::write(dir.path().join(name), "").unwrap());
            chmod(dir.path(), 0o755);
            DataDir::open(dir.path()).unwrap();
            assert_eq!(mode(dir.path()), 0o700, "{files:?}");
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        chmod(dir.path(), 0o755);
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Open { mode: 0o755, .. }), "{error}");
        assert!(error.to_string().contains("chmod 700"), "{error}");
        assert_eq!((mode(dir.path()), fs::read_dir(dir.path()).unwrap().count()), (0o755, 1));
        chmod(dir.path(), 0o700);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_path_through_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = DataDir::open(&path).unwrap_err();
            assert!(matches!(error, DataDirError::Io { .. }), "{error}");
        }
    }

    #[test]
    fn a_second_holder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Lock(LockError::Held { .. })), "{error}");
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }
}
