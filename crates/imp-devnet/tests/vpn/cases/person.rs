//! `imp-devnet up --vpn` as a person without rights runs it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use imp_devnet::devnet::{INTERNET, SELLER_OUTSIDE};
use tokio::time::timeout;

use crate::lab::{Lab, PATIENCE, program};

/// Debian's user `nobody`.
const NOBODY: u32 = 65_534;

/// Buys, goes through, and leaves. The net's own commands run on alice's host, where the page is in reach meanwhile.
const SESSION: &str = r#"set -e
export IMP_ADDR=$IMP_DEVNET_ALICE_GRPC
page() { curl --silent --max-time 2 --retry 20 --retry-delay 1 --retry-all-errors http://$INTERNET/; }
if curl --silent --max-time 2 http://$INTERNET/; then exit 9; fi
nonce=$(imp vpn buy "$IMP_DEVNET_BOB_PUBKEY" --max-price 100 --json | sed -n 's/.*"nonce" *: *"\([^"]*\)".*/\1/p' | head -n 1)
imp vpn up "$nonce"
page
imp vpn down "$nonce"
if curl --silent --max-time 2 http://$INTERNET/; then exit 9; fi
imp-devnet on --dir "$NET" bob curl --silent http://$INTERNET/
"#;

pub(crate) async fn a_user_without_rights_has_such_a_net(_: Arc<Lab>) {
    // Where everybody can read, which a folder of builds need not be.
    let home = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    for name in ["impd", "imp", "imp-devnet"] {
        fs::copy(program(name), home.path().join(name)).unwrap();
    }
    let net = home.path().join("net");
    fs::create_dir(&net).unwrap();
    chown(&net, Some(NOBODY), Some(NOBODY)).unwrap();
    let output = timeout(
        PATIENCE,
        tokio::task::spawn_blocking({
            let home = home.path().to_owned();
            move || session(&home, &net)
        }),
    );
    let output = output.await.expect("an end in time").unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !nobody("unshare").args(["--map-root-user", "true"]).output().unwrap().status.success() {
        println!("\n  this machine lets root alone make namespaces");
        assert!(!output.status.success() && err.contains("a net with a VPN needs root"), "{out}\n{err}");
        return;
    }
    assert!(output.status.success(), "{out}\n{err}");
    let page = format!("You come from {SELLER_OUTSIDE}.");
    assert_eq!(out.matches(&page).count(), 2, "{out}\n{err}");
}

/// A program that somebody without rights runs.
fn nobody(program: impl AsRef<OsStr>) -> Command {
    let nobody = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--"]).arg(program);
    command
}

fn session(home: &Path, net: &Path) -> std::process::Output {
    let path = format!("{}:{}", home.display(), std::env::var("PATH").unwrap());
    let mut command = nobody(home.join("imp-devnet"));
    command.args(["up", "--vpn", "--ports", "free", "--dir"]).arg(net);
    command.args(["--exec", SESSION]).env_remove("IMPD").env("PATH", path).env("HOME", home);
    command.env("NET", net).env("INTERNET", INTERNET.to_string()).stdin(Stdio::null()).output().unwrap()
}
