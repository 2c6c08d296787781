use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::*;

type Socket = tokio_tungstenite::WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(node: &TestNode, query: &str) -> Socket {
    let url = format!("ws://{}/v1/subscribe{query}", node.http);
    tokio_tungstenite::connect_async(url).await.unwrap().0
}

/// The next message of any kind.
async fn next(socket: &mut Socket) -> Message {
    timeout(PATIENCE, socket.next()).await.expect("a message comes").expect("the socket stands").unwrap()
}

async fn next_text(socket: &mut Socket) -> Utf8Bytes {
    match next(socket).await {
        Message::Text(text) => text,
        other => panic!("no text frame: {other:?}"),
    }
}

async fn close_code(socket: &mut Socket) -> CloseCode {
    match next(socket).await {
        Message::Close(Some(frame)) => frame.code,
        other => panic!("no close frame: {other:?}"),
    }
}

#[tokio::test]
async fn each_event_is_one_text_frame_to_every_subscriber() {
    let node = TestNode::start().await;
    let (mut one, mut two) = (connect(&node, "").await, connect(&node, "?token=ignored").await);
    let mut grpc = node.client().await.subscribe(SubscribeRequest::default()).await.unwrap();
    node.publish(event("e1"));
    node.publish(event("e2"));
    let expected = r#"{"result":{"id":"e1","replyToId":"","fromPubkey":"","data":"","serviceType":"message","amount":"1"}}"#;
    for socket in [&mut one, &mut two] {
        assert_eq!(next_text(socket).await, expected);
        assert!(next_text(socket).await.contains(r#""id":"e2""#));
    }
    assert_eq!(grpc.position(), Some(41));
    assert_eq!(grpc.next().await.unwrap(), Some(event("e1")));
}

#[tokio::test]
async fn what_a_client_sends_is_ignored_and_its_pings_are_answered() {
    let node = TestNode::start().await;
    let mut socket = connect(&node, "").await;
    for _ in 0..3 {
        socket.send(Message::text("something")).await.unwrap();
        socket.send(Message::binary(vec![0xff; 100_000])).await.unwrap();
        socket.send(Message::Ping("p".into())).await.unwrap();
        assert_eq!(next(&mut socket).await, Message::Pong("p".into()));
        node.publish(event("e"));
        assert!(next_text(&mut socket).await.contains(r#""id":"e""#));
    }
}

#[tokio::test]
async fn a_large_event_arrives_whole() {
    let node = TestNode::start().await;
    let mut socket = connect(&node, "").await;
    let data = "é\"".repeat(2_000_000);
    node.publish(SubscribeResponse { data: data.clone(), ..event("e") });
    let frame: Value = serde_json::from_str(&next_text(&mut socket).await).unwrap();
    assert_eq!(frame["result"]["data"], json!(data));
}

#[tokio::test]
async fn a_close_is_answered() {
    let node = TestNode::start().await;
    let mut socket = connect(&node, "").await;
    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut socket).await, Message::Close(_)));
    assert!(timeout(PATIENCE, socket.next()).await.unwrap().is_none(), "the node closes the connection too");
    timeout(PATIENCE, async {
        while node.events.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the subscription ends");
}

#[tokio::test]
async fn only_the_subprotocol_bearer_is_echoed() {
    let node = TestNode::start().await;
    let mut request = format!("ws://{}/v1/subscribe", node.http).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "Bearer, token".parse().unwrap());
    let (_, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "Bearer");

    let handshake = "Host: localhost\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: soap\r\n";
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    let request = format!("GET /v1/subscribe HTTP/1.1\r\nConnection: Upgrade\r\n{handshake}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && !head.contains("sec-websocket-protocol"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
}

#[tokio::test]
async fn an_error_is_a_frame_and_then_a_close() {
    let node = TestNode::start().await;
    let mut socket = connect(&node, "?after=-1").await;
    assert_eq!(
        next_text(&mut socket).await,
        r#"{"error":{"code":11,"message":"the oldest cursor is 0","details":[]}}"#
    );
    assert_eq!(close_code(&mut socket).await, CloseCode::Policy);

    let mut socket = connect(&node, "?after=x").await;
    assert!(next_text(&mut socket).await.starts_with(r#"{"error":{"code":3,"#));
    assert_eq!(close_code(&mut socket).await, CloseCode::Policy);

    let mut socket = connect(&node, "").await;
    node.publish(event("e"));
    node.events.send(Err(Status::internal("broke"))).unwrap();
    assert!(next_text(&mut socket).await.starts_with(r#"{"result":"#));
    assert_eq!(next_text(&mut socket).await, r#"{"error":{"code":13,"message":"broke","details":[]}}"#);
    assert_eq!(close_code(&mut socket).await, CloseCode::Error);
}

#[tokio::test]
async fn an_upgrade_elsewhere_or_by_a_page_of_another_site_is_refused_before_it_happens() {
    let node = TestNode::start().await;
    let status = |url: String, origin: Option<&'static str>| async move {
        let mut request = url.into_client_request().unwrap();
        if let Some(origin) = origin {
            request.headers_mut().insert("Origin", origin.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((_, answer)) => answer.status().as_u16(),
            Err(WsError::Http(answer)) => answer.status().as_u16(),
            Err(error) => panic!("{error}"),
        }
    };
    let subscribe = format!("ws://{}/v1/subscribe", node.http);
    assert_eq!(status(format!("ws://{}/", node.http), None).await, 404);
    assert_eq!(status(format!("ws://{}/v1/message/send", node.http), None).await, 501);
    assert_eq!(status(subscribe.clone(), Some("https://evil.example")).await, 403);
    assert_eq!(status(subscribe.clone(), Some("https://app.example")).await, 101);
    assert_eq!(status(subscribe, None).await, 101);
    let no_key = "Host: localhost\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let answer =
        node.raw(format!("GET /v1/subscribe HTTP/1.1\r\nConnection: upgrade, close\r\n{no_key}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(r#"{"code":3,"#), "{answer}");
}

#[tokio::test]
async fn the_http_stream_has_its_headers_at_once_and_a_line_for_each_event() {
    let node = TestNode::start().await;
    let answer =
        timeout(PATIENCE, reqwest::get(node.url("/v1/subscribe"))).await.expect("headers come").unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["transfer-encoding"], "chunked");
    assert_eq!(answer.headers()[CURSOR_METADATA], "41");
    node.publish(event("e1"));
    node.publish(event("e2"));
    node.events.send(Err(Status::unavailable("later"))).unwrap();
    let text = timeout(PATIENCE, answer.text()).await.expect("an error ends the stream").unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with(r#"{"result":{"id":"e1","#));
    assert!(lines[1].starts_with(r#"{"result":{"id":"e2","#));
    assert_eq!(lines[2], r#"{"error":{"code":14,"message":"later","details":[]}}"#);
}

#[tokio::test]
async fn a_stream_that_cannot_begin_is_a_plain_error() {
    let node = TestNode::start().await;
    for (query, status, code) in [("after=-1", 400, 11), ("after=x", 400, 3), ("cursor=x", 400, 3)] {
        let answer = reqwest::get(node.url(&format!("/v1/subscribe?{query}"))).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], json!(code), "{query}");
    }
}

#[tokio::test]
async fn subscriptions_end_with_a_word_when_the_node_stops() {
    let node = TestNode::start().await;
    let mut socket = connect(&node, "").await;
    let stream = reqwest::get(node.url("/v1/subscribe")).await.unwrap();
    node.shutdown.cancel();
    assert_eq!(close_code(&mut socket).await, CloseCode::Away);
    assert_eq!(timeout(PATIENCE, stream.text()).await.expect("the stream ends").unwrap(), "");
    // The close frame is answered by reading on.
    assert!(timeout(PATIENCE, socket.next()).await.unwrap().is_none());
    node.stop().await;
}
