//! What pays.

use std::process::Stdio;

use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::vpn::v1::{BringUpVpnRequest, GetVpnContractRequest, SetVpnAutoRefreshRequest};
use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest, RequestQuoteRequest};
use serde_json::json;

use super::super::interrupt;
use super::*;
use crate::end_of;

#[tokio::test]
async fn a_quote_is_waited_for_and_says_how_it_is_bought() {
    let server = TestServer::start().await;
    let shown = text(&server, &["vpn", "quote", PEER, "--key", "k"]).await;
    for line in [
        "nonce:  active2",
        "price:  100 sat",
        "for:    1h, 5.0 GB in all",
        &format!("buy it: imp vpn contract {PEER} active2 100"),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in {shown}");
    }
    let request = RequestQuoteRequest { pubkey: PEER.into(), idempotency_key: Some("k".into()) };
    assert_eq!(server.asked::<RequestQuoteRequest>(), [request]);
    assert_eq!(json(&server, &["vpn", "quote", PEER]).await["requestId"], json!("m1"));
    assert_eq!(server.asked::<AcceptContractRequest>(), []);
}

#[tokio::test]
async fn a_purchase_is_quote_price_contract_and_configuration() {
    let server = TestServer::start().await;
    let args = ["vpn", "buy", PEER, "--max-price", "100", "--key", "k"];
    let shown = text(&server, &args).await;
    for line in [
        "nonce:          active2",
        "state:          active",
        "price:          100 sat for 1h",
        "configuration:  imp vpn config active2 --out wg0.conf",
        "over REST:      /v1/vpn/contracts/active2/config",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in {shown}");
    }
    assert!(shown.contains("\nends:           2286-11-20T17:46:39Z (in "), "{shown}");
    let request = AcceptContractRequest {
        pubkey: PEER.into(),
        nonce: "active2".into(),
        price: "100".into(),
        idempotency_key: Some("k".into()),
    };
    assert_eq!(server.asked::<AcceptContractRequest>(), [request]);
    // The first looks found that it was still to come.
    assert_eq!(server.asked::<GetVpnContractRequest>().len(), 3);
    assert_eq!(server.asked::<BringUpVpnRequest>(), []);
}

#[tokio::test]
async fn a_purchase_brings_the_tunnel_up_and_is_refreshed_by_itself_if_that_is_wanted() {
    let server = TestServer::start().await;
    let args = ["vpn", "buy", "bob", "--max-price=1_000", "--up", "--allow-private", "--auto-refresh", "500"];
    let bought = json(&server, &args).await;
    assert_eq!((&bought["nonce"], &bought["tunnel"]["interface"]), (&json!("active1"), &json!("impt0")));
    assert_eq!(bought["autoRefreshLimitSat"], json!("500"));
    let up = BringUpVpnRequest { nonce: "active1".into(), allow_private: true, keep_dns: false };
    assert_eq!(server.asked::<BringUpVpnRequest>(), [up]);
    let limit = SetVpnAutoRefreshRequest { nonce: "active1".into(), limit_sat: 500 };
    assert_eq!(server.asked::<SetVpnAutoRefreshRequest>(), [limit]);
    let done =
        run(imp(&server.addr(), &["vpn", "buy", "bob", "--max-price=100", "--up", "--keep-dns"])).await;
    let expected = "imp: contract active1 was bought; its tunnel is not up\n\
                    imp: CAP_NET_ADMIN is missing (FAILED_PRECONDITION)\n";
    assert_eq!((code(&done), stdout(&done), stderr(&done)), (1, "", expected));
}

#[tokio::test]
async fn a_price_that_was_not_allowed_is_not_paid() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["vpn", "buy", PEER, "--max-price", "99"])).await;
    let expected = "imp: an hour of it costs 100 sat, and --max-price is 99: not bought\nhint: --max-price 100 buys it\n";
    assert_eq!((code(&done), stdout(&done), stderr(&done)), (1, "", expected));
    // Nobody is there to be asked about any price.
    let done = run(imp(&server.addr(), &["vpn", "buy", PEER])).await;
    assert_eq!((code(&done), server.asked::<RequestQuoteRequest>().len()), (2, 1));
    assert!(stderr(&done).contains("--max-price SAT"), "{}", stderr(&done));
    let done = run(imp(&server.addr(), &["vpn", "refresh", "active1", "--max-price", "99"])).await;
    assert_eq!(code(&done), 1);
    assert_eq!(server.asked::<AcceptContractRequest>(), []);
    assert_eq!(server.asked::<RefreshContractRequest>(), []);
}

#[tokio::test]
async fn the_price_of_an_hour_counts_and_less_than_an_hour_is_asked_about() {
    let server = TestServer::start().await;
    let seller = named(8);
    let buy = |more: &[&str]| run(imp(&server.addr(), &[&["vpn", "buy", seller.as_str()], more].concat()));
    let done = buy(&["--max-price", "299"]).await;
    let expected = "imp: an hour of it costs 300 sat, and --max-price is 299: not bought\n\
                    hint: --max-price 300 buys it\n";
    assert_eq!((code(&done), stderr(&done)), (1, expected));
    let done = buy(&["--max-price", "300"]).await;
    assert_ne!(code(&done), 0);
    for word in ["pay 100 sat (300 sat an hour) to ", " for 20m, 5.0 GB", "--yes"] {
        assert!(stderr(&done).contains(word), "{word}: {}", stderr(&done));
    }
    // A yes alone agrees to no price.
    assert_eq!(code(&buy(&["--yes"]).await), 2);
    assert_eq!(server.asked::<AcceptContractRequest>(), []);
    assert_eq!(code(&buy(&["--max-price", "300", "--yes"]).await), 0);
    assert_eq!(server.asked::<AcceptContractRequest>().len(), 1);
    let shown = text(&server, &["vpn", "quote", &seller]).await;
    assert!(shown.contains("price:  100 sat (300 sat an hour)\n"), "{shown}");
}

#[tokio::test]
async fn a_seller_that_refuses_is_heard() {
    let server = TestServer::start().await;
    for command in [&["vpn", "quote"][..], &["vpn", "buy", "--max-price", "500"]] {
        let seller = named(2);
        let done = run(imp(&server.addr(), &[command, &[seller.as_str()]].concat())).await;
        let expected = "imp: the seller refuses: not selling\n";
        assert_eq!((code(&done), stdout(&done), stderr(&done)), (1, "", expected));
    }
}

#[tokio::test]
async fn a_seller_that_says_nothing_is_not_waited_for_without_end() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["vpn", "quote", &named(3), "--wait", "1s"])).await;
    let expected = "\
imp: the seller's quote did not come within 1 s
hint: if it comes later, `imp vpn quotes` shows it, and `imp vpn contract` buys it
";
    assert_eq!((code(&done), stdout(&done), stderr(&done)), (5, "", expected));
    let args = ["vpn", "buy", &named(5), "--max-price", "500", "--wait", "1s"];
    let done = run(imp(&server.addr(), &args)).await;
    let expected = "\
imp: the tunnel's configuration did not come within 1 s
hint: it is paid for, and the node goes on asking the seller for it: `imp vpn show paid1` tells how it stands
";
    assert_eq!((code(&done), stdout(&done), stderr(&done)), (5, "", expected));
}

#[tokio::test]
async fn what_was_paid_for_in_vain_is_told_with_what_came_back() {
    let server = TestServer::start().await;
    for (seller, expected) in [
        (4, "contract refunded1 is refunded: 196 of 200 sat came back (no address free)"),
        (
            7,
            "contract unanswered1 is unanswered: it is paid for, and the seller says nothing; the node goes on asking",
        ),
    ] {
        let done = run(imp(&server.addr(), &["vpn", "buy", &named(seller), "--max-price", "500"])).await;
        assert_eq!((code(&done), stdout(&done)), (1, ""));
        assert!(stderr(&done).starts_with(&format!("imp: {expected}\nhint: ")), "{}", stderr(&done));
    }
}

#[tokio::test]
async fn a_purchase_that_is_repeated_with_its_key_pays_nothing_again() {
    let server = TestServer::start().await;
    let seller = named(6);
    let bought = json(&server, &["vpn", "buy", &seller, "--max-price", "500", "--key", "k"]).await;
    assert_eq!(bought["nonce"], json!("active2"));
    assert_eq!(server.asked::<AcceptContractRequest>(), []);
}

#[tokio::test]
async fn a_quote_is_accepted_and_a_contract_refreshed_by_name() {
    let server = TestServer::start().await;
    assert_eq!(text(&server, &["vpn", "contract", PEER, "n", "1_000"]).await, "id: m1\n");
    let request = AcceptContractRequest {
        pubkey: PEER.into(),
        nonce: "n".into(),
        price: "1000".into(),
        idempotency_key: None,
    };
    assert_eq!(server.asked::<AcceptContractRequest>(), [request]);
    let refresh = ["vpn", "refresh", "active1", "--max-price", "100", "--key", "k"];
    assert_eq!(json(&server, &refresh).await, json!({"id": "m1"}));
    let request = RefreshContractRequest {
        pubkey: named(1),
        nonce: "active1".into(),
        price: "100".into(),
        idempotency_key: Some("k".into()),
    };
    assert_eq!(server.asked::<RefreshContractRequest>(), [request]);
}

#[tokio::test]
async fn a_doubt_about_a_purchase_leads_to_the_list() {
    let server = TestServer::start().await;
    server.refuse(StatusBody::new(Code::DeadlineExceeded, "not known yet"));
    let done = run(imp(&server.addr(), &["vpn", "contract", PEER, "n", "5"])).await;
    let hint = "hint: it may still be done: look with `imp vpn list` before you run it again";
    assert_eq!(code(&done), 5);
    assert!(stderr(&done).contains(hint), "{}", stderr(&done));
}

#[tokio::test]
async fn what_fails_before_anything_is_paid_leaves_no_doubt() {
    let server = TestServer::start().await;
    server.refuse(StatusBody::new(Code::Unknown, "it went wrong"));
    for args in [
        &["vpn", "buy", PEER, "--max-price", "5"][..],
        &["vpn", "refresh", "active1", "--max-price", "5"],
        &["vpn", "quote", PEER],
    ] {
        let done = run(imp(&server.addr(), args)).await;
        assert_eq!((code(&done), stderr(&done)), (1, "imp: it went wrong (UNKNOWN)\n"), "{args:?}");
    }
}

#[tokio::test]
async fn ctrl_c_while_a_configuration_is_waited_for_says_where_to_look() {
    let server = TestServer::start().await;
    let mut command = imp(&server.addr(), &["vpn", "buy", &named(5), "--max-price", "500"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.asked_times::<GetVpnContractRequest>(1).await;
    interrupt(&child);
    let done = end_of(child).await;
    assert_eq!(code(&done), 130);
    assert!(stderr(&done).contains("look with `imp vpn list`"), "{}", stderr(&done));
}
