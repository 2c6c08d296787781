//! Relays and connections on real sockets.

mod connections;
mod ends;
mod packets;
mod sources;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use imp_core::relay::{Dropped, Limits, Options};
use imp_core::socket::Token;
use imp_node::udp::{Engine, EngineOptions, Ports, RelayHandle, RelaySpec, Snapshot};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// What arrives on loopback arrives long before.
const PATIENCE: Duration = Duration::from_secs(10);

const TOKEN: [u8; 16] = [0x5a; 16];

fn engine() -> Engine {
    engine_with(EngineOptions::default())
}

fn engine_with(options: EngineOptions) -> Engine {
    Engine::start(options).unwrap()
}

fn token() -> Token {
    Token::from_random(TOKEN)
}

/// Ports of each test, so that none finds one of its own taken by another. The system gives none of these by itself.
fn ports() -> RangeInclusive<u16> {
    static TESTS: AtomicU16 = AtomicU16::new(0);
    thread_local! {
        static TEST: u16 = TESTS.fetch_add(1, Ordering::Relaxed);
    }
    // A test runs on a thread of its own.
    let low = 10_000 + 400 * TEST.with(|test| test % 55);
    low..=low + 399
}

/// No limit that a test reaches, and no end by itself.
fn spec() -> RelaySpec {
    RelaySpec {
        ports: Ports::Drawn(ports()),
        options: Options {
            idle: Duration::from_secs(120),
            ends_on_idle: false,
            life: None,
            limits: Limits {
                max_packets: u64::MAX,
                max_bytes: u64::MAX,
                max_packets_per_sec: 1_000_000_000,
                max_bytes_per_sec: 1_000_000_000_000,
            },
            token: token(),
            require_token: false,
            allow_private: false,
        },
        pins: [None; 2],
    }
}

fn with(change: impl FnOnce(&mut Options)) -> RelaySpec {
    let mut spec = spec();
    change(&mut spec.options);
    spec
}

/// A plain UDP program.
struct Program {
    socket: UdpSocket,
    relay: SocketAddr,
}

impl Program {
    async fn new(port: u16) -> Self {
        Self::at("127.0.0.1", (Ipv4Addr::LOCALHOST, port).into()).await
    }

    async fn at(ip: &str, relay: SocketAddr) -> Self {
        let socket = UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).await.unwrap();
        Self { socket, relay }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    async fn send(&self, bytes: &[u8]) {
        assert_eq!(self.socket.send_to(bytes, self.relay).await.unwrap(), bytes.len());
    }

    /// The next packet; it must come from where this program sends to.
    async fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let received = timeout(PATIENCE, self.socket.recv_from(&mut buffer)).await;
        let (length, from) = received.expect("no packet came").unwrap();
        assert_eq!(from, self.relay, "answers come from the address that was sent to");
        buffer.truncate(length);
        buffer
    }

    async fn expect(&self, bytes: &[u8]) {
        assert_eq!(String::from_utf8_lossy(&self.receive().await), String::from_utf8_lossy(bytes));
    }

    /// Whether nothing waits.
    fn has_nothing(&self) -> bool {
        self.socket.try_recv_from(&mut [0; 16]).is_err()
    }
}

/// Two programs that have talked by way of a relay, so that it knows both.
async fn conversation(relay: &RelayHandle) -> (Program, Program) {
    let [first, second] = relay.ports();
    let (left, right) = (Program::new(first).await, Program::new(second).await);
    introduce(relay, &left, &right).await;
    (left, right)
}

async fn introduce(relay: &RelayHandle, left: &Program, right: &Program) {
    left.send(b"is anybody there?").await;
    wait_for(relay, |now| now.sides[0].source == Some(left.address())).await;
    right.send(b"I am").await;
    left.expect(b"I am").await;
    left.send(b"good").await;
    right.expect(b"good").await;
    wait_for(relay, |now| now.sides.iter().all(|side| side.is_firm)).await;
}

async fn wait_for(relay: &RelayHandle, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let waited = timeout(PATIENCE, async {
        loop {
            let now = relay.snapshot();
            if holds(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it stays {:?}", relay.snapshot()))
}

async fn wait_for_drops(relay: &RelayHandle, why: Dropped, packets: u64) {
    wait_for(relay, |now| now.drops[why.index()] == packets).await;
}
