//! Error bodies and event frames, byte by byte, against files that clients can be held to. Written anew by
//! `IMP_REGENERATE_GOLDEN=1 cargo test -p imp-node --lib golden`; what changes there breaks somebody.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::*;

const REGENERATE: &str = "IMP_REGENERATE_GOLDEN";

/// Compares with the file of that name, after writing it anew where that was asked for.
fn assert_golden(name: &str, made: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/tests/golden").join(name);
    if std::env::var_os(REGENERATE).is_some() {
        std::fs::write(&path, format!("{made:#}\n")).unwrap();
    }
    let committed: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (case, made) in made.as_object().unwrap() {
        assert_eq!(made, &committed[case], "{name}: {case}");
    }
    assert_eq!(made, &committed, "{name}");
}

#[tokio::test]
async fn error_bodies_are_those_of_the_file() {
    let node = TestNode::start().await;
    let post = |path: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
    };
    let send = "/v1/message/send";
    let large = format!("{{\"x\":\"{}\"}}", "a".repeat(5_000_001));
    let mut made = Map::new();
    for (name, request) in [
        ("an unknown path", get("/v1/nope", "")),
        ("another verb", get(send, "")),
        ("no key of an object", post(send, "", "{bad")),
        ("a body cut off", post(send, "", r#"{"msg":"a"#)),
        ("no object", post(send, "", "null")),
        ("a byte-order mark", post(send, "", "\u{feff}{}")),
        ("a field twice", post(send, "", r#"{"replyToId":"a","reply_to_id":"b"}"#)),
        ("a number for a text", post("/v1/vpn/contract", "", r#"{"price":100}"#)),
        ("a fraction for a whole number", post(send, "", r#"{"amount":1.5}"#)),
        ("a body too large", post(send, "", &large)),
        ("a service that is not in", post("/v1/vpn/quote", "", "{}")),
        ("a timeout that is none", post(send, "Grpc-Timeout: zz\r\n", "{}")),
        ("a timeout that is over", post(send, "Grpc-Timeout: 1m\r\n", r#"{"msg":"wait"}"#)),
        ("an error of a service", post(send, "", r#"{"msg":"fail"}"#)),
        ("a page of another site", post(send, "Origin: https://evil.example\r\n", "{}")),
        ("a request that another site caused", post(send, "Sec-Fetch-Site: cross-site\r\n", "{}")),
        ("a cursor out of range", get("/v1/subscribe?after=-1", "")),
        ("a parameter that is none", get("/v1/subscribe?after=x", "")),
        ("a handshake that is none", get("/v1/subscribe", "Upgrade: websocket\r\n")),
    ] {
        let answer = node.raw(request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("\r\ncontent-type: application/json\r\n"), "{answer}");
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        made.insert(name.to_owned(), json!({ "status": status, "body": body }));
    }
    assert_golden("errors.json", &made.into());
}

#[tokio::test]
async fn event_frames_are_those_of_the_file() {
    let node = TestNode::start().await;
    let url = format!("ws://{}/v1/subscribe", node.http);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let full = SubscribeResponse {
        id: "5fedffdc-c883-4aaf-95bc-358d7a79b7db".into(),
        reply_to_id: "0c3f7e66-6b0b-4d3c-9d53-6ad8b5c5a3b8".into(),
        from_pubkey: "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".into(),
        data: "{\"type\":\"offer\",\"sdp\":\"v=0\\r\\no=-\"}".into(),
        service_type: "message".into(),
        amount: 1,
        cursor: None,
    };
    let mut made = Map::new();
    for (name, event) in [
        ("an event", full.clone()),
        ("an event with its cursor", SubscribeResponse { cursor: Some(i64::MAX), ..full.clone() }),
        ("an event of nothing", SubscribeResponse::default()),
        (
            "letters of all kinds",
            SubscribeResponse { data: "\0\u{1f}\u{7f} <>&'\"\\/ é 😀 \u{2028}\u{feff}".into(), ..full },
        ),
    ] {
        node.publish(event);
        made.insert(
            name.to_owned(),
            socket.next().await.unwrap().unwrap().into_text().unwrap().as_str().into(),
        );
    }
    let body = StatusBody {
        info: Some(ErrorInfo::new("CURSOR_OUT_OF_RANGE").with("oldest", "7")),
        ..StatusBody::new(Code::OutOfRange, "events were let go")
    };
    node.events.send(Err(body.into())).unwrap();
    made.insert(
        "an error".to_owned(),
        socket.next().await.unwrap().unwrap().into_text().unwrap().as_str().into(),
    );
    assert_golden("frames.json", &made.into());
}
