//! The command line `imp`: a node's API for people and shell scripts.
//!
//! It speaks gRPC to a running node and knows nothing but the API. What it prints is for people, or with `--json` what
//! REST would have answered.

mod args;
mod cmd;
mod failure;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::failure::Failure;
use crate::output::Output;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(args).await {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn run(args: Args) -> Result<ExitCode, Failure> {
    let Args { addr, json, command } = args;
    let output = Output::new(json);
    match command {
        Command::Message(command) => cmd::message::run(&addr, output, command).await,
        Command::Watch(watch) => cmd::watch::run(&addr, output, watch).await,
        Command::Node(command) => cmd::node::run(&addr, output, command).await,
        Command::Invoice(command) => cmd::invoice::run(&addr, output, command).await,
        Command::Sign(sign) => cmd::signing::sign(&addr, output, sign).await,
        Command::Verify(verify) => cmd::signing::verify(&addr, output, verify).await,
    }
}
