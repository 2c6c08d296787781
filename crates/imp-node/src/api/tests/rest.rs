use super::*;

const NOT_FOUND: &str = r#"{"code":5,"message":"Not Found","details":[]}"#;
const WRONG_METHOD: &str = r#"{"code":12,"message":"Method Not Allowed","details":[]}"#;

#[tokio::test]
async fn a_call_is_answered_with_json_of_known_length() {
    let node = TestNode::start().await;
    let body = r#"{"msg":"hi","pubkey":"02","amount":"10","reply_to_id":"r","other":[]}"#;
    let answer = node
        .raw(format!(
            "POST /v1/message/send?msg=ignored HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            node.http,
            body.len()
        ))
        .await;
    let (head, answered) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    assert_eq!(answered, r#"{"id":"hi|02|10|r"}"#);
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    for line in [
        "content-type: application/json",
        &format!("content-length: {}", answered.len()),
        "x-content-type-options: nosniff",
        "cross-origin-resource-policy: same-origin",
    ] {
        assert!(head.split("\r\n").any(|header| header == line), "{line} in {head}");
    }
    assert!(head.contains("\r\nx-request-id: "));
}

#[tokio::test]
async fn content_types_do_not_matter() {
    let node = TestNode::start().await;
    for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        let answer = reqwest::Client::new()
            .post(node.url("/v1/message/send"))
            .header("content-type", content_type)
            .body(r#"{"msg":"a"}"#)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.text().await.unwrap(), r#"{"id":"a||0|"}"#, "{content_type}");
    }
    assert_eq!(node.post("/v1/message/send", "").await, (200, r#"{"id":"||0|"}"#.into()));
}

#[tokio::test]
async fn unknown_paths_are_404_and_other_verbs_501() {
    let node = TestNode::start().await;
    for path in
        ["/", "/v1/nope", "/v1/message/send/", "/V1/message/send", "/v1/socket/sendrequest", "//", "/%2e%2e/"]
    {
        assert_eq!(node.post(path, "{}").await, (404, NOT_FOUND.into()), "{path}");
    }
    for verb in ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "NONSENSE"] {
        let verb = reqwest::Method::from_bytes(verb.as_bytes()).unwrap();
        let answer =
            reqwest::Client::new().request(verb.clone(), node.url("/v1/message/send")).send().await.unwrap();
        assert_eq!(answer.status(), 501, "{verb}");
        let expected = if verb == reqwest::Method::HEAD { "" } else { WRONG_METHOD };
        assert_eq!(answer.text().await.unwrap(), expected);
    }
    assert_eq!(node.post("/v1/subscribe", "{}").await, (501, WRONG_METHOD.into()));
    assert_eq!(node.post("/health", "").await, (501, WRONG_METHOD.into()));
    let asterisk = node.raw("OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(asterisk.starts_with("HTTP/1.1 404 "), "{asterisk}");
}

#[tokio::test]
async fn what_a_body_is_not_is_told_before_what_a_service_is_not() {
    let node = TestNode::start().await;
    for path in
        ["/v1/message/send", "/v1/vpn/contract", "/v1/federate/request", "/v1/socket/start", "/v1/sign"]
    {
        let (status, body) = node.post(path, "{bad").await;
        assert_eq!(status, 400, "{path}");
        assert!(
            body.starts_with(r#"{"code":3,"message":"invalid character 'b' looking for beginning of"#),
            "{body}"
        );
    }
    let (status, body) = node.post("/v1/vpn/contract", r#"{"price":100}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("invalid value for string type: 100"), "{body}");
    let expected = r#"{"code":12,"message":"method AcceptContract not implemented","details":[]}"#;
    assert_eq!(node.post("/v1/vpn/contract", r#"{"price":"100"}"#).await, (501, expected.into()));
}

#[tokio::test]
async fn an_error_keeps_its_code_text_and_details() {
    let node = TestNode::start().await;
    let expected = concat!(
        r#"{"code":14,"message":"send failed: no route","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","#,
        r#""reason":"NO_ROUTE","domain":"imp","metadata":{"messageId":"m"}}]}"#
    );
    assert_eq!(node.post("/v1/message/send", r#"{"msg":"fail"}"#).await, (503, expected.into()));
}

#[tokio::test]
async fn a_body_over_the_limit_is_429() {
    let node = TestNode::start().await;
    let padded = |length: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(length - 8));
    let expected =
        r#"{"code":8,"message":"received message larger than max (5000009 vs. 4194304); the call failed","details":[]}"#
            .to_owned();
    assert_eq!(node.post("/v1/message/send", padded(5_000_009)).await, (429, expected.clone()));
    let chunked = futures_util::stream::iter([Ok::<_, std::io::Error>(padded(5_000_009))]);
    assert_eq!(node.post("/v1/message/send", reqwest::Body::wrap_stream(chunked)).await, (429, expected));
    assert_eq!(node.post("/v1/message/send", padded(DEFAULT_MAX_REQUEST_BYTES)).await.0, 200);
    let chunked = futures_util::stream::iter([Ok::<_, std::io::Error>(padded(100)), Ok(" ".into())]);
    assert_eq!(node.post("/v1/message/send", reqwest::Body::wrap_stream(chunked)).await.0, 200);
}

#[tokio::test]
async fn the_header_grpc_timeout_is_obeyed() {
    let node = TestNode::start().await;
    let post = |timeout: &'static str, body: &'static str| {
        let request =
            reqwest::Client::new().post(node.url("/v1/message/send")).header("Grpc-Timeout", timeout);
        async move {
            let answer = request.body(body).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let (status, body) = post("zz", "{}").await;
    assert_eq!(status, 400);
    assert!(body.starts_with(r#"{"code":3,"message":"invalid grpc-timeout: zz"#), "{body}");
    let (status, body) = post("10m", r#"{"msg":"wait"}"#).await;
    assert_eq!(status, 504);
    assert!(body.starts_with(r#"{"code":4,"message":"failed to answer within the time"#), "{body}");
    assert_eq!(post("20S", r#"{"msg":"a"}"#).await, (200, r#"{"id":"a||0|"}"#.into()));
}

#[tokio::test]
async fn http_1_0_and_pipelined_requests_are_answered() {
    let node = TestNode::start().await;
    let old = node.raw("POST /v1/message/send HTTP/1.0\r\nContent-Length: 11\r\n\r\n{\"msg\":\"a\"}").await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
    assert!(old.ends_with("\r\n\r\n{\"id\":\"a||0|\"}"), "{old}");

    let one = |msg: &str, connection: &str| {
        let head =
            format!("POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n");
        format!("{head}Transfer-Encoding: chunked\r\n\r\nb\r\n{{\"msg\":\"{msg}\"}}\r\n0\r\n\r\n")
    };
    let both = node.raw(one("a", "keep-alive") + &one("b", "close")).await;
    let (first, second) = (both.find("a||0|").unwrap(), both.find("b||0|").unwrap());
    assert!(first < second, "{both}");
}

#[tokio::test]
async fn heads_are_bounded_in_lines_and_bytes() {
    let node = TestNode::start().await;
    let lines = |count: usize| "X: 1\r\n".repeat(count);
    for (headers, status) in [
        (lines(150), 200),
        (lines(1000), 431),
        (format!("X: {}\r\n", "a".repeat(50_000)), 200),
        (format!("X: {}\r\n", "a".repeat(100_000)), 431),
    ] {
        let answer = node.get_raw("/health", &format!("Host: localhost\r\n{headers}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

#[tokio::test]
async fn half_open_requests_and_idle_sockets_leave_the_others_working() {
    let node = TestNode::start().await;
    let mut idle = Vec::new();
    for head in
        ["POST /v1/message/send HT", "POST /v1/message/send HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", ""]
    {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(node.http).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            idle.push(stream);
        }
    }
    for _ in 0..10 {
        assert_eq!(node.post("/v1/message/send", "").await.0, 200);
    }
    node.shutdown.cancel();
    tokio::time::timeout(PATIENCE, node.served)
        .await
        .expect("half-open requests do not hold the node")
        .unwrap();
}

#[tokio::test]
async fn a_call_under_way_is_finished_when_the_node_stops() {
    let node = TestNode::start().await;
    let mut stream = TcpStream::connect(node.http).await.unwrap();
    stream
        .write_all(b"POST /v1/message/send HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
        .await
        .unwrap();
    // The request is being handled once its body is asked for.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    node.shutdown.cancel();
    stream.write_all(b"{\"msg\":\"a\"}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("{\"id\":\"a||0|\"}"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    node.stop().await;
}

#[tokio::test]
async fn health_and_readiness_are_told_under_any_host() {
    let node = TestNode::start().await;
    for (state, status, word) in [
        (NodeState::Starting, 503, "starting"),
        (NodeState::Ready, 200, "ready"),
        (NodeState::Degraded, 503, "degraded"),
        (NodeState::Draining, 503, "draining"),
    ] {
        node.state.send_replace(state);
        let answer = node.get_raw("/ready", "Host: evil.example\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with(&format!(r#"{{"status":"{word}"}}"#)), "{answer}");
        let answer = node.get_raw("/health", "Host: evil.example\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let answer = node.get_raw("/health", "Host: evil.example\r\nOrigin: https://evil.example\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_on_every_path() {
    let node = TestNode::start().await;
    for path in ["/v1/message/send", "/v1/subscribe", "/docs", "/v1/nope"] {
        for headers in [
            "Host: evil.example\r\n",
            "Host: localhost\r\nHost: evil.example\r\n",
            "Host: localhost\r\nOrigin: https://evil.example\r\n",
            "Host: localhost\r\nOrigin: null\r\n",
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
            "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
        ] {
            let answer = node.get_raw(path, headers).await;
            assert!(answer.starts_with("HTTP/1.1 403 "), "{path} {headers}: {answer}");
            assert!(answer.contains(r#"{"code":7,"message":""#), "{answer}");
            assert!(answer.to_lowercase().contains("x-content-type-options: nosniff"), "{answer}");
        }
    }
    for uri in ["http://evil.example/docs", "http://evil.example:80/docs"] {
        let answer =
            node.raw(format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{uri}: {answer}");
    }
    let own = format!("Host: {0}\r\nOrigin: http://{0}\r\nSec-Fetch-Site: same-origin\r\n", node.http);
    assert!(node.get_raw("/docs", &own).await.ends_with("\r\n\r\ndocs"));
}

#[tokio::test]
async fn an_allowed_page_is_told_to_its_browser() {
    let node = TestNode::start().await;
    let page = "Host: node.example\r\nOrigin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n";
    let answer = node.get_raw("/docs", page).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    assert!(answer.contains("access-control-allow-origin: https://app.example\r\n"), "{answer}");

    let ask = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n";
    let preflight = node
        .raw(format!("OPTIONS /v1/message/send HTTP/1.1\r\nConnection: close\r\n{page}{ask}\r\n"))
        .await
        .to_lowercase();
    assert!(preflight.starts_with("http/1.1 204 "), "{preflight}");
    for line in [
        "access-control-allow-origin: https://app.example",
        "access-control-allow-methods: post",
        "access-control-allow-headers: content-type",
    ] {
        assert!(preflight.contains(line), "{preflight}");
    }
    let others = page.replace("app.example", "evil.example");
    let preflight = node
        .raw(format!("OPTIONS /v1/message/send HTTP/1.1\r\nConnection: close\r\n{others}{ask}\r\n"))
        .await;
    assert!(preflight.starts_with("HTTP/1.1 403 "), "{preflight}");
}

#[tokio::test]
async fn a_service_sees_who_calls_and_under_which_id() {
    let node = TestNode::start().await;
    assert_eq!(node.post("/v1/message/send", r#"{"msg":"who"}"#).await.1, r#"{"id":"127.0.0.1"}"#);
    let answer = reqwest::Client::new()
        .post(node.url("/v1/message/send"))
        .body(r#"{"msg":"request"}"#)
        .send()
        .await
        .unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), format!(r#"{{"id":"{id}"}}"#));
}
