//! Runs the cases, one after the other, and tells how they ended.

use std::env;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::cases;
use crate::internet::Internet;
use crate::lab::Lab;
use crate::namespaces;

/// What one case may take. A wait that fails is over before, and says what it waited for.
const CASE_PATIENCE: Duration = Duration::from_secs(150);

/// A case that runs.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A test.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Why this machine cannot run it, if that is so.
    pub(crate) lacks: fn(&Internet) -> Option<String>,
    pub(crate) run: fn(Arc<Lab>) -> Running,
}

/// How the cases ended.
#[derive(Debug, Default)]
struct Ends {
    passed: usize,
    failed: Vec<&'static str>,
    skipped: usize,
}

impl Ends {
    /// A case that this machine cannot run.
    fn skip(&mut self, case: &Case, why: &str) {
        if is_ci() {
            println!("test {} ... FAILED: it cannot run here, and must on CI: {why}", case.name);
            self.failed.push(case.name);
        } else {
            println!("test {} ... skipped: {why}", case.name);
            self.skipped += 1;
        }
    }

    fn exit_code(&self) -> ExitCode {
        let word = if self.failed.is_empty() { "ok" } else { "FAILED" };
        println!(
            "\ntest result: {word}. {} passed; {} failed; {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped
        );
        for name in &self.failed {
            println!("    {name}");
        }
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs the cases that the arguments name, or all.
pub(crate) fn run() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |case: &Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    let cases: Vec<Case> = cases::all().into_iter().filter(wanted).collect();
    if args.iter().any(|arg| arg == "--list") {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let mut ends = Ends::default();
    if cases.is_empty() {
        return ends.exit_code();
    }
    namespaces::delete_stale();
    match namespaces::can_be_made() {
        Ok(()) => {
            if let Err(error) = run_on_internet(&cases, &mut ends) {
                println!("FAILED: {error:#}");
                ends.failed.push("the internet and its nodes");
            }
        }
        Err(error) => cases.iter().for_each(|case| ends.skip(case, &format!("{error:#}"))),
    }
    ends.exit_code()
}

/// Makes the internet, runs the cases on it, and takes it away.
fn run_on_internet(cases: &[Case], ends: &mut Ends) -> anyhow::Result<()> {
    let internet = Arc::new(Internet::build()?);
    internet.relay.enter(|| run_on(&internet, cases, ends))?
}

/// Starts the nodes and runs the cases in a runtime whose threads are all in the namespace of this one.
fn run_on(internet: &Arc<Internet>, cases: &[Case], ends: &mut Ends) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            biased;
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("interrupted"),
            ran = run_all(internet, cases, ends) => ran,
        }
    })
}

async fn run_all(internet: &Arc<Internet>, cases: &[Case], ends: &mut Ends) -> anyhow::Result<()> {
    let lab = Lab::start(Arc::clone(internet)).await.context("the nodes do not start")?;
    let lab = Arc::new(lab);
    for case in cases {
        if let Some(why) = (case.lacks)(internet) {
            ends.skip(case, &why);
            continue;
        }
        print!("test {} ... ", case.name);
        io::stdout().flush()?;
        let began = Instant::now();
        let mut running = tokio::spawn((case.run)(Arc::clone(&lab)));
        let ended = match timeout(CASE_PATIENCE, &mut running).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("FAILED".to_owned()),
            Err(_) => {
                running.abort();
                Err(format!("FAILED: it took more than {CASE_PATIENCE:?}"))
            }
        };
        let took = began.elapsed().as_secs_f64();
        match ended {
            Ok(()) => {
                ends.passed += 1;
                println!("ok ({took:.1} s)");
            }
            Err(word) => {
                ends.failed.push(case.name);
                println!("test {} ... {word} ({took:.1} s)", case.name);
            }
        }
    }
    // A case that was given up may still hold it; then the nodes end with this process.
    if let Some(lab) = Arc::into_inner(lab) {
        lab.net.stop().await;
    }
    Ok(())
}

fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}
