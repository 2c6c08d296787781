//! Contracts of the VPN between nodes on the simulated network, whose machines are simulated, too.

mod buyer;
mod crash;
mod life;
mod refusals;
mod station;
mod stranger;
mod tunnel;

use std::net::Ipv4Addr;
use std::sync::Arc;

use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;
use imp_core::vpn::PublicKey;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::error::Error;
use imp_node::exit::fake::FakeExit;
use imp_node::node::NodeOptions;
use imp_node::service::vpn::{ContractView, ListPayments, PaymentView, QuoteView, SellerView};
use imp_node::store::sqlite::Crash;
use imp_node::tunnel::fake::FakeTunnels;
use imp_node::vpn::Hosts;
use imp_node::wireguard::fake::FakeDevices;
use serde_json::Value;

use crate::lab::{SetClock, TestNode, network, options, wait_for};

/// The seller's interface.
pub(crate) const IMP0: &str = "imp0";

/// An hour in milliseconds.
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// What a machine has of networks. It outlives its node.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) devices: FakeDevices,
    pub(crate) exit: FakeExit,
    pub(crate) tunnels: FakeTunnels,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let devices = FakeDevices::new();
        let tunnels = FakeTunnels::new(Arc::new(devices.clone()));
        Self { devices, exit: FakeExit::new(), tunnels }
    }

    /// A node on this machine that buys and does not sell.
    pub(crate) fn buys(&self) -> NodeOptions {
        let mut options = options();
        options.vpn.hosts = Hosts {
            devices: Arc::new(self.devices.clone()),
            exit: Arc::new(self.exit.clone()),
            tunnels: Arc::new(self.tunnels.clone()),
        };
        options
    }

    /// A node on this machine that sells an hour for 100 sat.
    pub(crate) fn sells(&self) -> NodeOptions {
        let mut options = self.buys();
        options.vpn.seller.sell = true;
        options.vpn.seller.server_ip = Some(Ipv4Addr::new(203, 0, 113, 7).into());
        options
    }

    /// Whether a buyer is let in by this key.
    pub(crate) fn lets_in(&self, key: &str) -> bool {
        key.parse::<PublicKey>().is_ok_and(|key| self.devices.has(IMP0, &key))
    }
}

/// A buyer and a seller under one clock.
pub(crate) struct Pair {
    pub(crate) network: FakeNetwork,
    pub(crate) clock: SetClock,
    pub(crate) alice: TestNode,
    pub(crate) bob: TestNode,
    pub(crate) buyers: Machine,
    pub(crate) sellers: Machine,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a seller of other terms.
    pub(crate) async fn with(change: impl FnOnce(&mut NodeOptions)) -> Self {
        Self::dying(0, None, None, change).await
    }

    /// Of whom one dies at a commit.
    pub(crate) async fn dying(
        seed: u64,
        alice_dies: Option<Crash>,
        bob_dies: Option<Crash>,
        change: impl FnOnce(&mut NodeOptions),
    ) -> Self {
        let network = network(FakeOptions { seed, ..FakeOptions::default() });
        let (clock, buyers, sellers) = (SetClock::default(), Machine::new(), Machine::new());
        let mut terms = sellers.sells();
        change(&mut terms);
        let bob = TestNode::start_at(&network, "bob", terms, clock.clone(), bob_dies).await;
        let alice = TestNode::start_at(&network, "alice", buyers.buys(), clock.clone(), alice_dies).await;
        Self { network, clock, alice, bob, buyers, sellers }
    }

    /// Waits until the seller has a device, and gets a quote.
    pub(crate) async fn quote(&self) -> QuoteView {
        sells(&self.bob).await;
        quote(&self.alice, self.bob.id).await
    }

    /// Buys a contract and waits until both sides know of it. Its nonce.
    pub(crate) async fn buy(&self) -> String {
        let quote = self.quote().await;
        accept(&self.alice, &quote).await.unwrap();
        is(&self.alice, &quote.nonce, "active").await;
        is(&self.bob, &quote.nonce, "active").await;
        quote.nonce
    }

    /// Steps the clock by seconds until something is so.
    pub(crate) async fn in_time(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        wait_for(what, async || {
            let holds = holds().await;
            if !holds {
                self.clock.step(500);
            }
            holds
        })
        .await;
    }
}

/// Waits until a node can sell.
pub(crate) async fn sells(node: &TestNode) {
    wait_for("a device to sell with", async || seller(node).await.selling).await;
}

pub(crate) async fn seller(node: &TestNode) -> SellerView {
    node.call(async |services| services.vpn.unwrap().seller().await).await
}

/// Asks for a quote, without waiting for the answer.
pub(crate) async fn ask(node: &TestNode, of: NodeId) -> Result<MessageId, Error> {
    let of = of.to_string();
    node.call(async move |services| services.vpn.unwrap().request_quote(&of, None).await).await
}

pub(crate) async fn quotes(node: &TestNode, request: &str) -> Vec<QuoteView> {
    let request = request.to_owned();
    node.call(async move |services| services.vpn.unwrap().quotes("", &request).await).await.unwrap()
}

/// Asks for a quote and waits for it.
pub(crate) async fn quote(node: &TestNode, of: NodeId) -> QuoteView {
    let request = ask(node, of).await.unwrap().to_string();
    wait_for("a quote", async || !quotes(node, &request).await.is_empty()).await;
    quotes(node, &request).await.remove(0)
}

pub(crate) async fn accept(node: &TestNode, quote: &QuoteView) -> Result<MessageId, Error> {
    accept_at(node, quote.node, &quote.nonce, &quote.price_sat.to_string()).await
}

pub(crate) async fn accept_at(
    node: &TestNode,
    of: NodeId,
    nonce: &str,
    price: &str,
) -> Result<MessageId, Error> {
    let (of, nonce, price) = (of.to_string(), nonce.to_owned(), price.to_owned());
    node.call(async move |services| services.vpn.unwrap().accept_contract(&of, &nonce, &price, None).await)
        .await
}

pub(crate) async fn refresh(node: &TestNode, of: NodeId, nonce: &str) -> Result<MessageId, Error> {
    let (of, nonce) = (of.to_string(), nonce.to_owned());
    node.call(async move |services| services.vpn.unwrap().refresh_contract(&of, &nonce, "100", None).await)
        .await
}

/// A contract as a node sees it.
pub(crate) async fn contract(node: &TestNode, nonce: &str) -> Option<ContractView> {
    let nonce = nonce.to_owned();
    node.call(async move |services| services.vpn.unwrap().contract(&nonce).await).await.ok()
}

pub(crate) async fn state(node: &TestNode, nonce: &str) -> &'static str {
    contract(node, nonce).await.map_or("none", |contract| contract.state)
}

pub(crate) async fn is(node: &TestNode, nonce: &str, wanted: &str) {
    wait_for(&format!("a contract that is {wanted}"), async || state(node, nonce).await == wanted).await;
}

/// The payments that a seller got, oldest first.
pub(crate) async fn payments(node: &TestNode) -> Vec<PaymentView> {
    let page = node.call(async |services| services.vpn.unwrap().payments(ListPayments::default()).await);
    let mut payments = page.await.unwrap().payments;
    payments.reverse();
    payments
}

/// How the payments that a seller got stand, oldest first.
pub(crate) async fn outcomes(node: &TestNode) -> Vec<&'static str> {
    payments(node).await.into_iter().map(|payment| payment.state).collect()
}

/// An event of the service.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) kind: String,
    pub(crate) from: NodeId,
    pub(crate) id: String,
    pub(crate) reply_to: String,
    pub(crate) amount_sat: u64,
    pub(crate) data: Value,
}

/// What the node's programs learned of contracts.
pub(crate) async fn said(node: &TestNode) -> Vec<Said> {
    let journal = node.journal().await.into_iter().map(|event| event.event);
    journal
        .filter(|event| event.service == Service::Vpn.into())
        .map(|event| {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            Said {
                kind: data["type"].as_str().unwrap().to_owned(),
                from: event.from,
                id: event.id,
                reply_to: event.reply_to,
                amount_sat: event.amount_sat,
                data,
            }
        })
        .collect()
}

pub(crate) async fn kinds(node: &TestNode) -> Vec<String> {
    said(node).await.into_iter().map(|said| said.kind).collect()
}

pub(crate) async fn has_said(node: &TestNode, kind: &str) -> Said {
    wait_for(kind, async || kinds(node).await.iter().any(|said| said == kind)).await;
    said(node).await.into_iter().rfind(|said| said.kind == kind).unwrap()
}
