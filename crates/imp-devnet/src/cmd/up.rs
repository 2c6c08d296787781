//! `up`: a net from its start to its end.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use imp_devnet::devnet::{Arrival, Devnet, Report, ask_to_stop};
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout};

use super::show;
use crate::args::Up;

/// How long the command of `--exec` may take to end once the net is to stop.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);

/// The exit code of a command that a signal has ended, less the signal (as shells have it).
const SIGNALLED: u8 = 128;

pub(crate) async fn run(up: Up) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let mut signals = Signals::new().context("signals cannot be listened to")?;
    let report = Report::to(move |line| {
        let _ = writeln!(io::stderr(), "[{:6.2} s] {line}", began.elapsed().as_secs_f64());
    });
    let devnet = tokio::select! {
        biased;
        signal = signals.next() => return Ok(ExitCode::from(SIGNALLED + signal)),
        devnet = Devnet::launch(up.options(report)) => devnet?,
    };
    let ended = use_net(&devnet, &up, began, &mut signals).await;
    let _ = writeln!(io::stderr(), "stopping; Ctrl-C again kills what still runs");
    let at_once = devnet.stop_at_once();
    let stopping = devnet.stop();
    tokio::pin!(stopping);
    tokio::select! {
        () = &mut stopping => {}
        _ = signals.next() => {
            at_once.cancel();
            stopping.await;
        }
    }
    ended
}

/// Brings the net up and keeps it until the user or the command of `--exec` is done with it.
async fn use_net(
    devnet: &Devnet,
    up: &Up,
    began: Instant,
    signals: &mut Signals,
) -> anyhow::Result<ExitCode> {
    let mut arrivals = 0;
    let mut seen = |arrival: &Arrival| {
        arrivals += 1;
        let Arrival { from, to, text, took, .. } = arrival;
        let line = format!("{to} received from {from}: {text} ({} ms)", took.as_millis());
        // The first one is what people wait for.
        let _ = if arrivals == 1 {
            writeln!(io::stdout(), "{line}\nfirst message after {:.1} s", began.elapsed().as_secs_f64())
        } else {
            writeln!(io::stderr(), "[{:6.2} s] {line}", began.elapsed().as_secs_f64())
        };
    };
    tokio::select! {
        biased;
        signal = signals.next() => return Ok(ExitCode::from(SIGNALLED + signal)),
        up = devnet.bring_up(&mut seen) => up?,
    }
    match &up.exec {
        Some(command) => execute(devnet, command, signals).await,
        None => {
            let nodes = devnet.nodes();
            let mut text = show::net(&nodes, devnet.dir());
            if up.vpn {
                text.push_str(&show::vpn(&nodes, devnet.dir()));
            }
            let _ = writeln!(
                io::stdout(),
                "{text}ready after {:.1} s; Ctrl-C stops all",
                began.elapsed().as_secs_f64()
            );
            signals.next().await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a shell command and gives its exit code.
async fn execute(devnet: &Devnet, command: &str, signals: &mut Signals) -> anyhow::Result<ExitCode> {
    let nodes = devnet.nodes();
    let first = nodes.first().context("a net has nodes")?;
    let mut shell = match devnet.host(&first.name)? {
        Some(host) => Command::from(host.command("sh")),
        None => Command::new("sh"),
    };
    shell.arg("-c").arg(command).env("IMP_DEVNET_READY", devnet.ready_file()).kill_on_drop(true);
    for node in nodes {
        let variable = |what: &str| format!("IMP_DEVNET_{}_{what}", node.name.to_uppercase());
        shell.env(variable("HTTP"), node.http.to_string()).env(variable("GRPC"), node.grpc.to_string());
        shell.env(variable("PUBKEY"), &node.pubkey).env(variable("DIR"), &node.data_dir);
    }
    let mut child = shell.spawn().context("sh cannot be run")?;
    let status = tokio::select! {
        status = child.wait() => status?,
        signal = signals.next() => {
            // Ctrl-C has reached the command by itself.
            if signal != INTERRUPT && let Some(pid) = child.id() {
                ask_to_stop(pid);
            }
            let ended = tokio::select! {
                ended = timeout(COMMAND_PATIENCE, child.wait()) => ended.is_ok(),
                _ = signals.next() => false,
            };
            if !ended {
                child.kill().await.context("the command cannot be killed")?;
            }
            return Ok(ExitCode::from(SIGNALLED + signal));
        }
    };
    Ok(ExitCode::from(exit_code(status)))
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| signal + i32::from(SIGNALLED)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

const INTERRUPT: u8 = 2;
const HANG_UP: u8 = 1;
const TERMINATE: u8 = 15;

/// The signals by which a net is ended.
struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one and gives its number.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.hang_up.recv() => HANG_UP,
            _ = self.interrupt.recv() => INTERRUPT,
            _ = self.terminate.recv() => TERMINATE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_command() {
        for (raw, code) in [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code);
        }
    }
}
