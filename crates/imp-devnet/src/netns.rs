//! Hosts on one machine: network namespaces with cables between them, and TCP across where no cable is.
//!
//! A socket or a process stays in the namespace of the thread that opened or started it, so a thread that enters one for
//! a moment is all that is needed to have programs on several hosts in one process. A namespace is held by an open file
//! and by who is in it: nothing is left of it when they end, however they end.
//!
//! Linux only, with the programs `ip`, `nft`, `nsenter` and `unshare`. Whoever is not root can make namespaces in a user
//! namespace of his own, where the system lets him.

mod forward;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail, ensure};

pub use forward::Forward;

/// What a shell runs that is to become a program; `/sys` shows the network of whoever mounted it.
const WITH_SYS: &str = r#"mount -t sysfs sysfs /sys 2>/dev/null; exec "$0" "$@""#;

/// A network of its own: interfaces, addresses, routes, firewall. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    /// Nothing for that of this process, which it is in already, and which it may not be let into.
    file: Option<File>,
}

impl Namespace {
    /// Makes a namespace with nothing but its loopback interface. The name is for messages only.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        // A program that stays in it until it can be opened, and gives back a line to tell that it is there.
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run unshare: install util-linux")?;
        let opened = holder.stdin.take().zip(holder.stdout.take()).context("no pipe to unshare").and_then(
            |(mut input, output)| {
                writeln!(input, "there")?;
                let mut line = String::new();
                BufReader::new(output).read_line(&mut line)?;
                ensure!(!line.is_empty(), "the system does not let this user make one");
                Ok(File::open(format!("/proc/{}/ns/net", holder.id()))?)
            },
        );
        let _ = holder.kill();
        let _ = holder.wait();
        let file = opened.with_context(|| format!("no network namespace {name}"))?;
        let namespace = Self(Arc::new(Inner { name: name.to_owned(), file: Some(file) }));
        namespace.ip("link set dev lo up")?;
        Ok(namespace)
    }

    /// That of this process.
    pub fn here() -> Self {
        Self(Arc::new(Inner { name: "this machine".to_owned(), file: None }))
    }

    /// What it was called when it was made.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A path by which other processes of this user can open it, as long as this one runs.
    pub fn path(&self) -> PathBuf {
        let process = std::process::id();
        match &self.0.file {
            Some(file) => format!("/proc/{process}/fd/{}", file.as_raw_fd()).into(),
            None => format!("/proc/{process}/ns/net").into(),
        }
    }

    /// Runs something in a thread that is in the namespace, and waits for it.
    pub fn enter<A: Send>(&self, work: impl FnOnce() -> A + Send) -> io::Result<A> {
        let Some(file) = &self.0.file else { return Ok(work()) };
        let inside = || {
            move_into(file)?;
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// A command whose program will run in the namespace, whoever spawns it, and with the `/sys` of the namespace where the
    /// system lets it.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        if self.0.file.is_none() {
            return Command::new(program);
        }
        let mut command = self.plain("unshare");
        command.args(["--mount", "--", "sh", "-c", WITH_SYS]).arg(program);
        command
    }

    /// A command in the namespace, without its `/sys`.
    fn plain(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).args(["--", program]);
        command
    }

    /// Runs `ip`, with arguments as one types them.
    pub fn ip(&self, args: &str) -> anyhow::Result<()> {
        let mut command = self.plain("ip");
        run(command.args(args.split_whitespace())).with_context(|| format!("on {}", self.name())).map(drop)
    }

    /// Sets a kernel variable, named as a path below `/proc/sys/net`. The kernel shows each thread its namespace's.
    pub fn set(&self, variable: &str, value: &str) -> anyhow::Result<()> {
        let path = Path::new("/proc/sys/net").join(variable);
        self.enter(|| fs::write(&path, value))?.with_context(|| format!("cannot set {}", path.display()))
    }

    /// Has what leaves by this interface come from its address, as home routers do.
    pub fn masquerade(&self, interface: &str) -> anyhow::Result<()> {
        self.nft(&format!(
            "table ip nat {{\n  chain out {{\n    type nat hook postrouting priority 100;\n    \
             oifname \"{interface}\" masquerade\n  }}\n}}\n"
        ))
    }

    /// Has `nft` read rules.
    pub fn nft(&self, rules: &str) -> anyhow::Result<()> {
        let mut nft = self.plain("nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut nft = nft.spawn().context("cannot run nsenter")?;
        nft.stdin.take().context("nft has no standard input")?.write_all(rules.as_bytes())?;
        checked("nft", nft.wait_with_output()?).map(|_| ())
    }

    /// A UDP socket of a program on this host. Must be called in a tokio runtime.
    pub fn udp(&self, at: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
        let socket = self.enter(|| std::net::UdpSocket::bind(at))??;
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket)
    }

    /// A TCP listener of a program on this host. Must be called in a tokio runtime.
    pub fn listen(&self, at: SocketAddr) -> io::Result<tokio::net::TcpListener> {
        let listener = self.enter(|| std::net::TcpListener::bind(at))??;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }

    /// A TCP socket of a program on this host, for a connection to an address of IPv4.
    pub fn tcp(&self) -> io::Result<tokio::net::TcpSocket> {
        self.enter(tokio::net::TcpSocket::new_v4)?
    }
}

#[cfg(target_os = "linux")]
fn move_into(file: &File) -> io::Result<()> {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;

    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[cfg(not(target_os = "linux"))]
fn move_into(_: &File) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "network namespaces are Linux's"))
}

/// Joins two namespaces by a cable, which has these names at its ends.
pub fn cable(one: (&Namespace, &str), other: (&Namespace, &str)) -> anyhow::Result<()> {
    let far = other.0.path();
    one.0.ip(&format!("link add name {} type veth peer name {} netns {}", one.1, other.1, far.display()))?;
    for (namespace, end) in [one, other] {
        namespace.ip(&format!("link set dev {end} up"))?;
    }
    Ok(())
}

/// Whether a program can be found.
pub fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether this process may make namespaces with cables and firewalls; the error says what is missing.
pub fn can_be_made() -> anyhow::Result<()> {
    for (program, package) in
        [("ip", "iproute2"), ("nft", "nftables"), ("nsenter", "util-linux"), ("unshare", "util-linux")]
    {
        ensure!(is_in_path(program), "there is no program {program}: install {package}");
    }
    // Containers are root without being let, and kernels are without parts.
    let (one, other) = (Namespace::new("one")?, Namespace::new("other")?);
    cable((&one, "wan"), (&other, "wan"))?;
    one.masquerade("wan")
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    let shown = format!("{command:?}");
    checked(&shown, output.with_context(|| format!("cannot run {shown}"))?)
}

fn checked(what: &str, output: Output) -> anyhow::Result<Output> {
    if !output.status.success() {
        bail!("{what}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}
