//! The listeners of `impd` as the system sees them: the owner's socket and open files.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::impd::{Daemon, Home};

const PATIENCE: Duration = Duration::from_secs(20);

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n";

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn socket(home: &Home) -> PathBuf {
    home.data_dir().join("imp.sock")
}

/// What `/health` says on the owner's socket.
fn health(path: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.write_all(HEALTH).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn is_healthy(path: &Path) -> bool {
    health(path).is_some_and(|answer| answer.ends_with(r#"{"status":"ok"}"#))
}

/// The address in the log under which REST is served by the process that runs.
fn http_address(home: &Home, daemon: &Daemon) -> SocketAddr {
    let mut found = None;
    wait_for("REST is listened on", || {
        let log = fs::read_to_string(home.data_dir().join("log.txt")).unwrap_or_default();
        let start = log.rfind(&format!("\"pid\":{},", daemon.pid())).unwrap_or(log.len());
        let lines =
            log[start..].lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        found = lines
            .filter(|line| line["message"] == "server.http_addr is listened on")
            .find_map(|line| line["address"].as_str()?.parse().ok());
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn the_owners_socket_is_there_while_the_daemon_runs_and_survives_a_crash_before_it() {
    let home = Home::new();
    let path = socket(&home);
    let daemon = home.start(&[]);
    wait_for("the socket answers", || is_healthy(&path));
    let found = fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o777, 0o600);
    daemon.kill();
    assert!(path.exists() && health(&path).is_none(), "a crash leaves the file and nobody behind it");
    let daemon = home.start(&[]);
    wait_for("the socket answers again", || is_healthy(&path));
    assert_eq!(daemon.stop(Signal::TERM), 0);
    assert!(!path.exists());

    let daemon = home.start(&["--server-unix-socket=false"]);
    http_address(&home, &daemon);
    assert!(!path.exists());
    assert_eq!(daemon.stop(Signal::TERM), 0);
}

#[test]
fn a_file_in_the_place_of_the_socket_does_not_hold_up_a_start() {
    let home = Home::new();
    assert_eq!(home.start(&[]).stop(Signal::TERM), 0);
    let path = socket(&home);
    fs::write(&path, "precious").unwrap();
    let daemon = home.start(&[]);
    let address = http_address(&home, &daemon);
    TcpStream::connect(address).unwrap();
    assert_eq!(daemon.stop(Signal::TERM), 0);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn connections_cost_a_file_each_and_give_it_back() {
    let home = Home::new();
    let daemon = home.start(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = files["Max open files".len()..].split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1], "the soft limit is the hard one: {files}");

    let address = http_address(&home, &daemon);
    wait_for("the socket answers", || is_healthy(&socket(&home)));
    let open_files = || fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = open_files();
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        held.push(stream);
    }
    // The Lightning node may open and close a few of its own meanwhile.
    let during = open_files();
    assert!((before + 190..before + 230).contains(&during), "{before} files, then {during}");
    drop(held);
    wait_for("files are given back", || open_files() < before + 20);
    assert_eq!(daemon.stop(Signal::TERM), 0);
}
