//! `imp invoice`, `imp payment` and `imp keysend`.

use imp_api::proto::imp::lightning::v1::{ListInvoicesRequest, ListPaymentsRequest, SendKeysendRequest};
use imp_api::proto::lightning::{GenerateInvoiceRequest, PayInvoiceRequest};
use serde_json::json;

use super::server::TestServer;
use super::{PEER, code, imp, json, run, stderr, stdout, text};

#[tokio::test]
async fn invoices_are_made_paid_and_checked() {
    let server = TestServer::start().await;
    for (args, expected, exit) in [
        (&["invoice", "new", "25"][..], "invoice: ln 25 \"\"\n", 0),
        (&["invoice", "new", "25", "a memo", "--expiry", "2h"], "invoice: ln 25 \"a memo\"\n", 0),
        (&["--json", "invoice", "new", "1_000"], "{\"invoice\":\"ln 1000 \\\"\\\"\"}\n", 0),
        (&["invoice", "pay", "ln1"], "preimage: for ln1\n", 0),
        (&["--json", "invoice", "pay", "ln1", "--key", "k"], "{\"preimage\":\"for ln1\"}\n", 0),
        (&["invoice", "check", "paid"], "paid: yes\n", 0),
        (&["invoice", "check", "unpaid"], "paid: no\n", 4),
        (&["--json", "invoice", "check", "unpaid"], "{\"paid\":false}\n", 4),
        (&["invoice", "check", "other"], "", 1),
    ] {
        let done = run(imp(&server.addr(), args)).await;
        assert_eq!((stdout(&done), code(&done)), (expected, exit), "{args:?}: {}", stderr(&done));
    }
    let expiries = server.asked::<GenerateInvoiceRequest>().into_iter().map(|request| request.expiry_secs);
    assert_eq!(expiries.collect::<Vec<_>>(), [None, Some(7200), None]);
    let keys = server.asked::<PayInvoiceRequest>().into_iter().map(|request| request.idempotency_key);
    assert_eq!(keys.collect::<Vec<_>>(), [None, Some("k".to_owned())]);
}

#[tokio::test]
async fn invoices_are_a_table() {
    let server = TestServer::start().await;
    let expected = "\
CREATED               STATE   SAT  EXPIRES               PAID                  MEMO        PAYMENT HASH  INVOICE
2023-11-14T22:13:20Z  open   1000  2023-11-15T22:13:20Z  -                     a\\u{1b}[2J  aa            ln1
2023-11-14T22:13:20Z  paid      5  2023-11-15T22:13:20Z  2023-11-14T22:13:22Z  -           aa            ln2
";
    assert_eq!(text(&server, &["invoice", "list"]).await, expected);
    assert_eq!(text(&server, &["invoice", "list", "--state", "expired"]).await, "no invoices\n");
    let answer = json(&server, &["invoice", "list", "--limit", "7"]).await;
    assert_eq!(answer["invoices"][1]["paidMsat"], json!("5000"));
    let asked = server.asked::<ListInvoicesRequest>();
    assert_eq!((asked[1].state.as_str(), asked[2].limit), ("expired", 7));
}

#[tokio::test]
async fn payments_are_a_table() {
    let server = TestServer::start().await;
    let expected = "\
BEGUN                    TOOK  STATE    KIND     TO         SAT    FEE  PAYMENT HASH  ERROR
2023-11-14T22:13:20Z  1.000 s  settled  invoice  02ab  1000.000  0.010  aa
2023-11-14T22:13:20Z  1.000 s  failed   keysend  02ab     0.500      -  cc            no route
";
    assert_eq!(text(&server, &["payment", "list", "--all", "--state", "settled,failed"]).await, expected);
    let asked = server.asked::<ListPaymentsRequest>();
    assert_eq!(asked.iter().map(|request| request.cursor).collect::<Vec<_>>(), [0, 7]);
    assert_eq!(asked[1].state, "settled,failed");
    let answer = json(&server, &["payment", "list", "--cursor", "7"]).await;
    assert_eq!(answer["payments"][0]["amountMsat"], json!("500"));
}

#[tokio::test]
async fn a_node_is_paid_without_an_invoice() {
    let server = TestServer::start().await;
    let expected = "payment hash: aa\npreimage:     bb\nfee:          1.001 sat\n";
    assert_eq!(text(&server, &["keysend", PEER, "1_000", "--key", "k"]).await, expected);
    let answer = json(&server, &["keysend", PEER, "5"]).await;
    assert_eq!(answer, json!({"paymentHash": "aa", "preimage": "bb", "feeMsat": "1001"}));
    let request = SendKeysendRequest { pubkey: PEER.into(), amount: 1000, idempotency_key: Some("k".into()) };
    assert_eq!(server.asked::<SendKeysendRequest>()[0], request);
}
