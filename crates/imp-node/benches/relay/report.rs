//! The tables, and which targets are met.

use crate::contender::Contender;
use crate::figures::{Figures, Measure, Ratio, Spread};
use crate::idle::Idle;
use crate::load::Sending;
use crate::{CPU_PER_SEC, IDLE_RELAYS, LATENCY_PER_SEC, SIZES};

/// Packets a second, as a multiple of coturn's.
const AT_LEAST_OF_COTURN: f64 = 2.0;

/// Packets a second, as a share of the minimal forwarder's.
const AT_LEAST_OF_MINIMAL: f64 = 0.95;

/// Added latency, as a multiple of coturn's.
const AT_MOST_OF_COTURN: f64 = 1.2;

const SENDINGS: [(Sending, &str); 2] = [(Sending::Batches, "in batches"), (Sending::Singles, "one a call")];

const IDLE_BYTES: u64 = 20_000_000;

/// Less than this is not measurable: a thousandth of one CPU.
const IDLE_CPU_MS: u128 = 10;

pub(crate) fn print(figures: &Figures, contenders: &[Contender], idle: &[(Contender, Idle)], rounds: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{rounds} rounds in turn, medians (lowest-highest), all on loopback and {cores} cores");
    let rate = |per_sec: f64| format!("{:.0}k", per_sec / 1000.0);
    let micros = |micros: f64| format!("{micros:.2}");
    for (sending, how) in SENDINGS {
        let sizes = SIZES.map(|size| (format!("{size} bytes"), Measure::Flood(sending, size)));
        table(&format!("packets/s, {how}"), &sizes, figures, contenders, rate);
    }
    for (sending, how) in SENDINGS {
        let sizes = SIZES.map(|size| (format!("{size} bytes"), Measure::FloodCpu(sending, size)));
        table(&format!("CPU us each, {how}"), &sizes, figures, contenders, micros);
    }
    let columns =
        [("p50", Measure::P50), ("p99", Measure::P99)].map(|(name, measure)| (name.to_owned(), measure));
    let title = format!("latency us, {LATENCY_PER_SEC}/s");
    table(&title, &columns, figures, contenders, |micros| format!("{micros:.0}"));
    let columns = [("CPU us each", Measure::Cpu), ("lost %", Measure::Lost)];
    let columns = columns.map(|(name, measure)| (name.to_owned(), measure));
    table(&format!("{CPU_PER_SEC} packets/s"), &columns, figures, contenders, micros);
    println!();
    for (contender, idle) in idle {
        println!(
            "{:24}{IDLE_RELAYS} idle relays: {:.1} MB more in memory, {:.1} ms of CPU in 10 s",
            contender.name(),
            idle.bytes as f64 / 1e6,
            idle.cpu.as_secs_f64() * 1000.0,
        );
    }
    println!();
    targets(figures, idle);
}

/// A row for each contender that has such figures.
fn table(
    title: &str,
    columns: &[(String, Measure)],
    figures: &Figures,
    contenders: &[Contender],
    text: impl Fn(f64) -> String,
) {
    print!("\n{title:24}");
    for (name, _) in columns {
        print!("{name:>24}");
    }
    println!();
    for &contender in contenders {
        let cells: Option<Vec<Spread>> =
            columns.iter().map(|(_, measure)| figures.of(*measure, contender)).collect();
        let Some(cells) = cells else { continue };
        print!("{:24}", contender.name());
        for Spread { median, low, high } in cells {
            print!("{:>24}", format!("{} ({}-{})", text(median), text(low), text(high)));
        }
        println!();
    }
}

fn targets(figures: &Figures, idle: &[(Contender, Idle)]) {
    for (sending, how) in SENDINGS {
        let floods = SIZES.map(|size| Measure::Flood(sending, size));
        for (size, flood) in SIZES.into_iter().zip(floods) {
            let ratio = figures.ratio(&[flood], Contender::Ours, Contender::Coturn);
            let name = format!("{AT_LEAST_OF_COTURN} times coturn's packets, {size} bytes {how}");
            verdict(&name, ratio.map(|ratio| at_least(ratio, AT_LEAST_OF_COTURN)));
        }
        let ratio = figures.ratio(&floods, Contender::Ours, Contender::Minimal);
        let name = format!("{AT_LEAST_OF_MINIMAL} of the minimal forwarder's packets, {how}");
        verdict(&name, ratio.map(|ratio| at_least(ratio, AT_LEAST_OF_MINIMAL)));
    }
    let added = |contender| figures.added(Measure::P99, contender).map(|added| added.median);
    let ratio = added(Contender::Ours).zip(added(Contender::Coturn)).map(|(ours, coturn)| {
        (word(ours <= coturn * AT_MOST_OF_COTURN), format!("{ours:.0} us and {coturn:.0} us"))
    });
    verdict(&format!("at most {AT_MOST_OF_COTURN} of coturn's added p99"), ratio);
    let ours = idle.iter().find(|(contender, _)| *contender == Contender::Ours).map(|(_, idle)| idle);
    let memory =
        ours.map(|idle| (word(idle.bytes < IDLE_BYTES), format!("{:.1} MB", idle.bytes as f64 / 1e6)));
    verdict(&format!("{IDLE_RELAYS} idle relays in less than {} MB", IDLE_BYTES / 1_000_000), memory);
    let cpu = ours.map(|idle| {
        (word(idle.cpu.as_millis() < IDLE_CPU_MS), format!("{:.1} ms", idle.cpu.as_secs_f64() * 1e3))
    });
    verdict(&format!("{IDLE_RELAYS} idle relays take no CPU (under {IDLE_CPU_MS} ms of 10 s)"), cpu);
}

fn at_least(ratio: Ratio, least: f64) -> (&'static str, String) {
    let Ratio { mean, error } = ratio;
    // What lies within two standard errors of its target says neither.
    let word = if mean < least && mean + 2.0 * error >= least { "within noise" } else { word(mean >= least) };
    (word, format!("{mean:.2} +- {error:.2}"))
}

const fn word(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

fn verdict(target: &str, figure: Option<(&str, String)>) {
    let (word, figure) = figure.unwrap_or(("not measured", String::new()));
    println!("target: {target:62} {word}: {figure}");
}
