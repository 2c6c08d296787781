//! Random histories on a simulated network: loss, repeated events, overtaking payments, nodes that die and come back.

use std::collections::{HashMap, HashSet};

use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_lightning::fake::FakeOptions;
use imp_node::error::Error;
use imp_node::service::messaging::SendMessage;
use imp_node::store::OutboxStore;
use imp_node::store::outbox::MessageQuery;
use imp_node::store::sqlite::Crash;
use tokio::task::JoinHandle;

use crate::lab::{TestNode, network, text_to, wait_for};
use crate::repeat::{calling, keyed, retrying};

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

    fn pick<'l, T>(&mut self, list: &'l [T]) -> Option<&'l T> {
        let place = self.roll((list.len() as u64).max(1)) as usize;
        list.get(place)
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
    let mut calls = Calls::default();
    for step in 0..STEPS {
        let (from, to) = (dice.roll(3) as usize, dice.roll(3) as usize);
        match dice.roll(16) {
            0 => restart(&mut nodes, from, None).await,
            1 => restart(&mut nodes, from, Some(Crash::StopAfterCommit(3 + dice.roll(40)))).await,
            2 => network.set_rejects(NAMES[from], dice.roll(2) == 0),
            3 => network.set_online(NAMES[from], dice.roll(3) > 0),
            4 => calls.repeat(&mut dice, &nodes),
            5 => calls.try_again(&mut dice, &nodes[from]).await,
            roll => {
                // Every fifth message takes parts.
                let size = if roll > 13 { 900 * (1 + dice.roll(4) as usize) } else { 20 };
                let text = format!("{step:03} {} ", NAMES[from]) + &"x".repeat(size);
                let keep_secs = if dice.roll(3) == 0 { 3600 } else { 0 };
                calls.send(step, from, &nodes, SendMessage { keep_secs, ..text_to(nodes[to].id, &text) });
            }
        }
    }
    for name in NAMES {
        network.set_rejects(name, false);
        network.set_online(name, true);
    }
    for at in 0..nodes.len() {
        restart(&mut nodes, at, None).await;
    }
    for node in &nodes {
        node.outbox_is_done().await;
    }
    calls.check(&nodes, seed).await;
    // A later run's first message lets out what a recipient holds back for one that failed.
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            while from.send(to.id, "the end").await.is_err() {}
        }
    }
    network.idle().await;
    check(&nodes, seed).await;
    assert_eq!(network.total(), before, "seed {seed}: payments make and lose no money");
}

/// The calls of a history.
#[derive(Default)]
struct Calls {
    /// Who made each, and what it asked for: all have keys.
    made: Vec<(usize, SendMessage)>,
    tries: Vec<JoinHandle<Result<MessageId, Error>>>,
}

impl Calls {
    fn send(&mut self, step: usize, from: usize, nodes: &[TestNode], message: SendMessage) {
        let message = keyed(&step.to_string(), message);
        drop(calling(&nodes[from], message.clone()));
        self.made.push((from, message));
    }

    /// Makes an earlier call again, twice at once.
    fn repeat(&self, dice: &mut Dice, nodes: &[TestNode]) {
        if let Some((from, message)) = dice.pick(&self.made) {
            drop((calling(&nodes[*from], message.clone()), calling(&nodes[*from], message.clone())));
        }
    }

    /// Tries a message of a node again, whatever became of it.
    async fn try_again(&mut self, dice: &mut Dice, node: &TestNode) {
        if let Ok(page) =
            node.store.list_messages(MessageQuery { limit: 20, ..MessageQuery::default() }).await
            && let Some(stored) = dice.pick(&page.messages)
        {
            self.tries.push(retrying(node, stored.message.id));
        }
    }

    /// Every call, made once more, tells of the message that it began, or is carried out; none began two.
    async fn check(self, nodes: &[TestNode], seed: u64) {
        let again: Vec<_> =
            self.made.iter().map(|(from, message)| calling(&nodes[*from], message.clone())).collect();
        let mut ids = HashSet::new();
        for (call, (_, message)) in again.into_iter().zip(&self.made) {
            match call.await.unwrap() {
                Ok(sent) => assert!(ids.insert(sent.id), "seed {seed}: {} is of two calls", sent.id),
                Err(error) => {
                    assert!(error.to_string().contains("failed"), "seed {seed}: {message:?}: {error}")
                }
            }
        }
        for node in nodes {
            node.outbox_is_done().await;
        }
        let messages = futures_util::future::join_all(nodes.iter().map(TestNode::messages)).await.concat();
        let of_calls = messages.iter().filter(|stored| stored.has_key).count();
        assert!(of_calls <= self.made.len(), "seed {seed}: {of_calls} messages of {} calls", self.made.len());
    }
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
    // A sender may know that its message is paid before the recipient's pump has taken it in.
    wait_for(&format!("what settled in history {seed} to be published"), async || {
        let events = futures_util::future::join_all(nodes.iter().map(TestNode::journal)).await.concat();
        let published: HashSet<String> = events.into_iter().map(|event| event.event.id).collect();
        let messages = futures_util::future::join_all(nodes.iter().map(TestNode::messages)).await.concat();
        let mut settled = messages.iter().filter(|stored| stored.state == MessageState::Settled);
        settled.all(|stored| published.contains(&stored.message.id.to_string()))
    })
    .await;
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
