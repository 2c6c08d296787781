//! What every WireGuard device of this node must do, asked of each: the one in memory, that of this process, and the
//! kernel's where there is one.
//!
//! Devices are made in network namespaces, so this needs root, and runs its cases itself, one after the other. What the
//! machine cannot do is told and counted; on a CI machine (`CI=true`) it is a failure, except for the kernel's WireGuard,
//! which such machines rarely have. Arguments are words of the names of the cases to run.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(clippy::print_stdout, reason = "the report of a test")]

#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod lab;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod traffic;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    harness::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("wireguard: all skipped: network namespaces are Linux's");
}
