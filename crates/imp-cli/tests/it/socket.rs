//! `imp socket`.

use std::process::Stdio;

use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::socket::v1::{
    CloseConnectionRequest, ConnectSocketRequest, ListRelaysRequest, SendRelayRequest, StartRelayRequest,
    StopRelayRequest, WatchRelaysRequest,
};
use imp_api::proto::socket::SendSocketRequest;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::server::TestServer;
use super::{PATIENCE, PEER, code, imp, interrupt, json, run, stderr, stdout, text};

#[tokio::test]
async fn the_default_relay_is_started_and_stopped() {
    let server = TestServer::start().await;
    let expected = "protocol:    udp\nfirst user:  127.0.0.1:20000\nsecond user: 127.0.0.1:20001\n";
    assert_eq!(text(&server, &["socket", "start"]).await, expected);
    assert_eq!(json(&server, &["socket", "start"]).await["port1"], json!(":20000"));
    assert_eq!(text(&server, &["socket", "stop"]).await, "stopped\n");
    assert_eq!(json(&server, &["socket", "stop"]).await, json!({}));
}

#[tokio::test]
async fn the_address_of_the_default_relay_or_of_another_is_sent() {
    let server = TestServer::start().await;
    assert_eq!(text(&server, &["socket", "send", PEER]).await, "id: m1\n");
    assert_eq!(json(&server, &["socket", "send", PEER, "--key", "k"]).await, json!({"id": "m1"}));
    let send = |key: Option<&str>| SendSocketRequest {
        pubkey: PEER.into(),
        idempotency_key: key.map(str::to_owned),
    };
    assert_eq!(server.asked::<SendSocketRequest>(), [send(None), send(Some("k"))]);
    assert_eq!(text(&server, &["socket", "send", PEER, "--relay", "r2", "--key", "k"]).await, "id: m1\n");
    let request =
        SendRelayRequest { id: "r2".into(), pubkey: PEER.into(), idempotency_key: Some("k".into()) };
    assert_eq!(server.asked::<SendRelayRequest>(), [request]);
}

#[tokio::test]
async fn a_relay_is_opened_with_its_limits_and_closed() {
    let server = TestServer::start().await;
    let expected = "\
id:          r2
first user:  [::1]:20000
second user: [::1]:20001
token:       0123456789abcdef0123456789abcdef
";
    assert_eq!(text(&server, &["socket", "open"]).await, expected);
    let args = [
        "socket",
        "open",
        "--label=game",
        "--idle=2m",
        "--life=7d",
        "--max-packets=1_000",
        "--max-bytes=2000",
        "--max-packets-per-sec=30",
        "--max-bytes-per-sec=40",
        "--require-token",
    ];
    assert_eq!(json(&server, &args).await["requireToken"], json!(true));
    let request = StartRelayRequest {
        label: "game".into(),
        idle_secs: 120,
        life_secs: 604_800,
        max_packets: 1000,
        max_bytes: 2000,
        max_packets_per_sec: 30,
        max_bytes_per_sec: 40,
        require_token: true,
    };
    assert_eq!(server.asked::<StartRelayRequest>(), [StartRelayRequest::default(), request]);
    assert_eq!(text(&server, &["socket", "close", "r2"]).await, "closed\n");
    assert_eq!(server.asked::<StopRelayRequest>()[0].id, "r2");
}

const RELAYS: &str = "\
ID  LABEL            FIRST            USER            PACKETS  SECOND           USER             PACKETS  DROPPED  ENDS
r1  default relay    127.0.0.1:20000  127.0.0.1:5000       12  127.0.0.1:20001  -                      0        5  -
r2  game\\u{1b}[2J   [::1]:20000      127.0.0.1:5000       12  [::1]:20001      127.0.0.1:5001?        3        5  2023-11-15T22:13:20Z
";

/// A table without the widths of its columns.
fn words(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn relays_are_a_table() {
    let server = TestServer::start().await;
    assert_eq!(words(&text(&server, &["socket", "list"]).await), words(RELAYS));
    assert_eq!(text(&server, &["socket", "list", "--owner", "nobody"]).await, "no relays\n");
    let answer = json(&server, &["socket", "list"]).await;
    assert_eq!(answer["relays"][1]["drops"][0], json!({"reason": "other_source", "packets": "4"}));
    assert_eq!(server.asked::<ListRelaysRequest>()[1].owner, "nobody");
}

#[tokio::test]
async fn a_relay_is_shown_with_its_users_and_what_was_dropped() {
    let server = TestServer::start().await;
    let shown = text(&server, &["socket", "show", "r2"]).await;
    let (before, after) = shown.split_once("started:").unwrap();
    let expected = "\
id:                 r2
label:              game\\u{1b}[2J
owner:              local
first user:         [::1]:20000
second user:        [::1]:20001
token:              0123456789abcdef0123456789abcdef
token required:     yes
silent for at most: 120 s
in all at most:     1000 packets, 2000 bytes
a second at most:   30 packets, 40 bytes
";
    assert_eq!(before, expected);
    let (_, tables) = after.split_once("\n\n").unwrap();
    let expected = "\
USER    SOURCE          FIRM  KNOWN SINCE           LAST HEARD            PACKETS  BYTES
first   127.0.0.1:5000  yes   2023-11-14T22:13:21Z  2023-11-14T22:13:22Z       12   6000
second  127.0.0.1:5001  no    2023-11-14T22:13:21Z  2023-11-14T22:13:22Z        3    300

DROPPED       PACKETS
other_source        4
token               1
";
    assert_eq!(tables, expected);
    let default = text(&server, &["socket", "show", "r1"]).await;
    assert!(default.contains("\nlabel:              default relay\n"), "{default}");
    assert!(default.contains("\nends:               -\n"), "{default}");
    let done = run(imp(&server.addr(), &["socket", "show", "r9"])).await;
    assert_eq!((code(&done), stdout(&done)), (1, ""));
}

#[tokio::test]
async fn relays_are_watched_until_ctrl_c() {
    let server = TestServer::start().await;
    let mut command = imp(&server.addr(), &["socket", "watch", "--every", "500ms"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut looks = String::new();
    for _ in 0..7 {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line comes");
        looks.push_str(&line.unwrap().unwrap());
        looks.push('\n');
    }
    assert_eq!(words(&looks), words(&format!("{RELAYS}\n{RELAYS}")));
    interrupt(&child);
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("imp ends").unwrap();
    assert_eq!(status.code(), Some(0));
    let request = WatchRelaysRequest { id: String::new(), interval_ms: 500 };
    assert_eq!(server.asked::<WatchRelaysRequest>(), [request]);
}

#[tokio::test]
async fn what_ends_a_watch_is_told() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["socket", "watch", "r1", "--json"])).await;
    assert_eq!((code(&done), stderr(&done)), (1, "imp: no relay with this id runs (NOT_FOUND)\n"));
    let looks: Vec<Value> = stdout(&done).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(looks.len(), 2);
    assert_eq!((&looks[0], &looks[0]["relays"][0]["id"]), (&looks[1], &json!("r1")));
}

#[tokio::test]
async fn an_offer_becomes_a_local_port() {
    let server = TestServer::start().await;
    let args = ["socket", "connect", "e1", "--port", "4000", "--side", "1", "--allow-private"];
    let expected = "\
send UDP to: 127.0.0.1:4000
relay:       192.0.2.1:20001
offered by:  02ab
id:          c1
";
    assert_eq!(text(&server, &args).await, expected);
    assert_eq!(json(&server, &["socket", "connect", "e2"]).await["eventId"], json!("e2"));
    let plain = ConnectSocketRequest { event_id: "e2".into(), ..Default::default() };
    let request =
        ConnectSocketRequest { event_id: "e1".into(), local_port: 4000, side: 1, allow_private: true };
    assert_eq!(server.asked::<ConnectSocketRequest>(), [request, plain]);
}

#[tokio::test]
async fn local_ends_are_a_table_and_are_closed() {
    let server = TestServer::start().await;
    let expected = "\
ID  STATE    LOCAL           PROGRAM         RELAY            OUT  IN  OFFERED BY
c1  joining  127.0.0.1:4000  -               192.0.2.1:20001    0   0  02ab
c2  joined   127.0.0.1:4000  127.0.0.1:5002  192.0.2.1:20001    7   8  02ab
";
    assert_eq!(text(&server, &["socket", "connections"]).await, expected);
    assert_eq!(json(&server, &["socket", "connections"]).await["connections"][1]["packetsIn"], json!("8"));
    assert_eq!(text(&server, &["socket", "disconnect", "c1"]).await, "disconnected\n");
    assert_eq!(json(&server, &["socket", "disconnect", "c1"]).await, json!({}));
    assert_eq!(server.asked::<CloseConnectionRequest>()[0].id, "c1");
}

#[tokio::test]
async fn a_doubt_names_the_command_that_shows_what_became_of_it() {
    let server = TestServer::start().await;
    server.refuse(StatusBody::new(Code::DeadlineExceeded, "not known yet"));
    for (args, look) in [
        (&["socket", "send", PEER][..], "imp message list"),
        (&["socket", "open"], "imp socket list"),
        (&["socket", "connect", "e1"], "imp socket connections"),
        (&["federate", "accept", PEER], "imp federate list"),
    ] {
        let done = run(imp(&server.addr(), args)).await;
        let hint = format!("hint: it may still be done: look with `{look}` before you run it again");
        assert_eq!((code(&done), stdout(&done)), (5, ""), "{args:?}");
        assert!(stderr(&done).contains(&hint), "{args:?}: {}", stderr(&done));
    }
}
