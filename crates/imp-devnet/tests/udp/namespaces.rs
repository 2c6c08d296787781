//! Network namespaces: made by a test, used by threads of it, and gone with it.
//!
//! A socket or a process stays in the namespace of the thread that opened or started it, so a thread that enters one for
//! a moment is all that is needed to have programs on several hosts in one process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps namespaces that have names.
const NAMED: &str = "/run/netns";

/// How the names begin; the process that made them follows.
const PREFIX: &str = "imp-udp-";

/// A network of its own: interfaces, addresses, routes, firewall. Deleted when dropped.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes a namespace with nothing but its loopback interface.
    pub(crate) fn new(host: &str) -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{}-{host}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        // From here on it is deleted, whatever fails.
        let file = File::open(Path::new(NAMED).join(&name)).with_context(|| format!("namespace {name}"))?;
        let namespace = Self { name, file };
        namespace.ip("link set dev lo up")?;
        Ok(namespace)
    }

    /// What `ip netns` calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs something in a thread that is in the namespace, and waits for it.
    pub(crate) fn enter<A: Send>(&self, work: impl FnOnce() -> A + Send) -> io::Result<A> {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs `ip` on the namespace, with arguments as one types them.
    pub(crate) fn ip(&self, args: &str) -> anyhow::Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(args.split_whitespace())).map(|_| ())
    }

    /// Sets a kernel variable, named as a path below `/proc/sys/net`. The kernel shows each thread its namespace's.
    pub(crate) fn set(&self, variable: &str, value: &str) -> anyhow::Result<()> {
        let path = Path::new("/proc/sys/net").join(variable);
        self.enter(|| fs::write(&path, value))?.with_context(|| format!("cannot set {}", path.display()))
    }

    /// Has what leaves by this interface come from its address, as home routers do.
    pub(crate) fn masquerade(&self, interface: &str) -> anyhow::Result<()> {
        self.nft(&format!(
            "table ip nat {{\n  chain out {{\n    type nat hook postrouting priority 100;\n    \
             oifname \"{interface}\" masquerade\n  }}\n}}\n"
        ))
    }

    fn nft(&self, rules: &str) -> anyhow::Result<()> {
        let started = self.enter(|| {
            Command::new("nft")
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        })?;
        let mut nft = started.context("cannot run nft")?;
        nft.stdin.take().context("nft has no standard input")?.write_all(rules.as_bytes())?;
        checked("nft", nft.wait_with_output()?).map(|_| ())
    }

    /// A UDP socket of a program on this host.
    pub(crate) fn udp(&self, at: SocketAddr) -> io::Result<tokio::net::UdpSocket> {
        let socket = self.enter(|| std::net::UdpSocket::bind(at))??;
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket)
    }

    /// A TCP listener of a program on this host.
    pub(crate) fn listen(&self, at: SocketAddr) -> io::Result<tokio::net::TcpListener> {
        let listener = self.enter(|| std::net::TcpListener::bind(at))??;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }

    /// A TCP connection of a program on this host. Blocks.
    pub(crate) fn connect(&self, to: SocketAddr) -> io::Result<std::net::TcpStream> {
        let stream = self.enter(|| std::net::TcpStream::connect(to))??;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }

    /// Starts a program on this host.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<std::process::Child> {
        self.enter(|| command.spawn())?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Deletes the namespaces of runs that are no more.
pub(crate) fn delete_stale() {
    let Ok(entries) = fs::read_dir(NAMED) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            delete(&name);
        }
    }
}

fn delete(name: &str) {
    let mut delete = Command::new("ip");
    if let Err(error) = run(delete.args(["netns", "delete", name])) {
        println!("namespace {name} stays: {error:#}");
    }
}

/// Joins two namespaces by a cable, which has these names at its ends.
pub(crate) fn cable(one: (&Namespace, &str), other: (&Namespace, &str)) -> anyhow::Result<()> {
    let mut add = Command::new("ip");
    add.args(["link", "add", one.1, "netns", &one.0.name, "type", "veth"]);
    run(add.args(["peer", "name", other.1, "netns", &other.0.name]))?;
    for (namespace, end) in [one, other] {
        namespace.ip(&format!("link set dev {end} up"))?;
    }
    Ok(())
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

/// Whether a program can be found.
pub(crate) fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether this process may make namespaces, and has what it takes.
pub(crate) fn can_be_made() -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "network namespaces are made by root, and this is not root"
    );
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        ensure!(is_in_path(program), "there is no program {program}: install {package}");
    }
    // Containers are root without being let, and kernels are without parts.
    let (one, other) = (Namespace::new("one")?, Namespace::new("other")?);
    cable((&one, "wan"), (&other, "wan"))?;
    one.masquerade("wan")
}
