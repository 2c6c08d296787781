//! A client that writes its requests by hand, so that tests can send what no library would.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use imp_devnet::chain::{ChainOptions, ChainServer, DevChain};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A chain in memory that mines only on demand, with these blocks to begin with.
pub(crate) fn quiet_chain(initial_blocks: u32) -> DevChain {
    DevChain::new(ChainOptions { mine_interval: None, initial_blocks, ..Default::default() }).unwrap()
}

pub(crate) async fn serve(chain: &DevChain) -> ChainServer {
    chain.serve("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    head: String,
}

/// The head that LDK's client sends, with these credentials.
pub(crate) fn head(credentials: &str) -> String {
    let auth = BASE64_STANDARD.encode(credentials);
    format!("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {auth}\r\n")
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub(crate) async fn connect(server: &ChainServer) -> Self {
        let head = head(&format!("{}:{}", server.user(), server.password()));
        let stream = BufReader::new(TcpStream::connect(server.addr()).await.unwrap());
        Self { stream, head }
    }

    /// Sends a request with this head, to which only its length is added.
    pub(crate) async fn send(&mut self, head: &str, body: &str) -> Response {
        self.send_raw(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await
    }

    pub(crate) async fn send_raw(&mut self, request: &str) -> Response {
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.receive().await
    }

    async fn receive(&mut self) -> Response {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        let status = line.split(' ').nth(1).expect("a status line").parse().unwrap();
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut response = Response { status, headers, body: String::new() };
        if let Some(length) = response.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut body).await.unwrap();
            response.body = String::from_utf8(body).unwrap();
        }
        response
    }

    /// The head of its requests, with the right credentials.
    pub(crate) fn head(&self) -> String {
        self.head.clone()
    }

    pub(crate) async fn post(&mut self, body: &str) -> Response {
        let head = self.head();
        self.send(&head, body).await
    }

    /// Calls a method and gives the whole answer.
    pub(crate) async fn answer(&mut self, method: &str, params: Value) -> Value {
        let body = json!({ "method": method, "params": params, "id": "1" }).to_string();
        let response = self.post(&body).await;
        assert_eq!(response.status, 200, "{method}: {}", response.body);
        response.json()
    }

    /// Calls a method that must succeed and gives its result.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.answer(method, params).await;
        assert_eq!(answer["error"], Value::Null, "{method}");
        answer["result"].take()
    }
}
