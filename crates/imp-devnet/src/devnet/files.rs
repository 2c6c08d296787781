//! The files by which other programs find a net: the ready file, which anybody may build on, and the control file, which
//! is for `imp-devnet` itself.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::dir;

/// A node as its users see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// alice, bob, ..
    pub name: String,
    /// Lightning public key: 66 hexadecimal digits.
    pub pubkey: String,
    /// Where it serves REST, websocket and event streams.
    pub http: SocketAddr,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// The process; nothing while there is none.
    pub pid: Option<u32>,
    /// Its data directory, absolute.
    pub data_dir: PathBuf,
}

/// Where the chain serves its RPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainInfo {
    /// Host and port.
    pub rpc: SocketAddr,
}

/// What the ready file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The chain.
    pub chain: ChainInfo,
    /// The nodes, alice first.
    pub nodes: Vec<NodeInfo>,
}

/// What the control file says.
#[derive(Clone, Serialize, Deserialize)]
pub struct Control {
    /// The supervisor's process, as long as the directory's lock is held.
    pub pid: u32,
    /// The chain's RPC.
    pub chain: ChainControl,
    /// The ready file, absolute.
    pub ready_file: PathBuf,
    /// The nodes, alice first.
    pub nodes: Vec<NodeControl>,
}

/// The chain's RPC and how to log in.
#[derive(Clone, Serialize, Deserialize)]
pub struct ChainControl {
    /// Host and port.
    pub rpc: SocketAddr,
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
}

/// Where a node is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeControl {
    /// alice, bob, ..
    pub name: String,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
}

impl Control {
    /// Reads the control file of the net in a directory. That there is one does not mean that the net runs: see
    /// [`is_running`](super::is_running).
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir::control_file(dir);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }
}

impl std::fmt::Debug for Control {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("pid", &self.pid).field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ChainControl {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChainControl").field("rpc", &self.rpc).finish_non_exhaustive()
    }
}

/// The ready file: there while the net is usable, and true.
#[derive(Debug)]
pub(super) struct ReadyFile {
    path: PathBuf,
    /// Whether it is there. Held while it is written, so that the last writer has the last word.
    published: Mutex<bool>,
}

impl ReadyFile {
    /// The file of a net that is not usable yet; that of an earlier run is removed, since its nodes are gone.
    pub(super) fn new(path: &Path) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
        let file = Self { path, published: Mutex::default() };
        file.withdraw();
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file, and from now on again at each [`renew`](Self::renew).
    pub(super) fn publish(&self, ready: impl FnOnce() -> Ready) -> anyhow::Result<()> {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        dir::write_json(&self.path, &ready())?;
        *published = true;
        Ok(())
    }

    /// Writes the file again if it is there.
    pub(super) fn renew(&self, ready: impl FnOnce() -> Ready) -> anyhow::Result<()> {
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if *published { dir::write_json(&self.path, &ready()) } else { Ok(()) }
    }

    /// Removes the file.
    pub(super) fn withdraw(&self) {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        *published = false;
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(pid: u32) -> Ready {
        let addr = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let node = NodeInfo {
            name: "alice".to_owned(),
            pubkey: "02ab".to_owned(),
            http: addr(2),
            grpc: addr(1),
            pid: Some(pid),
            data_dir: "/tmp/alice".into(),
        };
        Ready { chain: ChainInfo { rpc: addr(3) }, nodes: vec![node] }
    }

    #[test]
    fn the_ready_file_has_its_documented_form() {
        let expected = serde_json::json!({
            "chain": {"rpc": "127.0.0.1:3"},
            "nodes": [{"name": "alice", "pubkey": "02ab", "http": "127.0.0.1:2", "grpc": "127.0.0.1:1", "pid": 7,
                       "data_dir": "/tmp/alice"}],
        });
        assert_eq!(serde_json::to_value(ready(7)).unwrap(), expected);
    }

    #[test]
    fn the_ready_file_is_renewed_only_while_it_stands() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("ready.json");
        fs::write(&path, "of an earlier run").unwrap();
        let file = ReadyFile::new(&path).unwrap();
        let pid = || serde_json::from_str::<Ready>(&fs::read_to_string(&path).ok()?).ok()?.nodes[0].pid;
        file.renew(|| ready(1)).unwrap();
        assert!(!path.exists());
        file.publish(|| ready(2)).unwrap();
        assert_eq!(pid(), Some(2));
        file.renew(|| ready(3)).unwrap();
        assert_eq!(pid(), Some(3));
        file.withdraw();
        file.renew(|| ready(4)).unwrap();
        assert!(!path.exists());
    }
}
