//! WireGuard of this node against others: what goes through, how long a buyer waits, and what many buyers cost.
//!
//! Each setup is two hosts in network namespaces, joined by a cable, and a tunnel between them: none, Debian's
//! `wireguard-go`, the newest, this node's device, and this node's with each of the others. They take turns, turns are
//! short, and each is compared with those of the same round, because machines are noisy. What a buyer waits for is measured
//! with whole nodes on hosts of their own. Needs root; what is not installed has no row.
//!
//! `cargo xtask bench --bench vpn [-- ROUNDS] [WORD..]`; 12 rounds unless told otherwise, about five minutes; WORDs
//! (tunnels, peers, contract) leave out the others.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "it measures")]

mod contract;
mod device;
mod end;
mod figures;
mod pair;
mod peers;
#[path = "../relay/process.rs"]
mod process;
mod tunnels;

use std::path::Path;

use imp_devnet::netns;
use imp_node::wireguard::DeviceChoice;

use device::Plan;

/// Rounds unless told otherwise.
const ROUNDS: usize = 12;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--bench").collect();
    match words[..] {
        ["device", name, file] => device::run(DeviceChoice::Userspace, Plan::read(name, Path::new(file))?),
        ["seller", name] => peers::run_seller(name),
        _ => compare(&words),
    }
}

fn compare(words: &[&str]) -> anyhow::Result<()> {
    netns::can_be_made()?;
    let rounds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let all = !["tunnels", "peers", "contract"].iter().any(|word| words.contains(word));
    let wanted = |word: &str| all || words.contains(&word);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{rounds} rounds in turn, medians (lowest-highest), all on one machine of {cores} cores");
    if wanted("tunnels") {
        tunnels::compare(rounds)?;
    }
    if wanted("peers") {
        peers::compare()?;
    }
    if wanted("contract") {
        contract::compare(rounds)?;
    }
    Ok(())
}
