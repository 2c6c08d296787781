//! Random histories on a simulated network: loss, repeated events, overtaking payments, nodes that die and come back.

use std::collections::HashMap;

use imp_core::delivery::MessageState;
use imp_core::id::NodeId;
use imp_lightning::fake::FakeOptions;
use imp_node::store::sqlite::Crash;

use crate::lab::{TestNode, network, text_to};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

/// Steps of a history, and how many histories.
const STEPS: usize = 60;
const HISTORIES: u64 = 30;

/// A small generator: the same seed gives the same history, apart from what threads do.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn whatever_happens_every_message_arrives_once_or_is_reported() {
    for seed in 0..HISTORIES {
        history(seed).await;
    }
}

async fn history(seed: u64) {
    let mut dice = Dice(seed);
    let network = network(FakeOptions {
        seed,
        loss: 0.1,
        duplicates: 0.2,
        slots_per_channel: 8,
        ..FakeOptions::default()
    });
    let mut nodes = Vec::new();
    for name in NAMES {
        nodes.push(TestNode::start(&network, name).await);
    }
    let before = network.total();
    let mut sending = Vec::new();
    for step in 0..STEPS {
        let (from, to) = (dice.roll(3) as usize, dice.roll(3) as usize);
        match dice.roll(12) {
            0 => restart(&mut nodes, from, None).await,
            1 => restart(&mut nodes, from, Some(Crash::StopAfterCommit(3 + dice.roll(40)))).await,
            _ if from == to => {}
            roll => {
                // Every fourth message takes parts.
                let size = if roll > 9 { 900 * (1 + dice.roll(4) as usize) } else { 20 };
                let text = format!("{step:03} {} ", NAMES[from]) + &"x".repeat(size);
                sending.push(nodes[from].sending(text_to(nodes[to].id, &text)));
            }
        }
    }
    for at in 0..nodes.len() {
        restart(&mut nodes, at, None).await;
    }
    for node in &nodes {
        node.outbox_is_done().await;
    }
    // A later run's first message lets out what a recipient holds back for one that failed.
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            while from.send(to.id, "the end").await.is_err() {}
        }
    }
    network.idle().await;
    check(&nodes, seed).await;
    assert_eq!(network.total(), before, "seed {seed}: payments make and lose no money");
    drop(sending);
}

async fn restart(nodes: &mut Vec<TestNode>, at: usize, crash: Option<Crash>) {
    let node = nodes.remove(at);
    let node = match crash {
        Some(crash) => node.restart_dying(crash).await,
        None => node.restart().await,
    };
    nodes.insert(at, node);
}

/// What every sender's rows say is what the recipients published.
async fn check(nodes: &[TestNode], seed: u64) {
    let mut published: HashMap<String, Vec<NodeId>> = HashMap::new();
    for node in nodes {
        for event in node.journal().await {
            published.entry(event.event.id).or_default().push(node.id);
        }
    }
    let mut settled = 0;
    for node in nodes {
        for stored in node.messages().await {
            let (id, state) = (stored.message.id, stored.state);
            let times = published.remove(&id.to_string()).map_or(0, |at| at.len());
            match state {
                MessageState::Settled => assert_eq!(times, 1, "seed {seed}: {id} is settled"),
                MessageState::Failed => assert_eq!(times, 0, "seed {seed}: {id} failed"),
                MessageState::Unknown => assert!(times <= 1, "seed {seed}: {id} is unknown"),
                state => panic!("seed {seed}: {id} is {state:?} at the end"),
            }
            settled += usize::from(state == MessageState::Settled);
        }
    }
    assert!(published.is_empty(), "seed {seed}: nobody sent {published:?}");
    assert!(settled > STEPS / 8, "seed {seed}: only {settled} messages settled");
}
