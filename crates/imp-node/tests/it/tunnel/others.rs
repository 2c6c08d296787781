//! A tunnel beside what others do: the seller at its other end, and programs of this machine.

use std::time::{Duration, Instant};

use imp_node::tunnel::{TunnelHost, TunnelSpec};
use imp_node::wireguard::DevicePeer;

use super::{Town, ip};
use crate::hosts;

#[test]
fn the_seller_reaches_nothing_of_the_buyer_but_its_answer_to_pings() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let (before, tunnels) = (town.state(), town.tunnels());
    town.buyer.serve("[::]:22");
    town.buyer.set("ipv4/ip_forward", "1");
    town.up(&tunnels, TunnelSpec { allow_private: true, set_dns: false, ..town.spec() }).unwrap();
    // Behind the buyer, all of what a seller may try.
    let into = ["10.7.0.10/32", "192.168.1.0/24"];
    let buyer = DevicePeer {
        key: town.config.client_key,
        psk: town.config.psk.clone(),
        allowed: into.map(|net| net.parse().unwrap()).to_vec(),
        endpoint: None,
        keepalive_secs: None,
    };
    town.seller.run(|| town.device.put_peers(std::slice::from_ref(&buyer))).unwrap();
    town.seller.nft("delete table inet imp_imp0");
    for net in into {
        town.seller.ip(&format!("route replace {net} dev imp0 src 10.7.0.1"));
    }
    town.core.ip("route add 10.7.0.0/24 via 192.168.1.5");
    let deadline = Instant::now() + Duration::from_secs(10);
    while town.buyer.seen_as("10.7.0.1:9735") != ip("10.7.0.10") {
        assert!(Instant::now() < deadline, "what the buyer asks for does not come");
    }
    assert!(town.seller.pings("10.7.0.10"));
    let closed = ["10.7.0.10:22", "192.168.1.5:22", "192.168.1.1:80"];
    for closed in closed {
        assert_eq!(town.seller.seen_as(closed), None, "{closed}");
    }
    assert_eq!(town.core.seen_as("192.168.1.5:22"), ip("192.168.1.1"), "who is at home");
    town.buyer.nft("delete table inet imp_impt0");
    for open in closed {
        assert_eq!(town.seller.seen_as(open), ip("10.7.0.1"), "{open} is reached without the rules");
    }
    town.buyer.set("ipv4/ip_forward", "0");
    town.down(&tunnels, "impt0").unwrap();
    town.assert_is(&before, "down");
}

#[test]
fn what_another_program_has_under_the_name_of_a_tunnel_that_was_left_stays() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let tunnels = town.tunnels();
    let before = town.dns();
    let tunnel = town.up(&tunnels, town.spec()).unwrap();
    town.buyer.run(|| async { tunnel.device.close().await });
    drop((tunnel, tunnels));
    town.buyer.ip("link add impt0 type bridge");
    let next = town.tunnels();
    town.buyer.run(|| next.clean_up()).unwrap();
    assert!(town.buyer.ip("-o link").contains("impt0"));
    assert_eq!(town.dns(), before);
}

#[test]
fn what_others_wrote_to_resolv_conf_meanwhile_stays() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let tunnels = town.tunnels();
    town.up(&tunnels, town.spec()).unwrap();
    std::fs::write(town.resolv_conf(), "nameserver 10.0.0.53\n").unwrap();
    let down = town.down(&tunnels, "impt0").unwrap().unwrap();
    assert!(down.dns_left.is_some_and(|why| why.contains("resolv.conf")));
    assert_eq!(town.dns(), "nameserver 10.0.0.53\n");
}
