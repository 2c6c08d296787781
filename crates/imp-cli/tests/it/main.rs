//! The binary `imp` against a server of the generated traits, over a real socket.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod calls;
mod failures;
mod federate;
mod generated;
mod lightning;
mod messaging;
mod names;
mod node;
mod server;
mod socket;
mod terminal;
mod vpn;
mod watch;

use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::server::TestServer;

/// Longer than anything here takes, shorter than a test run may hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// The public key of another node.
const PEER: &str = "02abababababababababababababababababababababababababababababababab";

/// The command line, ready to be run against `addr`.
fn imp(addr: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imp"));
    command.args(args).env("IMP_ADDR", addr).kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
async fn run(mut command: Command) -> Output {
    tokio::time::timeout(PATIENCE, command.output()).await.expect("imp ends").unwrap()
}

/// Runs a command that reads `input`.
async fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).await.unwrap();
    end_of(child).await
}

async fn end_of(child: Child) -> Output {
    tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("imp ends").unwrap()
}

/// What a command that succeeds prints.
async fn text(server: &TestServer, args: &[&str]) -> String {
    let done = run(imp(&server.addr(), args)).await;
    assert_eq!((code(&done), stderr(&done)), (0, ""), "{args:?}");
    stdout(&done).to_owned()
}

/// What a command that succeeds prints for programs: one line.
async fn json(server: &TestServer, args: &[&str]) -> Value {
    let printed = text(server, &[args, &["--json"]].concat()).await;
    assert_eq!(printed.lines().count(), 1, "{printed}");
    serde_json::from_str(&printed).unwrap()
}

fn interrupt(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("imp ended by itself")
}
