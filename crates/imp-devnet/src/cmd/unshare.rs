//! Hosts for whoever is not root: the net runs in a user namespace, in which its user is.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, ensure};

use crate::args::Up;

/// The program and its arguments, which run what follows as the root of a new user namespace. Files that it makes are
/// the user's.
const UNSHARE: (&str, [&str; 2]) = ("unshare", ["--map-root-user", "--"]);

/// Whether this process cannot make hosts that the net needs, and may be able to elsewhere.
pub(crate) fn is_needed(up: &Up) -> bool {
    up.vpn && !rustix::process::geteuid().is_root()
}

/// Becomes this program once more, with the same arguments. Returns only if that fails.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let (program, arguments) = UNSHARE;
    let tried = Command::new(program).args(arguments).arg("true").stdin(Stdio::null()).output();
    let tried = tried.context("cannot run unshare: install util-linux")?;
    ensure!(
        tried.status.success(),
        "a net with a VPN needs root, or a system that lets users make namespaces (unshare --map-root-user says: {})",
        String::from_utf8_lossy(&tried.stderr).trim()
    );
    let own = env::current_exe().context("this program does not know where it is")?;
    let error = Command::new(program).args(arguments).arg(own).args(env::args_os().skip(1)).exec();
    Err(error).context("cannot run unshare")
}
