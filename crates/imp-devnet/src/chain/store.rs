//! The block file: every accepted block in the order in which it was accepted, stale ones included.
//!
//! The file begins with [`FILE_MAGIC`]; each block follows as its length (4 bytes, little endian), the first 4 bytes of
//! the double SHA-256 of its serialization, and the serialization. Replaying the blocks gives the chain back, branch for
//! branch. A record that a kill cut short is at the end of the file, is shorter than it says, and is dropped at the next
//! start; everything else that does not fit is damage, and nothing is opened.
//!
//! Writes are not synced: what survives is a kill of the process, not a loss of power.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bitcoin::Block;
use bitcoin::consensus::encode;
use bitcoin::hashes::{Hash, sha256d};

/// What the file begins with: its kind and the version of its format.
const FILE_MAGIC: &[u8; 8] = b"impblk\x00\x01";

/// The length and the checksum before each block.
const RECORD_HEADER_BYTES: usize = 8;

/// The longest serialization of a valid block.
const MAX_BLOCK_BYTES: usize = 4_000_000;

/// Why a chain directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is in use by another process: stop it, or choose another directory", path.display())]
    Locked { path: PathBuf },
    #[error(
        "{} is damaged at byte {offset}: {problem}. Start with a fresh directory, or restore the file from a copy",
        path.display()
    )]
    Damaged { path: PathBuf, offset: u64, problem: String },
}

/// An open block file, locked against other processes.
#[derive(Debug)]
pub(super) struct Store {
    file: File,
    path: PathBuf,
    /// How much of the file holds whole records.
    len: u64,
    /// Records that could not be written yet: written first at the next attempt, so that no block is ever missing
    /// between two others.
    unsaved: Vec<u8>,
    /// Whether a failed write may have left something behind the whole records.
    torn: bool,
}

/// A block read back, and where it stood.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) offset: u64,
    pub(super) block: Block,
}

impl Store {
    /// Opens the block file in `dir` or begins a new one, and gives what it holds.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<Record>), OpenError> {
        let path = dir.join("blocks.dat");
        let io_error = |source| OpenError::Io { path: path.clone(), source };
        create_dir(dir).map_err(io_error)?;
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&path).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        let (records, len) = match parse(&bytes) {
            Ok(parsed) => parsed,
            Err((offset, problem)) => return Err(OpenError::Damaged { path, offset, problem }),
        };
        if len < bytes.len() as u64 {
            let lost_bytes = bytes.len() as u64 - len;
            tracing::warn!(path = %path.display(), lost_bytes, "dropped the unfinished end of the block file");
            file.set_len(len).map_err(io_error)?;
        }
        let mut store = Self { file, path, len, unsaved: Vec::new(), torn: false };
        if len == 0 {
            store.unsaved.extend_from_slice(FILE_MAGIC);
        }
        store.flush().map_err(|source| OpenError::Io { path: store.path.clone(), source })?;
        Ok((store, records))
    }

    /// The error for a block of the file that the chain refuses.
    pub(super) fn damaged(&self, offset: u64, problem: String) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), offset, problem }
    }

    /// Appends blocks. After an error they are kept and written first by the next call.
    pub(super) fn append<'a>(&mut self, blocks: impl IntoIterator<Item = &'a Block>) -> io::Result<()> {
        for block in blocks {
            let bytes = encode::serialize(block);
            let len = u32::try_from(bytes.len()).expect("a valid block is shorter than 4 MB");
            self.unsaved.extend_from_slice(&len.to_le_bytes());
            self.unsaved.extend_from_slice(&checksum(&bytes));
            self.unsaved.extend_from_slice(&bytes);
        }
        self.flush()
    }

    /// Writes what an earlier attempt left over.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        if self.torn {
            self.file.set_len(self.len)?;
        }
        self.torn = true;
        self.file.write_all(&self.unsaved)?;
        self.torn = false;
        self.len += self.unsaved.len() as u64;
        self.unsaved.clear();
        Ok(())
    }
}

pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&draft, path)
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let hash = sha256d::Hash::hash(bytes).to_byte_array();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// The records and the length of the part of the file that they fill, or where it is damaged and how.
fn parse(bytes: &[u8]) -> Result<(Vec<Record>, u64), (u64, String)> {
    if bytes.len() < FILE_MAGIC.len() && FILE_MAGIC.starts_with(bytes) {
        return Ok((Vec::new(), 0));
    }
    if !bytes.starts_with(FILE_MAGIC) {
        return Err((0, "it is no block file of this version".to_owned()));
    }
    let mut records = Vec::new();
    let mut offset = FILE_MAGIC.len();
    while let Some((header, rest)) = bytes[offset..].split_first_chunk::<RECORD_HEADER_BYTES>() {
        let damage = |problem: String| (offset as u64, problem);
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if len > MAX_BLOCK_BYTES {
            return Err(damage(format!("a block of {len} bytes is longer than blocks can be")));
        }
        let Some(serialized) = rest.get(..len) else { break };
        if checksum(serialized) != header[4..] {
            return Err(damage("the checksum of a block does not match".to_owned()));
        }
        let block = encode::deserialize(serialized).map_err(|error| damage(error.to_string()))?;
        records.push(Record { offset: offset as u64, block });
        offset += RECORD_HEADER_BYTES + len;
    }
    Ok((records, offset as u64))
}

#[cfg(test)]
mod tests;
