//! What a message costs on top of the Lightning payment that carries it.
//!
//! Two pairs of embedded nodes on one chain, each with a channel and the daemon's own store: one pair pays bare keysends,
//! the other sends messages through the services. They take turns, so that both see the same machine.
//!
//! `cargo xtask bench [-- MESSAGES]`; 300 messages unless told otherwise.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people at a terminal")]
#![allow(clippy::disallowed_methods, reason = "it measures, and its tasks end with it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use imp_core::amount::Msat;
use imp_core::id::Preimage;
use imp_core::record::{RecordTable, Service};
use imp_devnet::chain::{ChainOptions, ChainServer, DevChain};
use imp_lightning::ldk::{ChainSource, LdkConfig, LdkNode, Seed};
use imp_lightning::{Keysend, LightningEvent, LightningNode, Network, OpenChannel};
use imp_node::events::Subscription;
use imp_node::node::{NodeOptions, Ports, Services};
use imp_node::runtime::clock::SystemClock;
use imp_node::runtime::tasks::Tasks;
use imp_node::service::messaging::SendMessage;
use imp_node::store::SqliteStore;
use imp_node::store::journal::ServiceSet;
use imp_node::store::sqlite::SqliteOptions;
use tempfile::TempDir;

/// Text of a message, and the bytes of a bare record that is as long as its envelope.
const TEXT_BYTES: usize = 100;
const RECORD_BYTES: usize = 95 + TEXT_BYTES;

/// Payments at once in the run that measures throughput.
const AT_ONCE: usize = 45;

struct Member {
    node: Arc<LdkNode>,
    listen: String,
    store: SqliteStore,
    _dir: TempDir,
}

async fn member(chain: &DevChain, server: &ChainServer, number: u8) -> Member {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = LdkConfig {
        network: Network::Regtest,
        chain: ChainSource::Bitcoind {
            host: server.addr().ip().to_string(),
            port: server.addr().port(),
            user: server.user().to_owned(),
            password: server.password().to_owned(),
        },
        listen: vec![listen],
        announce: Vec::new(),
        alias: Some(format!("bench-{number}")),
        storage_dir: dir.path().to_owned(),
        seed: Seed([number + 1; 64]),
        trusted_peers: Vec::new(),
        reserve_sat: LdkConfig::DEFAULT_RESERVE_SAT,
    };
    let node = LdkNode::start(config, Arc::new(store.clone())).await.unwrap();
    let address: bitcoin::Address<_> = node.new_address().await.unwrap().parse().unwrap();
    chain.fund(&address.assume_checked(), bitcoin::Amount::from_sat(5_000_000)).unwrap();
    chain.mine(1).unwrap();
    Member { node, listen: listen.to_string(), store, _dir: dir }
}

/// Opens a channel and waits until both ends can use it.
async fn connect(chain: &DevChain, from: &Member, to: &Member) {
    for member in [from, to] {
        member.node.sync_chain().await.unwrap();
    }
    let channel = OpenChannel {
        peer: to.node.id(),
        address: to.listen.clone(),
        capacity_sat: 1_000_000,
        push: Msat::from_sat(500_000),
        announce: true,
    };
    from.node.open_channel(channel).await.unwrap();
    while chain.mempool().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    chain.mine(6).unwrap();
    for member in [from, to] {
        member.node.sync_chain().await.unwrap();
        while !member.node.channels().await.unwrap().iter().all(|channel| channel.usable) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The time of each event of one kind, and a counter of the other kind, from a node without services.
fn drain(node: Arc<LdkNode>) -> tokio::sync::mpsc::UnboundedReceiver<Instant> {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let event = node.next_event().await;
            let counts = matches!(
                event,
                LightningEvent::PaymentSettled { .. } | LightningEvent::PaymentReceived { .. }
            );
            if counts && tell.send(Instant::now()).is_err() {
                return;
            }
            node.acknowledge_event().await.unwrap();
        }
    });
    told
}

fn keysend(to: &LdkNode) -> Keysend {
    let mut preimage = [0; 32];
    getrandom::fill(&mut preimage).unwrap();
    Keysend {
        recipient: to.id(),
        preimage: Preimage(preimage),
        amount: Msat::from_sat(1),
        fee_limit: Msat::from_sat(10),
        record: Some((RecordTable::default().record_type(Service::Message), vec![7; RECORD_BYTES])),
    }
}

async fn services(member: &Member) -> Services {
    let ports = Ports {
        store: Arc::new(member.store.clone()),
        lightning: member.node.clone(),
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(),
        vpn_keys: imp_node::vpn::PrivateKeys::default(),
        vpn_station: None,
    };
    Services::start(ports, NodeOptions::default()).await.unwrap()
}

async fn event(subscription: &mut Subscription) -> Instant {
    subscription.next().await.unwrap();
    Instant::now()
}

fn row(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{name:44} p50 {:7.1} ms   p90 {:7.1} ms   p99 {:7.1} ms",
        ms(at(0.5)),
        ms(at(0.9)),
        ms(at(0.99))
    );
    at(0.5)
}

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(300);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(count));
    runtime.shutdown_background();
}

async fn measure(count: usize) {
    let chain = DevChain::new(ChainOptions { mine_interval: None, ..ChainOptions::default() }).unwrap();
    let server = chain.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut members = Vec::new();
    for number in 0..4 {
        members.push(member(&chain, &server, number).await);
    }
    let [payer, payee, alice, bob] = &members[..] else { return };
    connect(&chain, payer, payee).await;
    connect(&chain, alice, bob).await;
    let (mut paid, mut received) = (drain(payer.node.clone()), drain(payee.node.clone()));
    let (from, to) = (services(alice).await, services(bob).await);
    let mut events = to.events.subscribe(None, ServiceSet::original()).await.unwrap();
    let text = "x".repeat(TEXT_BYTES);
    let message =
        || SendMessage { msg: text.clone(), pubkey: bob.node.id().to_string(), ..SendMessage::default() };
    let (mut bare_event, mut bare_settled) = (Vec::new(), Vec::new());
    let (mut message_event, mut message_settled) = (Vec::new(), Vec::new());
    // The first of each waits for the Lightning nodes to wake up.
    for turn in 0..=count {
        let begun = Instant::now();
        payer.node.send_keysend(keysend(&payee.node)).await.unwrap();
        let (at_payee, at_payer) = (received.recv().await.unwrap(), paid.recv().await.unwrap());
        let called = Instant::now();
        let (sent, published) = tokio::join!(from.messaging.send(message()), event(&mut events));
        sent.unwrap();
        let answered = Instant::now();
        if turn > 0 {
            bare_event.push(at_payee - begun);
            bare_settled.push(at_payer - begun);
            message_event.push(published - called);
            message_settled.push(answered - called);
        }
    }
    println!("{count} of each, taking turns, {TEXT_BYTES} bytes, one hop, same store");
    let bare = row("bare keysend, call to event at the payee", bare_event);
    let full = row("message, call to published event", message_event);
    println!(
        "{:44} {:+.1} ms, {:.2} times",
        "a message costs",
        ms(full) - ms(bare),
        full.as_secs_f64() / bare.as_secs_f64()
    );
    row("bare keysend, call to settled", bare_settled);
    row("message, call to answer", message_settled);

    let total = count * 4;
    let begun = Instant::now();
    let (mut asked, mut settled) = (0, 0);
    while settled < total {
        while asked < total && asked - settled < AT_ONCE {
            if payer.node.send_keysend(keysend(&payee.node)).await.is_err() {
                break;
            }
            asked += 1;
        }
        paid.recv().await.unwrap();
        settled += 1;
    }
    println!("{:44} {:7.1} a second", format!("bare keysends, {AT_ONCE} at once"), rate(total, begun));
    let begun = Instant::now();
    let sent = futures_util::future::join_all((0..total).map(|_| from.messaging.send(message()))).await;
    assert!(sent.iter().all(Result::is_ok));
    println!("{:44} {:7.1} a second", format!("messages, {total} calls at once"), rate(total, begun));
    for member in &members {
        member.node.shutdown().await;
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn rate(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}
