//! Programs that Debian has.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// A program, and the package that has it.
pub(crate) type Program = (&'static str, &'static str);

/// Installs what is missing, where this is Debian and we may. What stays missing is told, and left to what needs it.
pub(crate) fn install(programs: &[Program]) {
    let missing = programs.iter().filter(|(program, _)| !is_in_path(program));
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return;
    }
    let names = missing.join(" ");
    if !is_in_path("apt-get") || !is_root() {
        eprintln!("xtask: missing: {names}; what needs them will fail or be skipped");
        return;
    }
    eprintln!("xtask: installing {names}");
    let mut install = Command::new("apt-get");
    install.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(missing);
    let installed = done(Command::new("apt-get").args(["update", "--quiet"]).stdout(Stdio::null()))
        .and_then(|()| done(install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null())));
    if let Err(error) = installed {
        eprintln!("xtask: {error:#}; what needs {names} will fail or be skipped");
    }
}

pub(crate) fn is_in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Runs a command that must succeed.
pub(crate) fn done(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name}: {status}");
    Ok(())
}
