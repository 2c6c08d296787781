//! The program `imp-devnet`: a net of IMP nodes on a chain of its own, to play with and to test against.

mod args;
mod cmd;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use imp_devnet::devnet;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Child(child) => Err(devnet::become_child(child.parent, &child.program, &child.args))
            .with_context(|| format!("{} cannot be run", child.program.display())),
        Command::On { node, command, net } => cmd::on::run(&net.dir, &node, &command),
        Command::Up(up) if cmd::unshare::is_needed(&up) => cmd::unshare::run(),
        command => run(command),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "imp-devnet: {error:#}");
        ExitCode::FAILURE
    })
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match command {
        Command::Up(up) => cmd::up::run(up).await,
        Command::Status(net) => cmd::running::status(&net.dir).await,
        Command::Mine { blocks, net } => cmd::running::mine(&net.dir, blocks).await,
        Command::Fund { node, sats, net } => cmd::running::fund(&net.dir, &node, sats).await,
        Command::Stop(net) => cmd::running::stop(&net.dir).await,
        Command::Child(_) | Command::On { .. } => unreachable!("they have become other programs"),
    }
}
