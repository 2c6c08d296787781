//! The tunnel that a buyer's node brings up by itself.

use std::fs;
use std::sync::Arc;

use imp_api::proto::imp::vpn::v1::{BringUpVpnRequest, TakeDownVpnRequest, Tunnel};
use imp_devnet::devnet::SELLER_OUTSIDE;
use rustix::process::Signal;

use crate::deal::Deal;
use crate::lab::{Lab, wait_for};
use crate::reach::{is_cut_off, wait_through};

/// All that a tunnel may change on a buyer's host.
#[derive(Debug, PartialEq, Eq)]
struct Network {
    routes: String,
    rules: String,
    interfaces: String,
    firewall: String,
    resolv_conf: String,
}

fn network(lab: &Lab, node: &str) -> Network {
    Network {
        routes: lab.run(node, "ip", &["route", "show", "table", "all"]),
        rules: lab.run(node, "ip", &["rule"]) + &lab.run(node, "ip", &["-6", "rule"]),
        interfaces: lab.run(node, "ip", &["-brief", "address"]),
        firewall: lab.run(node, "nft", &["list", "ruleset"]),
        resolv_conf: fs::read_to_string(lab.node(node).data_dir.join("resolv.conf")).unwrap(),
    }
}

pub(crate) async fn up(lab: &Lab, deal: &Deal) -> Tunnel {
    let request = BringUpVpnRequest { nonce: deal.nonce.clone(), ..BringUpVpnRequest::default() };
    lab.client(deal.buyer).await.bring_up_vpn(request).await.unwrap()
}

pub(crate) async fn down(lab: &Lab, deal: &Deal) {
    let request = TakeDownVpnRequest { nonce: deal.nonce.clone() };
    lab.client(deal.buyer).await.take_down_vpn(request).await.unwrap();
}

pub(crate) async fn a_tunnel_of_the_node_goes_up_and_leaves_nothing_behind(lab: Arc<Lab>) {
    let deal = lab.buy("alice").await;
    let alice = lab.host("alice");
    let before = network(&lab, "alice");
    assert!(is_cut_off(&alice).await);
    for _ in 0..2 {
        let tunnel = up(&lab, &deal).await;
        assert_eq!(tunnel.routes, ["0.0.0.0/0"]);
        assert_eq!(tunnel.dns_ip, deal.config.get("dnsIp"));
        let page = wait_through(&alice).await;
        assert!(page.contains(&format!("You come from {SELLER_OUTSIDE}.")), "{page}");
        let servers = network(&lab, "alice").resolv_conf;
        assert!(servers.contains(&format!("nameserver {}", tunnel.dns_ip)), "{servers}");
        assert!(!servers.contains("203.0.113.53"), "{servers}");
        // What leads to the other nodes still does.
        lab.buy("alice").await;
        down(&lab, &deal).await;
        assert_eq!(network(&lab, "alice"), before);
        assert!(is_cut_off(&alice).await);
    }
    // One that is not up.
    down(&lab, &deal).await;
    assert_eq!(network(&lab, "alice"), before);
}

pub(crate) async fn a_tunnel_of_a_node_that_was_killed_leaves_nothing_behind(lab: Arc<Lab>) {
    let deal = lab.buy("bob").await;
    let bob = lab.host("bob");
    let before = network(&lab, "bob");
    up(&lab, &deal).await;
    wait_through(&bob).await;
    lab.end("bob", Signal::KILL).await;
    assert!(is_cut_off(&bob).await, "no packet goes past a tunnel that has died");
    lab.start_node("bob", &[]).await;
    // The owner wanted it, and has not said otherwise.
    wait_through(&bob).await;
    lab.end("bob", Signal::KILL).await;
    lab.start_node("bob", &[]).await;
    down(&lab, &deal).await;
    wait_for("the network of before", || async { (network(&lab, "bob") == before).then_some(()) }).await;
    assert!(is_cut_off(&bob).await);
}
