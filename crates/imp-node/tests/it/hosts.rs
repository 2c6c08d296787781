//! Hosts in network namespaces, which tests change and look at without touching those of the machine.
//!
//! Needs root, `ip`, `nft` and `ping`. Where that is missing tests say that they are skipped, and on a CI machine (`CI=true`)
//! fail, for there it would not be noticed otherwise.

use std::fs::{self, File};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long a packet on this machine may take. What does not come by then was dropped.
const PATIENCE: Duration = Duration::from_millis(700);

/// Why hosts cannot be made, told once for each test. Panics where that may not be.
#[expect(clippy::print_stdout, reason = "a test that looks at nothing has to say so")]
pub(crate) fn cannot_be_made() -> bool {
    let missing: Vec<&str> = ["ip", "nft", "ping"].into_iter().filter(|name| !is_there(name)).collect();
    let why = if !rustix::process::geteuid().is_root() {
        "only root makes network namespaces".to_owned()
    } else if !missing.is_empty() {
        format!("these programs are missing: {}", missing.join(", "))
    } else {
        return false;
    };
    assert!(std::env::var("CI").as_deref() != Ok("true"), "on CI this must run: {why}");
    println!("skipped: {why}");
    true
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A host: a network namespace that is deleted when this is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    file: File,
}

impl Host {
    /// A host with nothing but loopback, that takes packets whoever they say they are from.
    pub(crate) fn new(word: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("imp-it-{}-{number}-{word}", std::process::id());
        done(Command::new("ip").args(["netns", "add", &name]));
        let file = File::open(Path::new("/run/netns").join(&name)).unwrap();
        let host = Self { name, file };
        host.ip("link set dev lo up");
        for interfaces in ["all", "default"] {
            host.set(&format!("ipv4/conf/{interfaces}/rp_filter"), "0");
            host.set(&format!("ipv6/conf/{interfaces}/accept_dad"), "0");
            host.set(&format!("ipv6/conf/{interfaces}/disable_ipv6"), "0");
        }
        host
    }

    /// Runs something in a thread of the host, and waits for it.
    pub(crate) fn enter<A: Send>(&self, work: impl FnOnce() -> A + Send) -> A {
        let inside = || {
            move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs a future on the host.
    pub(crate) fn run<A: Send, F: Future<Output = A>>(&self, work: impl FnOnce() -> F + Send) -> A {
        self.enter(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(work())
        })
    }

    /// Runs `ip` on the host, with arguments as one types them, and returns what it prints.
    pub(crate) fn ip(&self, args: &str) -> String {
        let output = done(Command::new("ip").args(["-n", &self.name]).args(args.split_whitespace()));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `nft` on the host, likewise.
    pub(crate) fn nft(&self, args: &str) -> String {
        let output = self.enter(|| done(Command::new("nft").arg(args)));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A setting of the kernel, named below `/proc/sys/net`.
    pub(crate) fn get(&self, setting: &str) -> String {
        self.enter(|| fs::read_to_string(Path::new("/proc/sys/net").join(setting))).unwrap().trim().to_owned()
    }

    /// Changes a setting of the kernel.
    pub(crate) fn set(&self, setting: &str, value: &str) {
        self.enter(|| fs::write(Path::new("/proc/sys/net").join(setting), value)).unwrap();
    }

    /// Starts a server that tells whoever connects under which address it is seen, for as long as the test runs. It closes
    /// a connection once the other end has sent all.
    pub(crate) fn serve(&self, at: &str) {
        self.answer(at, |mut stream| {
            let peer = stream.peer_addr()?.ip().to_canonical();
            stream.write_all(peer.to_string().as_bytes())?;
            std::io::copy(&mut stream, &mut std::io::sink())
        });
    }

    /// Starts a server that sends so many bytes to whoever connects.
    pub(crate) fn pour(&self, at: &str, bytes: usize) {
        self.answer(at, move |mut stream| stream.write_all(&vec![0; bytes]).map(|()| 0));
    }

    fn answer(&self, at: &str, answer: impl Fn(TcpStream) -> std::io::Result<u64> + Copy + Send + 'static) {
        let listener = self.enter(|| TcpListener::bind(at).unwrap());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who goes away early is not served.
                thread::spawn(move || answer(stream).ok());
            }
        });
    }

    /// As whom a server of [`Self::serve`] sees this host; nothing if it is not reached.
    pub(crate) fn seen_as(&self, server: &str) -> Option<IpAddr> {
        let server: SocketAddr = server.parse().unwrap();
        self.enter(|| {
            let mut stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.shutdown(Shutdown::Write).ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            text.parse().ok()
        })
    }

    /// How long it takes to send so many bytes to a server of [`Self::serve`], or to get what one of [`Self::pour`] sends.
    pub(crate) fn time_with(&self, server: &str, bytes: usize) -> Duration {
        let server: SocketAddr = server.parse().unwrap();
        self.enter(|| {
            let mut stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
            let began = Instant::now();
            stream.write_all(&vec![0; bytes]).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
            began.elapsed()
        })
    }

    /// Whether an address answers a ping.
    pub(crate) fn pings(&self, address: &str) -> bool {
        self.enter(|| {
            let output = Command::new("ping").args(["-n", "-c", "1", "-W", "1", address]).output().unwrap();
            output.status.success()
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// Joins two hosts by a cable, which has these names at its ends.
pub(crate) fn cable(one: (&Host, &str), other: (&Host, &str)) {
    let mut add = Command::new("ip");
    add.args(["link", "add", one.1, "netns", &one.0.name, "type", "veth"]);
    done(add.args(["peer", "name", other.1, "netns", &other.0.name]));
    for (host, end) in [one, other] {
        host.ip(&format!("link set dev {end} up"));
    }
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
