//! The tables, and which targets are met.

use crate::contender::Contender;
use crate::figures::{Figures, Measure, Spread};
use crate::idle::Idle;
use crate::load::Sending;
use crate::{CPU_PER_SEC, IDLE_RELAYS, LATENCY_PER_SEC, SIZE, SIZES};

/// Packets a second, as a multiple of coturn's.
const AT_LEAST_OF_COTURN: f64 = 2.0;

/// Packets a second, as a share of the minimal forwarder's.
const AT_LEAST_OF_MINIMAL: f64 = 0.95;

/// Added latency, as a multiple of coturn's.
const AT_MOST_OF_COTURN: f64 = 1.2;

const IDLE_BYTES: u64 = 20_000_000;

/// Less than this is not measurable: a thousandth of one CPU.
const IDLE_CPU_MS: u128 = 10;

pub(crate) fn print(figures: &Figures, contenders: &[Contender], idle: &[(Contender, Idle)], rounds: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{rounds} rounds in turn, medians (lowest-highest), all on loopback and {cores} cores");
    for (sending, how) in [(Sending::Batches, "in batches"), (Sending::Singles, "one packet a call")] {
        println!("\n{:20} {:>22}{:>24}{:>24}", format!("sent {how}"), "64 bytes", "512 bytes", "1200 bytes");
        for &contender in contenders {
            let cells = SIZES.map(|size| rate(figures.of(Measure::Flood(sending, size), contender)));
            println!("{:20} {}", contender.name(), cells.join("  "));
        }
    }
    println!(
        "\n{:20} {:>22}{:>24}{:>18}{:>8}",
        format!("{SIZE} bytes"),
        "us p50",
        "us p99",
        "CPU us a packet",
        "lost"
    );
    for &contender in contenders {
        let lost = figures
            .of(Measure::Lost, contender)
            .map_or(String::new(), |lost| format!("{:.1} %", lost.median));
        println!(
            "{:20} {}  {}  {:>16} {:>7}",
            contender.name(),
            micros(figures.of(Measure::P50, contender)),
            micros(figures.of(Measure::P99, contender)),
            figures.of(Measure::Cpu, contender).map_or(String::new(), |cpu| format!("{:.2}", cpu.median)),
            lost,
        );
    }
    println!("  (latency at {LATENCY_PER_SEC} packets a second, CPU and losses at {CPU_PER_SEC})\n");
    for (contender, idle) in idle {
        println!(
            "{:20} {IDLE_RELAYS} idle relays: {:.1} MB more in memory, {:.1} ms of CPU in 10 s",
            contender.name(),
            idle.bytes as f64 / 1e6,
            idle.cpu.as_secs_f64() * 1000.0,
        );
    }
    println!();
    targets(figures, idle);
}

fn targets(figures: &Figures, idle: &[(Contender, Idle)]) {
    for (sending, how) in [(Sending::Batches, "in batches"), (Sending::Singles, "one a call")] {
        for size in SIZES {
            let flood = Measure::Flood(sending, size);
            let least = |other, least: f64| {
                let ratio = figures.ratio(flood, Contender::Ours, other);
                let name = format!("{size} bytes {how}: {least} of {}'s packets", other.name());
                verdict(&name, ratio.map(|ratio| (ratio.median >= least, format!("{:.2}", ratio.median))));
            };
            least(Contender::Coturn, AT_LEAST_OF_COTURN);
            least(Contender::Minimal, AT_LEAST_OF_MINIMAL);
        }
    }
    let added = |contender| figures.added(Measure::P99, contender).map(|added| added.median);
    let ratio = added(Contender::Ours).zip(added(Contender::Coturn)).map(|(ours, coturn)| {
        (ours <= coturn * AT_MOST_OF_COTURN, format!("{ours:.0} us and {coturn:.0} us"))
    });
    verdict(&format!("at most {AT_MOST_OF_COTURN} of coturn's added p99"), ratio);
    let ours = idle.iter().find(|(contender, _)| *contender == Contender::Ours).map(|(_, idle)| idle);
    let memory = ours.map(|idle| (idle.bytes < IDLE_BYTES, format!("{:.1} MB", idle.bytes as f64 / 1e6)));
    verdict(&format!("{IDLE_RELAYS} idle relays in less than {} MB", IDLE_BYTES / 1_000_000), memory);
    let cpu = ours
        .map(|idle| (idle.cpu.as_millis() < IDLE_CPU_MS, format!("{:.1} ms", idle.cpu.as_secs_f64() * 1e3)));
    verdict(&format!("{IDLE_RELAYS} idle relays take no CPU (under {IDLE_CPU_MS} ms of 10 s)"), cpu);
}

fn verdict(target: &str, figure: Option<(bool, String)>) {
    let (word, figure) = match figure {
        Some((true, figure)) => ("met", figure),
        Some((false, figure)) => ("MISSED", figure),
        None => ("not measured", String::new()),
    };
    println!("target: {target:62} {word}: {figure}");
}

fn rate(spread: Option<Spread>) -> String {
    cell(spread, |rate| format!("{:.0}k", rate / 1000.0))
}

fn micros(spread: Option<Spread>) -> String {
    cell(spread, |micros| format!("{micros:.0}"))
}

fn cell(spread: Option<Spread>, text: impl Fn(f64) -> String) -> String {
    let text =
        spread.map(|spread| format!("{} ({}-{})", text(spread.median), text(spread.low), text(spread.high)));
    format!("{:>22}", text.unwrap_or_default())
}
