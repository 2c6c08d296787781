//! What goes through tunnels, and how much later it arrives.

use std::time::Duration;

use crate::figures::{Ratio, Spread, verdict};
use crate::pair::{Pair, Setup};

/// Short, so that all have the same share of whatever else the machine does.
const TURN: Duration = Duration::from_secs(1);

const ECHOES: usize = 200;

/// The aims: as fast as the newest, and below this it is missed.
const OF_NEWEST: f64 = 1.0;
const LEAST_OF_NEWEST: f64 = 0.95;
const OF_DEBIANS: f64 = 4.0;

/// A setup and its figures, one for each round.
struct Row {
    setup: Setup,
    pair: Pair,
    mbit: Vec<f64>,
    cpu: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub(crate) fn compare(rounds: usize) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (number, setup) in Setup::ALL.into_iter().enumerate() {
        if setup.is_installed() {
            let pair = Pair::start(setup, number)?;
            rows.push(Row { setup, pair, mbit: vec![], cpu: vec![], p50: vec![], p99: vec![] });
        } else {
            println!("{} is not installed: no row for it", setup.name());
        }
    }
    for round in 0..rounds {
        eprintln!("tunnels, round {} of {rounds}", round + 1);
        // Another one begins in each round, so that nobody is always behind the same.
        let count = rows.len();
        for place in 0..count {
            rows[(round + place) % count].measure()?;
        }
    }
    print(&rows);
    targets(&rows);
    Ok(())
}

impl Row {
    fn measure(&mut self) -> anyhow::Result<()> {
        let through = self.pair.through(TURN)?;
        self.mbit.push(through.mbit);
        self.cpu.push(through.cpu_per_gb);
        let latencies = self.pair.latencies(ECHOES)?;
        let last = latencies.len() - 1;
        self.p50.push(latencies[last / 2]);
        self.p99.push(latencies[last * 99 / 100]);
        Ok(())
    }
}

fn print(rows: &[Row]) {
    println!(
        "\n{:48}{:>22}{:>20}{:>20}{:>22}",
        "TCP through two hosts", "Mbit/s", "CPU s for a GB", "echo ms, p50", "echo ms, p99"
    );
    for row in rows {
        let cell =
            |figures: &[f64], places| Spread::of(figures).map_or_else(String::new, |it| it.text(places));
        let cpu = if row.setup == Setup::BARE { String::new() } else { cell(&row.cpu, 1) };
        println!(
            "{:48}{:>22}{cpu:>20}{:>20}{:>22}",
            row.setup.name(),
            cell(&row.mbit, 0),
            cell(&row.p50, 2),
            cell(&row.p99, 2)
        );
    }
    println!();
}

fn targets(rows: &[Row]) {
    let mbit = |setup: Setup| rows.iter().find(|row| row.setup == setup).map(|row| row.mbit.as_slice());
    let ratio = |theirs| Ratio::of(mbit(Setup::OURS)?, mbit(theirs)?);
    let text = |ratio: Ratio| format!("{:.2} +- {:.2}", ratio.mean, ratio.error);
    match ratio(Setup::NEWEST) {
        Some(ratio) => {
            let word = if ratio.mean >= OF_NEWEST { "met" } else { ratio.at_least(LEAST_OF_NEWEST) };
            verdict("the newest wireguard-go's throughput (a miss below 0.95)", word, &text(ratio));
        }
        None => verdict("the newest wireguard-go's throughput", "not measured", ""),
    }
    match ratio(Setup::DEBIAN) {
        Some(ratio) => verdict(
            &format!("{OF_DEBIANS} times the throughput of Debian's wireguard-go"),
            ratio.at_least(OF_DEBIANS),
            &text(ratio),
        ),
        None => verdict("Debian's wireguard-go's throughput", "not measured", ""),
    }
}
