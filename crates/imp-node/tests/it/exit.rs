//! A machine as an exit, among others: buyers on one side, the internet and neighbours on the other.
//!
//! ```text
//!  buyer  10.7.0.2 ─┐                  ┌ wan 203.0.113.1 ── 203.0.113.9  far: the internet, and
//!  second 10.7.0.3 ─┴ imp0 10.7.0.1  seller                              198.51.100.9 192.168.5.9 10.99.0.9
//! ```
//!
//! The rules see an interface by its name, so that a bridge stands for WireGuard. Buyers have the seller as their only
//! neighbour, as in a tunnel.

mod others;

use std::net::IpAddr;

use imp_node::exit::{ExitError, ExitHost, ExitSpec, LinuxExit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use crate::hosts::{self, Host, cable};

const SELLER: &str = "203.0.113.1";

struct Street {
    buyer: Host,
    second: Host,
    seller: Host,
    far: Host,
    folder: tempfile::TempDir,
}

impl Street {
    fn new() -> Self {
        let [buyer, second, seller, far] = ["buyer", "second", "seller", "far"].map(Host::new);
        seller.ip("link add imp0 type bridge");
        seller.ip("link set dev imp0 up");
        seller.ip("addr add 10.7.0.1/24 dev imp0");
        seller.ip("addr add fd07::1/64 dev imp0 nodad");
        // A tunnel has no neighbours that could be told of a shorter way.
        seller.set("ipv4/conf/all/send_redirects", "0");
        seller.set("ipv4/conf/imp0/send_redirects", "0");
        for (host, port, number) in [(&buyer, "port2", 2), (&second, "port3", 3)] {
            cable((host, "tunnel"), (&seller, port));
            seller.ip(&format!("link set dev {port} master imp0"));
            host.ip(&format!("addr add 10.7.0.{number}/32 dev tunnel"));
            host.ip("route add 10.7.0.1 dev tunnel");
            host.ip("route add default via 10.7.0.1");
            host.ip(&format!("addr add fd07::{number}/64 dev tunnel nodad"));
            host.ip("-6 route add default via fd07::1");
            host.serve("[::]:80");
        }
        cable((&seller, "wan"), (&far, "wan"));
        seller.ip("addr add 203.0.113.1/24 dev wan");
        seller.ip("addr add 2001:db8::1/64 dev wan nodad");
        seller.ip("route add default via 203.0.113.9");
        seller.serve("[::]:8080");
        far.ip("addr add 203.0.113.9/24 dev wan");
        far.ip("addr add 2001:db8::9/64 dev wan nodad");
        for address in ["198.51.100.9", "192.168.5.9", "10.99.0.9"] {
            far.ip(&format!("addr add {address}/32 dev lo"));
        }
        far.ip("route add 10.7.0.0/24 via 203.0.113.1");
        far.ip("-6 route add fd07::/64 via 2001:db8::1");
        for port in [25, 80] {
            far.serve(&format!("[::]:{port}"));
        }
        Self { buyer, second, seller, far, folder: tempfile::tempdir().unwrap() }
    }

    /// A daemon that has notes of its own.
    fn another(&self, folder: &tempfile::TempDir) -> LinuxExit {
        assert_ne!(folder.path(), self.folder.path());
        LinuxExit::new(folder.path())
    }

    /// A run of the seller's daemon.
    fn exit(&self) -> LinuxExit {
        LinuxExit::new(self.folder.path())
    }

    fn prepare(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        self.seller.run(|| async { self.exit().prepare(spec).await })
    }

    fn open(&self, spec: &ExitSpec) -> Result<(), ExitError> {
        self.seller.run(|| async {
            let exit = self.exit();
            exit.prepare(spec).await?;
            exit.open(spec).await
        })
    }

    fn remove(&self, interface: &str) -> Result<(), ExitError> {
        self.seller.run(|| async { self.exit().remove(interface).await })
    }

    fn forwards(&self, interface: &str) -> bool {
        self.seller.get(&format!("ipv4/conf/{interface}/forwarding")) == "1"
    }

    fn assert_is_as_before(&self) {
        assert_eq!(self.seller.nft("list ruleset"), "");
        assert!(!self.forwards("wan") && !self.forwards("all"));
        assert_eq!(std::fs::read_dir(self.folder.path()).unwrap().count(), 0);
    }
}

fn spec(allowed: &[&str]) -> ExitSpec {
    ExitSpec {
        interface: "imp0".to_owned(),
        subnet: "10.7.0.0/24".parse().unwrap(),
        earlier: Vec::new(),
        allowed: allowed.iter().map(|net| net.parse().unwrap()).collect(),
        bytes_per_sec: None,
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn buyers_reach_the_internet_and_nothing_else() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    assert_eq!(street.buyer.seen_as("10.7.0.1:8080"), ip("10.7.0.2"), "the way there works");
    street.prepare(&spec(&["0.0.0.0/0"])).unwrap();
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), None, "prepared, and closed");
    street.open(&spec(&["0.0.0.0/0"])).unwrap();

    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), ip(SELLER));
    assert_eq!(street.second.seen_as("203.0.113.9:80"), ip(SELLER));
    assert!(street.buyer.pings("10.7.0.1") && street.buyer.pings("198.51.100.9"));
    for closed in [
        "198.51.100.9:25",
        "192.168.5.9:80",
        "10.99.0.9:80",
        "203.0.113.1:8080",
        "10.7.0.1:8080",
        "10.7.0.3:80",
        "[2001:db8::9]:80",
        "[fd07::1]:8080",
        "[2001:db8::1]:8080",
    ] {
        assert_eq!(street.buyer.seen_as(closed), None, "{closed}");
    }
    assert!(!street.buyer.pings(SELLER) && !street.buyer.pings("10.7.0.3"));
    assert_eq!(street.far.seen_as("10.7.0.2:80"), None, "from outside");
    assert_eq!(street.seller.seen_as("10.7.0.2:80"), ip("10.7.0.1"), "the seller itself");
    assert_eq!(street.far.seen_as("203.0.113.1:8080"), ip("203.0.113.9"), "the seller's own services");
}

#[test]
fn a_forged_sender_gets_no_packet_out() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    for forged in ["10.8.0.2", "198.51.100.77", "10.7.0.1"] {
        street.buyer.ip(&format!("addr add {forged}/32 dev lo"));
        street.buyer.ip(&format!("route replace default via 10.7.0.1 src {forged}"));
        street.far.ip(&format!("route replace {forged}/32 via 203.0.113.1"));
        assert_eq!(street.buyer.seen_as("203.0.113.9:80"), None, "{forged}");
        assert_eq!(street.buyer.seen_as("203.0.113.1:8080"), None, "{forged}");
    }
}

#[test]
fn what_is_named_is_reached_and_its_neighbours_are_not() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.open(&spec(&["198.51.100.0/24", "192.168.5.0/24", "203.0.113.1/32"])).unwrap();
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), ip(SELLER));
    assert_eq!(street.buyer.seen_as("192.168.5.9:80"), ip(SELLER));
    assert_eq!(street.buyer.seen_as("203.0.113.1:8080"), ip("10.7.0.2"));
    for closed in ["203.0.113.9:80", "10.99.0.9:80", "10.7.0.1:8080"] {
        assert_eq!(street.buyer.seen_as(closed), None, "{closed}");
    }
    // A later start with less closes what is not named any more, also to those who are there.
    street.open(&spec(&["198.51.100.0/24"])).unwrap();
    for closed in ["192.168.5.9:80", "203.0.113.1:8080"] {
        assert_eq!(street.buyer.seen_as(closed), None, "{closed}");
    }
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), ip(SELLER));
}

#[test]
fn an_own_address_that_is_translated_stays_closed_to_buyers_and_open_to_others() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.seller.nft(
        "table ip published { chain in { type nat hook prerouting priority dstnat; \
         ip daddr 203.0.113.1 tcp dport 9999 dnat to 198.51.100.9:80; }; \
         chain out { type nat hook postrouting priority srcnat; ip daddr 198.51.100.9 masquerade; }; }",
    );
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    assert_eq!(street.buyer.seen_as("203.0.113.1:9999"), None);
    assert_eq!(street.far.seen_as("203.0.113.1:9999"), ip(SELLER));
}

#[test]
fn the_machine_becomes_no_router_for_its_neighbours() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    let lan = Host::new("lan");
    cable((&street.seller, "lan"), (&lan, "lan"));
    street.seller.ip("addr add 192.0.2.1/24 dev lan");
    lan.ip("addr add 192.0.2.9/24 dev lan");
    lan.ip("route add default via 192.0.2.1");
    lan.serve("[::]:80");
    street.far.ip("route add 192.0.2.0/24 via 203.0.113.1");
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    assert!(street.forwards("wan") && street.forwards("lan"));
    assert_eq!(
        street.buyer.seen_as("192.0.2.9:80"),
        ip("192.0.2.1"),
        "a public network beside the default route"
    );
    assert_eq!(street.far.seen_as("192.0.2.9:80"), None);
    assert_eq!(lan.seen_as("203.0.113.9:80"), None);
}

#[test]
fn what_was_changed_is_put_back_also_by_a_later_run() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.remove("imp0").unwrap();
    street.assert_is_as_before();
    for _ in 0..2 {
        street.open(&spec(&["0.0.0.0/0"])).unwrap();
        assert!(street.forwards("wan") && street.forwards("imp0"));
    }
    for _ in 0..2 {
        street.remove("imp0").unwrap();
        street.assert_is_as_before();
    }
}

#[test]
fn buyers_from_before_the_network_was_changed_are_carried() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.seller.ip("addr add 10.9.0.1/24 dev imp0");
    let changed = ExitSpec {
        subnet: "10.9.0.0/24".parse().unwrap(),
        earlier: vec!["10.7.0.0/24".parse().unwrap()],
        ..spec(&["0.0.0.0/0"])
    };
    street.open(&changed).unwrap();
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), ip(SELLER));
    assert!(street.buyer.pings("10.7.0.1"));
    assert_eq!(street.buyer.seen_as("10.7.0.3:80"), None);
    street.open(&ExitSpec { earlier: Vec::new(), ..changed }).unwrap();
    assert_eq!(street.second.seen_as("198.51.100.9:80"), None);
}

#[test]
fn the_speed_of_each_buyer_is_limited_both_ways() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.far.pour("[::]:81", 1_000_000);
    let limited = ExitSpec { bytes_per_sec: Some(200_000), ..spec(&["0.0.0.0/0"]) };
    for (spec, least, most) in [(limited, 2_000, 30_000), (spec(&["0.0.0.0/0"]), 0, 1_000)] {
        street.open(&spec).unwrap();
        for (server, bytes) in [("198.51.100.9:80", 1_000_000), ("198.51.100.9:81", 0)] {
            // What is let through at once, and in the first second, takes no time.
            let took = street.buyer.time_with(server, bytes);
            assert!((least..most).contains(&took.as_millis()), "{server}: {took:?} with {spec:?}");
        }
    }
}

#[test]
fn a_subnet_that_this_machine_reaches_otherwise_is_refused() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.seller.ip("route add 10.7.0.128/25 via 203.0.113.9 table 77");
    let error = street.prepare(&spec(&["0.0.0.0/0"])).unwrap_err().to_string();
    assert!(
        error.contains("vpn.subnet 10.7.0.0/24")
            && error.contains("10.7.0.128/25 via 203.0.113.9 dev wan table 77"),
        "{error}"
    );
    street.assert_is_as_before();
    street.seller.ip("route del 10.7.0.128/25 table 77");
    street.prepare(&spec(&["0.0.0.0/0"])).unwrap();
}

#[test]
fn without_an_interface_nothing_is_opened() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.seller.ip("link del imp0");
    let error = street.open(&spec(&["0.0.0.0/0"])).unwrap_err().to_string();
    assert!(error.contains("no interface imp0"), "{error}");
    assert!(!street.forwards("wan"));
}

#[test]
fn a_process_without_the_right_is_told_which() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    let error = street.seller.run(|| async {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).unwrap();
        street.exit().prepare(&spec(&["0.0.0.0/0"])).await.unwrap_err().to_string()
    });
    assert!(error.contains("CAP_NET_ADMIN"), "{error}");
    street.assert_is_as_before();
}
