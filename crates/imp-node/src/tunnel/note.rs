//! What is noted of a tunnel before anything is changed for it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TunnelError;
use super::dns::Change;
use crate::host::note;

/// How the names of interfaces begin; a number follows.
const INTERFACE: &str = "impt";

/// How many tunnels there can be at once.
pub(super) const MAX_TUNNELS: u32 = 16;

/// The first tunnel's table of routes, and the mark of its packets. Tables have numbers that nobody gave a name.
const FIRST_TABLE: u32 = 7_177_000;

/// The priority of the first tunnel's first rule: before that of the main table, which is 32766.
const FIRST_PRIORITY: u32 = 31_100;

/// A tunnel, as far as a later run has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Which tunnel it is: all that has a name or a number is called after it.
    pub(super) number: u32,
    /// Whether it takes all traffic, which one tunnel can.
    pub(super) takes_all: bool,
    /// What is changed about DNS.
    pub(super) dns: Option<Change>,
    /// The index of its interface, once there is one: another one of that name is not this node's.
    pub(super) index: Option<u32>,
}

impl Note {
    pub(super) fn interface(&self) -> String {
        interface(self.number)
    }

    /// Its table of routes, and the mark of its packets.
    pub(super) fn table(&self) -> u32 {
        FIRST_TABLE + self.number
    }

    /// The priority of its first rule; that of the second follows.
    pub(super) fn priority(&self) -> u32 {
        FIRST_PRIORITY + 2 * self.number
    }
}

/// The name of the interface of a tunnel.
pub(super) fn interface(number: u32) -> String {
    format!("{INTERFACE}{number}")
}

/// Where notes on tunnels are.
#[derive(Debug)]
pub(super) struct Notes {
    folder: PathBuf,
}

impl Notes {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// All notes, by number.
    pub(super) async fn all(&self) -> Result<Vec<Note>, TunnelError> {
        let mut notes = Vec::new();
        for number in 0..MAX_TUNNELS {
            let path = self.path(number);
            let note: Option<Note> =
                note::read(&path).await.map_err(|source| TunnelError::Note { path, source })?;
            notes.extend(note.map(|note| Note { number, ..note }));
        }
        Ok(notes)
    }

    pub(super) async fn keep(&self, note: &Note) -> Result<(), TunnelError> {
        let path = self.path(note.number);
        note::keep(&path, note).await.map_err(|source| TunnelError::Note { path, source })
    }

    /// Forgets a tunnel that is gone.
    pub(super) async fn forget(&self, note: &Note) -> Result<(), TunnelError> {
        let path = self.path(note.number);
        note::forget(&path).await.map_err(|source| TunnelError::Note { path, source })
    }

    fn path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("tunnel-{}.json", interface(number)))
    }
}
