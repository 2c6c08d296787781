//! Calls that do not pay, by REST and by gRPC: how many a second a whole daemon answers.
//!
//! The daemon is a process of its own on a regtest chain of this one; its clients run on the same machine and take their
//! share of it. Base lines: `/health`, which is HTTP without a call, and the signing of the bare Lightning node's key in
//! this process, which is the work without an interface. REST is asked by `wrk` (Debian: `apt-get install wrk`).
//!
//! `cargo xtask bench --bench calls [-- SECONDS]`; 10 seconds for each row unless told otherwise.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people at a terminal")]
#![allow(clippy::disallowed_methods, reason = "it measures, and its tasks end with it")]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use imp_api::client::Client;
use imp_api::proto::lightning::{CheckInvoiceRequest, GenerateInvoiceRequest};
use imp_api::proto::signing::SignRequest;
use imp_core::wire::signature::sign_with;
use imp_devnet::chain::{ChainOptions, ChainServer, DevChain};

/// Connections of wrk, and calls at once over gRPC.
const AT_ONCE: usize = 32;

/// gRPC connections that share these calls.
const CHANNELS: usize = 4;

const TEXT: &str = "a text of about the length of a login challenge, with a number: 4711";

/// How long the daemon may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

fn main() {
    let secs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(secs));
    runtime.shutdown_background();
}

/// The daemon; killed when this goes.
struct Daemon {
    process: Child,
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn start(dir: &Path, chain: &ChainServer) -> Daemon {
    let (http, grpc) = (free_addr(), free_addr());
    let url = format!("http://{}:{}@{}", chain.user(), chain.password(), chain.addr());
    let process = Command::new(env!("CARGO_BIN_EXE_impd"))
        .args(["--data-dir", dir.to_str().unwrap()])
        .env("IMP_SERVER_HTTP_ADDR", http.to_string())
        .env("IMP_SERVER_GRPC_ADDR", grpc.to_string())
        .env("IMP_LIGHTNING_LDK_NETWORK", "regtest")
        .env("IMP_LIGHTNING_LDK_BITCOIND_URL", url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let daemon = Daemon { process, http, grpc };
    let begun = Instant::now();
    loop {
        let answer = reqwest::get(format!("http://{http}/ready")).await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return daemon;
        }
        assert!(begun.elapsed() < READY_WITHIN, "the daemon does not become ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn measure(secs: u64) {
    let chain = DevChain::new(ChainOptions { mine_interval: None, ..ChainOptions::default() }).unwrap();
    let server = chain.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path(), &server).await;
    println!("{secs} s each, {AT_ONCE} at once, clients and daemon on {} cores", cores());

    let key = secp256k1::SecretKey::from_slice(&[7; 32]).unwrap();
    let (mut signed, begun) = (0_u64, Instant::now());
    while begun.elapsed() < Duration::from_secs(secs) {
        for _ in 0..100 {
            std::hint::black_box(sign_with(&key, TEXT.as_bytes()));
        }
        signed += 100;
    }
    row("base line: bare signing, one thread", signed as f64 / begun.elapsed().as_secs_f64());

    let client = Client::connect(&daemon.grpc.to_string()).await.unwrap();
    let invoice = GenerateInvoiceRequest { amount: 1000, ..GenerateInvoiceRequest::default() };
    let invoice = client.generate_invoice(invoice).await.unwrap().invoice;
    let wrk = |path: &str, body: Option<String>| wrk(dir.path(), daemon.http, path, body, secs);
    row("base line: GET /health by wrk", wrk("/health", None));
    row("REST sign by wrk", wrk("/v1/sign", Some(format!(r#"{{"msg":"{TEXT}"}}"#))));
    row(
        "REST checkinvoice by wrk",
        wrk("/v1/lightning/checkinvoice", Some(format!(r#"{{"invoice":"{invoice}"}}"#))),
    );
    let sign = |client: Client| async move {
        client.sign_message(SignRequest { msg: TEXT.to_owned() }).await.unwrap();
    };
    row("gRPC sign", grpc(daemon.grpc, secs, sign).await);
    let check = move |client: Client| {
        let invoice = invoice.clone();
        async move {
            client.check_invoice(CheckInvoiceRequest { invoice }).await.unwrap();
        }
    };
    row("gRPC checkinvoice", grpc(daemon.grpc, secs, check).await);
}

/// Answers a second, as wrk counts them; any that is no success ends the benchmark.
fn wrk(dir: &Path, http: SocketAddr, path: &str, body: Option<String>, secs: u64) -> f64 {
    let script = dir.join("wrk.lua");
    let request = body.map_or_else(String::new, |body| {
        format!("wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[{body}]==]\n")
    });
    std::fs::write(&script, request).unwrap();
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", &AT_ONCE.to_string()])
        .args(["--duration", &format!("{secs}s"), "--script"])
        .arg(&script)
        .arg(format!("http://{http}{path}"))
        .output()
        .expect("wrk runs: apt-get install wrk");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains("Non-2xx"), "{path}: {text}");
    let line = text.lines().find_map(|line| line.strip_prefix("Requests/sec:")).expect(&text);
    line.trim().parse().unwrap()
}

async fn grpc<F, C>(addr: SocketAddr, secs: u64, call: F) -> f64
where
    F: Fn(Client) -> C,
    C: Future<Output = ()> + Send + 'static,
    F: Clone + Send + 'static,
{
    let (begun, end) = (Instant::now(), Duration::from_secs(secs));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CHANNELS {
        let client = Client::connect(&addr.to_string()).await.unwrap();
        for _ in 0..AT_ONCE / CHANNELS {
            let (client, call) = (client.clone(), call.clone());
            callers.spawn(async move {
                let mut calls = 0_u64;
                while begun.elapsed() < end {
                    call(client.clone()).await;
                    calls += 1;
                }
                calls
            });
        }
    }
    let calls: u64 = callers.join_all().await.into_iter().sum();
    calls as f64 / begun.elapsed().as_secs_f64()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn row(name: &str, rate: f64) {
    println!("{name:40} {rate:9.0} a second");
}
