//! What a host reaches.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use imp_devnet::devnet::INTERNET;
use imp_devnet::netns::Namespace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::lab::wait_for;

/// How long an answer may be on its way: what takes longer here does not come.
const ANSWER: Duration = Duration::from_secs(1);

/// How often something is tried that must not work.
const TRIES: &str = "3";

/// One echo request, and whether it was answered.
pub(crate) async fn pings(host: &Namespace, to: &str) -> bool {
    echoes(host, to, "1").await
}

/// Whether one of so many echo requests, a fifth of a second apart, is answered.
async fn echoes(host: &Namespace, to: &str, count: &str) -> bool {
    let mut ping = Command::from(host.command("ping"));
    ping.args(["-n", "-q", "-c", count, "-i", "0.2", "-W", "1", to]).stdin(Stdio::null());
    ping.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    ping.status().await.unwrap().success()
}

/// A TCP connection, if there is one within a second.
pub(crate) async fn connects(host: &Namespace, to: SocketAddr) -> Option<TcpStream> {
    let socket = host.tcp().unwrap();
    timeout(ANSWER, socket.connect(to)).await.ok()?.ok()
}

/// What the page on the internet says to this host.
pub(crate) async fn page(host: &Namespace) -> Option<String> {
    let mut stream = connects(host, (INTERNET, 80).into()).await?;
    let read = async {
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    };
    timeout(ANSWER, read).await.ok()?
}

/// Waits until this host is on the internet, and gives what the page says.
pub(crate) async fn wait_through(host: &Namespace) -> String {
    wait_for("an answer to a ping", || async { pings(host, &INTERNET.to_string()).await.then_some(()) })
        .await;
    wait_for("the page", || page(host)).await
}

/// Checks that this host is not on the internet.
pub(crate) async fn is_cut_off(host: &Namespace) -> bool {
    let internet = INTERNET.to_string();
    let (echo, page) = tokio::join!(echoes(host, &internet, TRIES), page(host));
    !echo && page.is_none()
}
