//! What is wrong with a configuration, and what of it is not used.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a setting was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Line of the value, counted from 1; 0 where it is unknown.
        line: u64,
    },
    /// In an environment variable of this name.
    Env(String),
    /// On the command line, as a flag of this name.
    Flag(String),
    /// Nowhere: the default, or several settings taken together.
    Nowhere,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0 } => write!(f, "{}: ", path.display()),
            Self::File { path, line } => write!(f, "{}, line {line}: ", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}: "),
            Self::Flag(name) => write!(f, "flag {name}: "),
            Self::Nowhere => Ok(()),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands.
    pub source: Source,
    /// Which key; nothing where the file as a whole is meant.
    pub key: Option<String>,
    /// The value that was given, shortened; stars where it may hold a password.
    pub value: Option<String>,
    /// What is wrong with it.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(f, "{key} is \"{value}\": ")?,
            (Some(key), None) => write!(f, "{key}: ")?,
            (None, _) => {}
        }
        write!(f, "{}. {}.", self.why, self.remedy)
    }
}

/// Every fault of a configuration, at least one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

/// What kind of remark a [`Notice`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// No key has this name. The daemon starts; a check of the configuration fails.
    UnknownKey,
    /// A value that names nothing, such as a sample file's placeholder: not used.
    Placeholder,
    /// A key that the original read and this node does not need.
    Ignored,
    /// Something that was decided for the user.
    Chosen,
}

/// A remark on a configuration that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What kind of remark.
    pub kind: NoticeKind,
    /// Where the setting stands.
    pub source: Source,
    /// Which key.
    pub key: String,
    /// What is to be said of it.
    pub text: String,
}

impl Notice {
    /// Puts the remark into the log: a warning where something the user wrote has no effect.
    pub fn log(&self) {
        match self.kind {
            NoticeKind::UnknownKey => tracing::warn!(target: "imp_node::config", "configuration: {self}"),
            NoticeKind::Placeholder | NoticeKind::Ignored | NoticeKind::Chosen => {
                tracing::info!(target: "imp_node::config", "configuration: {self}");
            }
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {}", self.source, self.key, self.text)
    }
}

/// Longest part of a value that is repeated in a fault or a notice, in characters.
const MAX_SHOWN_CHARS: usize = 80;

/// A value as it may be shown: one line, not endless.
pub(super) fn shown(value: &str) -> String {
    let mut text: String =
        value.chars().take(MAX_SHOWN_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().nth(MAX_SHOWN_CHARS).is_some() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_place_key_value_reason_and_remedy() {
        let fault = Fault {
            source: Source::File { path: "config.yml".into(), line: 3 },
            key: Some("vpn.price".into()),
            value: Some("cheap".into()),
            why: "this is no whole number".into(),
            remedy: "Write satoshis per hour".into(),
        };
        assert_eq!(
            fault.to_string(),
            "config.yml, line 3: vpn.price is \"cheap\": this is no whole number. Write satoshis per hour."
        );
    }

    #[test]
    fn values_are_shown_on_one_line_and_cut() {
        assert_eq!(shown("a\nb\u{1b}[31m"), "a b [31m");
        assert_eq!(shown(&"x".repeat(500)).len(), MAX_SHOWN_CHARS + 3);
    }
}
