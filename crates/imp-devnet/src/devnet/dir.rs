//! The directory of a net: held by one process, and never mistaken for one that holds something else.
//!
//! ```text
//! lock           held by the supervisor as long as it runs
//! net.json       the nodes that were ever in the net
//! control.json   while the net runs: how to reach it
//! ready.json     while the net is usable: its nodes, for programs
//! chain/         blocks
//! alice/ bob/ .. data directories of the nodes, each with config.yml and stderr.txt
//! ```

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::files::Control;

const LOCK: &str = "lock";
const NET: &str = "net.json";
const CONTROL: &str = "control.json";
const READY: &str = "ready.json";
const CHAIN: &str = "chain";

/// What is remembered of a net between its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// By name.
    pub(super) nodes: BTreeMap<String, KeptNode>,
}

/// What is remembered of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptNode {
    /// Where it listens for other Lightning nodes, which know it by that.
    pub(super) lightning_port: u16,
}

/// The directory of a net that no other process uses.
#[derive(Debug)]
pub(super) struct NetDir {
    path: PathBuf,
    _lock: File,
}

impl NetDir {
    /// Makes the directory, or takes one that a net was in; one with other things in it is refused.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
        let shown = path.display();
        // The nodes' configuration files name paths, and YAML is text.
        path.to_str()
            .with_context(|| format!("{shown} is not UTF-8: choose another directory with --dir"))?;
        make_private(&path).with_context(|| format!("cannot make the directory {shown}"))?;
        let known = [LOCK, NET].iter().any(|name| path.join(name).is_file());
        let mut entries =
            fs::read_dir(&path).with_context(|| format!("cannot read the directory {shown}"))?;
        if !known && entries.next().is_some() {
            bail!(
                "{shown} holds files, and no net was ever kept there: name an empty or a new directory with --dir"
            );
        }
        let Some(lock) = lock(&path.join(LOCK))? else {
            let pid = Control::read(&path)
                .map_or_else(|_| String::new(), |control| format!(" (process {})", control.pid));
            bail!(
                "a net runs in {shown} already{pid}: end it with `imp-devnet stop --dir {shown}`, or name another \
                 directory with --dir"
            );
        };
        Ok(Self { path, _lock: lock })
    }

    /// Absolute and UTF-8.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What earlier runs left.
    pub(super) fn kept(&self) -> anyhow::Result<Kept> {
        let path = self.path.join(NET);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: delete {}", path.display(), self.path.display()))
    }

    /// Remembers the nodes. To be called before the first of them has a directory, so that each is known.
    pub(super) fn keep(&self, kept: &Kept) -> anyhow::Result<()> {
        write_json(&self.path.join(NET), kept)
    }

    /// Deletes chain and nodes, and nothing that is not the net's.
    pub(super) fn clear(&self, kept: &Kept) -> anyhow::Result<()> {
        let folders = kept.nodes.keys().map(String::as_str).chain([CHAIN]);
        // The list of what is to be deleted goes last, so that a deletion that was cut short can be taken up.
        for name in folders.chain([CONTROL, READY, NET]) {
            let path = self.path.join(name);
            let deleted = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match deleted {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot delete {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The chain's directory, which the chain makes.
    pub(super) fn chain(&self) -> PathBuf {
        self.path.join(CHAIN)
    }

    /// A node's data directory, made if it is absent.
    pub(super) fn node(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        make_private(&path).with_context(|| format!("cannot make the directory {}", path.display()))?;
        Ok(path)
    }

    /// Where the ready file is, unless another place is named.
    pub(super) fn ready_file(&self) -> PathBuf {
        self.path.join(READY)
    }

    /// Tells other programs how to reach the net.
    pub(super) fn write_control(&self, control: &Control) -> anyhow::Result<()> {
        write_json(&self.path.join(CONTROL), control)
    }

    /// Takes that back; without an error, since it ends a net that has ended.
    pub(super) fn remove_control(&self) {
        let _ = fs::remove_file(self.path.join(CONTROL));
    }
}

/// Where the control file of a net in this directory is.
pub(super) fn control_file(dir: &Path) -> PathBuf {
    dir.join(CONTROL)
}

/// Whether a process holds the lock of the net in this directory.
pub fn is_running(dir: &Path) -> bool {
    let path = dir.join(LOCK);
    path.is_file() && matches!(lock(&path), Ok(None))
}

/// Takes a lock, which is free again when the file is closed or the process ends, however it ends; nothing if another
/// process has it.
pub(super) fn lock(path: &Path) -> anyhow::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file whole or not at all, for its owner only.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    // Beside the file, since a rename does not leave its file system; named after it, since two may be in one folder.
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("cannot be written as JSON")?;
    text.push('\n');
    write_private(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn kept(names: &[&str]) -> Kept {
        let node = |name: &&str| ((*name).to_owned(), KeptNode { lightning_port: 1 });
        Kept { nodes: names.iter().map(node).collect() }
    }

    #[test]
    fn a_directory_is_used_by_one_net_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/net");
        let first = NetDir::open(&dir).unwrap();
        assert!(is_running(&dir));
        let error = NetDir::open(&dir).unwrap_err().to_string();
        assert!(error.contains("stop --dir") && error.contains(dir.to_str().unwrap()), "{error}");
        drop(first);
        assert!(!is_running(&dir));
        NetDir::open(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_of_something_else_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "").unwrap();
        let error = NetDir::open(temp.path()).unwrap_err().to_string();
        assert!(error.contains("--dir"), "{error}");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn clearing_deletes_the_net_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = NetDir::open(temp.path()).unwrap();
        let kept = kept(&["alice", "bob"]);
        dir.keep(&kept).unwrap();
        assert_eq!(dir.kept().unwrap(), kept);
        dir.node("alice").unwrap();
        fs::create_dir(dir.chain()).unwrap();
        for name in ["alice/seed", "notes.txt", READY, CONTROL] {
            fs::write(temp.path().join(name), "x").unwrap();
        }
        dir.clear(&kept).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["lock", "notes.txt"]);
        assert_eq!(dir.kept().unwrap(), Kept::default());
    }

    #[test]
    fn what_is_written_is_for_the_owner_only() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file.json");
        fs::write(&path, "old and longer than the new text").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
