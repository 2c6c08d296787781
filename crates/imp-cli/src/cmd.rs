//! The commands, each in the file of its noun.

pub(crate) mod channel;
pub(crate) mod events;
pub(crate) mod federate;
pub(crate) mod generate;
pub(crate) mod invoice;
pub(crate) mod message;
pub(crate) mod node;
pub(crate) mod payment;
pub(crate) mod peer;
pub(crate) mod signing;
pub(crate) mod socket;
pub(crate) mod vpn;
pub(crate) mod wallet;
pub(crate) mod watch;

use std::process::ExitCode;

use crate::exit;

fn yes_or_no(yes: bool) -> ExitCode {
    if yes { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) }
}

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// What a call that asks is shown to be doing.
const ASKING: &str = "asking the node";
