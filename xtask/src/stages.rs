//! Stages of a longer command, with the minutes that each took.

use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Cargo, in the repository's root.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(crate::root());
    command
}

/// Stages that ran.
pub(crate) struct Stages {
    taken: Vec<(&'static str, Duration)>,
}

impl Stages {
    pub(crate) const fn new() -> Self {
        Self { taken: Vec::new() }
    }

    /// Runs a program as a stage; its failure is the end.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        mut command: impl std::borrow::BorrowMut<Command>,
    ) -> anyhow::Result<()> {
        self.measure(name, || {
            let status = command.borrow_mut().status().context("cannot run cargo")?;
            if !status.success() {
                bail!("{name} failed: {status}");
            }
            Ok(())
        })
    }

    /// Does something as a stage.
    pub(crate) fn measure(
        &mut self,
        name: &'static str,
        stage: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        eprintln!("xtask: {name}");
        let started = Instant::now();
        let done = stage();
        self.taken.push((name, started.elapsed()));
        if done.is_err() {
            self.report();
        }
        done
    }

    /// Prints what each stage took.
    pub(crate) fn report(&self) {
        for (name, taken) in &self.taken {
            eprintln!("xtask: {:5.1} minutes: {name}", taken.as_secs_f64() / 60.0);
        }
    }
}
