//! Start and stop of `impd`: data directory, lock, seed, log, exit codes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::process::Signal;

use crate::impd::Home;

/// The vector of BIP 39 with 256 zero bits.
const ZEROS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
    abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn the_first_start_makes_everything_closed_to_others() {
    let home = Home::new();
    for signal in [Signal::TERM, Signal::INT] {
        let daemon = home.start(&[]);
        assert_eq!(mode(&home.data_dir()), 0o700);
        for entry in fs::read_dir(home.data_dir()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path) & 0o077, 0, "{} is open", path.display());
        }
        assert_eq!(daemon.stop(signal), 0);
    }
    let log = fs::read_to_string(home.data_dir().join("log.txt")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |text| lines.iter().filter(|line| line["message"].as_str().unwrap().contains(text)).count();
    assert_eq!(
        (told("impd starts"), told("a new seed was made"), told("impd has stopped")),
        (2, 1, 2),
        "{log}"
    );
    let words = home.run(&["seed", "show", "--yes"]).out;
    assert!(words.split_whitespace().count() == 24 && !log.contains(words.trim()), "the log has the seed");
}

#[test]
fn what_a_killed_run_left_of_a_tunnel_is_put_back_before_there_is_a_chain() {
    let home = Home::new();
    let text = "nameserver 10.7.0.1\n";
    let resolv_conf = home.write("resolv.conf", text);
    let change = serde_json::json!({"path": resolv_conf, "text": text, "before": "nameserver 192.0.2.53\n"});
    let note = serde_json::json!({"number": 15, "takes_all": false, "dns": {"file": change}, "index": null});
    let note = home.write(".imp/network/tunnel-impt15.json", note.to_string());
    for folder in [home.data_dir(), home.data_dir().join("network")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    }
    let mut daemon = home.start(&[]);
    daemon.wait_until("the note is forgotten", || !note.exists());
    assert_eq!(fs::read_to_string(resolv_conf).unwrap(), "nameserver 192.0.2.53\n");
    assert_eq!(daemon.stop(Signal::TERM), 0);
}

#[test]
fn a_second_daemon_is_told_who_has_the_directory() {
    let home = Home::new();
    let daemon = home.start(&[]);
    for args in [&[][..], &["seed", "new"]] {
        let second = home.run(args);
        assert_eq!(second.code, 1, "{second:?}");
        for part in [&format!("process {}", daemon.pid()), home.data_dir().to_str().unwrap(), "--data-dir"] {
            assert!(second.err.contains(part), "{part:?} is not in {second:?}");
        }
    }
    // To look at the words is allowed beside a daemon.
    assert_eq!(home.run(&["seed", "show", "--yes"]).code, 0);
    daemon.kill();
    assert_eq!(home.start(&[]).stop(Signal::TERM), 0);
}

#[test]
fn a_seed_open_to_others_is_refused() {
    let home = Home::new();
    assert_eq!(home.run(&["seed", "new"]).code, 0);
    let seed = home.data_dir().join("seed");
    fs::set_permissions(&seed, fs::Permissions::from_mode(0o644)).unwrap();
    for args in [&["run"][..], &["seed", "show", "--yes"], &["seed", "new"]] {
        let ended = home.run(args);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
        assert!(ended.err.contains(&format!("chmod 600 {}", seed.display())), "{ended:?}");
    }
}

#[test]
fn a_seed_is_made_shown_and_restored() {
    let (home, other) = (Home::new(), Home::new());
    let missing = home.run(&["seed", "show", "--yes"]);
    assert!(missing.code == 1 && missing.err.contains("impd seed new"), "{missing:?}");
    assert!(!home.data_dir().exists());

    assert!(home.run(&["seed", "new"]).out.contains("A new seed is in"));
    assert!(home.run(&["seed", "new"]).out.contains("There is a seed already in"));
    let hidden = home.run(&["seed", "show"]);
    assert_eq!((hidden.code, hidden.out.as_str()), (1, ""), "{hidden:?}");
    assert!(hidden.err.contains("--yes"), "{hidden:?}");
    let words = home.run(&["seed", "show", "--yes"]).out;

    assert_eq!(other.run_with_input(&["seed", "restore"], &words).code, 0);
    assert_eq!(other.run(&["seed", "show", "--yes"]).out, words);
    let again = other.run_with_input(&["seed", "restore"], ZEROS);
    assert!(again.code == 1 && again.err.contains("never replaced"), "{again:?}");
    assert_eq!(other.run(&["seed", "show", "--yes"]).out, words);
}

#[test]
fn words_that_are_no_seed_are_refused_without_repeating_them() {
    let home = Home::new();
    for (words, part) in
        [("", "0 words"), ("hunter2 hunter2", "2 words"), (&ZEROS.replace("art", "hunter2"), "word 24")]
    {
        let ended = home.run_with_input(&["seed", "restore"], words);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.contains(part) && !ended.err.contains("hunter2"), "{ended:?}");
        assert!(!home.data_dir().exists());
    }
}

#[test]
fn seed_commands_work_beside_a_configuration_that_is_at_fault() {
    let home = Home::new();
    home.write("c.yml", "data_dir: ~/node\nserver:\n  http_addr: 0.0.0.0:8882\n");
    assert_eq!(home.run(&["--config", "c.yml", "seed", "new"]).code, 0);
    assert_eq!(mode(&home.path().join("node/seed")), 0o600);
}

#[test]
fn a_data_directory_that_cannot_be_made_is_a_failure() {
    let home = Home::new();
    home.write("file", "");
    let ended = home.run(&["--data-dir", "file/below"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("file/below cannot be the data directory"), "{ended:?}");
}

#[test]
fn a_log_filter_that_cannot_be_read_is_a_failure() {
    let home = Home::new();
    let output = home.command(&["run"]).env("RUST_LOG", "=,=").output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("RUST_LOG"), "{err}");
}
