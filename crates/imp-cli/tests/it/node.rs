//! `imp node`, `imp wallet`, `imp channel` and `imp peer`.

use imp_api::proto::imp::node::v1::{
    CloseChannelRequest, ConnectPeerRequest, DisconnectPeerRequest, OpenChannelRequest, SendOnchainRequest,
};
use serde_json::json;

use super::server::TestServer;
use super::{PEER, code, imp, json, run, stderr, text};

#[tokio::test]
async fn the_node_is_shown_line_by_line_and_safely() {
    let server = TestServer::start().await;
    let expected = "\
pubkey:        02ab
alias:         alice\\u{1b}[2J
network:       regtest
backend:       ldk
version:       0.1.0
synced:        yes
block height:  120
on-chain:      21000 sat
  spendable:   1000 sat
in channels:   500000 sat
  can send:    490000 sat
  can receive: 7 sat
listens:       127.0.0.1:9735
";
    assert_eq!(text(&server, &["node", "info"]).await, expected);
    let answer = json(&server, &["node", "info"]).await;
    assert_eq!((&answer["onchainSat"], &answer["alias"]), (&json!("1000"), &json!("alice\x1b[2J")));
}

#[tokio::test]
async fn the_balance_is_a_table_with_amounts_to_the_right() {
    let server = TestServer::start().await;
    let expected = "\
WHERE                                 SAT
on-chain                            21000
  can be sent                        1000
  held back for closing channels    20000
in channels                        500000
  can be sent now                  490000
  can be received now                   7
coming back from closing channels       0
";
    assert_eq!(text(&server, &["node", "balance"]).await, expected);
    let expected = "\
ON-CHAIN                             SAT
in all                             21000
  can be sent                       1000
  held back for closing channels   20000
coming back from closing channels      0
";
    assert_eq!(text(&server, &["wallet", "balance"]).await, expected);
    for noun in ["node", "wallet"] {
        assert_eq!(json(&server, &[noun, "balance"]).await["closingSat"], json!("0"));
    }
}

#[tokio::test]
async fn the_chain_is_looked_at() {
    let server = TestServer::start().await;
    assert_eq!(text(&server, &["node", "sync"]).await, "block height: 121\n");
    assert_eq!(json(&server, &["node", "sync"]).await, json!({"blockHeight": 121}));
}

#[tokio::test]
async fn an_address_is_given_under_both_spellings() {
    let server = TestServer::start().await;
    for noun in ["wallet", "node"] {
        assert_eq!(text(&server, &[noun, "address"]).await, "address: bcrt1q\n");
        assert_eq!(json(&server, &[noun, "address"]).await, json!({"address": "bcrt1q"}));
    }
}

#[tokio::test]
async fn bitcoin_is_sent_on_the_chain_after_a_yes() {
    let server = TestServer::start().await;
    let args = ["wallet", "send", "bcrt1q", "5_000", "--fee-rate", "3", "--key", "k", "--yes"];
    assert_eq!(text(&server, &args).await, "txid: ff\n");
    assert_eq!(json(&server, &["wallet", "send", "bcrt1q", "--all", "-y"]).await, json!({"txid": "ff"}));
    let first = SendOnchainRequest {
        address: "bcrt1q".into(),
        amount_sat: 5000,
        all: false,
        fee_sat_per_vbyte: 3,
        idempotency_key: Some("k".into()),
    };
    let second = SendOnchainRequest { address: "bcrt1q".into(), all: true, ..Default::default() };
    assert_eq!(server.asked::<SendOnchainRequest>(), [first, second]);
}

#[tokio::test]
async fn without_a_terminal_nobody_is_asked_and_nothing_done() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["wallet", "send", "bcrt1q", "5000", "--fee-rate", "2"])).await;
    let expected = "\
imp: not done: \"send 5000 sat to bcrt1q for 2 sat/vB?\" is asked at a terminal only
hint: --yes answers it
";
    assert_eq!((code(&done), stderr(&done)), (2, expected));
    let done = run(imp(&server.addr(), &["channel", "close", "17", "--force"])).await;
    assert_eq!(code(&done), 2, "{}", stderr(&done));
    assert!(
        server.asked::<SendOnchainRequest>().is_empty() && server.asked::<CloseChannelRequest>().is_empty()
    );
}

#[tokio::test]
async fn channels_are_a_table_under_both_spellings() {
    let server = TestServer::start().await;
    let expected = "\
PEER  CAPACITY  CAN SEND  CAN RECEIVE  STATE      ID  FUNDING
03cd   1000000    490000            7  usable     17  -
03cd   1000000    490000            7  peer away  17  -
03cd   1000000    490000            7  opening    17  -
";
    for args in [["channel", "list"], ["node", "channels"], ["channels", "list"]] {
        assert_eq!(text(&server, &args).await, expected);
        assert_eq!(json(&server, &args).await["channels"][0]["capacitySat"], json!("1000000"));
    }
}

#[tokio::test]
async fn channels_are_opened_and_closed() {
    let server = TestServer::start().await;
    let args = [
        "channel",
        "open",
        &format!("{PEER}@127.0.0.1:9735"),
        "100_000",
        "--push",
        "5000",
        "--announce",
        "--key",
        "once",
    ];
    assert_eq!(text(&server, &args).await, "id: 18\n");
    assert_eq!(json(&server, &args).await, json!({"userChannelId": "18"}));
    let request = OpenChannelRequest {
        pubkey: PEER.into(),
        address: "127.0.0.1:9735".into(),
        capacity_sat: 100_000,
        push_sat: 5000,
        announce: true,
        idempotency_key: Some("once".into()),
    };
    assert_eq!(server.asked::<OpenChannelRequest>()[0], request);
    assert_eq!(text(&server, &["channel", "close", "18"]).await, "closing\n");
    assert_eq!(json(&server, &["channel", "close", "18", "--force", "--yes"]).await, json!({}));
    let closed = |force| CloseChannelRequest { user_channel_id: "18".into(), force };
    assert_eq!(server.asked::<CloseChannelRequest>(), [closed(false), closed(true)]);
}

#[tokio::test]
async fn peers_are_listed_connected_and_left() {
    let server = TestServer::start().await;
    let expected = "\
PEER  ADDRESS         STATE
03cd  127.0.0.1:9735  connected
03cd  127.0.0.1:9735  away
";
    assert_eq!(text(&server, &["peer", "list"]).await, expected);
    assert_eq!(json(&server, &["peer", "list"]).await["peers"][1]["connected"], json!(false));
    assert_eq!(text(&server, &["peer", "connect", &format!("{PEER}@[::1]:9735")]).await, "connected\n");
    assert_eq!(json(&server, &["peer", "connect", &format!("{PEER}@h:1")]).await, json!({}));
    let request = ConnectPeerRequest { pubkey: PEER.into(), address: "[::1]:9735".into() };
    assert_eq!(server.asked::<ConnectPeerRequest>()[0], request);
    assert_eq!(text(&server, &["peer", "disconnect", PEER]).await, "disconnected\n");
    assert_eq!(json(&server, &["peer", "disconnect", PEER]).await, json!({}));
    assert_eq!(server.asked::<DisconnectPeerRequest>()[0].pubkey, PEER);
}
