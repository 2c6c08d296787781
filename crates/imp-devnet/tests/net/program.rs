//! The program `imp-devnet`, run as its users run it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use imp_devnet::devnet::Ready;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{IMP_DEVNET, PATIENCE, impd};

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(IMP_DEVNET);
    command.args(args).arg("--dir").arg(dir).env("IMPD", impd()).stdin(Stdio::null());
    command
}

fn run(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A net in a process of its own, killed when dropped.
struct Up(Child);

impl Up {
    fn start(dir: &Path) -> Self {
        let args = ["up", "--ports", "free"];
        let mut up = Self(command(dir, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_until("the ready file", || {
            assert!(up.0.try_wait().unwrap().is_none(), "the net has ended");
            dir.join("ready.json").exists()
        });
        up
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap(), signal).unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a daemon runs on a data directory.
fn is_held(data_dir: &Path) -> bool {
    let lock: File = OpenOptions::new().read(true).write(true).open(data_dir.join("lock")).unwrap();
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}

#[test]
fn a_command_runs_in_a_net_that_is_usable_and_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let net = dir.path().join("net");
    let ready_file = dir.path().join("nodes.json");
    let script = format!(
        r#"set -e
        test "$IMP_DEVNET_READY" = '{ready}'
        cp "$IMP_DEVNET_READY" '{dir}/copy.json'
        echo "$IMP_DEVNET_BOB_HTTP $IMP_DEVNET_BOB_GRPC $IMP_DEVNET_BOB_PUBKEY $IMP_DEVNET_BOB_DIR"
        '{program}' status --dir '{net}'
        '{program}' mine 3 --dir '{net}'
        '{program}' fund bob 12345 --dir '{net}'
        '{program}' fund nobody --dir '{net}' && exit 1
        exit 7"#,
        ready = ready_file.display(),
        dir = dir.path().display(),
        net = net.display(),
        program = IMP_DEVNET,
    );
    let ready_arg = ready_file.to_str().unwrap();
    let done = run(&net, &["up", "--ports", "free", "--ready-file", ready_arg, "--exec", &script]);
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert_eq!(done.status.code(), Some(7), "{out}\n{err}");

    let ready: Ready = serde_json::from_slice(&fs::read(dir.path().join("copy.json")).unwrap()).unwrap();
    let bob = &ready.nodes[1];
    assert!(ready.nodes.iter().all(|node| node.pid.is_some()));
    for part in [
        "bob received from alice: Hello bob, this is alice.".to_owned(),
        format!("{} {} {} {}", bob.http, bob.grpc, bob.pubkey, bob.data_dir.display()),
        "1 of 1 channels usable".to_owned(),
        format!("chain at {}", ready.chain.rpc),
        "paid 12345 sat to bob".to_owned(),
    ] {
        assert!(out.contains(&part), "{part} is not in\n{out}\n{err}");
    }
    assert!(err.contains("there is no node nobody; there are alice, bob"), "{err}");
    assert!(!ready_file.exists() && !net.join("control.json").exists());
    assert!(!is_held(&net.join("alice")) && !is_held(&net.join("bob")));
}

#[test]
fn ports_that_are_taken_are_named_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let net = dir.path().join("net");
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let done = run(&net, &["up", "--ports", &port.to_string()]);
    let err = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(err.contains(&format!("port {port} (gRPC of alice)")) && err.contains("--ports"), "{err}");
    assert!(!net.join("chain").exists() && !net.join("alice").exists());
}

#[test]
fn a_net_is_stopped_by_word_and_by_signal() {
    let dir = tempfile::tempdir().unwrap();
    for by_word in [true, false] {
        let mut up = Up::start(dir.path());
        let again = run(dir.path(), &["up", "--ports", "free"]);
        assert_eq!(again.status.code(), Some(1));
        assert!(text(&again.stderr).contains("stop --dir"), "{}", text(&again.stderr));
        if by_word {
            assert_eq!(text(&run(dir.path(), &["stop"]).stdout), "stopped\n");
        } else {
            up.signal(Signal::INT);
        }
        assert_eq!(up.0.wait().unwrap().code(), Some(0));
        for name in ["ready.json", "control.json"] {
            assert!(!dir.path().join(name).exists(), "{name}");
        }
        for name in ["alice", "bob"] {
            assert!(!is_held(&dir.path().join(name)), "{name}");
        }
    }
    let none = run(dir.path(), &["stop"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("no net runs in"), "{}", text(&none.stderr));
}

#[test]
fn a_net_whose_supervisor_is_killed_leaves_no_process_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(dir.path());
    assert!(is_held(&dir.path().join("alice")));
    up.signal(Signal::KILL);
    up.0.wait().unwrap();
    if cfg!(target_os = "linux") {
        wait_until("the end of the nodes", || {
            !["alice", "bob"].iter().any(|name| is_held(&dir.path().join(name)))
        });
    }
    let again = run(dir.path(), &["up", "--ports", "free", "--exec", "true"]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
}

#[test]
fn a_daemon_that_holds_a_node_is_ended_by_the_next_net() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(dir.path(), &["up", "--ports", "free", "--exec", "true"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    // Its chain is away, but it holds the directory all the same.
    let bob = dir.path().join("bob");
    let mut left = Command::new(impd());
    left.args(["run", "--config"]).arg(bob.join("config.yml"));
    let mut left = left.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the daemon", || is_held(&bob));
    let next = run(dir.path(), &["up", "--ports", "free", "--exec", "true"]);
    let ended = left.try_wait().unwrap();
    let _ = left.kill();
    left.wait().unwrap();
    assert_eq!(next.status.code(), Some(0), "{}", text(&next.stderr));
    assert!(ended.is_some());
    let words = format!("bob still runs from an earlier time (process {})", left.id());
    assert!(text(&next.stderr).contains(&words), "{}", text(&next.stderr));
}

#[test]
fn a_program_that_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let done = run(&dir.path().join("net"), &["up", "--impd", "/nowhere/impd"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("no program /nowhere/impd"), "{}", text(&done.stderr));
}
