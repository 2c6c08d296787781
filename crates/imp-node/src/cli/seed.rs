//! `impd seed`.

use std::io::{self, Read, Write};
use std::path::Path;

use thiserror::Error;
use zeroize::Zeroizing;

use super::SeedCommand;
use crate::data_dir::{DataDir, DataDirError};
use crate::seed::{self, Seed, SeedError, WORDS, WordsError};

/// Why a seed command did nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SeedCommandError {
    /// The words would go into a file or another program.
    #[error("the words would not go to a terminal. Say --yes if whoever reads them there may own the money")]
    NotATerminal,
    /// Standard input holds no seed.
    #[error("standard input holds no seed of {WORDS} words")]
    Words(#[from] WordsError),
    /// The seed file is at fault.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The data directory cannot be used, perhaps because a daemon runs on it.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Standard input or output failed.
    #[error("standard input or output failed")]
    Io(#[from] io::Error),
}

/// Largest input that is searched for words.
const MAX_INPUT_BYTES: u64 = 64 << 10;

/// Runs a seed command on a data directory. `shows_to_user` says whether `out` is a terminal.
pub fn run(
    command: SeedCommand,
    dir: &Path,
    input: &mut impl Read,
    out: &mut impl Write,
    shows_to_user: bool,
) -> Result<(), SeedCommandError> {
    match command {
        SeedCommand::Show { yes } => {
            if !shows_to_user && !yes {
                return Err(SeedCommandError::NotATerminal);
            }
            writeln!(out, "{}", *Seed::load(dir)?.words())?;
        }
        SeedCommand::Restore => {
            let mut text = Zeroizing::new(String::new());
            input.take(MAX_INPUT_BYTES).read_to_string(&mut text)?;
            let restored = Seed::from_words(&text)?;
            let dir = DataDir::open(dir)?;
            restored.store(dir.path())?;
            writeln!(out, "The seed is in {}.", seed::path(dir.path()).display())?;
        }
        SeedCommand::New => {
            let dir = DataDir::open(dir)?;
            let is_new = Seed::load_or_create(dir.path())?.is_new();
            let what = if is_new { "A new seed is" } else { "There is a seed already" };
            writeln!(out, "{what} in {}. See it with: impd seed show", seed::path(dir.path()).display())?;
        }
    }
    out.flush()?;
    Ok(())
}
