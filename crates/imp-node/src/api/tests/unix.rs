use std::os::unix::fs::PermissionsExt;

use imp_api::proto::messaging::messaging_client::MessagingClient;
use tokio::net::UnixStream;
use tonic::transport::Endpoint;

use super::super::unix::{FILE_NAME, OwnerSocket, SocketError};
use super::*;

/// Sends bytes to the owner's socket and reads until the node closes.
async fn raw(node: &TestNode, bytes: &str) -> String {
    let mut stream = UnixStream::connect(&node.owner).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("the node closes")
        .unwrap();
    answer
}

fn send(msg: &str, headers: &str) -> String {
    let body = format!(r#"{{"msg":"{msg}"}}"#);
    let length = body.len();
    format!(
        "POST /v1/message/send HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

#[tokio::test]
async fn rest_grpc_and_events_are_served_as_the_owners() {
    let node = TestNode::start().await;
    let answer = raw(&node, &send("who", "Host: localhost\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(r#"{"id":"owner"}"#), "{answer}");

    let client = Client::connect(&format!("unix:{}", node.owner.display())).await.unwrap();
    let ask = SendMessageRequest { msg: "who".into(), ..Default::default() };
    assert_eq!(client.send_message(ask).await.unwrap().id, "owner");
    let mut events = client.subscribe(SubscribeRequest::default()).await.unwrap();
    node.publish(event("e"));
    assert_eq!(events.next().await.unwrap(), Some(event("e")));

    let stream = UnixStream::connect(&node.owner).await.unwrap();
    let (mut socket, _) =
        tokio_tungstenite::client_async("ws://localhost/v1/subscribe", stream).await.unwrap();
    node.publish(event("f"));
    assert!(socket.next().await.unwrap().unwrap().into_text().unwrap().contains(r#""id":"f""#));
    node.stop().await;
}

#[tokio::test]
async fn the_host_does_not_matter_but_the_origin_does() {
    let node = TestNode::start().await;
    for headers in
        ["", "Host: imp\r\n", "Host: evil.example\r\n", "Host: imp\r\nOrigin: https://app.example\r\n"]
    {
        let answer = raw(&node, &send("who", headers)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{headers}: {answer}");
    }
    for headers in [
        "Host: imp\r\nOrigin: https://evil.example\r\n",
        "Host: evil.example\r\nOrigin: http://evil.example\r\n",
        "Host: localhost\r\nOrigin: http://localhost\r\n",
        "Host: imp\r\nSec-Fetch-Site: cross-site\r\n",
    ] {
        let answer = raw(&node, &send("who", headers)).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{headers}: {answer}");
    }
}

#[tokio::test]
async fn the_rules_hold_for_grpc_too() {
    let node = TestNode::start().await;
    let endpoint = Endpoint::from_shared(format!("unix:{}", node.owner.display())).unwrap();
    let channel = endpoint.origin("http://evil.example".parse().unwrap()).connect().await.unwrap();
    let mut client = MessagingClient::new(channel);
    let ask = |origin: Option<&'static str>| {
        let mut request = Request::new(SendMessageRequest { msg: "who".into(), ..Default::default() });
        if let Some(origin) = origin {
            request.metadata_mut().insert("origin", origin.parse().unwrap());
        }
        request
    };
    assert_eq!(client.send_message(ask(None)).await.unwrap().into_inner().id, "owner");
    assert!(client.send_message(ask(Some("https://app.example"))).await.is_ok());
    let refused = client.send_message(ask(Some("http://evil.example"))).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_connection_may_begin_in_pieces_and_end_at_any_of_them() {
    let node = TestNode::start().await;
    for length in 0..24 {
        let mut stream = UnixStream::connect(&node.owner).await.unwrap();
        stream.write_all(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..length]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
    }
    let mut stream = UnixStream::connect(&node.owner).await.unwrap();
    for byte in send("who", "Host: localhost\r\n").into_bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(r#"{"id":"owner"}"#), "{answer}");
}

#[tokio::test]
async fn half_open_connections_end_with_the_node_and_so_does_the_file() {
    let node = TestNode::start().await;
    let mut silent = Vec::new();
    for begun in ["", "P", "PRI * HTTP/2.0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /health HTTP/1.1\r\n"] {
        let mut stream = UnixStream::connect(&node.owner).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert!(raw(&node, &send("who", "")).await.starts_with("HTTP/1.1 200 "));
    let path = node.owner.clone();
    node.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn only_the_user_may_open_it_and_a_stale_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    // What a killed daemon leaves: nobody listens, the file is there.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let socket = OwnerSocket::bind(dir.path()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(socket.path(), path);
    drop(socket);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone_and_a_path_too_long_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), "precious").unwrap();
    let refused = OwnerSocket::bind(dir.path()).unwrap_err();
    assert!(matches!(refused, SocketError::Occupied { .. }), "{refused}");
    assert_eq!(std::fs::read(dir.path().join(FILE_NAME)).unwrap(), b"precious");

    let base = dir.path().as_os_str().len();
    for (path_bytes, fits) in [(107, true), (108, false), (200, false)] {
        let deep = dir.path().join("d".repeat(path_bytes - base - 2 - FILE_NAME.len()));
        std::fs::create_dir(&deep).unwrap();
        match OwnerSocket::bind(&deep) {
            Ok(socket) => assert!(fits && socket.path().as_os_str().len() == path_bytes),
            Err(error) => assert!(!fits && matches!(error, SocketError::TooLong { .. }), "{error}"),
        }
    }
}
