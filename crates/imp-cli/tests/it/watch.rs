use std::process::Stdio;

use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout};

use super::server::{CURSOR_AT_START, TestServer};
use super::{PATIENCE, code, imp, interrupt, run, stderr, stdout};

/// A running `imp watch`.
struct Watching {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    fn start(addr: &str, args: &[&str]) -> Self {
        let mut child = imp(addr, &[&["watch"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    async fn line(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.stdout.next_line()).await.expect("a line comes").unwrap().unwrap()
    }

    async fn note(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.stderr.next_line()).await.expect("a note comes").unwrap().unwrap()
    }
}

/// Waits until this many subscriptions have been made, and tells from where on.
async fn subscriptions(server: &TestServer, count: usize) -> Vec<Option<i64>> {
    let asked = server.asked_times::<SubscribeRequest>(count).await;
    assert!(
        asked.iter().all(|request| request.cursor == Some(true)),
        "without cursors nothing can be resumed"
    );
    asked.into_iter().map(|request| request.after).collect()
}

fn event(cursor: i64) -> SubscribeResponse {
    SubscribeResponse {
        id: format!("e{cursor}"),
        from_pubkey: "02ab".into(),
        data: "one\ntwo".into(),
        service_type: "message".into(),
        amount: 1,
        cursor: Some(cursor),
        ..Default::default()
    }
}

#[tokio::test]
async fn events_are_shown_as_they_come_until_ctrl_c() {
    let server = TestServer::start().await;
    let mut watch = Watching::start(&server.addr(), &[]);
    assert_eq!(subscriptions(&server, 1).await, [None]);
    server.publish(event(42));
    for expected in ["message from 02ab, 1 sat", "  id e42", "    one", "    two"] {
        assert_eq!(watch.line().await, expected);
    }
    interrupt(&watch.child);
    let status = tokio::time::timeout(PATIENCE, watch.child.wait()).await.expect("imp ends").unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn json_is_one_object_a_line_with_a_cursor_only_for_those_who_ask() {
    let server = TestServer::start().await;
    let mut plain = Watching::start(&server.addr(), &["--json"]);
    subscriptions(&server, 1).await;
    let mut with_cursor = Watching::start(&server.addr(), &["--json", "--cursor"]);
    subscriptions(&server, 2).await;
    let mut after = Watching::start(&server.addr(), &["--json", "--after", "7"]);
    assert_eq!(subscriptions(&server, 3).await, [None, None, Some(7)]);
    server.publish(event(42));
    let expected = json!({
        "id": "e42", "replyToId": "", "fromPubkey": "02ab", "data": "one\ntwo", "serviceType": "message", "amount": "1"
    });
    let parse = |line: String| serde_json::from_str::<Value>(&line).unwrap();
    assert_eq!(parse(plain.line().await), expected);
    for watch in [&mut with_cursor, &mut after] {
        assert_eq!(parse(watch.line().await)["cursor"], json!("42"));
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_when_the_node_comes_back() {
    let server = TestServer::start().await;
    let mut watch = Watching::start(&server.addr(), &["--json", "--cursor"]);
    subscriptions(&server, 1).await;
    server.publish(event(42));
    assert!(watch.line().await.contains("e42"));
    let addr = server.crash();
    let note = watch.note().await;
    assert!(note.starts_with("imp: ") && note.ends_with("; trying again in 1 s"), "{note}");

    let server = TestServer::start_at(addr).await;
    assert_eq!(subscriptions(&server, 1).await, [Some(42)]);
    loop {
        let note = watch.note().await;
        if !note.contains("trying again") {
            assert_eq!(note, "imp: connected again, going on after cursor 42");
            break;
        }
    }
    server.publish(event(43));
    assert!(watch.line().await.contains("e43"));
}

#[tokio::test]
async fn a_watch_that_saw_no_event_yet_misses_none_either() {
    let server = TestServer::start().await;
    let _watch = Watching::start(&server.addr(), &[]);
    subscriptions(&server, 1).await;
    let server = TestServer::start_at(server.crash()).await;
    assert_eq!(subscriptions(&server, 1).await, [Some(CURSOR_AT_START)]);
}

#[tokio::test]
async fn a_cursor_that_is_no_longer_kept_ends_the_watch() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["watch", "--after", "5"])).await;
    let expected = "\
imp: the oldest cursor to ask for is 6 (OUT_OF_RANGE)
hint: `imp events list` begins with the oldest that is kept
";
    assert_eq!((code(&done), stderr(&done)), (1, expected));
    // What a watch prints are events and nothing else.
    let done = run(imp(&server.addr(), &["watch", "--after", "5", "--json"])).await;
    assert_eq!((code(&done), stdout(&done)), (1, ""));
}

#[tokio::test]
async fn a_watch_asks_for_what_it_wants_to_see_also_when_it_resumes() {
    let server = TestServer::start().await;
    let _watch =
        Watching::start(&server.addr(), &["--service", "message,lightning", "--include", "lightning"]);
    subscriptions(&server, 1).await;
    let server = TestServer::start_at(server.crash()).await;
    let asked = server.asked_times::<SubscribeRequest>(1).await.remove(0);
    assert_eq!(asked.service.as_deref(), Some("message,lightning"));
    assert_eq!((asked.include.as_deref(), asked.after), (Some("lightning"), Some(CURSOR_AT_START)));
}
