//! An exit beside other programs on its machine, also those that mean the same interface.

use imp_node::exit::{ExitError, ExitHost, ExitSpec};

use super::{SELLER, Street, ip, spec};
use crate::hosts::{self, Host, cable};

#[test]
fn a_second_seller_of_the_same_interface_touches_nothing_of_the_first() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    let (before, folder) = (street.seller.nft("list ruleset"), tempfile::tempdir().unwrap());
    let second = street.another(&folder);
    street.seller.run(|| async {
        let error = second.prepare(&spec(&["203.0.113.0/24"])).await.unwrap_err();
        assert!(matches!(&error, ExitError::OthersRules { interface } if interface == "imp0"), "{error}");
        let error = second.open(&spec(&["203.0.113.0/24"])).await.unwrap_err();
        assert!(matches!(error, ExitError::OthersRules { .. }), "{error}");
        assert!(!second.stands(&spec(&["203.0.113.0/24"])).await.unwrap());
        second.remove("imp0").await.unwrap();
    });
    assert_eq!(street.seller.nft("list ruleset"), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has nothing to put back");
    assert!(street.forwards("wan") && street.forwards("imp0"));
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), ip(SELLER));
    // What is left of the first one, once its interface is gone, is in nobody's way.
    street.seller.ip("link del imp0");
    street.seller.run(|| async { second.prepare(&spec(&["203.0.113.0/24"])).await }).unwrap();
    assert!(street.seller.nft("list ruleset").contains("203.0.113.0/24"));
    // And the first one, when it comes back, takes away nothing of the second.
    street.remove("imp0").unwrap();
    assert!(street.seller.nft("list ruleset").contains("203.0.113.0/24"));
    street.seller.run(|| async { second.remove("imp0").await }).unwrap();
    street.assert_is_as_before();
}

#[test]
fn a_table_of_somebody_else_is_left_alone_while_its_interface_is_there() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.seller.nft("table inet imp_imp0 { chain theirs { }; }");
    street.seller.set("ipv4/conf/imp0/forwarding", "1");
    let error = street.prepare(&spec(&["0.0.0.0/0"])).unwrap_err().to_string();
    assert!(error.contains("imp0 has rules of another"), "{error}");
    street.remove("imp0").unwrap();
    assert!(street.seller.nft("list ruleset").contains("chain theirs"));
    assert!(street.forwards("imp0"));
}

#[test]
fn an_interface_of_somebody_else_that_has_the_name_now_goes_on_forwarding() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    street.seller.ip("link del imp0");
    street.seller.ip("link add imp0 type bridge");
    street.seller.set("ipv4/conf/imp0/forwarding", "1");
    street.remove("imp0").unwrap();
    street.assert_is_as_before();
    assert!(street.forwards("imp0"));
}

#[test]
fn two_sellers_on_one_machine_do_not_meet() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    let other = Host::new("other");
    cable((&street.seller, "imp1"), (&other, "tunnel"));
    street.seller.ip("addr add 10.9.0.1/24 dev imp1");
    other.ip("addr add 10.9.0.2/24 dev tunnel");
    other.ip("route add default via 10.9.0.1");
    other.serve("[::]:80");
    let of_other = ExitSpec {
        interface: "imp1".to_owned(),
        subnet: "10.9.0.0/24".parse().unwrap(),
        earlier: Vec::new(),
        ..spec(&["0.0.0.0/0"])
    };
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    street.open(&of_other).unwrap();
    for buyer in [&street.buyer, &other] {
        assert_eq!(buyer.seen_as("198.51.100.9:80"), ip(SELLER));
    }
    assert_eq!((street.buyer.seen_as("10.9.0.2:80"), other.seen_as("10.7.0.2:80")), (None, None));
    street.remove("imp0").unwrap();
    assert_eq!(other.seen_as("198.51.100.9:80"), ip(SELLER), "the one that is left");
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), None);
    street.remove("imp1").unwrap();
    street.assert_is_as_before();
}

#[test]
fn rules_that_are_gone_or_changed_are_noticed_and_what_others_do_elsewhere_is_not() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    let (exit, spec) = (street.exit(), ExitSpec { bytes_per_sec: Some(1_000_000), ..spec(&["0.0.0.0/0"]) });
    let stands = || street.seller.run(|| async { exit.stands(&spec).await.unwrap() });
    assert!(!stands(), "nothing was put");
    let put = || {
        street.seller.run(|| async {
            exit.prepare(&spec).await.unwrap();
            exit.open(&spec).await.unwrap();
        });
    };
    put();
    assert!(stands());
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), ip(SELLER));
    assert!(street.buyer.pings("10.7.0.1"));
    street.seller.nft("table inet mine { chain a { }; }");
    assert!(stands(), "limits that counted, and a table of others");
    for change in [
        "flush ruleset",
        "delete table inet imp_imp0",
        "flush chain inet imp_imp0 input",
        "insert rule inet imp_imp0 input accept",
        "add element inet imp_imp0 opened { lo }",
    ] {
        street.seller.nft(change);
        assert!(!stands(), "{change}");
        put();
        assert!(stands(), "{change}, and put right");
    }
}

#[test]
fn rules_that_somebody_deleted_and_forwarding_that_somebody_stopped_are_repaired() {
    if hosts::cannot_be_made() {
        return;
    }
    let street = Street::new();
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    street.seller.nft("flush ruleset");
    street.seller.set("ipv4/conf/wan/forwarding", "0");
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    assert_eq!(street.buyer.seen_as("198.51.100.9:80"), ip(SELLER));
    assert_eq!(street.buyer.seen_as("10.99.0.9:80"), None);
    street.remove("imp0").unwrap();
    street.assert_is_as_before();
}

#[test]
fn what_others_have_set_stays() {
    if hosts::cannot_be_made() {
        return;
    }
    // Before: an interface that forwards already.
    let street = Street::new();
    street.seller.set("ipv4/conf/wan/forwarding", "1");
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    street.remove("imp0").unwrap();
    assert!(street.forwards("wan"));
    street.seller.set("ipv4/conf/wan/forwarding", "0");
    // Meanwhile: somebody makes the machine a router, and a table of its own.
    street.seller.nft("table inet mine { chain a { }; }");
    street.open(&spec(&["0.0.0.0/0"])).unwrap();
    street.seller.set("ipv4/ip_forward", "1");
    street.remove("imp0").unwrap();
    assert!(street.forwards("wan"));
    assert!(street.seller.nft("list ruleset").starts_with("table inet mine"));
}
