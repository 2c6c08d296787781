//! The node's seed: 24 words (BIP 39) from which its keys and its wallet are derived.
//!
//! The words stand in the file `seed` of the data directory, mode 0600. Whoever reads them owns the money; whoever loses
//! them has lost it. So the file is never replaced, a file open to other users is refused, and no new seed is made where
//! a database shows that there was another.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bip39::{Language, Mnemonic};
use thiserror::Error;
use zeroize::Zeroizing;

/// Words in a seed.
pub const WORDS: usize = 24;

/// Largest seed file in bytes: 24 words of at most 8 letters, generously.
const MAX_BYTES: u64 = 1024;

/// A seed. Prints as `***` and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed {
    mnemonic: Mnemonic,
    is_new: bool,
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(***)")
    }
}

/// Why there is no seed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The system refused.
    #[error("the seed file {} cannot be read or written", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Other users may read it.
    #[error(
        "the seed file {} is open to other users (mode {mode:03o}). If nobody else has read it, run: chmod 600 {}",
        .path.display(), .path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no file of words.
    #[error("the seed file {} holds no seed (move it away and run `impd seed restore`)", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: WordsError,
    },
    /// A new one would make the wallet in the database worthless.
    #[error(
        "the seed file {} is missing, but a database is there: its wallet and channels need that seed. \
         Bring the file back, or give the words to `impd seed restore`", .path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no seed file {}. `impd seed new` makes one, and so does the first start of impd", .path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is a seed file {} already, which is never replaced. Move it away first", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with the words of a seed. Tells no word.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WordsError {
    /// Too many or too few.
    #[error("there are {found} words where {WORDS} are needed")]
    Count {
        /// Words found.
        found: usize,
    },
    /// One is not in the list.
    #[error("word {position} is not in the English word list of BIP 39")]
    UnknownWord {
        /// Which one, counted from 1.
        position: usize,
    },
    /// The last word does not fit the others.
    #[error("the checksum is wrong: a word is mistaken or in the wrong place")]
    Checksum,
}

impl Seed {
    /// The seed of the data directory, made at the first start. The caller holds the directory's lock.
    pub fn load_or_create(dir: &Path) -> Result<Self, SeedError> {
        match Self::load(dir) {
            Err(SeedError::NotFound { path }) if holds_database(dir) => Err(SeedError::Missing { path }),
            Err(SeedError::NotFound { .. }) => {
                let mut entropy = Zeroizing::new([0; 32]);
                getrandom::fill(entropy.as_mut())
                    .map_err(|error| failed(dir)(io::Error::other(error.to_string())))?;
                let mnemonic = Mnemonic::from_entropy_in(Language::English, entropy.as_ref())
                    .expect("32 bytes are the entropy of 24 words");
                let seed = Self { mnemonic, is_new: true };
                seed.store(dir)?;
                Ok(seed)
            }
            other => other,
        }
    }

    /// The seed of the data directory.
    pub fn load(dir: &Path) -> Result<Self, SeedError> {
        let path = path(dir);
        let failed = failed(dir);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SeedError::NotFound { path });
            }
            Err(error) => return Err(failed(error)),
        };
        let mode = file.metadata().map_err(&failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SeedError::Open { path, mode });
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize));
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
        Self::from_words(&text).map_err(|source| SeedError::Invalid { path, source })
    }

    /// A seed from its words, whatever space is between them and in whatever case.
    pub fn from_words(text: &str) -> Result<Self, WordsError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() != WORDS {
            return Err(WordsError::Count { found: words.len() });
        }
        let normal = Zeroizing::new(words.join(" ").to_ascii_lowercase());
        let mnemonic =
            Mnemonic::parse_in_normalized(Language::English, &normal).map_err(|error| match error {
                bip39::Error::UnknownWord(index) => WordsError::UnknownWord { position: index + 1 },
                bip39::Error::BadWordCount(found) => WordsError::Count { found },
                _ => WordsError::Checksum,
            })?;
        Ok(Self { mnemonic, is_new: false })
    }

    /// Writes the seed into a data directory that has none. The caller holds the directory's lock.
    ///
    /// The words are on the disk under another name before they get theirs: a crash leaves a whole file or none.
    pub fn store(&self, dir: &Path) -> Result<(), SeedError> {
        let path = path(dir);
        let failed = failed(dir);
        if path.symlink_metadata().is_ok() {
            return Err(SeedError::Exists { path });
        }
        let unfinished = dir.join("seed.new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            let mut text = self.words();
            text.push('\n');
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(failed)
    }

    /// The 24 words with spaces between, to be shown to their owner only.
    pub fn words(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES as usize));
        for (at, word) in self.mnemonic.words().enumerate() {
            if at > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// The 64 bytes that BIP 39 derives from the words without a passphrase.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.mnemonic.to_seed_normalized(""))
    }

    /// Whether [`Self::load_or_create`] made it just now, so that its owner should be told to keep the words.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }
}

/// The seed file of a data directory.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("seed")
}

fn failed(dir: &Path) -> impl Fn(io::Error) -> SeedError {
    let path = path(dir);
    move |source| SeedError::Io { path: path.clone(), source }
}

fn holds_database(dir: &Path) -> bool {
    fs::metadata(dir.join("imp.db")).is_ok_and(|found| found.len() > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The vector of BIP 39 with 256 zero bits, with an empty passphrase.
    const ZEROS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
        abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

    #[test]
    fn the_first_start_makes_a_seed_and_later_ones_find_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Seed::load_or_create(dir.path()).unwrap();
        let second = Seed::load_or_create(dir.path()).unwrap();
        assert!(first.is_new() && !second.is_new());
        assert_eq!(first.words().split(' ').count(), WORDS);
        assert_eq!((first.words(), first.to_bytes()), (second.words(), second.to_bytes()));
        assert_eq!(fs::metadata(path(dir.path())).unwrap().mode() & 0o777, 0o600);
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["seed"]);
        let other = Seed::load_or_create(tempfile::tempdir().unwrap().path()).unwrap();
        assert_ne!(first.words(), other.words());
    }

    #[test]
    fn the_bytes_are_those_of_bip_39() {
        let seed = Seed::from_words(ZEROS).unwrap();
        assert_eq!(
            hex::encode(*seed.to_bytes()),
            "408b285c123836004f4b8842c89324c1f01382450c0d439af345ba7fc49acf70\
             5489c6fc77dbd4e3dc1dd8cc6bc9f043db8ada1e243c4a0eafb290d399480840"
        );
    }

    #[test]
    fn words_are_read_in_any_layout() {
        let spread =
            format!("\n {} \n", ZEROS.to_uppercase().split_whitespace().collect::<Vec<_>>().join("\n\t"));
        assert_eq!(Seed::from_words(&spread), Seed::from_words(ZEROS));
    }

    #[test]
    fn wrong_words_are_refused_without_repeating_them() {
        for (text, error) in [
            (String::new(), WordsError::Count { found: 0 }),
            ("abandon ".repeat(12), WordsError::Count { found: 12 }),
            (ZEROS.replacen("abandon", "hunter2", 1), WordsError::UnknownWord { position: 1 }),
            (ZEROS.replace("art", "zoo"), WordsError::Checksum),
        ] {
            assert_eq!(Seed::from_words(&text), Err(error));
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_seed_open_to_others_is_refused_naming_chmod() {
        let dir = tempfile::tempdir().unwrap();
        Seed::load_or_create(dir.path()).unwrap();
        for mode in [0o640, 0o604, 0o644, 0o620] {
            fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(mode)).unwrap();
            let error = Seed::load_or_create(dir.path()).unwrap_err();
            assert!(matches!(error, SeedError::Open { mode: found, .. } if found == mode), "{error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(path(dir.path()), fs::Permissions::from_mode(0o400)).unwrap();
        Seed::load(dir.path()).unwrap();
    }

    #[test]
    fn a_damaged_seed_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let seed = Seed::load_or_create(dir.path()).unwrap();
        let damaged = seed.words().rsplit_once(' ').unwrap().0.to_owned();
        fs::write(path(dir.path()), &damaged).unwrap();
        let error = Seed::load_or_create(dir.path()).unwrap_err();
        assert!(
            matches!(error, SeedError::Invalid { source: WordsError::Count { found: 23 }, .. }),
            "{error}"
        );
        assert!(matches!(seed.store(dir.path()), Err(SeedError::Exists { .. })));
        assert_eq!(fs::read_to_string(path(dir.path())).unwrap(), damaged);
    }

    #[test]
    fn no_new_seed_is_made_beside_a_database() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("imp.db"), "SQLite format 3").unwrap();
        let error = Seed::load_or_create(dir.path()).unwrap_err();
        assert!(matches!(error, SeedError::Missing { .. }), "{error}");
        Seed::from_words(ZEROS).unwrap().store(dir.path()).unwrap();
        assert_eq!(
            Seed::load_or_create(dir.path()).unwrap().words(),
            Seed::from_words(ZEROS).unwrap().words()
        );
    }

    #[test]
    fn what_a_crash_left_half_written_is_no_seed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("seed.new"), "abandon").unwrap();
        assert!(Seed::load_or_create(dir.path()).unwrap().is_new());
        assert!(!dir.path().join("seed.new").exists());
    }

    #[test]
    fn a_seed_prints_as_stars() {
        assert_eq!(format!("{:?}", Seed::from_words(ZEROS).unwrap()), "Seed(***)");
    }
}
