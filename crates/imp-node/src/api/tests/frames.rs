//! The websocket byte by byte, also with bytes that no library would send.

use super::*;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const HANDSHAKE: &str = "GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A frame as a client sends it: masked, with a mask that changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

async fn open(node: &TestNode) -> TcpStream {
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    stream.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// The first byte and the payload of the next frame.
async fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let read = async {
        let first = stream.read_u8().await.unwrap();
        let length = match stream.read_u8().await.unwrap() {
            126 => u64::from(stream.read_u16().await.unwrap()),
            127 => stream.read_u64().await.unwrap(),
            length => u64::from(length),
        };
        assert!(length < 1 << 31, "servers do not mask");
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        (first, payload)
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a frame comes")
}

/// The code of the close frame that comes next, after which the node closes the connection.
async fn assert_closed(stream: &mut TcpStream, code: u16) {
    let (first, payload) = frame(stream).await;
    assert_eq!((first, u16::from_be_bytes([payload[0], payload[1]])), (FIN | CLOSE, code));
    let mut rest = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the node closes");
    assert!(end.is_err() || rest.is_empty(), "nothing follows a close");
}

#[tokio::test]
async fn an_event_is_one_text_frame_whatever_its_size() {
    let node = TestNode::start().await;
    let mut stream = open(&node).await;
    for bytes in [0, 1, 60_000, 65_535, 65_536, 66_000, 432_000] {
        node.publish(SubscribeResponse { data: "é".repeat(bytes / 2), ..event("e") });
        let (first, payload) = frame(&mut stream).await;
        assert_eq!(first, FIN | TEXT);
        let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(json["result"]["data"].as_str().unwrap().len(), bytes / 2 * 2);
        assert!(!payload.ends_with(b"\n"));
    }
}

#[tokio::test]
async fn pings_are_answered_between_the_pieces_of_what_a_client_says() {
    let node = TestNode::start().await;
    let mut stream = open(&node).await;
    for round in 0..3 {
        stream.write_all(&masked(TEXT, b"some")).await.unwrap();
        stream.write_all(&masked(FIN | PING, b"p")).await.unwrap();
        assert_eq!(frame(&mut stream).await, (FIN | PONG, b"p".to_vec()), "round {round}");
        stream.write_all(&masked(CONTINUATION, b"thi")).await.unwrap();
        stream.write_all(&masked(FIN | CONTINUATION, b"ng")).await.unwrap();
        stream.write_all(&masked(FIN | PONG, b"unasked for")).await.unwrap();
        node.publish(event("e"));
        assert_eq!(frame(&mut stream).await.0, FIN | TEXT);
    }
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_how() {
    let node = TestNode::start().await;
    let unmasked = [&[FIN | TEXT, 2][..], b"hi"].concat();
    let over_4_mib = [&[FIN | TEXT, 0x80 | 127][..], &5_000_000_u64.to_be_bytes(), &[0; 4]].concat();
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("reserved bit", masked(FIN | 0x40 | TEXT, b"x"), 1002),
        ("reserved opcode", masked(FIN | 3, b"x"), 1002),
        ("continuation of nothing", masked(FIN | CONTINUATION, b"x"), 1002),
        ("ping in pieces", masked(PING, b"x"), 1002),
        ("long ping", masked(FIN | PING, &[b'x'; 126]), 1002),
        ("no UTF-8", masked(FIN | TEXT, b"\xff"), 1007),
        ("too large", over_4_mib, 1009),
    ] {
        let mut stream = open(&node).await;
        stream.write_all(&bytes).await.unwrap();
        println!("{what}");
        assert_closed(&mut stream, code).await;
    }
}

#[tokio::test]
async fn a_close_is_echoed_and_ends_the_connection() {
    let node = TestNode::start().await;
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut stream = open(&node).await;
        stream.write_all(&masked(FIN | CLOSE, &code.to_be_bytes())).await.unwrap();
        assert_closed(&mut stream, code).await;
    }
    let mut stream = open(&node).await;
    stream.write_all(&masked(FIN | CLOSE, b"")).await.unwrap();
    assert_eq!(frame(&mut stream).await, (FIN | CLOSE, Vec::new()));
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_ends_its_subscription() {
    let node = TestNode::start().await;
    let stream = open(&node).await;
    assert_eq!(node.events.receiver_count(), 1);
    drop(stream);
    tokio::time::timeout(PATIENCE, async {
        while node.events.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the subscription ends");
}

#[tokio::test]
async fn a_stopping_node_says_1001_and_takes_the_answer() {
    let node = TestNode::start().await;
    let mut stream = open(&node).await;
    node.shutdown.cancel();
    let (first, payload) = frame(&mut stream).await;
    assert_eq!((first, &payload[..2]), (FIN | CLOSE, &1001_u16.to_be_bytes()[..]));
    stream.write_all(&masked(FIN | CLOSE, &payload[..2])).await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_handshake_that_is_none_is_refused_with_a_status() {
    let node = TestNode::start().await;
    let close = HANDSHAKE.replace("Connection: Upgrade", "Connection: Upgrade, close");
    for (what, handshake) in [
        ("version 8", close.replace("Version: 13", "Version: 8")),
        ("no version", close.replace("Sec-WebSocket-Version: 13\r\n", "")),
        ("no key", close.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("no connection", close.replace("Connection: Upgrade, close", "Connection: close")),
    ] {
        let answer = node.raw(&handshake).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{what}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nsec-websocket-version: 13\r\n"), "{what}: {answer}");
        let body = r#"{"code":3,"message":"this is no websocket handshake: "#;
        assert!(answer.contains(body) && answer.ends_with(r#","details":[]}"#), "{what}: {answer}");
    }
    let posted = node.raw(close.replace("GET", "POST")).await;
    assert!(posted.starts_with("HTTP/1.1 501 "), "{posted}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_socket_is_left_alone() {
    let node = TestNode::start().await;
    let mut stream = open(&node).await;
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    node.publish(event("e"));
    assert_eq!(stream.read_u8().await.unwrap(), FIN | TEXT, "and nothing was sent before, no ping either");
}
