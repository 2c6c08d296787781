//! The daemon's engine for relays, in a process of its own.

use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use imp_core::relay::{Limits, Options};
use imp_core::socket::Token;
use imp_node::runtime::files;
use imp_node::udp::{Engine, EngineOptions, Ports, RelayHandle, RelaySpec};

/// Longer than the receiver, which only listens, is silent.
const IDLE: Duration = Duration::from_secs(3600);

/// So high that none is reached: it is the others that have none.
const LIMITS: Limits = Limits {
    max_packets: u64::MAX,
    max_bytes: u64::MAX,
    max_packets_per_sec: 1_000_000_000,
    max_bytes_per_sec: 1_000_000_000_000,
};

/// Runs one relay and says where both sides send to. Each number that is then read opens so many more, and is answered once
/// they are open. Ends with the input.
pub(crate) fn run() -> io::Result<()> {
    files::raise_limit()?;
    let engine = Engine::start(EngineOptions::default())?;
    let first = open(&engine)?;
    let [left, right] = first.ports().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    say(&format!("{left} {right}"))?;
    let mut more = Vec::new();
    for line in io::stdin().lock().lines() {
        for _ in 0..line?.parse().unwrap_or(0) {
            more.push(open(&engine)?);
        }
        say("open")?;
    }
    Ok(())
}

fn open(engine: &Engine) -> io::Result<RelayHandle> {
    let options = Options {
        idle: IDLE,
        // They are to be there until they were measured.
        ends_on_idle: false,
        life: Some(Duration::from_secs(86_400)),
        limits: LIMITS,
        token: Token::from_random(uuid::Uuid::new_v4().into_bytes()),
        require_token: false,
        allow_private: true,
    };
    engine
        .open(RelaySpec { ports: Ports::Drawn(20_000..=60_000), options, pins: [None, None] })
        .map_err(io::Error::other)
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}
