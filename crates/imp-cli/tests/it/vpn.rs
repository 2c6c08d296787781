//! `imp vpn`, and what is said of services that a node has not got.

use imp_api::error::{Code, StatusBody};
use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest, RequestQuoteRequest};
use serde_json::json;

use super::server::TestServer;
use super::{PEER, code, imp, json, run, stderr, stdout, text};

const SENDING: [&[&str]; 3] = [
    &["vpn", "quote", PEER],
    &["vpn", "contract", PEER, "n", "1_000"],
    &["vpn", "refresh", PEER, "n", "1_000"],
];

#[tokio::test]
async fn what_is_sent_has_an_id() {
    let server = TestServer::start().await;
    for args in SENDING {
        assert_eq!(text(&server, args).await, "id: m1\n");
        assert_eq!(json(&server, args).await, json!({"id": "m1"}));
    }
    let (pubkey, nonce, price) = (String::from(PEER), String::from("n"), String::from("1000"));
    assert_eq!(server.asked::<RequestQuoteRequest>()[0], RequestQuoteRequest { pubkey: pubkey.clone() });
    let accept = AcceptContractRequest { pubkey: pubkey.clone(), nonce: nonce.clone(), price: price.clone() };
    assert_eq!(server.asked::<AcceptContractRequest>()[0], accept);
    assert_eq!(server.asked::<RefreshContractRequest>()[0], RefreshContractRequest { pubkey, nonce, price });
}

#[tokio::test]
async fn a_service_that_the_node_has_not_got_is_said_so() {
    let server = TestServer::start().await;
    server.refuse(StatusBody::new(Code::Unimplemented, "method not implemented"));
    let others: [&[&str]; 4] =
        [&["socket", "start"], &["socket", "list"], &["federate", "list"], &["federate", "show", PEER]];
    for args in SENDING.into_iter().chain(others) {
        let done = run(imp(&server.addr(), args)).await;
        let expected = "\
imp: method not implemented (UNIMPLEMENTED)
hint: this node cannot do that: `imp node info` shows its version
";
        assert_eq!((code(&done), stdout(&done), stderr(&done)), (1, "", expected), "{args:?}");
    }
}
