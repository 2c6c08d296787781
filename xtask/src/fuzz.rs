//! Fuzzing: each target under `fuzz/` from its corpus, for a bounded time.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::stages::cargo;

/// Seconds for each target among the tests.
const SHORT_SECS: u32 = 10;

/// Seconds for each target where nothing else is asked for.
const DEFAULT_SECS: u32 = 60;

/// `cargo xtask fuzz [TARGET] [--secs N]`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let mut target = None;
    let mut secs = DEFAULT_SECS;
    let mut args = args.iter();
    while let Some(argument) = args.next() {
        if argument == "--secs" {
            let number = args.next().context("--secs needs a number")?;
            secs = number.parse().with_context(|| format!("--secs {number}: not a number of seconds"))?;
        } else {
            target = Some(argument.clone());
        }
    }
    fuzz(target.as_deref(), secs)?;
    Ok(ExitCode::SUCCESS)
}

/// Every target for a short time.
pub(crate) fn short() -> anyhow::Result<()> {
    fuzz(None, SHORT_SECS)
}

fn fuzz(only: Option<&str>, secs: u32) -> anyhow::Result<()> {
    let dir = crate::root().join("fuzz");
    let mut targets = Vec::new();
    for entry in fs::read_dir(dir.join("corpus")).context("fuzz/corpus")? {
        targets.push(entry?.file_name().to_string_lossy().into_owned());
    }
    targets.sort();
    if let Some(only) = only {
        if !targets.iter().any(|target| target == only) {
            bail!("no fuzz target {only:?}: there are {}", targets.join(", "));
        }
        targets.retain(|target| target == only);
    }
    // In the folder itself: cargo takes the flags for coverage from its configuration only there.
    // And in its own target folder: what is instrumented must not take the place of what is not.
    let mut build = cargo(["build", "--bins"]);
    let built =
        build.current_dir(&dir).env_remove("CARGO_TARGET_DIR").status().context("cannot run cargo")?;
    if !built.success() {
        bail!("the fuzz targets do not build; they need a C++ compiler (Debian package g++)");
    }
    let programs = programs(&dir.join("target"))?;
    for target in targets {
        eprintln!("xtask: fuzzing {target} for {secs} s");
        // New inputs go where the next run finds them, and not into the committed corpus.
        let found = dir.join("target/found").join(&target);
        fs::create_dir_all(&found)?;
        let status = Command::new(programs.join(&target))
            .arg(format!("-max_total_time={secs}"))
            .args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"])
            .arg(format!("-artifact_prefix={}/crash-{target}-", dir.display()))
            .arg(&found)
            .arg(dir.join("corpus").join(&target))
            .status()
            .with_context(|| format!("cannot run the fuzz target {target}"))?;
        if !status.success() {
            bail!("the fuzz target {target} found something: {status}; the input is fuzz/crash-{target}-*");
        }
    }
    Ok(())
}

/// Where the programs are: below the name of the machine that they were built for.
fn programs(target_dir: &std::path::Path) -> anyhow::Result<PathBuf> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let version = String::from_utf8(output.stdout).context("rustc -vV")?;
    let host =
        version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(target_dir.join(host).join("debug"))
}
