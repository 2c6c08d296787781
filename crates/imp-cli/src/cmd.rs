//! The commands, each in the file of its noun.

pub(crate) mod invoice;
pub(crate) mod message;
pub(crate) mod node;
pub(crate) mod signing;
pub(crate) mod watch;

use std::process::ExitCode;

/// The exit code of an answer that is a plain no.
const NO: u8 = 4;

fn yes_or_no(yes: bool) -> ExitCode {
    if yes { ExitCode::SUCCESS } else { ExitCode::from(NO) }
}

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
