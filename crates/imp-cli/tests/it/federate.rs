//! `imp federate`.

use imp_api::proto::federate::{LeaveFederationRequest, RequestFederateRequest};
use imp_api::proto::imp::federate::v1::{
    AcceptFederatedPeerRequest, ListFederatedPeersRequest, ListWithheldMessagesRequest,
    RejectFederatedPeerRequest, SetPeerNameRequest, SetPeerRightsRequest,
};
use serde_json::{Value, json};

use super::server::{TestServer, named};
use super::{PEER, code, imp, json, run, stderr, stdout, text};

#[tokio::test]
async fn what_is_sent_has_an_id() {
    let server = TestServer::start().await;
    for args in [
        &["federate", "request", PEER, "--key", "k"][..],
        &["federate", "leave", PEER, "--key", "k"],
        &["federate", "accept", PEER],
        &["federate", "reject", PEER],
    ] {
        assert_eq!(text(&server, args).await, "id: m1\n");
        assert_eq!(json(&server, args).await, json!({"id": "m1"}));
    }
    let (pubkey, idempotency_key) = (String::from(PEER), Some(String::from("k")));
    let request = RequestFederateRequest { pubkey: pubkey.clone(), idempotency_key: idempotency_key.clone() };
    assert_eq!(server.asked::<RequestFederateRequest>()[0], request);
    let leave = LeaveFederationRequest { pubkey: pubkey.clone(), idempotency_key };
    assert_eq!(server.asked::<LeaveFederationRequest>()[0], leave);
    assert_eq!(
        server.asked::<AcceptFederatedPeerRequest>()[0],
        AcceptFederatedPeerRequest { pubkey: pubkey.clone() }
    );
    assert_eq!(server.asked::<RejectFederatedPeerRequest>()[0], RejectFederatedPeerRequest { pubkey });
}

#[tokio::test]
async fn peers_are_a_table() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["federate", "list"])).await;
    let (bob, bob2) = (named(1), named(2));
    let expected = format!(
        "\
NAME  STATE      ASKED BY  UNTIL                 MAY SEND                     LAST SEEN             WITHHELD  CALLS ITSELF  PUBKEY
bob   federated  us        2024-11-14T04:53:20Z  messages of 10 sat, sockets  2023-11-14T22:13:21Z         2  b\\u{{1b}}[2J    {bob}
bob2  pending    them      2023-11-21T22:13:20Z  messages, sockets            -                            0  -             {bob2}
"
    );
    assert_eq!((code(&done), stdout(&done)), (0, expected.as_str()));
    assert_eq!(stderr(&done), format!("imp: there are more: --cursor {bob2}, or --all\n"));
    let blocked = text(&server, &["federate", "list", "--blocked"]).await;
    let row: Vec<&str> = blocked.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["-", "blocked", "-", "-", "nothing", "-", "0", "-", &named(3)]);
    assert_eq!(text(&server, &["federate", "list", "--state", "expired"]).await, "no peers\n");
}

#[tokio::test]
async fn all_pages_of_peers_are_one_list() {
    let server = TestServer::start().await;
    let answer = json(&server, &["federate", "list", "--all", "--state", "federated,pending,left"]).await;
    let keys: Vec<&Value> = answer["peers"].as_array().unwrap().iter().map(|peer| &peer["pubkey"]).collect();
    assert_eq!(keys, [&json!(named(1)), &json!(named(2)), &json!(named(3))]);
    assert_eq!((answer.get("nextCursor"), &answer["federatedCount"]), (None, &json!("1")));
    let request = ListFederatedPeersRequest {
        limit: 1000,
        state: "federated,pending,left".into(),
        ..Default::default()
    };
    let next = ListFederatedPeersRequest { cursor: named(2), ..request.clone() };
    assert_eq!(server.asked::<ListFederatedPeersRequest>(), [request, next]);
}

#[tokio::test]
async fn a_peer_is_shown_with_what_it_may_do() {
    let server = TestServer::start().await;
    let pubkey = named(1);
    let shown = text(&server, &["federate", "show", "bob"]).await;
    let lines: Vec<(&str, &str)> = shown.lines().map(|line| line.split_once(':').unwrap()).collect();
    let value = |key: &str| lines.iter().find(|(name, _)| *name == key).unwrap().1.trim();
    for (key, expected) in [
        ("pubkey", pubkey.as_str()),
        ("name", "bob"),
        ("calls itself", "b\\u{1b}[2J"),
        ("state", "federated"),
        ("asked by", "us"),
        ("standing", "request"),
        ("may send", "messages of 10 sat, sockets"),
        ("rights", "its own"),
        ("blocked", "no"),
        ("withheld", "2"),
        ("takes from us", "messages, sockets, vpn"),
    ] {
        assert_eq!(value(key), expected, "{key}");
    }
    for (key, expected) in [
        ("since", "2023-11-14T22:13:20Z ("),
        ("until", "2024-11-14T04:53:20Z ("),
        ("last seen", "2023-11-14T22:13:21Z ("),
    ] {
        assert!(value(key).starts_with(expected), "{key}: {shown}");
    }
    assert_eq!(json(&server, &["federate", "show", &pubkey]).await["rights"]["minMessageSat"], json!("10"));
    let done = run(imp(&server.addr(), &["federate", "show", PEER])).await;
    assert_eq!((code(&done), stdout(&done)), (1, ""));
}

#[tokio::test]
async fn rights_that_are_not_named_stay_as_they_are() {
    let server = TestServer::start().await;
    let rights = ["federate", "rights", "bob", "--vpn-quotes", "yes", "--min-sat", "0"];
    let shown = text(&server, &rights).await;
    assert!(shown.contains("\nmay send:      messages, sockets, vpn\n"), "{shown}");
    let answer = json(&server, &["federate", "rights", "bob", "--messages", "no", "--sockets", "no"]).await;
    assert_eq!(
        answer["rights"],
        json!({
            "messages": false, "sockets": false, "vpnQuotes": false, "minMessageSat": "10"
        })
    );
    assert_eq!(json(&server, &["federate", "rights", "bob", "--reset"]).await["ownRights"], json!(false));
    let pubkey = named(1);
    let asked = server.asked::<SetPeerRightsRequest>();
    let expected = [
        SetPeerRightsRequest {
            pubkey: pubkey.clone(),
            vpn_quotes: Some(true),
            min_message_sat: Some(0),
            ..Default::default()
        },
        SetPeerRightsRequest {
            pubkey: pubkey.clone(),
            messages: Some(false),
            sockets: Some(false),
            ..Default::default()
        },
        SetPeerRightsRequest { pubkey, reset: true, ..Default::default() },
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn a_name_is_given_and_taken() {
    let server = TestServer::start().await;
    let pubkey = named(1);
    let shown = text(&server, &["federate", "name", &pubkey, "robert of the north"]).await;
    assert!(shown.contains("\nname:          robert of the north\n"), "{shown}");
    assert_eq!(json(&server, &["federate", "name", &pubkey, "--none"]).await["name"], json!(""));
    let name = |name: &str| SetPeerNameRequest { pubkey: pubkey.clone(), name: name.to_owned() };
    assert_eq!(server.asked::<SetPeerNameRequest>(), [name("robert of the north"), name("")]);
}

#[tokio::test]
async fn a_node_is_blocked_and_no_longer() {
    let server = TestServer::start().await;
    let blocked = text(&server, &["federate", "block", "bob"]).await;
    assert!(blocked.contains("\nblocked:       yes\n"), "{blocked}");
    assert_eq!(json(&server, &["federate", "unblock", &named(3)]).await["blocked"], json!(false));
}

#[tokio::test]
async fn what_was_withheld_is_a_table_newest_first() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["federate", "withheld"])).await;
    let expected = "\
CAME                  REASON         SERVICE  SAT  BYTES  FROM  ID
2023-11-14T22:13:23Z  below_minimum  message    3    300  02ab  w3
2023-11-14T22:13:22Z  below_minimum  message    2    200  02ab  w2
";
    assert_eq!((code(&done), stdout(&done)), (0, expected));
    assert_eq!(stderr(&done), "imp: there are more: --cursor 2, or --all\n");
    let answer = json(&server, &["federate", "withheld", "--all", "--from", PEER]).await;
    assert_eq!(answer["messages"].as_array().unwrap().len(), 3);
    let asked = server.asked::<ListWithheldMessagesRequest>().split_off(1);
    assert_eq!(asked.iter().map(|request| request.cursor).collect::<Vec<_>>(), [0, 2]);
    assert!(asked.iter().all(|request| (request.limit, request.pubkey.as_str()) == (1000, PEER)));
}
