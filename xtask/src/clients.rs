//! Real clients against real nodes: gets what `tests/clients` needs, starts a net of its own and runs pytest on it.
//!
//! What cannot be got is told, and left to the test that needs it, which then fails and says what to install.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};

use crate::debian::{self, Program, done};
use crate::go::Tool;
use crate::stages::{Stages, cargo};

/// Clients that Debian has.
const DEBIAN: [Program; 2] = [("chromium", "chromium"), ("curl", "curl")];

/// The gRPC client.
const GRPCURL: Tool = Tool {
    name: "grpcurl",
    module: "github.com/fullstorydev/grpcurl/cmd/grpcurl",
    version: "v1.9.3",
    without: "the tests with grpcurl will be skipped or fail",
};

/// The origin of the guide's web page, which the net's nodes let in.
const GUIDE_ORIGIN: &str = "http://localhost:8000";

/// `cargo xtask clients [PYTEST ARGS]`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let mut stages = Stages::new();
    let packages = ["--package", "imp-node", "--package", "imp-cli", "--package", "imp-devnet"];
    stages.run("build", cargo(["build", "--bins"]).args(packages))?;
    stages.measure("clients", || clients(args))?;
    stages.report();
    Ok(ExitCode::SUCCESS)
}

/// The whole suite. The programs must be built.
pub(crate) fn all() -> anyhow::Result<()> {
    clients(&[])
}

fn clients(args: &[String]) -> anyhow::Result<()> {
    let (suite, target) = (crate::root().join("tests/clients"), crate::root().join("target"));
    let programs = built_programs()?;
    let python = python(&suite, &target.join("clients-venv"))?;
    debian::install(&DEBIAN);
    let tools = GRPCURL.folder();

    let words = [python.as_path(), "-m".as_ref(), "pytest".as_ref(), suite.as_path()];
    let words = words.iter().map(|path| path.as_os_str().to_owned()).chain(args.iter().map(OsString::from));
    let mut net = Command::new(programs.join("imp-devnet"));
    net.args(["up", "--ports", "free", "--fresh", "--allow-origin", GUIDE_ORIGIN, "--dir"])
        .arg(target.join("clients-net"))
        .arg("--exec")
        .arg(shell_line(words)?)
        .current_dir(crate::root())
        .env("PATH", path([Some(programs.clone()), tools])?)
        .env("IMPD", programs.join("impd"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let status = net.status().context("cannot run imp-devnet")?;
    ensure!(status.success(), "tests/clients: {status}");
    Ok(())
}

/// The folder of the workspace's programs, which is that of this one.
fn built_programs() -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("xtask does not know where it is")?;
    let folder = own.parent().context("xtask is in no folder")?.to_owned();
    for name in ["impd", "imp", "imp-devnet"] {
        ensure!(folder.join(name).is_file(), "{name} is not in {}: build the workspace", folder.display());
    }
    Ok(folder)
}

/// The interpreter of a virtual environment with exactly what `requirements.txt` lists, made where there is none.
fn python(suite: &Path, venv: &Path) -> anyhow::Result<PathBuf> {
    let requirements = fs::read_to_string(suite.join("requirements.txt")).context("requirements.txt")?;
    let (python, stamp) = (venv.join("bin/python"), venv.join("installed.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) && succeeds(&python, "0") {
        return Ok(python);
    }
    // What was installed by halves, or for another interpreter, is not worth repairing.
    if venv.exists() {
        fs::remove_dir_all(venv).with_context(|| format!("cannot clear {}", venv.display()))?;
    }
    let recent = "import sys; sys.exit(sys.version_info < (3, 11))";
    let Some(system) = ["python3.11", "python3"].iter().find(|name| succeeds(Path::new(name), recent)) else {
        bail!("tests/clients need Python 3.11 or later with venv: install Debian's python3 and python3-venv");
    };
    eprintln!("xtask: installing Python packages into {}", venv.display());
    done(Command::new(system).args(["-m", "venv"]).arg(venv))?;
    // The list is complete. What imp-grpc-client says that it needs besides does not install on this Python.
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
    done(install.arg(suite.join("requirements.txt")))?;
    fs::write(&stamp, requirements).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// The search path with these folders before it.
fn path(folders: [Option<PathBuf>; 2]) -> anyhow::Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    let folders = folders.into_iter().flatten().chain(env::split_paths(&rest));
    env::join_paths(folders).context("a folder with a colon in its name cannot be searched")
}

/// Whether an interpreter is there and runs a program without failing.
fn succeeds(python: &Path, program: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", program]).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A line for `sh` that runs these words.
fn shell_line(words: impl Iterator<Item = OsString>) -> anyhow::Result<String> {
    let mut line = String::from("exec");
    for word in words {
        let word = word.into_string().map_err(|word| anyhow::anyhow!("{} is not UTF-8", word.display()))?;
        line.push_str(&format!(" '{}'", word.replace('\'', r"'\''")));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_gets_each_word_as_it_is() {
        let words = ["printf", "%s|", "it's", "$HOME `id`", ""];
        let line = shell_line(words.iter().map(OsString::from)).unwrap();
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(output.stdout, b"it's|$HOME `id`||");
    }
}
