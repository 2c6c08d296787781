//! How long a buyer waits, from the call that pays until an echo comes back through the tunnel.
//!
//! Two whole nodes on hosts of their own. The base line is what cannot be done without: a payment there and one back, of the
//! same amounts between the same nodes, and one agreement on keys.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use imp_api::client::Client;
use imp_api::proto::imp::lightning::v1::SendKeysendRequest;
use imp_api::proto::imp::vpn::v1::{BringUpVpnRequest, TakeDownVpnRequest};
use imp_api::proto::vpn::{AcceptContractRequest, RequestQuoteRequest};
use imp_api::proto::websocket::SubscribeRequest;
use imp_devnet::devnet::{Devnet, INTERNET, NodeInfo, Options, Ports};
use imp_devnet::netns::Namespace;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::figures::{Ratio, Spread, verdict};
use crate::pair::{Pair, Setup};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The aim, as a multiple of the base line.
const AT_MOST: f64 = 1.3;

const PRICE_SAT: i64 = 100;

/// Milliseconds of each step.
#[derive(Default)]
struct Times {
    payments: Vec<f64>,
    agreement: Vec<f64>,
    config: Vec<f64>,
    up: Vec<f64>,
    all: Vec<f64>,
}

pub(crate) fn compare(rounds: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut times = Times::default();
    runtime.block_on(measure(rounds, &mut times))?;
    runtime.shutdown_background();
    print(&times);
    Ok(())
}

async fn measure(rounds: usize, times: &mut Times) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let options = Options {
        dir: dir.path().join("net"),
        ports: Ports::Free,
        vpn: true,
        impd: Some(env!("CARGO_BIN_EXE_impd").into()),
        launcher: None,
        ..Options::default()
    };
    let net = Devnet::start(options).await?;
    let (buyer, seller) = (net.node("alice")?, net.node("bob")?);
    let host = net.host("alice")?.context("a host")?;
    let (buying, selling) = (net.client("alice").await?, net.client("bob").await?);
    // The newest of the others where there is one.
    let setup = if Setup::NEWEST.is_installed() { Setup::NEWEST } else { Setup::OURS };
    let pair = Pair::start(setup, 0)?;
    for round in 0..=rounds {
        eprintln!("contracts, round {round} of {rounds}");
        let began = Instant::now();
        keysend(&buying, &seller, PRICE_SAT).await?;
        keysend(&selling, &buyer, 1).await?;
        let payments = millis(began.elapsed());
        let agreement = millis(pair.first_echo()?);
        let (config, up, all) = buy(&buying, &seller, &host).await?;
        // The first one is not like those that follow: caches are empty, and channels have just been opened.
        if round > 0 {
            times.payments.push(payments);
            times.agreement.push(agreement);
            times.config.push(config);
            times.up.push(up);
            times.all.push(all);
        }
    }
    net.stop().await;
    Ok(())
}

async fn keysend(from: &Client, to: &NodeInfo, sat: i64) -> anyhow::Result<()> {
    let request = SendKeysendRequest { pubkey: to.pubkey.clone(), amount: sat, ..Default::default() };
    from.send_keysend(request).await?;
    Ok(())
}

/// Milliseconds until the configuration was there, for bringing up the tunnel, and until the first echo.
async fn buy(buyer: &Client, seller: &NodeInfo, host: &Namespace) -> anyhow::Result<(f64, f64, f64)> {
    let only = SubscribeRequest { service: Some("vpn".to_owned()), ..SubscribeRequest::default() };
    let mut events = buyer.subscribe(only).await?;
    let pubkey = seller.pubkey.clone();
    let request = RequestQuoteRequest { pubkey: pubkey.clone(), ..Default::default() };
    buyer.request_quote(request).await?;
    let mut wait = async |kind: &str| loop {
        let event = timeout(PATIENCE, events.next()).await.context(kind.to_owned())??;
        let data: Value = serde_json::from_str(&event.context("the stream has ended")?.data)?;
        if data["type"] == kind {
            return anyhow::Ok(data);
        }
    };
    let nonce = wait("QUOTE").await?["nonce"].as_str().context("no nonce")?.to_owned();

    let began = Instant::now();
    let price = PRICE_SAT.to_string();
    let request = AcceptContractRequest { pubkey, nonce: nonce.clone(), price, ..Default::default() };
    let accepting = buyer.accept_contract(request);
    let (accepted, told) = tokio::join!(accepting, wait("CONFIG"));
    accepted?;
    told?;
    let config = began.elapsed();
    buyer.bring_up_vpn(BringUpVpnRequest { nonce: nonce.clone(), ..Default::default() }).await?;
    let up = began.elapsed() - config;
    let mut ping = Command::from(host.command("ping"));
    ping.args(["-n", "-q", "-c", "1", "-W", "5", &INTERNET.to_string()]).stdin(Stdio::null());
    let answered = ping.stdout(Stdio::null()).status().await?.success();
    let all = began.elapsed();
    ensure!(answered, "no echo comes back through the tunnel");
    buyer.take_down_vpn(TakeDownVpnRequest { nonce }).await?;
    Ok((millis(config), millis(up), millis(all)))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn print(times: &Times) {
    let base: Vec<f64> =
        times.payments.iter().zip(&times.agreement).map(|(payments, echo)| payments + echo).collect();
    println!("\n{:64}{:>24}", "buying, ms", "");
    let rows: [(&str, &[f64]); 6] = [
        ("base line: bare payments, there and back", &times.payments),
        ("base line: first echo through a tunnel, with its handshake", &times.agreement),
        ("AcceptContract to the configuration", &times.config),
        ("bringing up the tunnel", &times.up),
        ("AcceptContract to the first echo", &times.all),
        ("base lines together", &base),
    ];
    for (name, figures) in rows {
        if let Some(spread) = Spread::of(figures) {
            println!("{name:64}{:>24}", spread.text(1));
        }
    }
    println!();
    if let Some(Ratio { mean, error }) = Ratio::of(&times.all, &base) {
        let word = match mean <= AT_MOST {
            true => "met",
            false if mean - 2.0 * error <= AT_MOST => "within noise",
            false => "MISSED",
        };
        let target = format!("first echo within {AT_MOST} of two payments and a handshake");
        verdict(&target, word, &format!("{mean:.2} +- {error:.2}"));
    }
}
