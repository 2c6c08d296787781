//! One daemon for each data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The lock of a data directory, held until dropped. The system frees it when the process dies, however it dies; the
/// file stays, since removing it would let two processes hold locks on different files of one name.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock could not be taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "{} already runs on the data directory {}. Stop it, or give this one a directory of its own with --data-dir",
        holder(.pid), .dir.display()
    )]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The process, where the file names it.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("{} cannot be locked (the data directory must be on a file system that knows locks)", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another impd".to_owned(), |pid| format!("another impd (process {pid})"))
}

impl Lock {
    /// Takes the lock of the directory, or fails at once.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let failed = |source| LockError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            // The holder's number must stay readable for those who do not get the lock.
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid =
                    (&file).take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { dir: dir.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_second_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(error, LockError::Held { pid: Some(found), .. } if found == pid), "{error}");
        for part in [&pid.to_string(), dir.path().to_str().unwrap(), "--data-dir"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        drop(first);
        Lock::take(dir.path()).unwrap();
    }

    #[test]
    fn what_an_old_process_left_in_the_file_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock"), "4294967295 and more\n").unwrap();
        let _held = Lock::take(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join("lock")).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }
}
