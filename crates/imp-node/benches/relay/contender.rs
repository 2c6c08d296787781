//! What is measured in turn, and how each of them is started between the two ends.

use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::load::{Ends, Route};
use crate::turn;

/// What stands between sender and receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    Bare,
    Minimal,
    Ours,
    Coturn,
    Socat,
}

impl Contender {
    pub(crate) const ALL: [Self; 5] = [Self::Bare, Self::Minimal, Self::Ours, Self::Coturn, Self::Socat];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "no relay",
            Self::Minimal => "minimal forwarder",
            Self::Ours => "impd's relay",
            Self::Coturn => "coturn",
            Self::Socat => "socat",
        }
    }

    /// As it is chosen on the command line.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Minimal => "minimal",
            Self::Ours => "ours",
            Self::Coturn => "coturn",
            Self::Socat => "socat",
        }
    }

    /// The program that must be installed.
    pub(crate) const fn program(self) -> Option<&'static str> {
        match self {
            Self::Coturn => Some("turnserver"),
            Self::Socat => Some("socat"),
            Self::Bare | Self::Minimal | Self::Ours => None,
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        self.program().is_none_or(|program| {
            env::split_paths(&env::var_os("PATH").unwrap_or_default())
                .any(|folder| folder.join(program).is_file())
        })
    }

    /// Starts it and waits until packets pass.
    pub(crate) fn start(self, ends: &Ends) -> io::Result<Running> {
        let (sender, receiver) = (ends.sender.addr, ends.receiver.addr);
        let running = match self {
            Self::Bare => Running { route: Route { to: receiver, back: None, channel: None }, process: None },
            Self::Minimal => {
                let process = Process::own(&["minimal", &sender.to_string(), &receiver.to_string()])?;
                process.routed()?
            }
            Self::Ours => Process::own(&["ours"])?.routed()?,
            Self::Coturn => {
                let (process, server) = Process::coturn()?;
                turn::allocate(&ends.sender.socket, server)?;
                turn::bind_channel(&ends.sender.socket, server, receiver)?;
                let route = Route { to: server, back: None, channel: Some(turn::CHANNEL) };
                Running { route, process: Some(process) }
            }
            Self::Socat => {
                let to = free_addr()?;
                let from = format!("UDP4-LISTEN:{},bind={}", to.port(), to.ip());
                // Its own buffer is 8 KiB, which would do as well.
                let process = Process::start("socat", ["-b65536", &from, &format!("UDP4:{receiver}")], None)?;
                Running { route: Route { to, back: None, channel: None }, process: Some(process) }
            }
        };
        ends.prime(&running.route)?;
        Ok(running)
    }
}

/// A relay that runs; ends when this goes.
pub(crate) struct Running {
    pub(crate) route: Route,
    pub(crate) process: Option<Process>,
}

/// A process; killed when this goes.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it writes.
    _dir: TempDir,
}

impl Process {
    /// This program in another role.
    pub(crate) fn own(arguments: &[&str]) -> io::Result<Self> {
        Self::start(env::current_exe()?, arguments, None)
    }

    /// coturn as it comes, for relaying UDP without authentication, and where it listens.
    pub(crate) fn coturn() -> io::Result<(Self, SocketAddr)> {
        let (server, dir) = (free_addr()?, tempfile::tempdir()?);
        let file = |option: &str, name: &str| format!("--{option}={}", dir.path().join(name).display());
        let mut arguments: Vec<String> = [
            "-n",
            "--no-auth",
            "--allow-loopback-peers",
            "--cli-password=x",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
        ]
        .into_iter()
        .chain(["--no-stdout-log", "--simple-log", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
        .map(str::to_owned)
        .collect();
        arguments.push(format!("--listening-port={}", server.port()));
        arguments.extend([file("log-file", "log.txt"), file("pidfile", "pid"), file("userdb", "users.db")]);
        Ok((Self::start("turnserver", &arguments, Some(dir))?, server))
    }

    fn start<A: AsRef<OsStr>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
        dir: Option<TempDir>,
    ) -> io::Result<Self> {
        let dir = dir.map_or_else(tempfile::tempdir, Ok)?;
        let program = program.into();
        let is_own = program.is_absolute();
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What other programs have to say is in their logs.
            .stderr(if is_own { Stdio::inherit() } else { Stdio::null() })
            .spawn()?;
        let input = child.stdin.take().expect("it is a pipe");
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Ok(Self { child, input, output, _dir: dir })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says next.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    pub(crate) fn tell(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")
    }

    /// A relay of this program, which says where sender and receiver send to.
    fn routed(mut self) -> io::Result<Running> {
        let line = self.line()?;
        let addrs: Option<Vec<SocketAddr>> = line.split(' ').map(|addr| addr.parse().ok()).collect();
        let Some(&[to, back]) = addrs.as_deref() else {
            return Err(io::Error::other(format!("the relay says {line:?}")));
        };
        Ok(Running { route: Route { to, back: Some(back), channel: None }, process: Some(self) })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_addr() -> io::Result<SocketAddr> {
    UdpSocket::bind("127.0.0.1:0")?.local_addr()
}
