use imp_core::vpn::{Limits, Nonce, PresharedKey, PrivateKey};

use super::*;

fn config(server: &str, allowed: &[&str], dns: &str) -> Config {
    Config {
        client_key: PrivateKey::from_random([1; 32]).public(),
        server: server.parse().unwrap(),
        server_key: PrivateKey::from_random([2; 32]).public(),
        client: "10.0.0.10/24".parse().unwrap(),
        allowed: allowed.iter().map(|net| net.parse().unwrap()).collect(),
        dns: dns.parse().unwrap(),
        psk: PresharedKey::from_random([3; 32]),
        nonce: Nonce::from_random([4; 16]),
        expiry_secs: 0,
        duration_secs: 3600,
        mtu: 1420,
        limits: Limits { data_bytes: None, bytes_per_sec: None },
    }
}

fn plan(allowed: &[&str]) -> Plan {
    Plan::new(&config("203.0.113.7:51820", allowed, "8.8.8.8"), false, &home())
}

/// A machine at home, which is in a public network too.
fn home() -> Vec<Route> {
    let route = |to: &str, is_link| Route {
        to: to.parse().unwrap(),
        table: MAIN,
        interfaces: vec!["eth0".to_owned()],
        gateway: None,
        is_unicast: true,
        is_link,
    };
    vec![
        route("0.0.0.0/0", false),
        route("192.168.1.0/24", true),
        route("198.51.100.0/24", true),
        route("192.0.2.0/24", false),
    ]
}

fn texts(nets: &[Ipv4Net]) -> Vec<String> {
    nets.iter().map(ToString::to_string).collect()
}

fn left_out(plan: &Plan) -> Vec<String> {
    plan.left_out.iter().map(ToString::to_string).collect()
}

#[test]
fn the_default_route_excepts_the_seller_and_private_networks() {
    let plan = plan(&["0.0.0.0/0"]);
    assert_eq!((texts(&plan.own_table), texts(&plan.plain)), (vec!["0.0.0.0/0".to_owned()], vec![]));
    assert!(plan.takes_all);
    let excepted = texts(&plan.excepted);
    assert_eq!(excepted[0], "203.0.113.7/32");
    assert_eq!(plan.excepted[1..], DENIED_V4);
    assert_eq!(plan.dns, Some("8.8.8.8".parse().unwrap()));
}

#[test]
fn the_default_route_in_two_halves_takes_all_as_well() {
    let plan = plan(&["0.0.0.0/1", "128.0.0.0/1"]);
    assert!(plan.takes_all && plan.plain.is_empty());
    assert_eq!(plan.excepted.len(), 1 + DENIED_V4.len());
}

#[test]
fn with_leave_private_networks_go_through_and_the_seller_does_not() {
    let config = config("203.0.113.7:51820", &["0.0.0.0/0", "10.0.0.0/8"], "10.0.0.1");
    let plan = Plan::new(&config, true, &home());
    assert_eq!(
        (texts(&plan.own_table), texts(&plan.plain)),
        (vec!["0.0.0.0/0".to_owned()], vec!["10.0.0.0/8".to_owned()])
    );
    assert_eq!(texts(&plan.excepted), ["203.0.113.7/32"]);
    assert_eq!((plan.dns, left_out(&plan).len()), (Some(config.dns), 0));
}

#[test]
fn private_networks_and_own_ones_are_left_out() {
    let named =
        ["10.0.0.0/8", "198.51.100.0/24", "198.51.100.128/25", "198.51.0.0/16", "192.0.2.0/24", "2000::/3"];
    let plan = plan(&named);
    assert_eq!(left_out(&plan), ["10.0.0.0/8", "198.51.100.0/24", "198.51.100.128/25", "2000::/3"]);
    assert_eq!(texts(&plan.plain), ["198.51.0.0/16", "192.0.2.0/24"]);
    assert!(!plan.takes_all);
}

#[test]
fn a_narrow_network_around_the_seller_excepts_it_and_the_seller_alone_is_left_out() {
    let plan = plan(&["203.0.113.0/24", "203.0.113.7/32"]);
    assert_eq!(
        (texts(&plan.own_table), texts(&plan.excepted)),
        (vec!["203.0.113.0/24".to_owned()], vec!["203.0.113.7/32".to_owned()])
    );
    assert_eq!(left_out(&plan), ["203.0.113.7/32"]);
    assert!(!plan.takes_all);
}

#[test]
fn a_seller_with_ipv6_is_excepted_by_the_mark_alone() {
    let config = config("[2001:db8::7]:51820", &["0.0.0.0/0"], "8.8.8.8");
    let plan = Plan::new(&config, false, &home());
    assert_eq!(plan.excepted, DENIED_V4);
    assert!(plan.takes_all);
}

#[test]
fn a_dns_server_that_is_not_reached_through_the_tunnel_is_not_used() {
    for (allowed, dns, is_used) in [
        (&["0.0.0.0/0"][..], "9.9.9.9", true),
        (&["0.0.0.0/0"], "10.0.0.1", false),
        (&["0.0.0.0/0"], "203.0.113.7", false),
        (&["0.0.0.0/0"], "2001:db8::53", false),
        (&["192.0.2.0/24"], "9.9.9.9", false),
        (&["192.0.2.0/24"], "192.0.2.53", true),
    ] {
        let config = config("203.0.113.7:51820", allowed, dns);
        assert_eq!(Plan::new(&config, false, &home()).dns.is_some(), is_used, "{allowed:?} {dns}");
    }
}

#[test]
fn nothing_goes_through_where_only_private_networks_are_named() {
    assert!(plan(&["10.0.0.0/8", "fd00::/8"]).all().is_empty());
}
