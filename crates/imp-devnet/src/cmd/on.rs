//! `on`: a command on the host of a node.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use imp_devnet::devnet::{Control, Ready, is_running};

/// Becomes the command, in the namespaces of the node's process. Returns only if that fails.
pub(crate) fn run(dir: &Path, node: &str, command: &[OsString]) -> anyhow::Result<ExitCode> {
    ensure!(is_running(dir), "no net runs in {}: start one with `imp-devnet up --vpn`", dir.display());
    let ready_file = Control::read(dir)?.ready_file;
    let ready = fs::read(&ready_file).context("the net is only just starting, or stopping")?;
    let ready: Ready = serde_json::from_slice(&ready).context("the ready file is damaged")?;
    let Some(node) = ready.nodes.iter().find(|other| other.name == node) else {
        let names: Vec<&str> = ready.nodes.iter().map(|node| node.name.as_str()).collect();
        bail!("there is no node {node}; there are {}", names.join(", "));
    };
    let pid = node.pid.with_context(|| format!("{} does not run", node.name))?.to_string();
    let mut enter = Command::new("nsenter");
    enter.args(["--target", &pid, "--net"]);
    if namespace(&pid, "user")? != namespace("self", "user")? {
        // Whoever started the net is root in its user namespace.
        enter.args(["--user", "--preserve-credentials"]);
    }
    let error = enter.arg("--").args(command).exec();
    Err(error).context("cannot run nsenter: install util-linux")
}

/// What identifies a namespace of a process.
fn namespace(pid: &str, kind: &str) -> anyhow::Result<std::path::PathBuf> {
    let link = format!("/proc/{pid}/ns/{kind}");
    fs::read_link(&link).with_context(|| format!("cannot read {link}"))
}
