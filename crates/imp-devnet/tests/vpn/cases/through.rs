//! Through the tunnel with the tools that people have.

use std::process::{Child, Stdio};
use std::sync::Arc;

use imp_devnet::devnet::{INTERNET, SELLER_OUTSIDE};
use serde_json::Value;
use tokio::time::timeout;

use crate::lab::{DEVICE, Lab, PATIENCE, SELLER, wait_for};
use crate::reach::{connects, is_cut_off, wait_through};
use crate::tools::Tools;

/// Where iperf3 listens on the internet.
const PORT: u16 = 5201;

/// What is too slow to be a tunnel at work, in Mbit/s.
const LEAST_MBIT: f64 = 10.0;

/// iperf3 on the internet, killed when dropped.
struct Server(Child);

impl Server {
    async fn start(lab: &Lab) -> Self {
        let mut command = lab.internet().command("iperf3");
        command.args(["-s", "-B", &INTERNET.to_string(), "-p", &PORT.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().unwrap());
        let seller = lab.host(SELLER);
        wait_for("iperf3", || async { connects(&seller, (INTERNET, PORT).into()).await.map(drop) }).await;
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How much goes through, in Mbit/s.
async fn measure(lab: &Lab, host: &str, backwards: bool) -> f64 {
    let mut command = lab.host(host).command("iperf3");
    command.args(["-J", "-t", "2", "-c", &INTERNET.to_string(), "-p", &PORT.to_string()]);
    if backwards {
        command.arg("-R");
    }
    let mut command = tokio::process::Command::from(command);
    let output = timeout(PATIENCE, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let output = output.expect("an end in time").unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{}", report["error"]);
    report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap() / 1e6
}

pub(crate) async fn the_tools_of_wireguard_go_through_a_contract(lab: Arc<Lab>) {
    let deal = lab.buy("alice").await;
    let alice = lab.host("alice");
    assert!(is_cut_off(&alice).await, "a contract alone is no tunnel");
    let tunnel = Tools::up(&lab, &deal).await;
    let page = wait_through(&alice).await;
    assert!(page.contains(&format!("You come from {SELLER_OUTSIDE}.")), "{page}");

    let _server = Server::start(&lab).await;
    println!();
    for (backwards, way) in [(false, "up"), (true, "down")] {
        let mbit = measure(&lab, "alice", backwards).await;
        println!("  iperf3 through the tunnel, {way}: {mbit:.0} Mbit/s");
        assert!(mbit > LEAST_MBIT, "{mbit} Mbit/s");
    }

    // What the seller's own `wg` shows is what the contract says.
    let key = deal.config.get("pubkey");
    let dump = lab.run(SELLER, "wg", &["show", DEVICE, "dump"]);
    let peer = dump.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("no {key}: {dump}"));
    let columns: Vec<&str> = peer.split('\t').collect();
    assert_eq!(columns[1], deal.config.get("psk"), "a preshared key for each peer");
    let address = deal.config.get("clientIp").split('/').next().unwrap();
    assert_eq!(columns[3], format!("{address}/32"));
    assert_ne!(columns[4], "0", "a handshake");
    let counted = |contract: &imp_api::proto::imp::vpn::v1::Contract| {
        contract.received_bytes > 1_000_000
            && contract.sent_bytes > 1_000_000
            && contract.last_handshake_ms.is_some()
    };
    lab.wait_contract(SELLER, &deal.nonce, "what it carried is counted", counted).await;
    drop(tunnel);
    assert!(is_cut_off(&alice).await);
}
