//! Whatever happens on the simulated network, money is kept and every payment ends once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use imp_lightning::fake::{FakeNetwork, FakeNode, FakeOptions};
use imp_lightning::{
    FailureReason, Keysend, LightningEvent, LightningNode, OnchainAmount, PaymentState, SendError,
    read_invoice,
};
use proptest::prelude::*;

use crate::conformance::keysend;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Something done to the network. Nodes and payments are chosen by index.
#[derive(Clone, Debug)]
enum Operation {
    Keysend { from: usize, to: usize, amount_msat: u64 },
    Invoice { from: usize, to: usize, amount_msat: u64 },
    SendAgain { payment: usize },
    Wait { ms: u64 },
    Crash { node: usize },
    Restart { node: usize },
    Online { node: usize, online: bool },
    Hold { from: usize, to: usize, hold: bool },
    ReleaseAll,
    FailNext { from: usize },
    LoseReply { from: usize },
    Reject { node: usize, rejects: bool },
    Close { a: usize, b: usize },
    Agree { from: usize },
    Transfer { from: usize, to: usize, sat: OnchainAmount },
    Mine,
}

fn operation() -> impl Strategy<Value = Operation> {
    let (node, other) = (0..NAMES.len(), 0..NAMES.len());
    let pair = (node.clone(), other);
    let amount_msat = 1..300_000_000_u64;
    prop_oneof![
        8 => (pair.clone(), amount_msat.clone())
            .prop_map(|((from, to), amount_msat)| Operation::Keysend { from, to, amount_msat }),
        3 => (pair.clone(), amount_msat)
            .prop_map(|((from, to), amount_msat)| Operation::Invoice { from, to, amount_msat }),
        2 => (0..40_usize).prop_map(|payment| Operation::SendAgain { payment }),
        6 => (0..150_u64).prop_map(|ms| Operation::Wait { ms }),
        1 => node.clone().prop_map(|node| Operation::Crash { node }),
        2 => node.clone().prop_map(|node| Operation::Restart { node }),
        2 => (node.clone(), any::<bool>()).prop_map(|(node, online)| Operation::Online { node, online }),
        1 => (pair.clone(), any::<bool>()).prop_map(|((from, to), hold)| Operation::Hold { from, to, hold }),
        1 => Just(Operation::ReleaseAll),
        1 => node.clone().prop_map(|from| Operation::FailNext { from }),
        1 => node.clone().prop_map(|from| Operation::LoseReply { from }),
        1 => (node, any::<bool>()).prop_map(|(node, rejects)| Operation::Reject { node, rejects }),
        1 => pair.clone().prop_map(|(a, b)| Operation::Close { a, b }),
        1 => (0..NAMES.len()).prop_map(|from| Operation::Agree { from }),
        1 => (pair, prop_oneof![Just(OnchainAmount::All), (1..9_000_000_u64).prop_map(OnchainAmount::Sat)])
            .prop_map(|((from, to), sat)| Operation::Transfer { from, to, sat }),
        1 => Just(Operation::Mine),
    ]
}

/// A network under way, and what its payers know.
struct Run {
    network: FakeNetwork,
    nodes: Vec<Arc<FakeNode>>,
    /// Keysends that were asked for, with their sender.
    asked: Vec<(usize, Keysend)>,
    /// Payments that were begun: sender, recipient, hash.
    begun: BTreeSet<(usize, usize, PaymentHash)>,
    /// Pairs whose channel a test has closed.
    closed: BTreeSet<(usize, usize)>,
}

impl Run {
    fn new(options: FakeOptions) -> Self {
        let network = FakeNetwork::new(options);
        let nodes = NAMES.map(|name| network.node(name)).to_vec();
        Self { network, nodes, asked: Vec::new(), begun: BTreeSet::new(), closed: BTreeSet::new() }
    }

    async fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Keysend { from, to, amount_msat } => {
                let payment = Keysend { amount: Msat(amount_msat), ..keysend(self.nodes[to].id(), b"") };
                self.asked.push((from, payment.clone()));
                self.send(from, payment).await;
            }
            Operation::Invoice { from, to, amount_msat } => {
                let hour = Duration::from_secs(3600);
                let Ok(invoice) = self.nodes[to].create_invoice(Msat(amount_msat), "", hour).await else {
                    return;
                };
                let hash = read_invoice(&invoice).unwrap().hash;
                if let Ok(_) | Err(SendError::Unknown(_)) =
                    self.nodes[from].pay_invoice(&invoice, Msat::ZERO).await
                {
                    self.begun.insert((from, to, hash));
                }
            }
            Operation::SendAgain { payment } => {
                if let Some((from, payment)) = self.asked.get(payment).cloned() {
                    self.send(from, payment).await;
                }
            }
            Operation::Wait { ms } => tokio::time::sleep(Duration::from_millis(ms)).await,
            Operation::Crash { node } => self.network.crash(NAMES[node]),
            Operation::Restart { node } => self.nodes[node] = self.network.restart(NAMES[node]),
            Operation::Online { node, online } => self.network.set_online(NAMES[node], online),
            Operation::Hold { from, to, hold } => self.network.hold(NAMES[from], NAMES[to], hold),
            Operation::ReleaseAll => self.network.release_all(),
            Operation::FailNext { from } => self.network.fail_next(NAMES[from], 1, FailureReason::NoRoute),
            Operation::LoseReply { from } => self.network.lose_replies(NAMES[from], 1),
            Operation::Reject { node, rejects } => self.network.set_rejects(NAMES[node], rejects),
            Operation::Close { a, b } => {
                self.network.close_channels(NAMES[a], NAMES[b]);
                self.closed.extend([(a, b), (b, a)]);
            }
            Operation::Agree { from } => {
                if let Some(channel) = self.nodes[from].channels().await.ok().and_then(|mut all| all.pop()) {
                    let _ = self.nodes[from].close_channel(channel.user_channel_id, false).await;
                }
            }
            Operation::Transfer { from, to, sat } => {
                let Ok(address) = self.nodes[to].new_address().await else { return };
                let _ = self.nodes[from].send_onchain(&address, sat, None).await;
            }
            Operation::Mine => self.network.mine(),
        }
    }

    async fn send(&mut self, from: usize, payment: Keysend) {
        let hash = payment.preimage.payment_hash();
        let to = self.nodes.iter().position(|node| node.id() == payment.recipient).unwrap();
        let known = self.nodes[from].payment(hash).await.ok().flatten().is_some();
        match self.nodes[from].send_keysend(payment).await {
            Ok(()) => assert!(self.begun.insert((from, to, hash)), "sent again though known"),
            Err(SendError::Unknown(_)) => assert!(self.begun.insert((from, to, hash))),
            Err(SendError::Known) => assert!(known),
            Err(_) => assert!(!known || !self.is_up(from).await),
        }
    }

    async fn is_up(&self, node: usize) -> bool {
        self.nodes[node].status().await.is_ok()
    }

    /// Lets everything come to its end.
    async fn finish(&mut self) {
        for (at, name) in NAMES.into_iter().enumerate() {
            self.network.set_online(name, true);
            self.nodes[at] = self.network.restart(name);
        }
        for _ in 0..3 {
            self.network.release_all();
            self.network.mine();
            self.network.idle().await;
        }
    }

    /// Every event of a node, acknowledged.
    async fn events(&self, node: usize) -> Vec<LightningEvent> {
        let mut events = Vec::new();
        while let Ok(event) =
            tokio::time::timeout(Duration::from_secs(1), self.nodes[node].next_event()).await
        {
            events.push(event);
            self.nodes[node].acknowledge_event().await.unwrap();
        }
        events
    }

    async fn check(&self) {
        let mut ends = BTreeMap::new();
        let mut received = BTreeSet::new();
        for node in 0..NAMES.len() {
            for event in self.events(node).await {
                let (hash, settled) = match event {
                    LightningEvent::PaymentSettled { hash, .. } => (hash, true),
                    LightningEvent::PaymentFailed { hash, .. } => (hash, false),
                    LightningEvent::PaymentReceived { hash, .. } => {
                        assert!(received.insert((node, hash)), "received twice");
                        continue;
                    }
                    _ => continue,
                };
                assert_eq!(ends.insert((node, hash), settled), None, "ended twice");
            }
        }
        assert_eq!(ends.len(), self.begun.len());
        for (from, to, hash) in &self.begun {
            let settled = ends[&(*from, *hash)];
            let state = self.nodes[*from].payment(*hash).await.unwrap().unwrap();
            assert_eq!(matches!(state, PaymentState::Settled { .. }), settled);
            assert!(!matches!(state, PaymentState::InFlight));
            let arrived = received.contains(&(*to, *hash));
            if settled {
                assert!(arrived, "settled, and the recipient does not know");
            } else if !self.closed.contains(&(*from, *to)) {
                assert!(!arrived, "failed, and the recipient has it");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn money_is_kept_and_every_payment_ends_once(
        seed in any::<u64>(),
        loss in prop_oneof![Just(0.0), Just(0.3)],
        slots_per_channel in 1..6_usize,
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new(FakeOptions { seed, loss, slots_per_channel, ..FakeOptions::default() });
            let total = run.network.total();
            for operation in operations {
                run.apply(operation).await;
                assert_eq!(run.network.total(), total);
            }
            run.finish().await;
            assert_eq!(run.network.total(), total);
            run.check().await;
        });
    }
}
