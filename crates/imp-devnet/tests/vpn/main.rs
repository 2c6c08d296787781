//! A VPN that is sold and bought between hosts in network namespaces, for payments over real Lightning channels.
//!
//! The cases share one net of nodes, so they run one after the other, in a harness of their own.
//!
//! Needs root and the programs `impd` and `imp`: `cargo build -p imp-node -p imp-cli`. Arguments are words of the names of
//! the cases to run.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "the report of a test")]

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod deal;
#[cfg(target_os = "linux")]
#[path = "../support/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod reach;
#[cfg(target_os = "linux")]
#[path = "../support/settings.rs"]
mod settings;
#[cfg(target_os = "linux")]
mod tools;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    harness::run(cases::all())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("vpn: all skipped: network namespaces are Linux's");
}
