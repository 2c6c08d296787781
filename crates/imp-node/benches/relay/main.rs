//! The relay against others: how many packets a second it forwards, how much later they arrive and what it takes.
//!
//! One sender and one receiver in this process, on loopback, and in turn between them: nothing, the least that a relay
//! can be with the same batching, the daemon's own engine, coturn as a TURN client uses it and socat. Each relay is a
//! process of its own. Turns are short and there are many, and each is compared with those of the same round, because
//! machines are noisy. Coturn and socat are Debian's; without them their rows are missing.
//!
//! `cargo xtask bench --bench relay [-- ROUNDS] [--plot FILE] [NAME..]`; 30 rounds unless told otherwise, about five
//! minutes; NAMEs (bare, minimal, ours, coturn, socat) leave out the others.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "it measures")]

mod contender;
mod figures;
mod idle;
mod load;
mod minimal;
mod ours;
mod plot;
mod process;
mod report;
mod turn;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use contender::{Contender, Running};
use figures::{Figures, Measure};
use load::{Ends, Sending};

/// Bytes of a packet.
const SIZES: [usize; 3] = [64, 512, 1200];

/// The size for what is measured with one only.
const SIZE: usize = 512;

/// What coturn was told at the start is forgotten after five minutes.
const MOST_ROUNDS: usize = 50;

// Each turn is short, so that all have the same share of whatever else the machine does.

const FLOOD: Duration = Duration::from_millis(100);

const LATENCY_PER_SEC: u32 = 1000;
const LATENCY: Duration = Duration::from_millis(300);

const CPU_PER_SEC: u32 = 30_000;
const CPU: Duration = Duration::from_millis(300);

const IDLE_RELAYS: usize = 1000;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["minimal", sender, receiver] => minimal::run(sender.parse().unwrap(), receiver.parse().unwrap()),
        ["ours"] => ours::run(),
        _ => compare(&words),
    }
}

fn compare(words: &[&str]) -> io::Result<()> {
    let rounds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(30).clamp(1, MOST_ROUNDS);
    let plot = words.iter().skip_while(|word| **word != "--plot").nth(1);
    let chosen = |contender: &Contender| words.contains(&contender.word());
    let all = !Contender::ALL.iter().any(chosen);
    let (contenders, missing): (Vec<_>, Vec<_>) = Contender::ALL
        .into_iter()
        .filter(|contender| all || chosen(contender))
        .partition(|contender| contender.is_installed());
    for contender in missing {
        println!("{} is not installed: no row for it", contender.name());
    }
    let mut figures = Figures::default();
    for size in SIZES {
        let mut runners = Vec::new();
        for &contender in &contenders {
            runners.push(Runner::start(contender, size)?);
        }
        for round in 0..rounds {
            eprintln!("{size} bytes, round {} of {rounds}", round + 1);
            // Another one begins in each round, so that nobody is always behind the same.
            runners.rotate_left(1);
            let measures: &[Step] = if size == SIZE { &Runner::ALL } else { &Runner::FLOODS };
            for measure in measures {
                for runner in &runners {
                    measure(runner, &mut figures)?;
                }
            }
        }
    }
    let mut idle = Vec::new();
    for &contender in &contenders {
        idle.extend(idle::measure(contender, IDLE_RELAYS)?.map(|idle| (contender, idle)));
    }
    report::print(&figures, &contenders, &idle, rounds);
    if let Some(file) = plot {
        std::fs::write(from_root(file), plot::draw(&figures, &contenders))?;
    }
    Ok(())
}

/// A contender between two ends of its own. Those that do not have their turn have nothing to do.
struct Runner {
    contender: Contender,
    size: usize,
    ends: Ends,
    running: Running,
}

type Step = fn(&Runner, &mut Figures) -> io::Result<()>;

impl Runner {
    const FLOODS: [Step; 2] = [Self::batches, Self::singles];
    const ALL: [Step; 4] = [Self::batches, Self::singles, Self::latency, Self::cpu];

    fn start(contender: Contender, size: usize) -> io::Result<Self> {
        let ends = Ends::bind()?;
        let running = contender.start(&ends)?;
        Ok(Self { contender, size, ends, running })
    }

    fn batches(&self, figures: &mut Figures) -> io::Result<()> {
        self.flood(Sending::Batches, figures)
    }

    fn singles(&self, figures: &mut Figures) -> io::Result<()> {
        self.flood(Sending::Singles, figures)
    }

    fn flood(&self, sending: Sending, figures: &mut Figures) -> io::Result<()> {
        let before = self.cpu_time()?;
        let flood = self.ends.flood(&self.running.route, self.size, sending, FLOOD);
        self.arrives(flood.packets > 0)?;
        figures.add(Measure::Flood(sending, self.size), self.contender, flood.per_sec);
        if let (Some(before), Some(after)) = (before, self.cpu_time()?) {
            let micros = (after - before).as_secs_f64() * 1e6 / flood.packets as f64;
            figures.add(Measure::FloodCpu(sending, self.size), self.contender, micros);
        }
        Ok(())
    }

    /// Of the relay; none where there is none.
    fn cpu_time(&self) -> io::Result<Option<Duration>> {
        self.running.process.as_ref().map(|process| process::cpu_time(process.pid())).transpose()
    }

    fn latency(&self, figures: &mut Figures) -> io::Result<()> {
        let latencies = self.ends.latencies(&self.running.route, self.size, LATENCY_PER_SEC, LATENCY);
        self.arrives(!latencies.is_empty())?;
        let last = latencies.len() - 1;
        figures.add(Measure::P50, self.contender, latencies[last / 2]);
        figures.add(Measure::P99, self.contender, latencies[last * 99 / 100]);
        Ok(())
    }

    fn cpu(&self, figures: &mut Figures) -> io::Result<()> {
        let Some(before) = self.cpu_time()? else { return Ok(()) };
        let arrived = self.ends.arrivals(&self.running.route, self.size, CPU_PER_SEC, CPU) as f64;
        self.arrives(arrived > 0.0)?;
        if let Some(after) = self.cpu_time()? {
            figures.add(Measure::Cpu, self.contender, (after - before).as_secs_f64() * 1e6 / arrived);
        }
        let sent = f64::from(CPU_PER_SEC) * CPU.as_secs_f64();
        figures.add(Measure::Lost, self.contender, (100.0 - arrived * 100.0 / sent).max(0.0));
        Ok(())
    }

    fn arrives(&self, something: bool) -> io::Result<()> {
        let name = self.contender.name();
        something.then_some(()).ok_or_else(|| io::Error::other(format!("{name}: nothing arrives any more")))
    }
}

/// Benchmarks run in the crate's folder, but files are named as they lie in the repository.
fn from_root(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}
