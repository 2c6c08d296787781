//! HTTP and JSON-RPC around the methods: who is let in, what a request may look like, how errors are answered.

use std::time::{Duration, Instant};

use imp_devnet::chain::{ChainOptions, DevChain};
use serde_json::{Value, json};

use crate::client::{Client, head, quiet_chain, serve};

#[tokio::test]
async fn a_call_is_answered_with_its_id_and_a_length() {
    let chain = quiet_chain(3);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let response = client.post(r#"{"method":"getblockcount","params":[],"id":"ldk"}"#).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("content-length").unwrap().parse(), Ok(response.body.len()));
    assert_eq!(response.json(), json!({ "result": 3, "error": null, "id": "ldk" }));
}

#[tokio::test]
async fn an_id_comes_back_as_it_was_sent() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    for id in [json!(1), json!("1"), json!(null), json!(-7), json!(1.5), json!("ü\n"), json!(true)] {
        let body = json!({ "method": "uptime", "id": id }).to_string();
        assert_eq!(client.post(&body).await.json()["id"], id);
    }
}

#[tokio::test]
async fn many_calls_go_over_one_connection() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    for blocks in 1..20 {
        assert_eq!(client.call("getblockcount", json!([])).await, blocks);
        client.call("devchain_mine", json!([1])).await;
        // An error must not end the connection either.
        assert_eq!(client.answer("nonsense", json!([])).await["error"]["code"], -32601);
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_with_errors_in_place() {
    let chain = quiet_chain(2);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let batch = json!([
        { "method": "getblockcount", "id": 7 },
        { "method": "getinfo", "id": "x" },
        5,
        { "method": "devchain_mine", "params": [2], "id": 8 },
        { "method": "getblockcount", "id": 9 },
    ]);
    let response = client.post(&batch.to_string()).await;
    assert_eq!(response.status, 200);
    let answers = response.json();
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [json!(7), json!("x"), Value::Null, json!(8), json!(9)]);
    assert_eq!(answers[0]["result"], 2);
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["error"]["code"], -32600);
    assert_eq!(answers[4]["result"], 4);
    assert_eq!(client.post("[]").await.json(), json!([]));
}

#[tokio::test]
async fn version_2_leaves_out_what_is_null_and_does_not_answer_notifications() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let response = client.post(r#"{"jsonrpc":"2.0","method":"getblockcount","id":1}"#).await;
    assert_eq!(response.json(), json!({ "jsonrpc": "2.0", "result": 1, "id": 1 }));
    let response = client.post(r#"{"jsonrpc":"2.0","method":"nonsense","id":1}"#).await;
    assert_eq!(response.json()["error"]["code"], -32601);
    assert_eq!(response.json().get("result"), None);
    let response = client.post(r#"{"jsonrpc":"2.0","method":"devchain_mine"}"#).await;
    assert_eq!((response.status, response.body.as_str()), (204, ""));
    assert_eq!(chain.height(), 2);
}

#[tokio::test]
async fn what_is_no_call_is_answered_with_the_standard_codes() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        ("\"getblockcount\"", -32700),
        ("\u{0}", -32700),
        ("{}", -32600),
        (r#"{"method":5,"id":1}"#, -32600),
        (r#"{"method":"uptime","params":"x","id":1}"#, -32600),
        (r#"{"method":"getblockhash","id":1}"#, -1),
        (r#"{"method":"getblockhash","params":["1"],"id":1}"#, -3),
        (r#"{"method":"getblockhash","params":[-1],"id":1}"#, -8),
        (r#"{"method":"getblockhash","params":[99999999999],"id":1}"#, -8),
        (r#"{"method":"getblockhash","params":[1,2],"id":1}"#, -1),
        (r#"{"method":"getblockhash","params":{"hight":1},"id":1}"#, -8),
        (r#"{"method":"getblock","params":["ab"],"id":1}"#, -8),
        (r#"{"method":"sendrawtransaction","params":["00"],"id":1}"#, -22),
    ] {
        let response = client.post(body).await;
        assert_eq!(response.status, 200, "{body}");
        assert_eq!(response.json()["error"]["code"], code, "{body}");
    }
    let response = client.post(r#"{"method":"getblockhash","params":{"height":0},"id":1}"#).await;
    let genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
    assert_eq!(response.json()["result"], genesis);
}

#[tokio::test]
async fn nobody_is_let_in_without_the_password() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let body = r#"{"method":"devchain_mine","id":1}"#;
    let (user, password) = (server.user(), server.password());
    for credentials in [
        format!("{user}:wrong"),
        format!("other:{password}"),
        format!("{user}:{}", &password[..63]),
        format!("{user}:{password}0"),
        format!("{user}:"),
        password.to_owned(),
        String::new(),
    ] {
        let head = head(&credentials);
        let response = client.send(&head, body).await;
        assert_eq!(response.status, 401, "{credentials}");
        assert!(response.header("www-authenticate").unwrap().starts_with("Basic"));
    }
    let right = client.head();
    for head in [
        "POST / HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
        right.replace("Basic", "Bearer"),
        right.replace("Basic ", "Basic"),
        right.replace("Basic ", "Basic !"),
    ] {
        assert_eq!(client.send(&head, body).await.status, 401, "{head}");
    }
    assert_eq!(chain.height(), 1);
    assert_eq!(client.post(body).await.status, 200);
    assert_eq!(chain.height(), 2);
}

#[tokio::test]
async fn two_chains_have_different_passwords() {
    let (one, other) = (quiet_chain(0), quiet_chain(0));
    assert_ne!(one.rpc_password(), other.rpc_password());
    assert_eq!(one.rpc_password().len(), 64);
}

#[tokio::test]
async fn web_pages_are_refused() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let right = client.head();
    let body = r#"{"method":"devchain_mine","id":1}"#;
    for head in [
        format!("{right}Origin: http://127.0.0.1\r\n"),
        format!("{right}Origin: null\r\n"),
        right.replace("Host: 127.0.0.1", "Host: evil.example"),
        right.replace("Host: 127.0.0.1", "Host: 127.0.0.1.evil.example:80"),
        right.replace("Host: 127.0.0.1", "Host: 192.168.0.1"),
        right.replace("Host: 127.0.0.1\r\n", ""),
    ] {
        assert_eq!(client.send(&head, body).await.status, 403, "{head}");
    }
    assert_eq!(chain.height(), 1);
    for host in ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:18443", "[::1]"] {
        let head = right.replace("Host: 127.0.0.1", &format!("Host: {host}"));
        assert_eq!(client.send(&head, body).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn only_post_to_the_root_is_served() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let right = client.head();
    assert_eq!(client.send(&right.replace("POST", "GET"), "").await.status, 405);
    assert_eq!(client.send(&right.replace("POST / ", "POST /rest "), "{}").await.status, 404);
}

#[tokio::test]
async fn a_request_has_a_limit() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let padding = " ".repeat((16 << 20) - 40);
    let call = r#"{"method":"uptime","id":1}"#;
    assert_eq!(client.post(&format!("{call}{padding}")).await.json()["error"], Value::Null);
    // The head alone tells that it is too long.
    let head = format!("{}Content-Length: {}\r\n\r\n", client.head(), (16 << 20) + 1);
    assert_eq!(client.send_raw(&head).await.status, 413);
    // In chunks nothing tells the length before they are there.
    let mut client = Client::connect(&server).await;
    let chunk = " ".repeat((16 << 20) + 1);
    let head = format!("{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", client.head(), chunk.len());
    assert_eq!(client.send_raw(&format!("{head}{chunk}")).await.status, 413);
}

#[tokio::test]
async fn an_address_beyond_loopback_is_refused() {
    let error = quiet_chain(0).serve("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn calls_fail_and_wait_as_told() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    chain.fail_next("getblockcount", 2, -28).unwrap();
    for wanted in [json!(-28), json!(-28), Value::Null] {
        let answer = client.answer("getblockcount", json!([])).await;
        assert_eq!(answer["error"].get("code").cloned().unwrap_or_default(), wanted);
    }
    assert_eq!(chain.calls("getblockcount"), 3);
    let log = chain.call_log();
    assert_eq!(log.iter().map(|call| call.error_code).collect::<Vec<_>>(), [Some(-28), Some(-28), None]);

    let delay = Duration::from_millis(200);
    chain.delay("uptime", delay).unwrap();
    let begin = Instant::now();
    client.call("uptime", json!([])).await;
    assert!(begin.elapsed() >= delay);
    client.call("devchain_delay", json!(["uptime", 0])).await;

    assert!(chain.fail_next("no_such_method", 1, -1).is_err());
    assert!(chain.delay("no_such_method", delay).is_err());
}

#[tokio::test]
async fn a_served_chain_mines_what_waits_and_nothing_else() {
    let interval = Some(Duration::from_millis(10));
    let chain = DevChain::new(ChainOptions { mine_interval: interval, ..Default::default() }).unwrap();
    let server = serve(&chain).await;
    let mut client = Client::connect(&server).await;
    let address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let txid = client.call("devchain_fund", json!([address, 1_000_000])).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let tx = client.call("getrawtransaction", json!([txid, 1])).await;
        if tx["confirmations"] == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "the transaction was never mined");
        tokio::task::yield_now().await;
    }
    assert_eq!(chain.height(), 102);
    server.shutdown().await;
}

#[tokio::test]
async fn shutdown_ends_delayed_calls_and_frees_the_port() {
    let chain = quiet_chain(1);
    let server = serve(&chain).await;
    let addr = server.addr();
    chain.delay("uptime", Duration::from_secs(500)).unwrap();
    let mut client = Client::connect(&server).await;
    let waiting = tokio::spawn(async move { client.post(r#"{"method":"uptime","id":1}"#).await.status });
    let mut other = Client::connect(&server).await;
    other.call("getblockcount", json!([])).await;
    drop(other);
    server.shutdown().await;
    assert_eq!(waiting.await.unwrap(), 503);
    chain.serve(addr).await.unwrap();
}
