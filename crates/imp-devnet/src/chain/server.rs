//! The RPC over HTTP, for programs on this machine only.
//!
//! One address, Basic authentication, `POST /`. RPC errors are answered with status 200: LDK's client takes another status
//! for a broken connection, waits and sends the call again before it looks at the error. Web pages are kept out: a
//! browser names the page in `Origin`, and a page that resolves its own name to this machine names it in `Host`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::{self, Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{DevChain, miner, rpc};

/// The longest request: enough for a package of the heaviest transactions.
const MAX_BODY_BYTES: usize = 16 << 20;

/// How long a shutdown waits for calls in progress.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// A chain that is being served and mined. Dropping it stops both without waiting.
#[derive(Debug)]
pub struct ChainServer {
    addr: SocketAddr,
    chain: DevChain,
    tasks: JoinSet<()>,
    stop: DropGuard,
}

impl DevChain {
    /// Serves the RPC at a loopback address (port 0: any free one) and begins to mine by itself, see
    /// [`mine_interval`](super::ChainOptions::mine_interval).
    ///
    /// Fails if the address is not a loopback one or is taken. Must be called in a tokio runtime.
    pub async fn serve(&self, addr: SocketAddr) -> io::Result<ChainServer> {
        if !addr.ip().is_loopback() {
            let text = format!("the chain is served at loopback addresses only, not at {addr}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let app = Router::new().fallback(answer).with_state((self.clone(), stop.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(miner::run(self.clone(), stop.clone()));
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "the RPC server of the chain failed");
            }
        });
        Ok(ChainServer { addr, chain: self.clone(), tasks, stop: stop.drop_guard() })
    }
}

impl ChainServer {
    /// The address it listens at.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The user name for Basic authentication.
    pub fn user(&self) -> &str {
        self.chain.rpc_user()
    }

    /// The password for Basic authentication.
    pub fn password(&self) -> &str {
        self.chain.rpc_password()
    }

    /// Stops listening and mining and waits for calls in progress, 5 seconds at most.
    pub async fn shutdown(self) {
        let Self { mut tasks, stop, .. } = self;
        stop.disarm().cancel();
        let ended = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_LIMIT, ended).await.is_err() {
            tracing::warn!("calls to the chain were cut off");
        }
    }
}

async fn answer(State((chain, stop)): State<(DevChain, CancellationToken)>, request: Request) -> Response {
    if let Some(refusal) = refusal(&chain, &request) {
        return refusal;
    }
    let too_long = || {
        let text = format!("a request has at most {MAX_BODY_BYTES} bytes\n");
        (StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
    };
    // Where the head tells the length, nothing is read of what is too long.
    if request.body().size_hint().lower() > MAX_BODY_BYTES as u64 {
        return too_long();
    }
    let Ok(body) = body::to_bytes(request.into_body(), MAX_BODY_BYTES).await else { return too_long() };
    let request = rpc::Request::parse(&body);
    tokio::select! {
        () = tokio::time::sleep(request.delay(&chain)) => {}
        () = stop.cancelled() => return (StatusCode::SERVICE_UNAVAILABLE, "the chain is stopping\n").into_response(),
    }
    match tokio::task::spawn_blocking(move || request.answer(&chain)).await {
        Ok(json) if json.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(json) => {
            let content_type = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, content_type)], Body::from(json)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a call to the chain failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "the call failed, see the log\n").into_response()
        }
    }
}

/// The answer to a request that is not let in.
fn refusal(chain: &DevChain, request: &Request) -> Option<Response> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) {
        return Some((StatusCode::FORBIDDEN, "the chain does not serve web pages\n").into_response());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_loopback) {
        let text = "the Host header must name a loopback address or localhost\n";
        return Some((StatusCode::FORBIDDEN, text).into_response());
    }
    if !is_authorized(headers, chain.rpc_user(), chain.rpc_password()) {
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"jsonrpc\""))];
        return Some((StatusCode::UNAUTHORIZED, challenge).into_response());
    }
    if request.uri().path() != "/" {
        return Some((StatusCode::NOT_FOUND, "the RPC is at /\n").into_response());
    }
    if request.method() != Method::POST {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC is served by POST only\n").into_response());
    }
    None
}

/// Whether a `Host` header, with or without a port, names this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_authorized(headers: &HeaderMap, user: &str, password: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, credentials)) = given.and_then(|value| value.split_once(' ')) else { return false };
    let Ok(credentials) = BASE64_STANDARD.decode(credentials.trim()) else { return false };
    let wanted = format!("{user}:{password}").into_bytes();
    // Without an early end, so that the time does not tell how much of a guess was right.
    let differences = credentials.iter().zip(&wanted).fold(0, |sum, (a, b)| sum | (a ^ b));
    scheme.eq_ignore_ascii_case("basic") && credentials.len() == wanted.len() && differences == 0
}
