//! The one interface to the repository: `cargo xtask <command>`.
//!
//! It is built before anything else can be done, so it stays small: commands that need heavy libraries sit behind
//! features, and [`main`] runs cargo again with the feature on.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for people at a terminal")]

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

#[cfg(feature = "gen")]
mod r#gen;

mod clients;
mod debian;
mod fuzz;
mod go;
mod stages;

use stages::{Stages, cargo};

const HELP: &str = "\
The one interface to the repository.

Usage: cargo xtask <command>

  devnet [ARGS]   Builds and starts two funded nodes with a channel on a local chain; ARGS are those of
                  `imp-devnet up` (`cargo xtask devnet --help` lists them)
  test            All tests: unit, property, conformance, end to end, real clients, and every fuzz target for a
                  short time
  clients [ARGS]  Tests with real clients (curl, grpcurl, Python, Node, Chromium) and of each page of the guide;
                  installs what they need where it can; ARGS are those of pytest
  check           Formatting, lints, documentation, and that generated code is what proto/ says
  fuzz [TARGET] [--secs N]
                  Builds the fuzz targets and runs all of them, or one, from its corpus for N seconds (60)
  gen [--check]   Generates the code of crates/imp-api/src/gen and the documents of docs/reference from proto/;
                  with --check only tells whether the files there are what proto/ says
  bench [ARGS]    Benchmarks, in release; installs what they compare with where it can; ARGS are those of
                  `cargo bench`
  help            This text";

/// What tests across network namespaces run, see `crates/imp-devnet/tests/{udp,vpn}`.
const NETWORKING: [debian::Program; 7] = [
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("iperf3", "iperf3"),
    ("ping", "iputils-ping"),
    ("wg", "wireguard-tools"),
    ("wireguard-go", "wireguard-go"),
];

/// What benchmarks measure with, and what they compare with.
const COMPARED: [debian::Program; 3] = [("wrk", "wrk"), ("turnserver", "coturn"), ("socat", "socat")];

/// The WireGuard to measure against; its package is the root of its module, so that the program has that name.
const WIREGUARD: go::Tool = go::Tool {
    name: "wireguard",
    module: "golang.zx2c4.com/wireguard",
    version: "v0.0.0-20260522210424-ecfc5a8d5446",
    without: "the benchmark of VPNs has no rows for the newest wireguard-go",
};

/// Where the benchmark of VPNs finds it.
const NEWEST_WIREGUARD: &str = "NEWEST_WIREGUARD_GO";

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
        "devnet" => devnet(rest),
        "test" => test(rest),
        "check" => check(rest),
        "clients" => clients::run(rest),
        "fuzz" => fuzz::run(rest),
        "gen" => gen_command(rest),
        "bench" => bench(rest),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!("no command {unknown:?}; `cargo xtask help` lists them"),
    }
}

/// Hands over to the dev network, which then gets the terminal's signals itself.
fn devnet(args: &[String]) -> anyhow::Result<ExitCode> {
    let built = cargo(["build", "--bins"]).args(["--package", "imp-node", "--package", "imp-cli"]).status();
    if !built.context("cannot run cargo")?.success() {
        return Ok(ExitCode::FAILURE);
    }
    let error =
        cargo(["run", "--package", "imp-devnet", "--bin", "imp-devnet", "--", "up"]).args(args).exec();
    Err(error).context("cannot run cargo")
}

fn test(args: &[String]) -> anyhow::Result<ExitCode> {
    no_arguments(args)?;
    let mut stages = Stages::new();
    debian::install(&NETWORKING);
    // This builds the programs too, which tests of other crates look for beside themselves.
    stages.run("build", cargo(["test", "--workspace", "--no-run"]))?;
    stages.run("test", cargo(["test", "--workspace", "--no-fail-fast"]))?;
    stages.measure("clients", clients::all)?;
    stages.measure("fuzz", fuzz::short)?;
    stages.report();
    Ok(ExitCode::SUCCESS)
}

fn check(args: &[String]) -> anyhow::Result<ExitCode> {
    no_arguments(args)?;
    let mut stages = Stages::new();
    stages.run("format", cargo(["fmt", "--all", "--check"]))?;
    stages.run("lints", cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut doc = cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    stages.run("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    stages.run(
        "generated code and documents",
        cargo(["run", "--package", "xtask", "--features", "gen", "--", "gen", "--check"]),
    )?;
    stages.report();
    Ok(ExitCode::SUCCESS)
}

fn bench(args: &[String]) -> anyhow::Result<ExitCode> {
    if !debian::is_in_path("turnserver") {
        // Debian starts it as a service that anybody can reach. Where there is no systemd, there are no such services.
        let _ = Command::new("systemctl").args(["--quiet", "mask", "coturn.service"]).status();
    }
    debian::install(&COMPARED);
    debian::install(&NETWORKING);
    let mut bench = cargo(["bench", "--package", "imp-node"]);
    if let Some(folder) = WIREGUARD.folder() {
        bench.env(NEWEST_WIREGUARD, folder.join(WIREGUARD.name));
    }
    run_cargo(bench.args(args))
}

fn no_arguments(args: &[String]) -> anyhow::Result<()> {
    match args.first() {
        Some(argument) => bail!("unknown argument {argument:?}: `cargo xtask help` lists what there is"),
        None => Ok(()),
    }
}

fn run_cargo(command: &mut Command) -> anyhow::Result<ExitCode> {
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    run_cargo(
        cargo(["run", "--quiet", "--package", "xtask", "--features", feature, "--", feature]).args(args),
    )
}

/// The repository's root folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository")
}
