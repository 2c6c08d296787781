//! The command line `imp`: a node's API for people and shell scripts.
//!
//! It speaks gRPC to a running node and knows nothing but the API. What it prints is for people, or with `--json` what
//! REST would have answered.

mod args;
mod cmd;
mod confirm;
mod exit;
mod failure;
mod hint;
mod output;
mod pages;
mod progress;
mod session;
mod time;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{ADDR_VARIABLE, Args, Command};
use crate::failure::Failure;
use crate::hint::Effect;
use crate::output::Output;
use crate::session::Session;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(args.json);
    let effect = Effect::of(&args.command);
    match run(args, output).await {
        Ok(code) => code,
        Err(failure) => failure.report(output, &effect),
    }
}

async fn run(args: Args, output: Output) -> Result<ExitCode, Failure> {
    let session = Session { addr: args.addr(std::env::var_os(ADDR_VARIABLE))?, output };
    match args.command {
        Command::Message(command) => cmd::message::run(&session, command).await?,
        Command::Watch(watch) => cmd::watch::run(&session, watch).await?,
        Command::Events(command) => cmd::events::run(&session, command).await?,
        Command::Invoice(command) => return cmd::invoice::run(&session, command).await,
        Command::Keysend(keysend) => cmd::payment::keysend(&session, keysend).await?,
        Command::Payment(command) => cmd::payment::run(&session, command).await?,
        Command::Node(command) => cmd::node::run(&session, command).await?,
        Command::Wallet(command) => cmd::wallet::run(&session, command).await?,
        Command::Channel(command) => cmd::channel::run(&session, command).await?,
        Command::Peer(command) => cmd::peer::run(&session, command).await?,
        Command::Sign(sign) => cmd::signing::sign(&session, sign).await?,
        Command::Verify(verify) => return cmd::signing::verify(&session, verify).await,
        Command::Federate(command) => cmd::federate::run(&session, command).await?,
        Command::Socket(command) => cmd::socket::run(&session, command).await?,
        Command::Vpn(command) => cmd::vpn::run(&session, command).await?,
        Command::Completions { shell } => cmd::generate::completions(shell)?,
        Command::Man { dir } => cmd::generate::man(dir.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}
