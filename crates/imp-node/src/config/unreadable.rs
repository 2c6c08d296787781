//! What is told of a file that cannot be read as YAML: the parser speaks to programmers, this to who runs the node.

use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};

use super::fault::shown;

/// Longest part of the parser's own words that is repeated, in characters.
const MAX_WORDS_CHARS: usize = 300;

/// What is wrong with a file, and what to do about it.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Line counted from 1; 0 where it is unknown.
    pub(super) line: u64,
    pub(super) why: String,
    pub(super) remedy: &'static str,
}

impl Unreadable {
    /// Puts an error of the parser into words. `text` is what was parsed.
    pub(super) fn of(error: &Error, text: &str) -> Self {
        let error = innermost(error);
        let line = error.location().map_or(0, |location| location.line());
        let words = UserMessageFormatter.format_message(error);
        let (why, remedy) = match error {
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                (format!("{} is set a second time", shown(key)), "Keep one of the lines")
            }
            Error::DuplicateMappingKey { .. } => {
                ("a key is set a second time".to_owned(), "Keep one of the lines")
            }
            Error::MultipleDocuments { .. }
            | Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => (
                "the file holds a second YAML document, begun by a line ---".to_owned(),
                "Put all settings into one document and delete that line",
            ),
            Error::NullIntoString { .. } => (
                "a key has no name: nothing, ~ or null stands before the colon".to_owned(),
                "Write the key's name before the colon",
            ),
            Error::Budget { .. }
            | Error::AliasReplayCounterOverflow { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => (
                "the file is nested deeper or holds more than any configuration".to_owned(),
                "Compare it with `impd config sample`",
            ),
            _ => {
                if let Some(line) = tab_from(text, line, words.contains(" tab")) {
                    let why =
                        "a tab stands where the line is indented, and YAML is indented with spaces only";
                    return Self { line, why: why.to_owned(), remedy: "Write spaces in place of the tab" };
                }
                let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
                let words = words.chars().take(MAX_WORDS_CHARS).collect::<String>();
                (
                    format!("this is not YAML that can be read: {words}"),
                    "Correct the line; text that holds a colon or begins with a sign stands in quotes",
                )
            }
        };
        Self { line, why, remedy }
    }
}

/// What is wrong at the place that an alias stands for.
fn innermost(error: &Error) -> &Error {
    match error.without_snippet() {
        Error::AliasError { error, .. } => innermost(error),
        error => error,
    }
}

/// The line, counted from 1, that is indented with a tab: that of the error, or one after it where the error is known to
/// be about a tab, for the parser names the line on which the value began.
fn tab_from(text: &str, line: u64, about_tab: bool) -> Option<u64> {
    let mut lines = (1..).zip(text.lines()).skip_while(|(at, _)| *at < line);
    let is_tabbed =
        |line: &str| line.chars().take_while(|sign| sign.is_whitespace()).any(|sign| sign == '\t');
    lines.find(|(at, written)| is_tabbed(written) && (*at == line || about_tab)).map(|(at, _)| at)
}
