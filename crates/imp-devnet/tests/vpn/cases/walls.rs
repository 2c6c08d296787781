//! What no contract buys.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use imp_devnet::devnet::{INTERNET, SELLER_OUTSIDE};
use imp_devnet::netns::Namespace;

use crate::lab::{FORBIDDEN, LAN, Lab, SELLER};
use crate::reach::{connects, pings, wait_through};
use crate::tools::Tools;

/// The first address of the buyers' network, which is the seller's.
const SELLER_INSIDE: &str = "10.157.83.1";

/// Where a service of the seller's machine listens, on all its addresses.
const SERVICE: u16 = 8080;

/// What may go through and what not, on the same host.
const MAIL: u16 = 25;
const BESIDE_MAIL: u16 = 26;

fn listens(host: &Namespace, port: u16) -> tokio::net::TcpListener {
    host.listen(SocketAddr::from(([0, 0, 0, 0], port))).unwrap()
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// Checks that a host neither reaches a service at an address nor gets an echo from there.
async fn has_no_way(from: &Namespace, to: &str) {
    let (echo, connection) = tokio::join!(pings(from, to), connects(from, at(to, SERVICE)));
    assert!(!echo && connection.is_none(), "{to} is out of reach from {}", from.name());
}

pub(crate) async fn buyers_reach_neither_each_other_nor_the_sellers_machine(lab: Arc<Lab>) {
    let (deal_a, deal_b) = (lab.buy("alice").await, lab.buy("bob").await);
    let (alice, bob, seller) = (lab.host("alice"), lab.host("bob"), lab.host(SELLER));
    let (_a, _b) = (Tools::up(&lab, &deal_a).await, Tools::up(&lab, &deal_b).await);
    wait_through(&alice).await;
    wait_through(&bob).await;
    let address =
        |deal: &crate::deal::Deal| deal.config.get("clientIp").split('/').next().unwrap().to_owned();
    let _services = (listens(&alice, SERVICE), listens(&bob, SERVICE), listens(&seller, SERVICE));

    let (address_a, address_b) = (address(&deal_a), address(&deal_b));
    tokio::join!(has_no_way(&alice, &address_b), has_no_way(&bob, &address_a));
    // The service is there for the internet, and for its own machine.
    let outside = SELLER_OUTSIDE.to_string();
    assert!(connects(lab.internet(), at(&outside, SERVICE)).await.is_some());
    assert!(connects(&seller, at(SELLER_INSIDE, SERVICE)).await.is_some());
    for buyer in [&alice, &bob] {
        assert!(pings(buyer, SELLER_INSIDE).await, "the other end of the tunnel answers pings");
        let inside = connects(buyer, at(SELLER_INSIDE, SERVICE));
        let others = (has_no_way(buyer, &outside), has_no_way(buyer, "10.77.0.1"));
        let (inside, (), ()) = tokio::join!(inside, others.0, others.1);
        assert!(inside.is_none(), "pings and nothing else");
    }
    wait_through(&alice).await;
}

pub(crate) async fn private_networks_and_mail_are_out_of_reach(lab: Arc<Lab>) {
    let deal = lab.buy("alice").await;
    let (alice, seller) = (lab.host("alice"), lab.host(SELLER));
    let _tunnel = Tools::up(&lab, &deal).await;
    wait_through(&alice).await;
    let addresses: Vec<&str> = FORBIDDEN.into_iter().chain([LAN]).collect();
    let looks = addresses.into_iter().map(|address| {
        let (alice, seller) = (&alice, &seller);
        async move {
            assert!(pings(seller, address).await, "{address} is there");
            assert!(!pings(alice, address).await, "{address} is out of reach");
        }
    });
    join_all(looks).await;
    let _listening = (listens(lab.internet(), MAIL), listens(lab.internet(), BESIDE_MAIL));
    let internet = INTERNET.to_string();
    assert!(connects(&seller, at(&internet, MAIL)).await.is_some());
    assert!(connects(&alice, at(&internet, BESIDE_MAIL)).await.is_some());
    assert!(connects(&alice, at(&internet, MAIL)).await.is_none());
    // Nobody's address: it must not leave by the seller as a buyer's packet either.
    alice.ip("addr add 192.0.2.200/32 dev lo").unwrap();
    assert!(!pings_from(&lab, "192.0.2.200").await);
    alice.ip("addr del 192.0.2.200/32 dev lo").unwrap();
    wait_through(&alice).await;
}

/// Whether a ping from this address of alice's, which is not that of her contract, is answered.
async fn pings_from(lab: &Lab, address: &str) -> bool {
    let mut ping = lab.host("alice").command("ping");
    ping.args(["-n", "-q", "-c", "1", "-W", "1", "-I", address, &INTERNET.to_string()]);
    tokio::process::Command::from(ping).output().await.unwrap().status.success()
}
