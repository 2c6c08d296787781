//! The one interface to the repository: `cargo xtask <command>`.
//!
//! It is built before anything else can be done, so it stays small: commands that need heavy libraries sit behind
//! features, and [`main`] runs cargo again with the feature on.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for people at a terminal")]

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

#[cfg(feature = "gen")]
mod r#gen;

const HELP: &str = "\
The one interface to the repository.

Usage: cargo xtask <command>

  gen [--check]   Generates the code of crates/imp-api/src/gen from proto/; with --check only tells whether the
                  files there are what proto/ says
  help            This text";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let (command, rest) = args.split_first().map_or(("help", args), |(first, rest)| (first.as_str(), rest));
    match command {
        "gen" => gen_command(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!("no command {unknown:?}; `cargo xtask help` lists them"),
    }
}

#[cfg(feature = "gen")]
fn gen_command(args: &[String]) -> anyhow::Result<ExitCode> {
    r#gen::run(root(), args)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "gen"))]
fn gen_command(args: &[String]) -> anyhow::Result<ExitCode> {
    with_feature("gen", args)
}

/// Runs this command again in an xtask that has `feature`, which is named like the command.
#[cfg_attr(
    feature = "gen",
    expect(dead_code, reason = "an xtask with every feature runs all commands itself")
)]
fn with_feature(feature: &str, args: &[String]) -> anyhow::Result<ExitCode> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--features", feature, "--", feature])
        .args(args)
        .current_dir(root())
        .status()
        .context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository's root folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}
