//! How people look at a device of this process, and what it says to those who may not have one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use imp_devnet::netns;
use imp_node::wireguard::{DeviceChoice, DeviceMaker, Host};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::lab::{Lab, new_key, peer, spec};

/// The argument of a process that only says what it lacks.
pub(crate) const SAY_MISSING: &str = "say-missing";

pub(crate) fn what_wg_shows_and_changes_is_what_there_is(lab: &Lab) {
    if !netns::is_in_path("wg") {
        println!("\n  without wg, which is not installed (wireguard-tools)");
        return;
    }
    let name = own_name("wg");
    let (key, one, other) = (new_key(), new_key(), new_key());
    let device = lab.server.open(spec(&name, &key, 0, &["10.9.0.1/24"]));
    lab.server.put(&device, &[peer(&one, &["10.9.0.2/32"]), peer(&other, &["10.9.0.3/32"])]);
    let shown = lab.server.output("wg", &format!("show {name} dump"));
    let mut lines: Vec<&str> = shown.lines().collect();
    assert!(lines.remove(0).contains(&key.public().to_string()), "{shown}");
    assert_eq!(lines.len(), 2, "{shown}");
    assert!(shown.contains(&one.public().to_string()) && shown.contains("10.9.0.2/32"), "{shown}");

    lab.server.output("wg", &format!("set {name} peer {} remove", one.public()));
    let there = lab.server.peers(&device);
    assert_eq!(there.iter().map(|peer| peer.key).collect::<Vec<_>>(), [other.public()]);
    let third = new_key().public();
    lab.server.output("wg", &format!("set {name} peer {third} allowed-ips 10.9.0.4/32"));
    assert!(lab.server.peers(&device).iter().any(|peer| peer.key == third));
    lab.server.close(&device);
}

pub(crate) fn the_socket_of_a_killed_run_is_replaced_and_ours_is_deleted(lab: &Lab) {
    let name = own_name("so");
    let path = Path::new("/var/run/wireguard").join(format!("{name}.sock"));
    fs::create_dir_all("/var/run/wireguard").unwrap();
    // Closed, and the file is still there.
    drop(UnixListener::bind(&path).unwrap());
    let device = lab.server.open(spec(&name, &new_key(), 0, &["10.9.0.1/24"]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::os::unix::net::UnixStream::connect(&path).expect("somebody answers");
    lab.server.close(&device);
    assert!(!path.exists());
}

pub(crate) fn without_the_right_it_says_so(_lab: &Lab) {
    // Rights are a thread's.
    let missing = thread::spawn(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        Host::new(DeviceChoice::Userspace).missing()
    });
    let missing = missing.join().unwrap().unwrap();
    assert!(missing.contains("CAP_NET_ADMIN"), "{missing}");
}

pub(crate) fn without_tun_it_says_so(_lab: &Lab) {
    let mut alone = Command::new("unshare");
    alone.args(["--mount", "sh", "-c", r#"mount -t tmpfs none /dev/net && exec "$0" "$1""#]);
    let output = alone.arg(std::env::current_exe().unwrap()).arg(SAY_MISSING).output().unwrap();
    let missing = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(missing.contains("/dev/net/tun") && missing.contains("modprobe"), "{missing}");
}

/// A name that no other run of these tests has, for all of them share the folder of the sockets.
fn own_name(prefix: &str) -> String {
    format!("{prefix}{}", std::process::id())
}
