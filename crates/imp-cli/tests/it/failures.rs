//! What is told of failures: a line, a hint, an exit code.

use std::process::{Output, Stdio};

use imp_api::error::{Code, ErrorInfo, StatusBody};
use imp_api::proto::imp::node::v1::GetNodeRequest;
use imp_api::proto::messaging::SendMessageRequest;
use prost::{Message, Name};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use super::server::{TestServer, UNREACHABLE};
use super::{PEER, code, end_of, imp, interrupt, run, stderr, stdout};

const SEND: [&str; 4] = ["message", "send", PEER, "hi"];
const SEND_WITH_KEY: [&str; 6] = ["message", "send", PEER, "hi", "--key", "k"];

/// The hint in what a command told, or nothing.
fn hint(done: &Output) -> &str {
    stderr(done).lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default()
}

#[tokio::test]
async fn a_refusal_is_one_line_and_exit_code_1() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["message", "send", UNREACHABLE, "hi"])).await;
    assert_eq!((code(&done), stdout(&done)), (1, ""));
    let first = stderr(&done).lines().next().unwrap();
    assert_eq!(first, "imp: send failed: no route\\nat all (UNAVAILABLE)");
}

#[tokio::test]
async fn each_reason_has_its_hint_and_its_exit_code() {
    let server = TestServer::start().await;
    let all: [(Code, &str, &[&str], &str, i32); 25] = [
        (
            Code::Unavailable,
            "UNAVAILABLE",
            &["node", "balance"],
            "`imp node info` tells how the node stands, and while it starts its /ready does",
            1,
        ),
        (
            Code::Unavailable,
            "NO_ROUTE",
            &SEND,
            "`imp channel list` shows whether a channel is usable; open one: \
             `imp channel open NODE@HOST:PORT SAT`",
            1,
        ),
        (
            Code::FailedPrecondition,
            "INSUFFICIENT_BALANCE",
            &["keysend", PEER, "5"],
            "`imp node balance` shows what can be sent now",
            1,
        ),
        (
            Code::PermissionDenied,
            "OWNER_ONLY",
            &["wallet", "address"],
            "run it on the node's machine, with a loopback --addr or with --data-dir",
            1,
        ),
        (
            Code::OutOfRange,
            "CURSOR_OUT_OF_RANGE",
            &["events", "list", "--after", "5"],
            "`imp events list` begins with the oldest that is kept",
            1,
        ),
        (
            Code::NotFound,
            "INVOICE_NOT_FOUND",
            &["invoice", "check", "ln1"],
            "only the node that made an invoice can tell: `imp invoice list` shows yours",
            1,
        ),
        (
            Code::NotFound,
            "MESSAGE_NOT_FOUND",
            &["message", "show", "m1"],
            "`imp message list` shows those that are kept",
            1,
        ),
        (
            Code::NotFound,
            "PEER_NOT_FOUND",
            &["federate", "show", PEER],
            "`imp federate list` shows those that the node remembers",
            1,
        ),
        (
            Code::FailedPrecondition,
            "NO_REQUEST",
            &["federate", "accept", PEER],
            "`imp federate list --state pending` shows those that wait",
            1,
        ),
        (
            Code::AlreadyExists,
            "NAME_TAKEN",
            &["federate", "name", PEER, "bob"],
            "`imp federate name NODE --none` takes the name from it",
            1,
        ),
        (
            Code::NotFound,
            "OFFER_NOT_FOUND",
            &["socket", "connect", "e1"],
            "`imp events list --service socket` shows what was offered",
            1,
        ),
        (
            Code::NotFound,
            "RELAY_NOT_FOUND",
            &["socket", "send", PEER, "--relay", "r1"],
            "`imp socket list` shows those that run",
            1,
        ),
        (
            Code::ResourceExhausted,
            "NO_FREE_PORTS",
            &["socket", "open"],
            "`imp socket list` shows the relays that run, and `imp socket close ID` ends one",
            1,
        ),
        (
            Code::NotFound,
            "NOT_FOUND",
            &["channel", "close", "5"],
            "`imp channel list` shows what there is",
            1,
        ),
        (
            Code::Unavailable,
            "RETRIES_EXHAUSTED",
            &SEND,
            "`imp message retry m7` sends what is missing; with --keep the node goes on trying",
            1,
        ),
        (
            Code::ResourceExhausted,
            "OUTBOX_FULL",
            &SEND,
            "wait until what is under way has ended, and run it again",
            1,
        ),
        (
            Code::AlreadyExists,
            "IDEMPOTENCY_KEY_USED",
            &SEND_WITH_KEY,
            "a --key belongs to one request: choose another, or none",
            1,
        ),
        (
            Code::AlreadyExists,
            "PAYMENT_KNOWN",
            &["invoice", "pay", "ln1"],
            "`imp payment list` shows the payment",
            1,
        ),
        (Code::DeadlineExceeded, "", &SEND, "`imp message show m7` tells what becomes of it", 5),
        (Code::Unknown, "OUTCOME_UNKNOWN", &SEND, "`imp message show m7` tells what becomes of it", 5),
        (
            Code::DeadlineExceeded,
            "UNCONFIRMED",
            &["invoice", "pay", "ln1", "--key", "k"],
            "it may still be done: run it again with the same --key, and nothing is done twice",
            5,
        ),
        (
            Code::DeadlineExceeded,
            "UNCONFIRMED",
            &["invoice", "pay", "ln1"],
            "it may still be done: look with `imp payment list` before you run it again; \
             with --key it could be repeated safely",
            5,
        ),
        (Code::Unknown, "", &["node", "info"], "", 1),
        (Code::InvalidArgument, "INVALID_FIELD", &SEND, "", 1),
        (Code::PermissionDenied, "HOST_REFUSED", &SEND, "", 1),
    ];
    for (refused, reason, args, expected, exit) in all {
        let mut body = StatusBody::new(refused, "it went wrong");
        if !reason.is_empty() || args == SEND {
            let info = ErrorInfo::new(reason);
            body.info = Some(if args == SEND { info.with("messageId", "m7") } else { info });
        }
        server.refuse(body);
        let done = run(imp(&server.addr(), args)).await;
        assert_eq!((code(&done), stdout(&done)), (exit, ""), "{refused} {reason} {args:?}");
        assert_eq!(hint(&done), expected, "{refused} {reason} {args:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_json_for_those_who_want_json() {
    let server = TestServer::start().await;
    let info = Some(ErrorInfo::new("NO_ROUTE").with("messageId", "m7"));
    server.refuse(StatusBody { info, ..StatusBody::new(Code::Unavailable, "send failed") });
    let done = run(imp(&server.addr(), &[&SEND[..], &["--json"]].concat())).await;
    let printed: Value = serde_json::from_str(stdout(&done)).unwrap();
    let details = &printed["details"][0];
    assert_eq!((code(&done), &printed["code"], &printed["message"]), (1, &json!(14), &json!("send failed")));
    assert_eq!((&details["reason"], &details["metadata"]), (&json!("NO_ROUTE"), &json!({"messageId": "m7"})));
    assert!(stderr(&done).starts_with("imp: send failed (UNAVAILABLE)\nhint: "), "{}", stderr(&done));
}

#[tokio::test]
async fn a_node_that_is_not_there_is_exit_code_3_and_a_hint() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for args in [&["node", "info"][..], &["watch"], &["invoice", "pay", "ln"], &SEND_WITH_KEY] {
        let done = run(imp(&free.to_string(), args)).await;
        let expected = format!(
            "imp: no IMP node answers at {free}: is impd running?\n\
             hint: --addr, --data-dir or IMP_ADDR name another node\n"
        );
        assert_eq!((code(&done), stderr(&done)), (3, expected.as_str()), "{args:?}");
    }
    let done = run(imp("", &["node", "info", "--data-dir", "/nowhere"])).await;
    assert!(stderr(&done).contains("at unix:/nowhere/imp.sock:"), "{}", stderr(&done));
    assert_eq!(code(&done), 3);
}

/// Takes connections, reads the greeting of HTTP/2 and ends each with this answer.
async fn no_grpc(answer: &'static [u8]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The caller may be gone by then.
            let _read = stream.read_exact(&mut [0; 24]).await;
            let _written = stream.write_all(answer).await;
        }
    });
    addr
}

#[tokio::test]
async fn a_port_that_is_not_grpc_is_named() {
    let port = "gRPC is another port than REST: --addr is the node's server.grpc_addr, port 8881 by default, \
                and not its server.http_addr, port 8882";
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b""] {
        let addr = no_grpc(answer).await;
        for args in [&["node", "info"][..], &["watch"]] {
            let done = run(imp(&addr, args)).await;
            assert_eq!((code(&done), stdout(&done), hint(&done)), (3, "", port), "{}", stderr(&done));
        }
        let done = run(imp(&addr, &SEND_WITH_KEY)).await;
        let expected = format!(
            "{port}; if that is right, it may have been done: run it again with the same --key, \
             and nothing is done twice"
        );
        assert_eq!((code(&done), hint(&done)), (5, expected.as_str()), "{}", stderr(&done));
    }
}

/// A command whose call has come to the server and is not answered.
async fn held<Q: Message + Name + Default>(server: &TestServer, args: &[&str]) -> Child {
    server.hold(true);
    let mut command = imp(&server.addr(), args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.asked_times::<Q>(1).await;
    child
}

#[tokio::test]
async fn a_node_that_ends_during_a_call_leaves_a_doubt_that_is_named() {
    for (args, expected, exit) in [
        (
            &SEND_WITH_KEY[..],
            "it may have been done: run it again with the same --key, and nothing is done twice",
            5,
        ),
        (
            &SEND,
            "it may have been done: look with `imp message list` before you run it again; \
             with --key it could be repeated safely",
            5,
        ),
    ] {
        let server = TestServer::start().await;
        let child = held::<SendMessageRequest>(&server, args).await;
        server.crash();
        let done = end_of(child).await;
        assert_eq!((code(&done), hint(&done)), (exit, expected), "{}", stderr(&done));
    }
    let server = TestServer::start().await;
    let child = held::<GetNodeRequest>(&server, &["node", "info"]).await;
    server.crash();
    let done = end_of(child).await;
    assert_eq!((code(&done), hint(&done)), (3, "run it again"), "{}", stderr(&done));
}

#[tokio::test]
async fn ctrl_c_ends_the_waiting_and_says_what_goes_on() {
    let server = TestServer::start().await;
    let child = held::<SendMessageRequest>(&server, &SEND_WITH_KEY).await;
    interrupt(&child);
    let done = end_of(child).await;
    let expected = "\
imp: interrupted
hint: it may go on at the node: run it again with the same --key, and nothing is done twice
";
    assert_eq!((code(&done), stdout(&done), stderr(&done)), (130, "", expected));
    let child = held::<GetNodeRequest>(&server, &["node", "info"]).await;
    interrupt(&child);
    let done = end_of(child).await;
    assert_eq!((code(&done), stderr(&done)), (130, "imp: interrupted\n"));
}
