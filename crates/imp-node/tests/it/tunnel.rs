//! Tunnels to a seller, with this program's own WireGuard at both ends.
//!
//! ```text
//!  buyer  wan 192.0.2.10 ─┐                 ┌ wan 203.0.113.1  seller  imp0 10.7.0.1
//!         lan 192.168.1.5 ┤ core: a router ─┤
//!                         └ the home's      └ lo  198.51.100.9 10.50.0.9 9.9.9.9: the internet, and a network behind it
//! ```

mod others;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use imp_core::vpn::{Config, Limits, Nonce, PresharedKey, PrivateKey};
use imp_node::exit::{ExitHost, ExitSpec, LinuxExit};
use imp_node::tunnel::{LinuxTunnels, TakenDown, Tunnel, TunnelError, TunnelHost, TunnelSpec};
use imp_node::wireguard::{self, DeviceChoice, DeviceMaker, DevicePeer, DeviceSpec, TunnelDevice};

use crate::hosts::{self, Host, cable};

const BEFORE: &str = "nameserver 192.168.1.1\nsearch example.org\n";

struct Town {
    buyer: Host,
    seller: Host,
    core: Host,
    folder: tempfile::TempDir,
    config: Config,
    /// The seller's interface, for as long as the test runs.
    device: Arc<dyn TunnelDevice>,
}

impl Town {
    fn new() -> Self {
        let [buyer, seller, core] = ["buyer", "seller", "core"].map(Host::new);
        core.set("ipv4/ip_forward", "1");
        core.set("ipv6/conf/all/forwarding", "1");
        for (host, name, here, there, end) in [
            (&buyer, "wan", "192.0.2.10/24", "192.0.2.1", "buyer"),
            (&buyer, "lan", "192.168.1.5/24", "192.168.1.1", "home"),
            (&seller, "wan", "203.0.113.1/24", "203.0.113.9", "seller"),
        ] {
            cable((host, name), (&core, end));
            host.ip(&format!("addr add {here} dev {name}"));
            core.ip(&format!("addr add {there}/24 dev {end}"));
            if name == "wan" {
                host.ip(&format!("route add default via {there}"));
            }
        }
        buyer.ip("addr add 2001:db8::10/64 dev wan nodad");
        core.ip("addr add 2001:db8::1/64 dev buyer nodad");
        core.ip("addr add 2001:db8:9::9/128 dev lo nodad");
        buyer.ip("-6 route add default via 2001:db8::1");
        for address in ["198.51.100.9", "10.50.0.9", "9.9.9.9"] {
            core.ip(&format!("addr add {address}/32 dev lo"));
        }
        core.serve("[::]:80");
        seller.serve("[::]:9735");
        // As many systems are set: an answer has to come in where this machine would send to.
        for interface in ["all", "wan", "lan"] {
            buyer.set(&format!("ipv4/conf/{interface}/rp_filter"), "1");
        }

        let [client, server] = [1, 2].map(|byte| PrivateKey::from_random([byte; 32]));
        let config = Config {
            client_key: client.public(),
            server: "203.0.113.1:51820".parse().unwrap(),
            server_key: server.public(),
            client: "10.7.0.10/24".parse().unwrap(),
            allowed: vec!["0.0.0.0/0".parse().unwrap()],
            dns: "9.9.9.9".parse().unwrap(),
            psk: PresharedKey::from_random([3; 32]),
            nonce: Nonce::from_random([4; 16]),
            expiry_secs: 0,
            duration_secs: 3600,
            mtu: 1420,
            limits: Limits { data_bytes: None, bytes_per_sec: None },
        };
        let folder = tempfile::tempdir().unwrap();
        let device = seller.run(|| sell(server, &config, folder.path()));
        std::fs::write(folder.path().join("resolv.conf"), BEFORE).unwrap();
        Self { buyer, seller, core, folder, config, device }
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder.path().join("resolv.conf")
    }

    fn dns(&self) -> String {
        std::fs::read_to_string(self.resolv_conf()).unwrap()
    }

    /// A run of the buyer's daemon.
    fn tunnels(&self) -> LinuxTunnels {
        LinuxTunnels::new(
            Arc::new(wireguard::Host::new(DeviceChoice::Userspace)),
            &self.folder.path().join("buyer"),
            &self.resolv_conf(),
        )
    }

    fn spec(&self) -> TunnelSpec {
        TunnelSpec {
            config: self.config.clone(),
            private_key: PrivateKey::from_random([1; 32]),
            allow_private: false,
            set_dns: true,
        }
    }

    fn up(&self, tunnels: &LinuxTunnels, spec: TunnelSpec) -> Result<Tunnel, TunnelError> {
        self.buyer.run(|| tunnels.up(spec))
    }

    fn down(&self, tunnels: &LinuxTunnels, interface: &str) -> Result<Option<TakenDown>, TunnelError> {
        self.buyer.run(|| tunnels.down(interface))
    }

    /// Everything about the buyer that a tunnel changes.
    fn state(&self) -> Vec<String> {
        let notes = std::fs::read_dir(self.folder.path().join("buyer"));
        let mut notes: Vec<String> =
            notes.into_iter().flatten().map(|file| format!("{:?}", file.unwrap().file_name())).collect();
        notes.sort();
        let mut state =
            ["rule", "-6 rule", "-4 route show table all", "-6 route show table all", "-o link", "-o addr"]
                .map(|args| self.buyer.ip(args))
                .to_vec();
        state.extend([self.dns(), notes.join(" "), self.buyer.nft("list ruleset")]);
        state
    }

    /// Waits until the buyer is as it was; an interface whose process has let go of it takes its time.
    fn assert_is(&self, before: &[String], after_what: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let now = self.state();
            if now == before {
                return;
            }
            assert!(Instant::now() < deadline, "{after_what}: {now:#?} instead of {before:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Makes the machine of this thread a seller with one buyer.
async fn sell(key: PrivateKey, config: &Config, folder: &Path) -> Arc<dyn TunnelDevice> {
    let spec = ExitSpec {
        interface: "imp0".to_owned(),
        subnet: "10.7.0.0/24".parse().unwrap(),
        earlier: Vec::new(),
        allowed: vec!["0.0.0.0/0".parse().unwrap()],
        bytes_per_sec: None,
    };
    let exit = LinuxExit::new(&folder.join("seller"));
    exit.prepare(&spec).await.unwrap();
    let device = wireguard::Host::new(DeviceChoice::Userspace)
        .open(DeviceSpec {
            name: spec.interface.clone(),
            private_key: key,
            listen_port: config.server.port(),
            addresses: vec!["10.7.0.1/24".parse().unwrap()],
            mtu: config.mtu,
            fwmark: None,
        })
        .await
        .unwrap();
    exit.open(&spec).await.unwrap();
    let buyer = DevicePeer {
        key: config.client_key,
        psk: config.psk.clone(),
        allowed: vec![config.address().into()],
        endpoint: None,
        keepalive_secs: None,
    };
    device.put_peers(&[buyer]).await.unwrap();
    device
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn all_traffic_goes_through_but_what_is_private_and_what_leads_to_the_seller() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let (before, tunnels) = (town.state(), town.tunnels());
    assert_eq!(town.buyer.seen_as("[2001:db8:9::9]:80"), ip("2001:db8::10"));
    let tunnel = town.up(&tunnels, town.spec()).unwrap();

    assert_eq!((tunnel.interface.as_str(), tunnel.dns), ("impt0", ip("9.9.9.9")));
    assert_eq!(town.buyer.seen_as("198.51.100.9:80"), ip("203.0.113.1"), "the internet");
    assert_eq!(town.buyer.seen_as("9.9.9.9:80"), ip("203.0.113.1"), "the DNS server");
    assert_eq!(town.buyer.seen_as("10.50.0.9:80"), ip("192.0.2.10"), "a private network");
    assert_eq!(town.buyer.seen_as("192.168.1.1:80"), ip("192.168.1.5"), "the home");
    assert_eq!(town.buyer.seen_as("203.0.113.1:9735"), ip("192.0.2.10"), "the seller");
    assert_eq!(town.buyer.seen_as("[2001:db8:9::9]:80"), None, "IPv6");
    assert_eq!(town.buyer.seen_as("[2001:db8::1]:80"), ip("2001:db8::10"), "IPv6 next door");
    assert!(town.dns().contains("nameserver 9.9.9.9\n") && !town.dns().contains("example.org"));

    let down = town.down(&tunnels, "impt0").unwrap();
    assert_eq!(down, Some(TakenDown { interface: "impt0".to_owned(), dns_left: None }));
    town.assert_is(&before, "down");
    assert_eq!(town.buyer.seen_as("198.51.100.9:80"), ip("192.0.2.10"));
    assert_eq!(town.buyer.seen_as("[2001:db8:9::9]:80"), ip("2001:db8::10"));
    assert_eq!(town.down(&tunnels, "impt0").unwrap(), None);
}

#[test]
fn with_leave_private_networks_go_through_and_dns_can_be_left_alone() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let (before, tunnels) = (town.state(), town.tunnels());
    town.up(&tunnels, TunnelSpec { allow_private: true, set_dns: false, ..town.spec() }).unwrap();
    assert!(town.buyer.pings("10.7.0.1"), "the seller's end");
    assert_eq!(town.buyer.seen_as("10.50.0.9:80"), None, "the seller does not carry it");
    assert_eq!(town.buyer.seen_as("192.168.1.1:80"), ip("192.168.1.5"), "the home's route is narrower");
    assert_eq!(town.dns(), BEFORE);
    town.down(&tunnels, "impt0").unwrap();
    town.assert_is(&before, "down");
}

#[test]
fn a_seller_is_reached_by_ipv6_while_the_rest_of_it_is_stopped() {
    if hosts::cannot_be_made() {
        return;
    }
    let mut town = Town::new();
    town.seller.ip("addr add 2001:db8:3::1/64 dev wan nodad");
    town.core.ip("addr add 2001:db8:3::9/64 dev seller nodad");
    town.seller.ip("-6 route add default via 2001:db8:3::9");
    town.config.server = "[2001:db8:3::1]:51820".parse().unwrap();
    let (before, tunnels) = (town.state(), town.tunnels());
    town.up(&tunnels, town.spec()).unwrap();
    assert_eq!(town.buyer.seen_as("198.51.100.9:80"), ip("203.0.113.1"));
    assert_eq!(town.buyer.seen_as("[2001:db8:9::9]:80"), None);
    town.down(&tunnels, "impt0").unwrap();
    town.assert_is(&before, "down");
}

#[test]
fn a_narrow_network_goes_through_and_the_rest_does_not() {
    if hosts::cannot_be_made() {
        return;
    }
    let mut town = Town::new();
    town.config.allowed = ["198.51.100.0/24", "203.0.112.0/22"].map(|net| net.parse().unwrap()).to_vec();
    let (before, tunnels) = (town.state(), town.tunnels());
    let tunnel = town.up(&tunnels, town.spec()).unwrap();
    assert_eq!(tunnel.dns, None, "the server is not reached through the tunnel");
    assert_eq!(town.buyer.seen_as("198.51.100.9:80"), ip("203.0.113.1"));
    assert_eq!(town.buyer.seen_as("203.0.113.9:80"), ip("203.0.113.1"), "the seller's neighbour");
    assert_eq!(town.buyer.seen_as("203.0.113.1:9735"), ip("192.0.2.10"), "the seller");
    assert_eq!(town.buyer.seen_as("9.9.9.9:80"), ip("192.0.2.10"));
    assert_eq!(town.buyer.seen_as("[2001:db8:9::9]:80"), ip("2001:db8::10"));
    town.down(&tunnels, "impt0").unwrap();
    town.assert_is(&before, "down");
}

#[test]
fn a_tunnel_whose_making_is_cut_short_anywhere_is_cleaned_up_by_the_next_run() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let before = town.state();
    let mut whole = false;
    for steps in 1.. {
        let tunnels = town.tunnels();
        whole = town.buyer.run(|| cut_short(tunnels.up(town.spec()), steps));
        drop(tunnels);
        let next = town.tunnels();
        town.buyer.run(|| next.clean_up()).unwrap();
        town.assert_is(&before, &format!("cut short after {steps} steps"));
        if whole {
            break;
        }
    }
    assert!(whole);
}

#[test]
fn a_tunnel_whose_end_is_cut_short_anywhere_is_cleaned_up_by_the_next_run() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let before = town.state();
    for steps in 1.. {
        let tunnels = town.tunnels();
        town.up(&tunnels, town.spec()).unwrap();
        let whole = town.buyer.run(|| cut_short(tunnels.down("impt0"), steps));
        drop(tunnels);
        let next = town.tunnels();
        town.buyer.run(|| next.clean_up()).unwrap();
        town.assert_is(&before, &format!("cut short after {steps} steps"));
        if whole {
            break;
        }
    }
}

/// Drops a future when it has gone so many steps, as the death of its process would. Whether it was over before.
async fn cut_short<A, E: std::fmt::Debug>(work: impl Future<Output = Result<A, E>>, steps: usize) -> bool {
    let mut work = pin!(work);
    let mut gone = 0;
    std::future::poll_fn(|context| {
        gone += 1;
        match work.as_mut().poll(context) {
            Poll::Ready(done) => {
                done.unwrap();
                Poll::Ready(true)
            }
            Poll::Pending if gone == steps => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[test]
fn a_second_tunnel_takes_what_the_first_leaves() {
    if hosts::cannot_be_made() {
        return;
    }
    let town = Town::new();
    let (before, tunnels) = (town.state(), town.tunnels());
    town.up(&tunnels, town.spec()).unwrap();
    let error = town.up(&tunnels, town.spec()).unwrap_err().to_string();
    assert!(error.contains("impt0 carries all traffic"), "{error}");
    let with = |allowed: &str, dns: &str, set_dns| {
        let config = Config {
            allowed: vec![allowed.parse().unwrap()],
            dns: dns.parse().unwrap(),
            ..town.config.clone()
        };
        TunnelSpec { config, set_dns, ..town.spec() }
    };
    let error = town.up(&tunnels, with("9.9.9.0/24", "9.9.9.9", true)).unwrap_err().to_string();
    assert!(error.contains("impt0 has set the DNS"), "{error}");
    let second = town.up(&tunnels, with("9.9.9.0/24", "9.9.9.9", false)).unwrap();
    assert_eq!((second.interface.as_str(), second.dns), ("impt1", None));
    town.down(&tunnels, "impt0").unwrap();
    assert_eq!(town.buyer.seen_as("198.51.100.9:80"), ip("192.0.2.10"));
    town.down(&tunnels, "impt1").unwrap();
    town.assert_is(&before, "down");
}

#[test]
fn what_cannot_be_set_leaves_nothing_behind() {
    if hosts::cannot_be_made() {
        return;
    }
    let mut town = Town::new();
    town.buyer.ip("route add 198.51.100.0/24 via 192.0.2.1");
    let (before, tunnels) = (town.state(), town.tunnels());
    town.config.allowed = ["9.9.9.0/24", "198.51.100.0/24"].map(|net| net.parse().unwrap()).to_vec();
    let error = town.up(&tunnels, town.spec()).unwrap_err().to_string();
    assert!(error.contains("a route to 198.51.100.0/24 already"), "{error}");
    town.assert_is(&before, "the route is taken");
    town.config.allowed = vec!["10.0.0.0/8".parse().unwrap()];
    let error = town.up(&tunnels, town.spec()).unwrap_err();
    assert!(matches!(error, TunnelError::NoRoutes), "{error}");
    town.assert_is(&before, "nothing to route");
    assert!(town.core.pings("192.0.2.10") && town.seller.pings("203.0.113.9"), "the town stands");
}
