//! The tools that people have: `wireguard-go` and `wg`, with the file that a node gives for a contract.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};

use imp_devnet::netns::{Namespace, is_in_path};

use crate::deal::Deal;
use crate::lab::{Lab, wait_for};

/// Which of them are missing.
pub(crate) fn missing(_: &()) -> Option<String> {
    [
        ("wg", "wireguard-tools"),
        ("wireguard-go", "wireguard-go"),
        ("iperf3", "iperf3"),
        ("ping", "iputils-ping"),
    ]
    .into_iter()
    .find(|(program, _)| !is_in_path(program))
    .map(|(program, package)| format!("there is no program {program}: install {package}"))
}

/// A tunnel of `wireguard-go` on a buyer's host, through which all goes but what goes to the hosts of nodes. Ends when
/// dropped.
pub(crate) struct Tools {
    device: Child,
    host: Namespace,
    name: String,
    stripped: String,
}

impl Tools {
    pub(crate) async fn up(lab: &Lab, deal: &Deal) -> Self {
        let host = lab.host(deal.buyer);
        let name = format!("wg-{}", deal.buyer);
        let mut device = host.command("wireguard-go");
        // Set, it would stay when it is left alone; nothing else of the environment matters.
        device.args(["-f", &name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut tools = Self { device: device.spawn().unwrap(), host, name, stripped: String::new() };
        let socket = format!("/var/run/wireguard/{}.sock", tools.name);
        wait_for("the device of wireguard-go", || async { Path::new(&socket).exists().then_some(()) }).await;

        let text = lab.config_file(deal).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tunnel.conf");
        fs::write(&file, &text).unwrap();
        let strip = tools.host.command("wg-quick").arg("strip").arg(&file).output().unwrap();
        assert!(strip.status.success(), "{}", String::from_utf8_lossy(&strip.stderr));
        tools.stripped = String::from_utf8(strip.stdout).unwrap();
        tools.begin_anew();

        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
            line.unwrap_or_else(|| panic!("no {key} in the configuration")).trim().to_owned()
        };
        tools.ip(&format!("addr add {} dev {}", value("Address"), tools.name));
        tools.ip(&format!("link set mtu {} up dev {}", value("MTU"), tools.name));
        // Nearer than the default route, which leads to the hosts of nodes.
        tools.ip("route add 203.0.113.0/24 via 203.0.113.254");
        for half in ["0.0.0.0/1", "128.0.0.0/1"] {
            tools.ip(&format!("route add {half} dev {}", tools.name));
        }
        tools
    }

    /// Has the device agree with its peer on keys again now, which it would do by itself 15 seconds after it has sent
    /// something that was not answered.
    pub(crate) fn begin_anew(&self) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(self.stripped.as_bytes()).unwrap();
        let setconf =
            self.host.command("wg").args(["setconf", &self.name]).arg(file.path()).output().unwrap();
        assert!(setconf.status.success(), "{}", String::from_utf8_lossy(&setconf.stderr));
    }

    fn ip(&self, args: &str) {
        self.host.ip(args).unwrap();
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        let _ = self.device.kill();
        let _ = self.device.wait();
        let _ = self.host.ip("route del 203.0.113.0/24 via 203.0.113.254");
        let _ = fs::remove_file(format!("/var/run/wireguard/{}.sock", self.name));
    }
}
