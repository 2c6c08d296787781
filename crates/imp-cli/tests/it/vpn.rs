//! `imp vpn`, and what is said of services that a node has not got.

mod buying;

use std::os::unix::fs::PermissionsExt;

use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::vpn::v1::{
    BringUpVpnRequest, GetVpnConfigRequest, GetVpnQrRequest, ListVpnContractsRequest, ListVpnPaymentsRequest,
    SetVpnAutoRefreshRequest, TakeDownVpnRequest,
};
use serde_json::{Value, json};

use super::server::{CONFIG, TestServer, named};
use super::{PEER, code, imp, json, run, stderr, stdout, text};

#[tokio::test]
async fn a_service_that_the_node_has_not_got_is_said_so() {
    let server = TestServer::start().await;
    server.refuse(StatusBody::new(Code::Unimplemented, "method not implemented"));
    for args in [
        &["vpn", "quote", PEER, "--key", "k"][..],
        &["vpn", "contract", PEER, "n", "1_000"],
        &["vpn", "list"],
        &["vpn", "refresh", "n", "--max-price", "5"],
        &["socket", "start"],
        &["socket", "list"],
        &["federate", "list"],
        &["federate", "show", PEER],
    ] {
        let done = run(imp(&server.addr(), args)).await;
        let expected = "\
imp: method not implemented (UNIMPLEMENTED)
hint: this node cannot do that: `imp node info` shows its version
";
        assert_eq!((code(&done), stdout(&done), stderr(&done)), (1, "", expected), "{args:?}");
    }
}

/// The cells of a table, of which those in two words count as two.
fn words(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn contracts_are_a_table_that_marks_who_took_money_for_nothing() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["vpn", "list"])).await;
    let bob = named(1);
    let rows = words(stdout(&done));
    let head = [
        "NONCE", "ROLE", "STATE", "SAT", "FOR", "PAID", "LEFT", "TUNNEL", "RECEIVED", "SENT", "WITH",
        "REMARK",
    ];
    assert_eq!(rows[0], head);
    assert_eq!(rows[1][..6], ["active2", "bought", "active", "100", "1h", "200"]);
    assert_eq!(rows[1][7..], ["days", "impt0", "1.2", "MB", "999", "B", &bob, "-"]);
    let unanswered = "took 200 sat and gave no answer";
    let expected =
        format!("unanswered1 bought UNANSWERED 100 1h 200 - - 0 B 0 B {bob} {unanswered}").replace("  ", " ");
    assert_eq!(rows[3].join(" "), expected);
    assert_eq!(rows[4].join(" ").split_once(&bob).unwrap().1, " 196 sat back: no address free");
    assert_eq!(stderr(&done), "imp: there are more: --cursor c2, or --all\n");
    assert_eq!(text(&server, &["vpn", "list", "--state", "failed"]).await, "no contracts\n");
}

#[tokio::test]
async fn all_pages_of_contracts_are_one_list() {
    let server = TestServer::start().await;
    let args = ["vpn", "list", "--all", "--role", "bought", "--state", "active,paid", "--with", PEER];
    let answer = json(&server, &args).await;
    let nonces: Vec<&Value> = answer["contracts"].as_array().unwrap().iter().map(|it| &it["nonce"]).collect();
    assert_eq!(nonces, ["active2", "active1", "unanswered1", "refunded1", "paid1"]);
    let first = ListVpnContractsRequest {
        role: "bought".into(),
        state: "active,paid".into(),
        pubkey: PEER.into(),
        limit: 1000,
        cursor: String::new(),
    };
    let next = ListVpnContractsRequest { cursor: "c2".into(), ..first.clone() };
    assert_eq!(server.asked::<ListVpnContractsRequest>(), [first, next]);
}

#[tokio::test]
async fn a_contract_is_shown_whole() {
    let server = TestServer::start().await;
    let value = |shown: &str, key: &str| {
        let line = shown.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap().to_owned();
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    let shown = text(&server, &["vpn", "show", "active2"]).await;
    for (key, expected) in [
        ("nonce", "active2"),
        ("seller", named(1).as_str()),
        ("state", "active"),
        ("price", "100 sat for 1h"),
        ("paid", "200 sat"),
        ("client's address", "10.0.0.10/24"),
        ("endpoint", "198.51.100.7:51820"),
        ("networks", "0.0.0.0/0, ::/0"),
        ("received", "1.2 MB"),
        ("auto-refresh", "up to 500 sat in all, 100 sat so far"),
        ("tunnel", "impt0 for 0.0.0.0/0, without 10.0.0.0/8"),
    ] {
        assert_eq!(value(&shown, key), expected, "{shown}");
    }
    let sold = text(&server, &["vpn", "show", "refund_due1"]).await;
    assert_eq!((value(&sold, "buyer"), value(&sold, "remark")), (named(1), "paid twice".to_owned()));
    assert!(!sold.contains("tunnel:"), "{sold}");
    assert_eq!(value(&text(&server, &["vpn", "show", "unanswered1"]).await, "state"), "UNANSWERED");
}

#[tokio::test]
async fn the_beginning_of_a_nonce_names_it_where_no_other_begins_so() {
    let server = TestServer::start().await;
    // It is on the second page.
    assert_eq!(json(&server, &["vpn", "show", "exp"]).await["nonce"], json!("expired1"));
    let done = run(imp(&server.addr(), &["vpn", "down", "act"])).await;
    let expected = "imp: act is the beginning of 2 contracts: active2, active1\n";
    assert_eq!((code(&done), stderr(&done)), (2, expected));
    // What was sold has no tunnel of this node.
    let done = run(imp(&server.addr(), &["vpn", "down", "refund_"])).await;
    let expected =
        "imp: there is no contract refund_ (NOT_FOUND)\nhint: `imp vpn list` shows those that there are\n";
    assert_eq!((code(&done), stderr(&done)), (1, expected));
    assert_eq!(server.asked::<TakeDownVpnRequest>(), []);
    assert_eq!(text(&server, &["vpn", "down", "active1"]).await, "down\n");
    assert_eq!(server.asked::<TakeDownVpnRequest>()[0].nonce, "active1");
}

#[tokio::test]
async fn a_configuration_is_printed_or_written_for_its_owner() {
    let server = TestServer::start().await;
    assert_eq!(text(&server, &["vpn", "config", "active2"]).await, CONFIG);
    let printed = json(&server, &["vpn", "config", "active2"]).await;
    assert_eq!((&printed["name"], printed["data"].is_string()), (&json!("imp-active2.conf"), true));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wg0.conf");
    assert_eq!(text(&server, &["vpn", "config", "active2", "--out", path.to_str().unwrap()]).await, "");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), CONFIG);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.asked::<GetVpnConfigRequest>()[0].nonce, "active2");
    let nowhere = dir.path().join("no/such");
    let done =
        run(imp(&server.addr(), &["vpn", "config", "active2", "--out", nowhere.to_str().unwrap()])).await;
    assert_eq!(code(&done), 1);
    assert!(stderr(&done).contains("no/such cannot be written"), "{}", stderr(&done));
}

#[tokio::test]
async fn a_code_is_drawn_or_written_as_its_name_ends() {
    let server = TestServer::start().await;
    let drawn = text(&server, &["vpn", "qr", "active2"]).await;
    let widths: Vec<usize> = drawn.lines().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0] && *width >= 29), "{drawn}");
    assert!(drawn.contains('█') && !drawn.contains('\x1b'), "{drawn}");
    let dir = tempfile::tempdir().unwrap();
    for format in ["png", "svg"] {
        let path = dir.path().join(format!("code.{format}"));
        text(&server, &["vpn", "qr", "active2", "--out", path.to_str().unwrap()]).await;
        assert_eq!(std::fs::read(&path).unwrap(), [0, 255]);
        assert_eq!(server.asked::<GetVpnQrRequest>().pop().unwrap().format, format);
    }
    assert_eq!(json(&server, &["vpn", "qr", "active2"]).await["contentType"], json!("image/png"));
}

#[tokio::test]
async fn a_tunnel_is_brought_up_by_the_node() {
    let server = TestServer::start().await;
    let expected = "\
interface: impt0
routes:    0.0.0.0/0
left out:  10.0.0.0/8
dns:       1.1.1.1
";
    assert_eq!(text(&server, &["vpn", "up", "active2", "--allow-private"]).await, expected);
    let request = BringUpVpnRequest { nonce: "active2".into(), allow_private: true, keep_dns: false };
    assert_eq!(server.asked::<BringUpVpnRequest>(), [request]);
    let answer = json(&server, &["vpn", "auto-refresh", "active2", "1_000"]).await;
    assert_eq!(answer["autoRefreshLimitSat"], json!("1000"));
    let shown = text(&server, &["vpn", "auto-refresh", "active2", "0"]).await;
    assert!(shown.contains("\nauto-refresh:     -\n"), "{shown}");
    let limits = server.asked::<SetVpnAutoRefreshRequest>().into_iter().map(|request| request.limit_sat);
    assert_eq!(limits.collect::<Vec<_>>(), [1000, 0]);
}

#[tokio::test]
async fn a_seller_sees_what_is_missing_and_what_it_owes() {
    let server = TestServer::start().await;
    let shown = text(&server, &["vpn", "seller"]).await;
    let expected = "\
enabled:        yes
selling:        no
problem:        /dev/net/tun is not there
price:          100 sat for 1h
interface:      imp0
device:         -
endpoint:       198.51.100.7:51820
public key:     server
subnet:         10.0.0.0/24
free addresses: 253
contracts:      2
refunds due:    1
";
    assert_eq!(shown, expected);
    let done =
        run(imp(&server.addr(), &["vpn", "payments", "--state", "refund_due", "--contract", "n"])).await;
    let bob = named(1);
    let expected = format!(
        "\
CAME                  FOR      NONCE         SAT  STATE       REFUND  FROM                                                                ANSWER  REMARK
2023-11-14T22:13:20Z  refresh  expired1  100.000  refund_due      98  {bob}  -       price; the refund: no route
"
    );
    assert_eq!((code(&done), stdout(&done)), (0, expected.as_str()));
    assert_eq!(stderr(&done), "imp: there are more: --cursor 9, or --all\n");
    let request =
        ListVpnPaymentsRequest { state: "refund_due".into(), nonce: "n".into(), limit: 0, cursor: 0 };
    assert_eq!(server.asked::<ListVpnPaymentsRequest>(), [request]);
    assert_eq!(json(&server, &["vpn", "payments", "--all"]).await["payments"].as_array().unwrap().len(), 2);
    assert_eq!(text(&server, &["vpn", "payments", "--state", "kept"]).await, "no payments\n");
}

#[tokio::test]
async fn quotes_are_a_table() {
    let server = TestServer::start().await;
    let rows = text(&server, &["vpn", "quotes"]).await;
    let rows = words(&rows);
    let head = ["NONCE", "SAT", "FOR", "DATA", "A", "SECOND", "AT", "MOST", "UNTIL", "SELLER"];
    assert_eq!(rows[0], head);
    let until = "2286-11-20T17:46:39Z";
    assert_eq!(rows[1], ["active1", "100", "1h", "5.0", "GB", "-", "1day", until, &named(1)]);
    assert_eq!(rows.len(), 3);
    let none = text(&server, &["vpn", "quotes", "--from", &named(2)]).await;
    assert_eq!(none, "no quotes\n");
}
