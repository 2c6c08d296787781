//! Many clients at once, most of which do nothing.

use super::*;
use crate::runtime::files;

const HALF_OPEN: usize = 50;
const IDLE: usize = 200;
const BUSY: usize = 20;

#[tokio::test]
async fn a_crowd_of_idle_and_half_open_clients_leaves_the_others_working() {
    // Both ends of all connections are in this process.
    files::raise_limit().unwrap();
    let node = TestNode::start().await;
    let mut half_open = Vec::new();
    for n in 0..HALF_OPEN {
        let (address, begun) = match n % 5 {
            0 => (node.http, "POST /v1/message/send HT"),
            1 => {
                (node.http, "POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            }
            2 => (node.http, ""),
            3 => (node.grpc, "PRI * HTTP/2.0\r\n\r\n"),
            _ => (node.grpc, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        };
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        half_open.push(stream);
    }
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let url = format!("ws://{}/v1/subscribe", node.http);
        idle.push(tokio_tungstenite::connect_async(url).await.unwrap().0);
    }
    let client = node.client().await;
    let busy = (0..BUSY).map(|n| {
        let (node, client) = (&node, &client);
        async move {
            for round in 0..10 {
                let msg = format!("{n}.{round}");
                let (status, answer) = node.post("/v1/message/send", format!(r#"{{"msg":"{msg}"}}"#)).await;
                assert_eq!((status, answer), (200, format!(r#"{{"id":"{msg}||0|"}}"#)));
                let ask = SendMessageRequest { msg: msg.clone(), ..Default::default() };
                assert_eq!(client.send_message(ask).await.unwrap().id, format!("{msg}||0|"));
            }
        }
    });
    tokio::time::timeout(PATIENCE, futures_util::future::join_all(busy))
        .await
        .expect("the others are served");
    node.publish(event("e"));
    for socket in &mut idle {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.expect("each gets the event");
        assert!(frame.unwrap().unwrap().into_text().unwrap().contains(r#""id":"e""#));
    }
    drop(idle);
    tokio::time::timeout(PATIENCE, async {
        while node.events.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("their subscriptions end with them");
    node.stop().await;
}

#[tokio::test]
async fn clients_beyond_the_limit_wait_for_a_place() {
    files::raise_limit().unwrap();
    let node = TestNode::start().await;
    let mut held = Vec::new();
    for _ in 0..super::super::serve::MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(node.http).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        // It is answered, so it has its place, and keeps it.
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    let mut waiting = TcpStream::connect(node.http).await.unwrap();
    waiting.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), waiting.read_u8()).await;
    assert!(early.is_err(), "there is no place");
    held.pop();
    let answer = tokio::time::timeout(PATIENCE, waiting.read_u8()).await.expect("a place came free");
    assert_eq!(answer.unwrap(), b'H');
}
