//! Nodes on the small internet, and their relays.
//!
//! The whole net of nodes is on the relay's host: chain and nodes speak over its loopback interface, as do the tests,
//! which run in this namespace. alice and bob get what they are to know of sockets by their environment.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use imp_api::client::{Client, Events};
use imp_api::proto::imp::socket::v1::{
    GetRelayRequest, Relay, RelaySide, StartRelayRequest, StopRelayRequest,
};
use imp_api::proto::websocket::SubscribeRequest;
use imp_devnet::devnet::{Devnet, NodeInfo, Options, Ports, Report, built_program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use crate::harness;
use crate::internet::{Internet, RELAY};
use crate::program::{Program, to};
use crate::settings::Settings;

/// How long a state may take to come about.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Ports of bob's relays: two pairs.
pub(crate) const BOB_PORTS: (u16, u16) = (31_000, 31_003);

/// The internet and two nodes on the relay's host.
pub(crate) struct Lab {
    pub(crate) internet: Arc<Internet>,
    pub(crate) net: Devnet,
    settings: Settings,
    _dir: TempDir,
}

impl harness::Lab for Lab {
    type Ground = Internet;

    fn prepare() -> anyhow::Result<Internet> {
        Internet::build()
    }

    fn enter<A: Send>(internet: &Internet, work: impl FnOnce() -> A + Send) -> io::Result<A> {
        internet.relay.enter(work)
    }

    async fn start(internet: Arc<Internet>) -> anyhow::Result<Self> {
        let impd = built_program("impd").expect("impd is not built: run `cargo build -p imp-node` first");
        let dir = tempfile::tempdir()?;
        let settings = Settings::new(dir.path());
        let (first, last) = (BOB_PORTS.0.to_string(), BOB_PORTS.1.to_string());
        settings.write("alice", &[("IMP_SOCKET_SERVER_IP", &RELAY.to_string())])?;
        settings.write("bob", &[("IMP_SOCKET_PORT_MIN", &first), ("IMP_SOCKET_PORT_MAX", &last)])?;
        let options = Options {
            dir: dir.path().join("net"),
            ports: Ports::Free,
            impd: Some(settings.program(&impd)?),
            launcher: Some(env!("CARGO_BIN_EXE_imp-devnet").into()),
            report: Report::to(|line| println!("  {line}")),
            ..Options::default()
        };
        Ok(Self { internet, net: Devnet::start(options).await?, settings, _dir: dir })
    }

    async fn stop(self) {
        self.net.stop().await;
    }
}

impl Lab {
    /// What a node is started with from now on.
    pub(crate) fn settings(&self, node: &str, settings_of: &[(&str, &str)]) {
        self.settings.write(node, settings_of).unwrap();
    }

    pub(crate) fn node(&self, name: &str) -> NodeInfo {
        self.net.node(name).unwrap()
    }

    /// A node's interface, once it answers.
    pub(crate) async fn client(&self, name: &str) -> Client {
        wait_for("an answer", || async { self.net.client(name).await.ok() }).await
    }

    pub(crate) async fn alice(&self) -> Client {
        self.client("alice").await
    }

    /// Ends a node by a signal and waits until its next process answers.
    pub(crate) async fn restart(&self, name: &str, signal: Signal) {
        let before = self.node(name).pid.expect("a node that runs");
        let pid = Pid::from_raw(i32::try_from(before).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        wait_for("the next process", || async {
            self.node(name).pid.filter(|pid| *pid != before).map(|_| ())
        })
        .await;
        self.net.wait_usable(PATIENCE).await.unwrap();
    }

    /// Starts a relay of alice.
    pub(crate) async fn relay(&self, request: StartRelayRequest) -> Pair {
        Pair::of(self.alice().await.start_relay(request).await.unwrap())
    }

    /// A relay of alice with two programs, one behind each router, that have talked over it.
    pub(crate) async fn talk(&self, request: StartRelayRequest) -> Talk {
        let relay = self.relay(request).await;
        self.talk_over(relay).await
    }

    /// Two programs, one behind each router, that have talked over this relay.
    pub(crate) async fn talk_over(&self, relay: Pair) -> Talk {
        let talk = Talk {
            a: Program::on(&self.internet.user_a),
            b: Program::on(&self.internet.user_b),
            to_a: to(RELAY, relay.ports.0),
            to_b: to(RELAY, relay.ports.1),
            relay,
        };
        talk.meet(self).await;
        talk
    }

    /// How a relay of alice stands.
    pub(crate) async fn look(&self, relay: &Pair) -> Relay {
        self.alice().await.get_relay(GetRelayRequest { id: relay.id.clone() }).await.unwrap()
    }

    /// Waits until a relay of alice is so.
    pub(crate) async fn wait(&self, relay: &Pair, what: &str, holds: impl Fn(&Relay) -> bool) -> Relay {
        let alice = self.alice().await;
        let mut last = None;
        let look = async {
            loop {
                let now = alice.get_relay(GetRelayRequest { id: relay.id.clone() }).await.unwrap();
                if holds(&now) {
                    return now;
                }
                last = Some(now);
                sleep(Duration::from_millis(20)).await;
            }
        };
        match timeout(PATIENCE, look).await {
            Ok(relay) => relay,
            Err(_) => panic!("not within {PATIENCE:?}: {what}: {last:?}"),
        }
    }

    pub(crate) async fn stop_relay(&self, relay: &Pair) {
        self.alice().await.stop_relay(StopRelayRequest { id: relay.id.clone() }).await.unwrap();
    }

    /// Events of sockets, from now on.
    pub(crate) async fn events(&self, node: &str) -> Events {
        self.events_after(node, None).await
    }

    /// Events of sockets after a cursor.
    pub(crate) async fn events_after(&self, node: &str, after: Option<i64>) -> Events {
        let service = Some("socket".to_owned());
        let only = SubscribeRequest { after, service, ..SubscribeRequest::default() };
        self.client(node).await.subscribe(only).await.unwrap()
    }
}

/// What identifies a relay.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) id: String,
    pub(crate) ports: (u16, u16),
    pub(crate) token: String,
}

impl Pair {
    pub(crate) fn of(relay: Relay) -> Self {
        let port = |text: &str| text.strip_prefix(':').and_then(|port| port.parse().ok());
        let ports = port(&relay.port1).zip(port(&relay.port2));
        let ports = ports.unwrap_or_else(|| panic!("no ports: {relay:?}"));
        Self { id: relay.id, ports, token: relay.token }
    }
}

/// A program behind each router, and the relay between them.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) relay: Pair,
    pub(crate) a: Program,
    pub(crate) b: Program,
    /// Where A sends to, and B.
    pub(crate) to_a: SocketAddr,
    pub(crate) to_b: SocketAddr,
}

impl Talk {
    /// Each sends a first packet, and then one that the other gets.
    pub(crate) async fn meet(&self, lab: &Lab) {
        self.a.send(b"first of a", self.to_a).await;
        lab.wait(&self.relay, "a is known", |relay| !side(relay, 0).source.is_empty()).await;
        self.b.send(b"first of b", self.to_b).await;
        self.a.expect(b"first of b").await;
        self.exchange("met").await;
        lab.wait(&self.relay, "both are firm", |relay| side(relay, 0).firm && side(relay, 1).firm).await;
    }

    /// One packet each way.
    pub(crate) async fn exchange(&self, word: &str) {
        let (from_a, from_b) = (format!("a {word}"), format!("b {word}"));
        self.a.send(from_a.as_bytes(), self.to_a).await;
        assert_eq!(self.b.expect(from_a.as_bytes()).await, self.to_b);
        self.b.send(from_b.as_bytes(), self.to_b).await;
        assert_eq!(self.a.expect(from_b.as_bytes()).await, self.to_a);
    }
}

/// One side of a relay: 0 or 1.
pub(crate) fn side(relay: &Relay, number: usize) -> &RelaySide {
    relay.sides.get(number).unwrap_or_else(|| panic!("no side {number}: {relay:?}"))
}

/// Who is known on a side, an IP address of version 4 in IPv4's form.
pub(crate) fn source(relay: &Relay, number: usize) -> Option<(IpAddr, u16)> {
    let text = &side(relay, number).source;
    let address: Option<SocketAddr> = text.parse().ok();
    assert!(text.is_empty() || address.is_some(), "{text:?} is no address");
    address.map(|address| (address.ip(), address.port()))
}

/// How many packets were dropped for this reason.
pub(crate) fn drops(relay: &Relay, reason: &str) -> i64 {
    relay.drops.iter().filter(|drops| drops.reason == reason).map(|drops| drops.packets).sum()
}

/// Waits for the event that says that a relay has ended, and gives why.
pub(crate) async fn end_of(relay: &Pair, events: &mut Events) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let event = tokio::time::timeout_at(until, events.next()).await.expect("an event in time");
        let event = event.unwrap().expect("the stream goes on");
        let data: Value = serde_json::from_str(&event.data).unwrap();
        if data["type"] == "ENDED" && data["id"] == *relay.id {
            assert_eq!(data["recordId"], "SOCKET");
            assert_eq!(data["port1"], format!(":{}", relay.ports.0));
            assert_eq!(data["port2"], format!(":{}", relay.ports.1));
            return data["reason"].as_str().unwrap().to_owned();
        }
    }
}

/// Waits until a question is answered.
pub(crate) async fn wait_for<A, F>(what: &str, mut question: impl FnMut() -> F) -> A
where
    F: Future<Output = Option<A>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
