//! The program `impd`, run as its users run it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// A home directory of its own, in which `impd` runs with no variables but `HOME`.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The data directory when no other is named.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join(".imp")
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_impd"));
        command.args(args).env_clear().env("HOME", self.path()).current_dir(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command that ends by itself.
    pub(crate) fn run(&self, args: &[impl AsRef<OsStr>]) -> Ended {
        Ended::of(self.command(args).output().unwrap())
    }

    /// Runs a command that ends by itself and reads `input`.
    pub(crate) fn run_with_input(&self, args: &[impl AsRef<OsStr>], input: &str) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }

    /// Starts a daemon that nobody else can reach and that looks for a chain where there is none, and waits until it
    /// has opened its log.
    pub(crate) fn start(&self, args: &[&str]) -> Daemon {
        let own = [
            "--server-grpc-addr=127.0.0.1:0",
            "--server-http-addr=127.0.0.1:0",
            "--lightning-ldk-network=regtest",
            "--lightning-ldk-bitcoind-url=http://user:password@127.0.0.1:1",
        ];
        let args: Vec<&str> = own.iter().chain(args).copied().collect();
        let child = self.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut daemon = Daemon(child);
        let own_pid = format!("\"pid\":{},", daemon.pid());
        // From the open store on, signals are asked to stop rather than kills.
        daemon.wait_until("the log tells of a start", || {
            std::fs::read_to_string(self.data_dir().join("log.txt")).is_ok_and(|log| {
                log.find(&own_pid).is_some_and(|start| log[start..].contains("the store is open"))
            })
        });
        daemon
    }
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A daemon that runs; killed when dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until something is so, while it runs.
    pub(crate) fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(self.0.try_wait().unwrap().is_none(), "impd ended before {what}");
            assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop and returns its exit code.
    pub(crate) fn stop(mut self, signal: Signal) -> i32 {
        kill_process(Pid::from_raw(self.0.id().try_into().unwrap()).unwrap(), signal).unwrap();
        self.0.wait().unwrap().code().unwrap()
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
