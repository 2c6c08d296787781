//! `impd config`, and what a configuration does to a start.

use crate::impd::Home;

#[test]
fn the_sample_passes_its_own_check() {
    let home = Home::new();
    let sample = home.run(&["config", "sample"]);
    assert_eq!((sample.code, sample.err.as_str()), (0, ""));
    let file = home.write("sample.yml", &sample.out);
    for spelling in ["--config", "-config"] {
        let check = home.run(&["config".as_ref(), "check".as_ref(), spelling.as_ref(), file.as_os_str()]);
        assert_eq!((check.code, check.err.as_str()), (0, ""), "{check:?}");
        assert!(check.out.ends_with("sample.yml can be used.\n"), "{check:?}");
        assert!(!check.out.contains("fault") && !check.out.contains("unknown"), "{check:?}");
    }
}

#[test]
fn a_check_tells_of_unknown_keys_and_fails() {
    let home = Home::new();
    home.write("c.yml", "server:\n  http_adr: 127.0.0.1:1\n");
    let check = home.run(&["config", "check", "--config=c.yml"]);
    assert_eq!(check.code, 64, "{check:?}");
    assert!(check.out.contains("unknown key: c.yml, line 2: server.http_adr"), "{check:?}");
    assert!(check.out.contains("did you mean server.http_addr?"), "{check:?}");
}

#[test]
fn a_check_tells_of_all_faults_and_fails() {
    let home = Home::new();
    home.write("c.yml", "server:\n  http_addr: here\nvpn:\n  price: free\n");
    let check = home.run(&["-config=c.yml", "--journal-keep-days=0", "config", "check"]);
    assert_eq!(check.code, 64, "{check:?}");
    for part in ["line 2: server.http_addr", "line 4: vpn.price", "--journal-keep-days", "Faults: 3."] {
        assert!(check.out.contains(part), "{part:?} is not in {check:?}");
    }
}

#[test]
fn the_file_is_looked_for_where_the_original_did() {
    let home = Home::new();
    let used = |args: &[&str]| home.run(&[&["config", "check"], args].concat());
    assert!(used(&[]).out.contains("The configuration can be used."));
    home.write(".imp/config.yml", "vpn: {price: 1, x1: 1}\n");
    assert!(used(&[]).out.contains("vpn.x1"));
    home.write("config/config.yml", "vpn: {price: 1, x2: 1}\n");
    assert!(used(&[]).out.contains("vpn.x2"));
    home.write("named.yml", "vpn: {price: 1, x3: 1}\n");
    assert!(used(&["--config", "named.yml"]).out.contains("vpn.x3"));
    let missing = used(&["--config", "missing.yml"]);
    assert_eq!(missing.code, 64, "{missing:?}");
    assert!(missing.out.contains("missing.yml") && missing.out.contains("cannot be read"), "{missing:?}");
}

#[test]
fn variables_of_the_environment_are_read() {
    let home = Home::new();
    let command = |value: &str| {
        let output = home.command(&["config", "check"]).env("IMP_VPN_PRICE", value).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(command("5").0, 0);
    let (code, out) = command("free");
    assert!(code == 64 && out.contains("IMP_VPN_PRICE"), "{out}");
}

#[test]
fn a_start_with_faults_does_nothing_at_all() {
    let home = Home::new();
    for (args, part) in [
        (&["--server-http-addr=0.0.0.0:8882"][..], "--server-insecure"),
        (&["run", "--lightning-backend", "lnd"], "backend: ldk"),
        (&["--config", "missing.yml"], "missing.yml"),
        (&["--log-level", "loud", "--vpn-price", "free"], "vpn.price"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let ended = home.run(args);
        assert_eq!((ended.code, ended.out.as_str()), (64, ""), "{args:?}: {ended:?}");
        assert!(ended.err.contains(part), "{part:?} is not in {ended:?}");
        assert!(!home.data_dir().exists(), "{args:?} made a data directory");
    }
}

#[test]
fn version_and_help_are_printed() {
    let home = Home::new();
    let version = home.run(&["--version"]);
    assert_eq!((version.code, version.out), (0, format!("impd {}\n", env!("CARGO_PKG_VERSION"))));
    let help = home.run(&["--help"]);
    assert_eq!(help.code, 0);
    for part in ["--config <FILE>", "--server-http-addr", "IMP_SERVER_HTTP_ADDR", "64"] {
        assert!(help.out.contains(part), "{part:?} is not in {}", help.out);
    }
}
