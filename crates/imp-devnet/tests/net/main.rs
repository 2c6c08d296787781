//! Whole nets: processes of `impd` with channels between them, over the interfaces that users have.
//!
//! Needs the program `impd`: `cargo build -p imp-node`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "shown when a test fails")]

mod api;
mod command_line;
mod commits;
mod crashes;
mod federate;
mod kept;
mod lab;
mod messages;
mod payments;
mod program;
mod restarts;
