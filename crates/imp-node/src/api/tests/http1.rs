//! HTTP/1 in the forms that clients and attackers give it.

use tokio::time::Instant;

use super::*;

const ECHO_A: &str = r#"{"id":"a||0|"}"#;

/// The head and the body of an answer that was read to its end.
fn parts(answer: &str) -> (String, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_lowercase(), body)
}

/// A POST that ends its connection.
fn post(body: &[u8], headers: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Reads one answer of known length and leaves the connection open.
async fn one_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8_lossy(&answer).to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.expect("a length").parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        answer.extend(body);
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn bodies_are_read_as_in_2021() {
    let node = TestNode::start().await;
    let cases: &[(&[u8], u16, &str)] = &[
        (b"", 200, r#"{"id":"||0|"}"#),
        (b" \r\n\t ", 200, r#"{"id":"||0|"}"#),
        (b"{}", 200, r#"{"id":"||0|"}"#),
        (br#"{"msg":"a","Msg":"b","x":{"y":[{}]}}"#, 200, ECHO_A),
        (br#"{"msg":"a","pubkey":null,"amount":null}"#, 200, ECHO_A),
        (br#"{"msg":"a"}{"msg":"b"}"#, 200, ECHO_A),
        (b"{\"msg\":\"a\"} \xff rubbish", 200, ECHO_A),
        (br#"{"msg":"a\u0000b"}"#, 200, r#"{"id":"a\u0000b||0|"}"#),
        (br#"{"amount":"1e2"}"#, 200, r#"{"id":"||100|"}"#),
        (br#"{"amount":10.0}"#, 200, r#"{"id":"||10|"}"#),
        (br#"{"amount":-5}"#, 200, r#"{"id":"||-5|"}"#),
        (br#"{"reply_to_id":"r"}"#, 200, r#"{"id":"||0|r"}"#),
        (b"null", 400, "unexpected token null"),
        (b"[]", 400, "unexpected token ["),
        (b"{bad", 400, "looking for beginning of object key string"),
        (br#"{"msg":"a"#, 400, "unexpected EOF"),
        (b"\xef\xbb\xbf{}", 400, "looking for beginning of value"),
        (b"{\"msg\":\"\xff\"}", 400, "invalid UTF-8 in string"),
        (br#"{"msg":"a","msg":"b"}"#, 400, r#"duplicate field \"msg\""#),
        (br#"{"replyToId":"a","reply_to_id":"b"}"#, 400, r#"duplicate field \"replyToId\""#),
        (br#"{"msg":5}"#, 400, "invalid value for string type: 5"),
        (br#"{"amount":1.5}"#, 400, "invalid value for int64 type: 1.5"),
        (br#"{"amount":9223372036854775808}"#, 400, "invalid value for int64 type"),
        (br#"{"amount":" 10"}"#, 400, "invalid value for int64 type"),
    ];
    for (body, status, expected) in cases {
        let answer = node.raw(post(body, "")).await;
        let (head, answered) = parts(&answer);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{answer}");
        assert!(head.contains("\r\ncontent-type: application/json"), "{answer}");
        if *status == 200 {
            assert_eq!(&answered, expected);
        } else {
            assert!(
                answered.starts_with(r#"{"code":3,"message":""#) && answered.contains(expected),
                "{answer}"
            );
            assert!(answered.ends_with(r#","details":[]}"#), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_packed_body_is_not_unpacked() {
    let node = TestNode::start().await;
    let answer = node.raw(post(b"\x1f\x8b\x08\x00\x00", "Content-Encoding: gzip\r\n")).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("looking for beginning of value"),
        "{answer}"
    );
}

#[tokio::test]
async fn chunks_may_have_extensions_and_trailers() {
    let node = TestNode::start().await;
    let head = "POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTrailer: X\r\n";
    let body = "6;name=value\r\n{\"msg\"\r\n5\r\n:\"a\"}\r\n0\r\nX: 1\r\n\r\n";
    let answer = node.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}")).await;
    assert_eq!(parts(&answer).1, ECHO_A, "{answer}");
    let cut = node.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n")).await;
    assert!(cut.starts_with("HTTP/1.1 400 ") && cut.contains(r#"{"code":3,"#), "{cut}");
}

#[tokio::test]
async fn many_pipelined_requests_are_answered_in_order() {
    let node = TestNode::start().await;
    let one = |n: usize, connection: &str| {
        let body = format!(r#"{{"msg":"m{n}."}}"#);
        let head =
            format!("POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n");
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let requests: String = (0..50).map(|n| one(n, if n < 49 { "keep-alive" } else { "close" })).collect();
    let answers = node.raw(requests).await;
    let places: Vec<usize> = (0..50).map(|n| answers.find(&format!("\"m{n}.|")).expect("answered")).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 50);
}

#[tokio::test]
async fn http_1_0_keeps_a_connection_only_where_it_is_asked_to() {
    let node = TestNode::start().await;
    let request = "POST /v1/message/send HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 11\r\n\r\n{\"msg\":\"a\"}";
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = one_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with(ECHO_A), "{answer}");
        assert!(answer.to_lowercase().contains("\r\nconnection: keep-alive\r\n"), "{answer}");
    }
    let answer = node.raw(request.replace("Connection: keep-alive\r\n", "")).await;
    assert!(answer.ends_with(ECHO_A), "{answer}");
}

#[tokio::test]
async fn http_1_0_streams_events_without_chunks_and_knows_no_upgrade() {
    let node = TestNode::start().await;
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for headers in ["", handshake] {
        let mut stream = TcpStream::connect(node.http).await.unwrap();
        stream.write_all(format!("GET /v1/subscribe HTTP/1.0\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.0 200 ok\r\n") && !head.contains("chunked"), "{head}");
        node.publish(event("e"));
        node.events.send(Err(Status::unavailable("later"))).unwrap();
        let mut body = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut body)).await.expect("it ends").unwrap();
        let (line, error) = body.split_once('\n').unwrap();
        assert!(line.starts_with(r#"{"result":{"id":"e","#), "{body}");
        assert_eq!(error, r#"{"error":{"code":14,"message":"later","details":[]}}"#);
    }
}

#[tokio::test]
async fn targets_are_compared_byte_by_byte() {
    let node = TestNode::start().await;
    let long = format!("/{}", "a".repeat(20_000));
    for (target, status) in [
        ("/health", 200),
        ("/health?x=1#y", 200),
        ("http://127.0.0.1:1/health", 200),
        ("http://localhost/health", 200),
        ("//health", 404),
        ("/health/", 404),
        ("/./health", 404),
        ("/v1/../health", 404),
        ("/%68ealth", 404),
        ("/v1/message%2Fsend", 404),
        ("/v1//message/send", 404),
        ("/v1/message/send%00", 404),
        ("/v1/\u{fc}", 404),
        (&long, 404),
        ("*", 404),
        ("/v1/message/send\0", 400),
        ("/\u{7f}", 400),
        ("health", 403),
        ("", 400),
    ] {
        let answer =
            node.raw(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target:?}: {answer}");
        if status == 404 {
            assert_eq!(parts(&answer).1, r#"{"code":5,"message":"Not Found","details":[]}"#);
        }
    }
    let too_long = format!("/{}", "a".repeat(70_000));
    let answer = node.get_raw(&too_long, "Host: localhost\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_the_connection_closed() {
    let node = TestNode::start().await;
    for request in [
        "nonsense\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET /health HTTP/9.9\r\n\r\n",
        "GET  /health HTTP/1.1\r\n\r\n",
        "G\u{0}T /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /health HTTP/1.1\r\nX: a\0b\r\n\r\n",
        "POST /v1/message/send HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        "POST /v1/message/send HTTP/1.1\r\nContent-Length: -1\r\n\r\n{}",
        "POST /v1/message/send HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        "POST /v1/message/send HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ] {
        let answer = node.raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(node.raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "", "HTTP/2 is spoken elsewhere");
}

#[tokio::test]
async fn a_head_has_no_body_and_a_bare_options_no_preflight() {
    let node = TestNode::start().await;
    let close = "Host: localhost\r\nConnection: close\r\n\r\n";
    for (target, status) in
        [("/v1/message/send", 501), ("/v1/subscribe", 501), ("/v1/nope", 404), ("/health", 200)]
    {
        let answer = node.raw(format!("HEAD {target} HTTP/1.1\r\n{close}")).await;
        let (head, body) = parts(&answer);
        assert!(head.starts_with(&format!("http/1.1 {status} ")) && body.is_empty(), "{answer}");
    }
    let answer = node.raw(format!("OPTIONS /v1/message/send HTTP/1.1\r\n{close}")).await;
    let (head, body) = parts(&answer);
    assert!(head.starts_with("http/1.1 501 ") && !head.contains("\r\nallow"), "{answer}");
    assert_eq!(body, r#"{"code":12,"message":"Method Not Allowed","details":[]}"#);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_to_its_end_and_an_idle_connection_are_closed_after_a_minute() {
    let node = TestNode::start().await;
    for begun in ["", "GET /health HT", "GET /health HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut stream = TcpStream::connect(node.http).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        assert_closed_after_a_minute(stream).await;
    }
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    stream.write_all(b"POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    while stream.read_u8().await.unwrap() != b'}' {}
    assert_closed_after_a_minute(stream).await;
}

async fn assert_closed_after_a_minute(mut stream: TcpStream) {
    let started = Instant::now();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    let waited = started.elapsed().as_secs();
    assert!((59..=61).contains(&waited), "closed after {waited} s");
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 408 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_to_its_end_is_408_after_a_minute() {
    let node = TestNode::start().await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    stream
        .write_all(b"POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(r#"{"code":1,"#), "{answer}");
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn grpc_that_does_not_begin_is_closed_after_a_minute() {
    let node = TestNode::start().await;
    for begun in ["", "PRI * HTTP/2.0\r\n"] {
        let mut stream = TcpStream::connect(node.grpc).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let started = Instant::now();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        let waited = started.elapsed().as_secs();
        assert!((59..=61).contains(&waited), "closed after {waited} s");
    }
}

#[tokio::test]
async fn every_error_of_a_call_that_pays_holds_the_word_failed() {
    let node = TestNode::start().await;
    let too_large = format!(r#"{{"x":"{}"}}"#, "a".repeat(DEFAULT_MAX_REQUEST_BYTES));
    for (headers, body) in [
        ("", "{bad"),
        ("", r#"{"msg":5}"#),
        ("", "\u{feff}{}"),
        ("", too_large.as_str()),
        ("Grpc-Timeout: zz\r\n", "{}"),
        ("Grpc-Timeout: 1n\r\n", r#"{"msg":"wait"}"#),
        ("", r#"{"msg":"fail"}"#),
    ] {
        let answer = node.raw(post(body.as_bytes(), headers)).await;
        let (head, answered) = parts(&answer);
        assert!(!head.starts_with("http/1.1 200 "), "{headers}: {answer}");
        assert_eq!(answered.matches("failed").count(), 1, "{headers}: {answered}");
    }
    let sign =
        "POST /v1/sign HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\n{bad";
    let answer = node.raw(sign).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("failed"), "{answer}");
}

#[tokio::test]
async fn a_request_without_a_host_is_refused_as_of_http_1_1() {
    let node = TestNode::start().await;
    let answer = node.raw("GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    let (head, body) = parts(&answer);
    assert!(head.starts_with("http/1.1 400 "), "{answer}");
    assert_eq!(body, r#"{"code":3,"message":"missing required Host header","details":[]}"#);
    assert!(node.raw("GET /health HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
}

#[tokio::test]
async fn a_handshake_is_read_from_lists_over_several_lines() {
    let node = TestNode::start().await;
    for asked in [
        "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive, Upgrade\r\nUpgrade: h2c, WebSocket\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    ] {
        let mut stream = TcpStream::connect(node.http).await.unwrap();
        let handshake = format!(
            "GET /v1/subscribe HTTP/1.1\r\nHost: localhost\r\n{asked}Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let mut status = [0; 13];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("an answer").unwrap();
        assert_eq!(&status, b"HTTP/1.1 101 ", "{asked}");
    }
}
