//! Texts, and what is signed of them.

use std::io::Read;
use std::path::PathBuf;

use clap::ValueHint;

use super::value::Node;
use crate::failure::Failure;

/// A text: typed, from standard input, or from a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Text {
    /// The text, or - for what standard input holds, to the last byte.
    #[arg(allow_hyphen_values = true, required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// Take the text from this file, to the last byte.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

impl Text {
    pub(crate) fn read(self) -> Result<String, Failure> {
        match (self.file, self.text) {
            (Some(path), _) => {
                let name = path.display().to_string();
                let bytes =
                    std::fs::read(&path).map_err(|source| Failure::Input { name: name.clone(), source })?;
                String::from_utf8(bytes).map_err(|_| Failure::NotText { name })
            }
            (None, text) => text_or_stdin(text.unwrap_or_default()),
        }
    }
}

/// A text as given, or standard input for `-`.
pub(crate) fn text_or_stdin(text: String) -> Result<String, Failure> {
    if text != "-" {
        return Ok(text);
    }
    let name = "standard input".to_owned();
    let mut bytes = Vec::new();
    match std::io::stdin().read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8(bytes).map_err(|_| Failure::NotText { name }),
        Err(source) => Err(Failure::Input { name, source }),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    #[command(flatten)]
    pub(crate) text: Text,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The text, or - for what standard input holds, to the last byte.
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: String,
    /// The signature: 104 characters of zbase32.
    pub(crate) signature: String,
    /// The node that is said to have signed: its Lightning public key, or its local name.
    #[arg(long, value_name = "NODE")]
    pub(crate) pubkey: Option<Node>,
}
