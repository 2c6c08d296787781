//! The daemon.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use imp_node::cli::start::Ground;
use imp_node::cli::{self, Command, Invocation, SeedCommand};
use imp_node::config::{self, Config, Faults, locate};
use imp_node::data_dir;
use imp_node::node::{self, RunError};
use imp_node::runtime::shutdown::{STOP_DEADLINE, Shutdown, StopCause, exit};
use imp_node::store::StoreError;

/// Longest wait for work that no task waits for, once everything else has ended.
const LAST_WAIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os()) {
        Ok(invocation) => run(invocation),
        Err(error) => {
            let _ = error.print();
            Ok(cli::exit_code(&error))
        }
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        format!("{error:#}").lines().for_each(tell);
        if error.is::<Faults>() { exit::CONFIG } else { exit::FAILURE }
    }))
}

/// Tells the user, who may have closed the pipe that it goes to.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "impd: {line}");
}

fn run(invocation: Invocation) -> anyhow::Result<u8> {
    let Invocation { command, config_file, flags } = invocation;
    let mut out = io::stdout().lock();
    if command == Command::ConfigSample {
        out.write_all(config::sample().as_bytes())?;
        return Ok(exit::CLEAN);
    }
    let inputs = locate::inputs(config_file, flags);
    match command {
        Command::ConfigCheck => Ok(cli::check::check(inputs, &mut out)?),
        Command::Seed(command) => {
            data_dir::restrict_umask();
            let shows_to_user = out.is_terminal();
            let dir = config::data_dir(&inputs?)?;
            let mut input = io::stdin().lock();
            if command == SeedCommand::Restore && input.is_terminal() {
                tell("type the 24 words with spaces between, then Enter and Ctrl-D");
            }
            cli::seed::run(command, &dir, &mut input, &mut out, shows_to_user)?;
            Ok(exit::CLEAN)
        }
        Command::Run | Command::ConfigSample => {
            drop(out);
            start(&Config::load(&inputs?)?)
        }
    }
}

/// Runs the daemon: each phase stands on those before it, and they end in the opposite order.
fn start(config: &Config) -> anyhow::Result<u8> {
    let ground = Ground::prepare(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    let code = runtime.block_on(serve(config, &ground));
    runtime.shutdown_timeout(LAST_WAIT);
    tracing::info!("impd has stopped");
    code
}

async fn serve(config: &Config, ground: &Ground) -> anyhow::Result<u8> {
    let shutdown = Shutdown::new();
    shutdown.listen(STOP_DEADLINE).context("signals cannot be listened to")?;
    match node::run(config, ground.dir(), ground.seed(), &shutdown).await {
        Ok(StopCause::Requested) => Ok(exit::CLEAN),
        Ok(StopCause::Failed(_)) => Ok(exit::FAILURE),
        Err(RunError::Store(error @ StoreError::NewerSchema { .. })) => {
            tell(&error.to_string());
            Ok(exit::CONFIG)
        }
        Err(error) => Err(error.into()),
    }
}
