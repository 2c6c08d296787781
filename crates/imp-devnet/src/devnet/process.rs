//! The processes of the nodes: how they begin and how they are made to end.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::node::NodeSpec;

/// How long a process that was asked to end may take.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// The command of `imp-devnet` that becomes another program, see [`become_child`].
pub const CHILD_COMMAND: &str = "child";

/// The programs that nodes are made of.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) impd: PathBuf,
    pub(super) launcher: Option<PathBuf>,
}

impl Programs {
    /// Starts the process of a node.
    fn command(&self, spec: &NodeSpec, first: bool) -> io::Result<Command> {
        let impd = match &spec.host {
            Some(host) => host.command(&self.impd),
            None => std::process::Command::new(&self.impd),
        };
        let mut command = match &self.launcher {
            Some(launcher) => {
                let mut command = Command::new(launcher);
                command.arg(CHILD_COMMAND).arg(std::process::id().to_string());
                command.arg(impd.get_program()).args(impd.get_args());
                command
            }
            None => Command::from(impd),
        };
        command.args(["run", "--config"]).arg(spec.config_file());
        for (name, _) in std::env::vars_os() {
            // They would go over the configuration file.
            if name.as_encoded_bytes().starts_with(b"IMP_") {
                command.env_remove(name);
            }
        }
        let mut stderr = OpenOptions::new();
        stderr.create(true).append(true).mode(0o600);
        let stderr = stderr.open(spec.stderr_file())?;
        if first {
            stderr.set_len(0)?;
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).current_dir(&spec.data_dir);
        // A group of its own: Ctrl-C goes to the whole group of the terminal, and it is the supervisor that stops nodes.
        command.process_group(0).kill_on_drop(true);
        Ok(command)
    }
}

/// Starts processes, all from one thread, which lives as long as this value: Linux sends the signal of
/// [`become_child`] when the thread that started a process ends, not when the parent process does.
#[derive(Debug)]
pub(super) struct Spawner {
    programs: Programs,
    requests: mpsc::Sender<Request>,
}

struct Request {
    command: Command,
    answer: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Must be called in a tokio runtime.
    pub(super) fn new(programs: Programs) -> anyhow::Result<Self> {
        let (requests, incoming) = mpsc::channel::<Request>();
        let runtime = Handle::current();
        let work = move || {
            let _inside = runtime.enter();
            for Request { mut command, answer } in incoming {
                // Nobody waits any more: then the child is killed as it is dropped.
                let _ = answer.send(command.spawn());
            }
        };
        thread::Builder::new().name("spawner".to_owned()).spawn(work).context("no thread can be started")?;
        Ok(Self { programs, requests })
    }

    /// Starts a node, for the `first` time in this run or again.
    pub(super) async fn start(&self, spec: &NodeSpec, first: bool) -> io::Result<Child> {
        let gone = || io::Error::other("the thread that starts processes has ended");
        let (answer, child) = oneshot::channel();
        let command = self.programs.command(spec, first)?;
        self.requests.send(Request { command, answer }).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}

/// Asks a process to end, and kills it if it has not after [`STOP_PATIENCE`] or when `at_once` is cancelled. Tells whether
/// it ended by itself.
pub(super) async fn stop(child: &mut Child, at_once: &CancellationToken) -> bool {
    // There is a number only as long as the process was not waited for, so that it cannot be another's.
    if let Some(pid) = child.id().and_then(pid) {
        let _ = rustix::process::kill_process(pid, Signal::TERM);
    }
    tokio::select! {
        biased;
        ended = child.wait() => ended.is_ok(),
        () = at_once.cancelled() => { let _ = child.kill().await; false }
        () = tokio::time::sleep(STOP_PATIENCE) => { let _ = child.kill().await; false }
    }
}

fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// Sends a signal to a process that is known to run. Tells whether that could be done.
pub(super) fn signal(number: u32, signal: Signal) -> bool {
    pid(number).is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// Asks the supervisor of a net to end. `pid` must come from the control file of a directory whose lock is held.
pub fn ask_to_stop(pid: u32) -> bool {
    signal(pid, Signal::TERM)
}

/// Becomes `program`, in the same process, such that the system asks it to end (SIGTERM) when `parent` dies, even if
/// that is killed. Returns only if that fails. Elsewhere than on Linux, the program just runs.
pub fn become_child(parent: u32, program: &Path, args: &[std::ffi::OsString]) -> io::Error {
    #[cfg(target_os = "linux")]
    {
        if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::TERM)) {
            return error.into();
        }
        // It may have died before that.
        if rustix::process::getppid() != pid(parent) {
            return io::Error::other("the process that started this one has ended");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    std::process::Command::new(program).args(args).exec()
}
