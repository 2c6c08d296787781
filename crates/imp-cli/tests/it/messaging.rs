//! `imp message` and `imp events`.

use imp_api::proto::imp::events::v1::ListEventsRequest;
use imp_api::proto::imp::messaging::v1::{GetMessageRequest, ListMessagesRequest, RetryMessageRequest};
use imp_api::proto::messaging::SendMessageRequest;
use serde_json::{Value, json};

use super::server::TestServer;
use super::{PEER, code, imp, json, run, stderr, stdout, text};

#[tokio::test]
async fn a_message_is_sent_as_it_was_typed() {
    let server = TestServer::start().await;
    let args = ["message", "send", PEER, "hi there", "--amount", "1_000", "--reply-to", "r", "--key", "k"];
    assert_eq!(text(&server, &args).await, "id: m1\n");
    assert_eq!(json(&server, &["message", "send", PEER, "-hyphen"]).await, json!({"id": "m1"}));
    let first = SendMessageRequest {
        msg: "hi there".into(),
        pubkey: PEER.into(),
        amount: 1000,
        reply_to_id: "r".into(),
        keep_secs: None,
        idempotency_key: Some("k".into()),
    };
    let second = SendMessageRequest { msg: "-hyphen".into(), pubkey: PEER.into(), ..Default::default() };
    assert_eq!(server.asked::<SendMessageRequest>(), [first, second]);
}

#[tokio::test]
async fn a_message_that_is_kept_is_told_with_its_state() {
    let server = TestServer::start().await;
    let args = ["message", "send", PEER, "hi", "--keep", "7d"];
    assert_eq!(text(&server, &args).await, "id:    m1\nstate: queued\n");
    assert_eq!(json(&server, &args).await, json!({"id": "m1", "state": "queued"}));
    assert_eq!(server.asked::<SendMessageRequest>()[0].keep_secs, Some(604_800));
}

#[tokio::test]
async fn a_message_is_shown_with_every_payment_for_it() {
    let server = TestServer::start().await;
    let shown = text(&server, &["message", "show", "m2"]).await;
    let (before, after) = shown.split_once("accepted: 2023-11-14T22:13:20Z (").unwrap();
    let expected = "\
id:       m2
state:    failed
error:    no route\\u{1b}[2J
service:  message
to:       02ab
reply to: r
amount:   2 sat
fee:      1.500 sat
text:     1800 bytes, 2 of 2 parts settled, 3 payments tried
";
    assert_eq!(before, expected);
    let (ago, after) = after.split_once('\n').unwrap();
    assert!(ago.ends_with(" days ago)"), "{ago}");
    let expected = "\
ended:    2023-11-14T22:13:21Z, after 1.250 s

PART  STATE      SAT    FEE  BEGUN                    TOOK  PAYMENT HASH  ERROR
   0  failed   1.000      -  2023-11-14T22:13:20Z  0.500 s  aa            no route
   1  settled  1.000  1.500  2023-11-14T22:13:20Z  0.500 s  bb
";
    assert_eq!(after, expected);
    assert!(text(&server, &["message", "show", "m3"]).await.contains("tried until: 2023-11-15T22:13:20Z ("));
    let answer = json(&server, &["message", "show", "m2"]).await;
    assert_eq!(answer["feeMsat"], json!("1500"));
    assert_eq!(answer["attempts"][1]["paymentHash"], json!("bb"));
    assert_eq!(server.asked::<GetMessageRequest>()[0].id, "m2");
}

#[tokio::test]
async fn messages_are_a_table_newest_first() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["message", "list"])).await;
    let expected = "\
ACCEPTED              STATE   SERVICE  TO    SAT    FEE  PARTS  ID  ERROR
2023-11-14T22:13:20Z  queued  message  02ab    3  1.500    0/2  m3
2023-11-14T22:13:20Z  failed  message  02ab    2  1.500    2/2  m2  no route\\u{1b}[2J
";
    assert_eq!((code(&done), stdout(&done)), (0, expected));
    assert_eq!(stderr(&done), "imp: there are more: --cursor 2, or --all\n");
    let older = text(&server, &["message", "list", "--cursor", "2"]).await;
    assert!(older.contains("m1") && !older.contains("m2"), "{older}");
}

#[tokio::test]
async fn all_pages_are_one_list() {
    let server = TestServer::start().await;
    let args =
        ["message", "list", "--all", "--state", "failed,unknown", "--to", PEER, "--service", "message"];
    let answer = json(&server, &args).await;
    let ids: Vec<&Value> =
        answer["messages"].as_array().unwrap().iter().map(|message| &message["id"]).collect();
    assert_eq!(ids, ["m3", "m2", "m1"]);
    assert_eq!(answer.get("nextCursor"), None);
    let request = ListMessagesRequest {
        limit: 1000,
        cursor: 0,
        state: "failed,unknown".into(),
        pubkey: PEER.into(),
        service: "message".into(),
    };
    let next = ListMessagesRequest { cursor: 2, ..request.clone() };
    assert_eq!(server.asked::<ListMessagesRequest>(), [request, next]);
    // A page is for programs what REST gives: with the cursor of the next one, and without a note.
    assert_eq!(json(&server, &["message", "list", "--limit", "1"]).await["nextCursor"], json!("3"));
}

#[tokio::test]
async fn a_message_that_failed_is_sent_again() {
    let server = TestServer::start().await;
    assert_eq!(text(&server, &["message", "retry", "m2"]).await, "id: m2\n");
    assert_eq!(json(&server, &["message", "retry", "m2"]).await, json!({"id": "m2"}));
    assert_eq!(server.asked::<RetryMessageRequest>()[0].id, "m2");
}

#[tokio::test]
async fn events_are_listed_oldest_first() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["events", "list", "--after", "1", "--limit", "2"])).await;
    let expected = "\
2023-11-14T22:13:22Z message from 02ab, 2 sat
  id e2, cursor 2
    text 2
2023-11-14T22:13:23Z message from 02ab, 3 sat, late
  id e3, cursor 3
    text 3
";
    assert_eq!((code(&done), stdout(&done)), (0, expected));
    assert_eq!(stderr(&done), "imp: there are more: --after 3, or --all\n");
    assert_eq!(text(&server, &["events", "list", "--after", "5"]).await, "no events\n");
}

#[tokio::test]
async fn all_pages_of_events_are_one_list() {
    let server = TestServer::start().await;
    let args = ["events", "list", "--all", "--service", "message,lightning", "--include", "lightning"];
    let answer = json(&server, &args).await;
    let cursors: Vec<&Value> =
        answer["events"].as_array().unwrap().iter().map(|event| &event["cursor"]).collect();
    assert_eq!(cursors, ["1", "2", "3", "4", "5"]);
    assert_eq!((&answer["more"], &answer["nextAfter"]), (&json!(false), &json!("5")));
    let asked = server.asked::<ListEventsRequest>();
    assert_eq!(asked.iter().map(|request| request.after).collect::<Vec<_>>(), [None, Some(2), Some(4)]);
    assert_eq!((asked[0].limit, asked[0].service.as_str()), (1000, "message,lightning"));
    assert_eq!(asked[2].include, "lightning");
}
