//! Local names, which stand wherever a public key does.

use imp_api::error::{Code, StatusBody};
use imp_api::proto::federate::{LeaveFederationRequest, RequestFederateRequest};
use imp_api::proto::imp::federate::v1::{
    AcceptFederatedPeerRequest, BlockPeerRequest, GetFederatedPeerRequest, ListFederatedPeersRequest,
    ListWithheldMessagesRequest, RejectFederatedPeerRequest, SetPeerNameRequest, SetPeerRightsRequest,
    UnblockPeerRequest,
};
use imp_api::proto::imp::lightning::v1::SendKeysendRequest;
use imp_api::proto::imp::messaging::v1::ListMessagesRequest;
use imp_api::proto::imp::node::v1::{ConnectPeerRequest, DisconnectPeerRequest, OpenChannelRequest};
use imp_api::proto::imp::socket::v1::SendRelayRequest;
use imp_api::proto::imp::vpn::v1::{ListVpnContractsRequest, ListVpnQuotesRequest};
use imp_api::proto::messaging::SendMessageRequest;
use imp_api::proto::signing::VerifyRequest;
use imp_api::proto::socket::SendSocketRequest;
use imp_api::proto::vpn::{AcceptContractRequest, RequestQuoteRequest};

use super::server::{TestServer, named};
use super::{PEER, code, imp, interrupt, run, stderr, stdout};

/// Runs a command that names a node, and checks which public key the node is asked about.
macro_rules! assert_asks {
    ($server:ident $node:ident $pubkey:ident: $($request:ident($($field:tt)+) [$($arg:expr),+];)+) => {
        $(
            let done = run(imp(&$server.addr(), &[$(&*$arg),+])).await;
            assert!(matches!(code(&done), 0 | 4), "{}: {}", stringify!($request), stderr(&done));
            let asked = $server.asked::<$request>().pop().unwrap();
            assert_eq!(asked.$($field)+, $pubkey, "{}", stringify!($request));
        )+
    };
}

#[tokio::test]
async fn a_name_stands_for_a_key_in_every_command_that_takes_one() {
    let server = TestServer::start().await;
    let (node, pubkey) = ("bob", named(1));
    let at = "bob@127.0.0.1:9735";
    assert_asks! { server node pubkey:
        SendMessageRequest(pubkey) ["message", "send", node, "hi"];
        ListMessagesRequest(pubkey) ["message", "list", "--to", node];
        SendKeysendRequest(pubkey) ["keysend", node, "5"];
        VerifyRequest(pubkey.unwrap()) ["verify", "a", "b", "--pubkey", node];
        OpenChannelRequest(pubkey) ["channel", "open", at, "5000"];
        ConnectPeerRequest(pubkey) ["peer", "connect", at];
        DisconnectPeerRequest(pubkey) ["peer", "disconnect", node];
        RequestFederateRequest(pubkey) ["federate", "request", node];
        LeaveFederationRequest(pubkey) ["federate", "leave", node];
        GetFederatedPeerRequest(pubkey) ["federate", "show", node];
        AcceptFederatedPeerRequest(pubkey) ["federate", "accept", node];
        RejectFederatedPeerRequest(pubkey) ["federate", "reject", node];
        SetPeerRightsRequest(pubkey) ["federate", "rights", node, "--reset"];
        SetPeerNameRequest(pubkey) ["federate", "name", node, "robert"];
        BlockPeerRequest(pubkey) ["federate", "block", node];
        UnblockPeerRequest(pubkey) ["federate", "unblock", node];
        ListWithheldMessagesRequest(pubkey) ["federate", "withheld", "--from", node];
        SendSocketRequest(pubkey) ["socket", "send", node];
        SendRelayRequest(pubkey) ["socket", "send", node, "--relay", "r1"];
        RequestQuoteRequest(pubkey) ["vpn", "quote", node];
        AcceptContractRequest(pubkey) ["vpn", "contract", node, "n", "5"];
        AcceptContractRequest(pubkey) ["vpn", "buy", node, "--max-price", "500"];
        ListVpnContractsRequest(pubkey) ["vpn", "list", "--with", node];
        ListVpnQuotesRequest(pubkey) ["vpn", "quotes", "--from", node];
    }
    let lookups = server.asked::<ListFederatedPeersRequest>();
    assert_eq!(lookups.len(), 24);
    assert!(lookups.iter().all(|lookup| lookup.name == "bob"), "{lookups:?}");
}

#[tokio::test]
async fn a_public_key_is_never_looked_up() {
    let server = TestServer::start().await;
    let upper = PEER.to_uppercase();
    let no_node = "f".repeat(66);
    for key in [PEER, &upper, &no_node] {
        let done = run(imp(&server.addr(), &["keysend", key, "5"])).await;
        assert_eq!(code(&done), 0, "{}", stderr(&done));
        assert_eq!(server.asked::<SendKeysendRequest>().pop().unwrap().pubkey, key);
    }
    assert_eq!(server.asked::<ListFederatedPeersRequest>(), []);
}

#[tokio::test]
async fn a_name_that_nobody_has_is_exit_code_2_and_says_how_to_give_it() {
    let server = TestServer::start().await;
    // A key that lacks a digit is no key; the name of another is no name of this one.
    for name in ["bo", "Bob", " bob", "a b", &PEER[1..]] {
        let done = run(imp(&server.addr(), &["message", "send", name, "hi"])).await;
        let expected = format!(
            "imp: no node is called {name:?} here, and it is no public key of 66 hexadecimal digits\n\
             hint: `imp federate name PUBKEY {name:?}` gives a node this name; \
             `imp federate list` shows all names\n"
        );
        assert_eq!((code(&done), stdout(&done), stderr(&done)), (2, "", expected.as_str()));
    }
    let done = run(imp(&server.addr(), &["message", "send", "", "hi"])).await;
    assert_eq!(code(&done), 2);
    assert!(stderr(&done).contains("give a public key, or a local name"), "{}", stderr(&done));
    assert_eq!(server.asked::<SendMessageRequest>(), []);
}

#[tokio::test]
async fn a_lookup_that_fails_leaves_no_doubt_about_the_command() {
    let server = TestServer::start().await;
    server.refuse(StatusBody::new(Code::Unknown, "it went wrong"));
    let send = ["message", "send", "bob", "hi"];
    let done = run(imp(&server.addr(), &send)).await;
    assert_eq!((code(&done), stderr(&done)), (1, "imp: it went wrong (UNKNOWN)\n"));
    server.hold(true);
    for is_crash in [false, true] {
        let mut command = imp(&server.addr(), &send);
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let child = child.spawn().unwrap();
        server.asked_times::<ListFederatedPeersRequest>(if is_crash { 3 } else { 2 }).await;
        if is_crash {
            server.crash();
            let done = super::end_of(child).await;
            assert_eq!(code(&done), 3, "{}", stderr(&done));
            assert!(stderr(&done).ends_with("\nhint: run it again\n"), "{}", stderr(&done));
            return;
        }
        interrupt(&child);
        let done = super::end_of(child).await;
        assert_eq!((code(&done), stderr(&done)), (130, "imp: interrupted\n"));
    }
}
