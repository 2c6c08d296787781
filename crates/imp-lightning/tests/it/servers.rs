//! Servers that play a chain source, as far as a start asks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

async fn serve<F: Future<Output = ()> + Send>(
    talk: impl Fn(TcpStream) -> F + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let talk = talk.clone();
            tokio::spawn(async move { talk(stream).await });
        }
    });
    address
}

/// Takes connections and says nothing.
pub(crate) async fn silent() -> SocketAddr {
    serve(async |mut stream: TcpStream| {
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
    })
    .await
}

/// Answers every HTTP request whose first line contains a text with the status and body that stand beside it.
pub(crate) async fn http(answers: Vec<(&'static str, u16, String)>) -> SocketAddr {
    let answers = Arc::new(answers);
    serve(move |stream| answer_http(stream, Arc::clone(&answers))).await
}

async fn answer_http(mut stream: TcpStream, answers: Arc<Vec<(&'static str, u16, String)>>) {
    let mut request = [0; 4096];
    let Ok(length) = stream.read(&mut request).await else { return };
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let line = request.lines().next().unwrap_or_default();
    let known = answers.iter().find(|(part, _, _)| line.contains(part));
    let (status, body) = known.map_or((404, "not here"), |(_, status, body)| (*status, body));
    let answer =
        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// An Electrum server with this block header (hex) at every height.
pub(crate) async fn electrum(header: String) -> SocketAddr {
    let header: Arc<str> = header.into();
    serve(move |stream| answer_electrum(stream, Arc::clone(&header))).await
}

async fn answer_electrum(stream: TcpStream, header: Arc<str>) {
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while lines.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        // Several calls may stand in one line, as an array.
        let calls: serde_json::Value = serde_json::from_str(&line).unwrap();
        line.clear();
        let calls = calls.as_array().cloned().unwrap_or_else(|| vec![calls]);
        for call in calls {
            let result = match call["method"].as_str() {
                Some("blockchain.block.header") => serde_json::json!(&*header),
                Some("blockchain.headers.subscribe") => serde_json::json!({"height": 0, "hex": &*header}),
                Some("blockchain.estimatefee") => serde_json::json!(-1),
                _ => serde_json::json!([]),
            };
            let answer = serde_json::json!({"jsonrpc": "2.0", "id": call["id"], "result": result});
            let text = format!("{answer}\n");
            if lines.get_mut().write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
