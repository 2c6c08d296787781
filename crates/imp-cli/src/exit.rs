//! Exit codes, for scripts.

use std::fmt::Write;

pub(crate) const REFUSED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const NO: u8 = 4;
pub(crate) const NOT_KNOWN: u8 = 5;
/// What shells give to a program that SIGINT ended: 128 and the signal's number.
pub(crate) const INTERRUPTED: u8 = 130;

/// Every code that `imp` ends with, and what it says.
pub(crate) const MEANINGS: [(u8, &str); 7] = [
    (0, "done"),
    (REFUSED, "not done: the node refused, you declined, or a file cannot be read or written"),
    (USAGE, "the command line cannot be understood"),
    (UNREACHABLE, "the node cannot be reached"),
    (NO, "the answer is no: the signature is not valid, or the invoice is not paid"),
    (NOT_KNOWN, "not known yet: what was asked for may have been done, or may still be"),
    (INTERRUPTED, "interrupted by Ctrl-C; what was asked for may go on at the node"),
];

/// The codes as a paragraph of help.
pub(crate) fn help() -> String {
    MEANINGS.iter().fold("Exit codes:".to_owned(), |mut text, (code, meaning)| {
        write!(text, "\n  {code:<3}  {meaning}").expect("writing to memory cannot fail");
        text
    })
}
