//! `imp federate`, `imp socket` and `imp vpn`.

use imp_api::error::{Code, StatusBody};
use imp_api::proto::federate::{LeaveFederationRequest, RequestFederateRequest};
use imp_api::proto::socket::SendSocketRequest;
use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest, RequestQuoteRequest};
use serde_json::json;

use super::server::TestServer;
use super::{code, imp, json, run, stderr, stdout, text};

const SENDING: [&[&str]; 6] = [
    &["federate", "request", "02ab"],
    &["federate", "leave", "02ab"],
    &["socket", "send", "02ab"],
    &["vpn", "quote", "02ab"],
    &["vpn", "contract", "02ab", "n", "1_000"],
    &["vpn", "refresh", "02ab", "n", "1_000"],
];

#[tokio::test]
async fn what_is_sent_has_an_id() {
    let server = TestServer::start().await;
    for args in SENDING {
        assert_eq!(text(&server, args).await, "id: m1\n");
        assert_eq!(json(&server, args).await, json!({"id": "m1"}));
    }
    let pubkey = String::from("02ab");
    let (nonce, price) = (String::from("n"), String::from("1000"));
    assert_eq!(
        server.asked::<RequestFederateRequest>()[0],
        RequestFederateRequest { pubkey: pubkey.clone(), ..Default::default() }
    );
    assert_eq!(
        server.asked::<LeaveFederationRequest>()[0],
        LeaveFederationRequest { pubkey: pubkey.clone(), ..Default::default() }
    );
    assert_eq!(
        server.asked::<SendSocketRequest>()[0],
        SendSocketRequest { pubkey: pubkey.clone(), ..Default::default() }
    );
    assert_eq!(server.asked::<RequestQuoteRequest>()[0], RequestQuoteRequest { pubkey: pubkey.clone() });
    let accept = AcceptContractRequest { pubkey: pubkey.clone(), nonce: nonce.clone(), price: price.clone() };
    assert_eq!(server.asked::<AcceptContractRequest>()[0], accept);
    assert_eq!(server.asked::<RefreshContractRequest>()[0], RefreshContractRequest { pubkey, nonce, price });
}

#[tokio::test]
async fn the_relay_is_started_and_stopped() {
    let server = TestServer::start().await;
    let expected = "protocol:    udp\nfirst user:  127.0.0.1:20000\nsecond user: 127.0.0.1:20001\n";
    assert_eq!(text(&server, &["socket", "start"]).await, expected);
    assert_eq!(json(&server, &["socket", "start"]).await["port1"], json!(":20000"));
    assert_eq!(text(&server, &["socket", "stop"]).await, "stopped\n");
    assert_eq!(json(&server, &["socket", "stop"]).await, json!({}));
}

#[tokio::test]
async fn a_service_that_the_node_has_not_got_is_said_so() {
    let server = TestServer::start().await;
    server.refuse(StatusBody::new(Code::Unimplemented, "method not implemented"));
    for args in SENDING.into_iter().chain([&["socket", "start"][..], &["socket", "stop"]]) {
        let done = run(imp(&server.addr(), args)).await;
        let expected = "\
imp: method not implemented (UNIMPLEMENTED)
hint: this node cannot do that: `imp node info` shows its version
";
        assert_eq!((code(&done), stdout(&done), stderr(&done)), (1, "", expected), "{args:?}");
    }
}
