//! Runs cases that share what takes longer to make than most of them to run, one after the other, and tells how they
//! ended.
//!
//! What the machine cannot do is told and counted; on a CI machine (`CI=true`) it is a failure, for there it would not be
//! noticed otherwise.

use std::env;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use imp_devnet::netns;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// What one case may take. A wait that fails is over before, and says what it waited for.
const CASE_PATIENCE: Duration = Duration::from_secs(200);

/// A case that runs.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the cases share.
pub(crate) trait Lab: Send + Sync + Sized + 'static {
    /// What it stands on, which is made before there is a runtime.
    type Ground: Send + Sync;

    fn prepare() -> anyhow::Result<Self::Ground>;

    /// Runs something, the runtime of all cases, in a thread that is where they are to be.
    fn enter<A: Send>(ground: &Self::Ground, work: impl FnOnce() -> A + Send) -> io::Result<A>;

    fn start(ground: Arc<Self::Ground>) -> impl Future<Output = anyhow::Result<Self>> + Send;

    fn stop(self) -> impl Future<Output = ()> + Send;
}

/// A test.
pub(crate) struct Case<L: Lab> {
    pub(crate) name: &'static str,
    /// Why this machine cannot run it, if that is so.
    pub(crate) lacks: fn(&L::Ground) -> Option<String>,
    pub(crate) run: fn(Arc<L>) -> Running,
}

/// A list of cases by their paths, each with what it needs besides network namespaces.
macro_rules! cases {
    ($($(#[lacks = $lacks:path])? $file:ident::$name:ident,)+) => {
        vec![$(Case {
            name: concat!(stringify!($file), "::", stringify!($name)),
            lacks: $crate::harness::cases!(@lacks $($lacks)?),
            run: |lab| Box::pin($file::$name(lab)),
        }),+]
    };
    (@lacks) => { |_| None };
    (@lacks $lacks:path) => { $lacks };
}

pub(crate) use cases;

/// How the cases ended.
#[derive(Debug, Default)]
struct Ends {
    passed: usize,
    failed: Vec<&'static str>,
    skipped: usize,
}

impl Ends {
    /// A case that this machine cannot run.
    fn skip(&mut self, name: &'static str, why: &str) {
        if is_ci() {
            println!("test {name} ... FAILED: it cannot run here, and must on CI: {why}");
            self.failed.push(name);
        } else {
            println!("test {name} ... skipped: {why}");
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
pub(crate) fn run<L: Lab>(cases: Vec<Case<L>>) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted =
        |case: &Case<L>| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    let cases: Vec<Case<L>> = cases.into_iter().filter(wanted).collect();
    if args.iter().any(|arg| arg == "--list") {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", cases.len());
    let mut ends = Ends::default();
    if cases.is_empty() {
        return ends.exit_code();
    }
    match netns::can_be_made() {
        Ok(()) => {
            if let Err(error) = run_on_ground(&cases, &mut ends) {
                println!("FAILED: {error:#}");
                ends.failed.push("what all cases need");
            }
        }
        Err(error) => cases.iter().for_each(|case| ends.skip(case.name, &format!("{error:#}"))),
    }
    ends.exit_code()
}

fn run_on_ground<L: Lab>(cases: &[Case<L>], ends: &mut Ends) -> anyhow::Result<()> {
    let ground = Arc::new(L::prepare()?);
    L::enter(&ground, || run_on(&ground, cases, ends))?
}

/// Starts the lab and runs the cases in a runtime whose threads are all in the namespace of this one.
fn run_on<L: Lab>(ground: &Arc<L::Ground>, cases: &[Case<L>], ends: &mut Ends) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            biased;
            _ = interrupt.recv() => anyhow::bail!("interrupted"),
            _ = terminate.recv() => anyhow::bail!("interrupted"),
            ran = run_all(ground, cases, ends) => ran,
        }
    })
}

async fn run_all<L: Lab>(ground: &Arc<L::Ground>, cases: &[Case<L>], ends: &mut Ends) -> anyhow::Result<()> {
    let lab = Arc::new(L::start(Arc::clone(ground)).await.context("the nodes do not start")?);
    for case in cases {
        if let Some(why) = (case.lacks)(ground) {
            ends.skip(case.name, &why);
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
        lab.stop().await;
    }
    Ok(())
}

fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}
