//! UDP relays on a small internet: hosts in network namespaces, with routers and NAT between them.
//!
//! The cases share one internet and one net of nodes, so they run one after the other, in a harness of their own.
//!
//! Needs the program `impd`: `cargo build -p imp-node`. Arguments are words of the names of the cases to run.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "the report of a test")]

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
#[path = "../support/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod internet;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
#[path = "../support/settings.rs"]
mod settings;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    harness::run(cases::all())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("udp: all skipped: network namespaces are Linux's");
}
