//! The outbox by itself: texts that find no room in memory, and the allowance for answers.

use std::sync::Arc;
use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_core::record::{RecordTable, Service};
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_lightning::{LightningEvent, LightningNode};
use imp_node::outbox::{AnswerTo, Draft, Outbox, OutboxOptions, TEXT_BYTES};
use imp_node::runtime::clock::SystemClock;
use imp_node::runtime::tasks::Tasks;
use imp_node::store::inbox::InboxChange;
use imp_node::store::outbox::Answer;
use imp_node::store::{InboxStore, OutboxStore, SqliteStore};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::lab::{TestNode, network, open, wait_for};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A node that has nothing but an outbox.
pub(super) struct Bare {
    pub(super) outbox: Outbox,
    pub(super) store: SqliteStore,
    network: FakeNetwork,
    tasks: Tasks,
    pump: JoinHandle<()>,
    dir: Arc<TempDir>,
}

pub(super) fn options() -> OutboxOptions {
    OutboxOptions {
        fee_limit: None,
        records: RecordTable::default(),
        answers: Msat::from_sat(1000),
        text_bytes: TEXT_BYTES,
    }
}

/// No text has room beside another.
fn narrow() -> OutboxOptions {
    OutboxOptions { text_bytes: 1, ..options() }
}

impl Bare {
    pub(super) async fn start(network: &FakeNetwork, options: OutboxOptions) -> Self {
        Self::start_in(network, Arc::new(tempfile::tempdir().unwrap()), options).await
    }

    async fn start_in(network: &FakeNetwork, dir: Arc<TempDir>, options: OutboxOptions) -> Self {
        let node = network.restart("alice");
        let store = open(dir.path(), None);
        let (tasks, port) = (Tasks::new(), Arc::new(store.clone()));
        let lightning = Arc::clone(&node) as Arc<dyn LightningNode>;
        let outbox =
            Outbox::open(port, lightning, Arc::new(SystemClock), tasks.clone(), options).await.unwrap();
        outbox.recover().await.unwrap();
        let told = outbox.clone();
        let pump = tokio::spawn(async move {
            loop {
                match node.next_event().await {
                    LightningEvent::PaymentSettled { hash, fee, .. } => {
                        told.payment_settled(hash, fee).await.unwrap();
                    }
                    LightningEvent::PaymentFailed { hash, reason } => {
                        told.payment_failed(hash, &reason).await.unwrap();
                    }
                    _ => {}
                }
                node.acknowledge_event().await.unwrap();
            }
        });
        Self { outbox, store, network: network.clone(), tasks, pump, dir }
    }

    /// Kills the node where it stands, and starts it again on what it left.
    pub(super) async fn restart(self, options: OutboxOptions) -> Self {
        let Self { outbox, store, network, tasks, pump, dir } = self;
        network.crash("alice");
        tasks.cancel();
        pump.abort();
        drop(outbox);
        store.close();
        Self::start_in(&network, dir, options).await
    }

    pub(super) async fn is_done(&self) {
        wait_for("the outbox", async || self.store.open_messages().await.unwrap().is_empty()).await;
    }

    pub(super) async fn state(&self, id: MessageId) -> MessageState {
        self.store.message(id).await.unwrap().unwrap().state
    }

    /// Takes answers in as a change of another noun does.
    async fn take_in(&self, answers: Vec<Answer>) {
        let change = InboxChange { answers, ..InboxChange::default() };
        self.store.commit_inbox(change).await.unwrap();
    }
}

pub(super) fn draft(to: NodeId, text: &str) -> Draft {
    Draft {
        service: Service::Message,
        recipient: to,
        body: text.as_bytes().to_vec(),
        reply_to: String::new(),
        amount_sat: 0,
        unordered: false,
        keep: Duration::ZERO,
        answer: None,
        fee_limit: None,
    }
}

fn answer(to: NodeId) -> Draft {
    Draft { unordered: true, keep: HOUR, answer: Some(AnswerTo::Peer), ..draft(to, "an answer") }
}

fn texts() -> Vec<String> {
    (0..6).map(|n| format!("{n} ").repeat(1 + n * 700)).collect()
}

pub(super) fn sending(alice: &Bare, draft: Draft) -> JoinHandle<Result<MessageId, imp_node::error::Error>> {
    let outbox = alice.outbox.clone();
    tokio::spawn(async move { outbox.send(draft, None).await.map(|sent| sent.id) })
}

#[tokio::test]
async fn texts_without_room_in_memory_are_read_when_their_turn_comes_and_stay_in_order() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = Bare::start(&network, narrow()).await;
    let texts = texts();
    let all = texts.iter().map(|text| alice.outbox.send(draft(bob.id, text), None));
    for sent in futures_util::future::join_all(all).await {
        assert_eq!(sent.unwrap().state, MessageState::Settled);
    }
    bob.has_published(texts.len()).await;
    assert_eq!(bob.texts().await, texts);
}

#[tokio::test]
async fn texts_without_room_in_memory_outlive_a_restart_and_arrive_once() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = Bare::start(&network, options()).await;
    alice.outbox.send(draft(bob.id, "before"), None).await.unwrap();
    network.hold("alice", "bob", true);
    let texts = texts();
    let kept: Vec<_> = texts.iter().map(|text| Draft { keep: HOUR, ..draft(bob.id, text) }).collect();
    let calls: Vec<_> = kept.into_iter().map(|draft| sending(&alice, draft)).collect();
    wait_for("the messages", async || alice.store.open_messages().await.unwrap().len() == texts.len()).await;
    network.holds(texts.len()).await;
    let alice = alice.restart(narrow()).await;
    network.hold("alice", "bob", false);
    network.release_all();
    alice.is_done().await;
    bob.has_published(texts.len() + 1).await;
    let mut seen = bob.texts().await;
    assert_eq!(seen.remove(0), "before");
    let (mut seen, mut sent) = (seen, texts);
    seen.sort();
    sent.sort();
    assert_eq!(seen, sent, "whatever their order was where the tries were over");
    drop(calls);
}

#[tokio::test]
async fn a_recipient_who_takes_nothing_leaves_room_in_memory_for_others() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let carol = TestNode::start(&network, "carol").await;
    let alice = Bare::start(&network, narrow()).await;
    network.set_online("bob", false);
    let texts = texts().split_off(4);
    for text in &texts {
        let sent = alice.outbox.send(Draft { keep: HOUR, ..draft(bob.id, text) }, None).await.unwrap();
        assert_eq!(sent.state, MessageState::Queued);
    }
    alice.outbox.send(draft(carol.id, "to whoever is there"), None).await.unwrap();
    carol.has_published(1).await;
    network.set_online("bob", true);
    alice.outbox.reachable(Some(bob.id));
    alice.is_done().await;
    bob.has_published(texts.len()).await;
    assert_eq!(bob.texts().await, texts);
}

#[tokio::test]
async fn what_another_change_took_in_is_sent_now_or_by_the_next_run_and_once() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = Bare::start(&network, options()).await;
    let first = alice.outbox.prepare(answer(bob.id)).await.unwrap().unwrap();
    alice.take_in(vec![first.answer.clone()]).await;
    alice.outbox.take_up(vec![first.answer.clone(), first.answer.clone()]);
    bob.has_published(1).await;
    alice.is_done().await;

    let left = alice.outbox.prepare(answer(bob.id)).await.unwrap().unwrap();
    alice.take_in(vec![left.answer.clone()]).await;
    let alice = alice.restart(options()).await;
    alice.outbox.take_up(vec![left.answer.clone()]);
    bob.has_published(2).await;
    alice.is_done().await;
    for answer in [&first.answer, &left.answer] {
        assert_eq!(alice.state(answer.message.id).await, MessageState::Settled);
    }
    let mut ids: Vec<_> = bob.journal().await.into_iter().map(|event| event.event.id).collect();
    ids.dedup();
    assert_eq!(ids, [first.answer.message.id.to_string(), left.answer.message.id.to_string()]);
}

#[tokio::test]
async fn an_answer_for_whoever_is_away_waits_for_them() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = Bare::start(&network, options()).await;
    network.set_online("bob", false);
    let kept = alice.outbox.prepare(answer(bob.id)).await.unwrap().unwrap().answer;
    let once = Draft { answer: None, keep: Duration::ZERO, ..answer(bob.id) };
    let once = alice.outbox.prepare(once).await.unwrap().unwrap().answer;
    alice.take_in(vec![kept.clone(), once.clone()]).await;
    alice.outbox.take_up(vec![kept.clone(), once.clone()]);
    wait_for("the one try", async || alice.state(once.message.id).await == MessageState::Failed).await;
    wait_for("the other's first", async || {
        alice.store.message(kept.message.id).await.unwrap().unwrap().failure.is_some()
    })
    .await;
    network.set_online("bob", true);
    bob.has_published(1).await;
    alice.is_done().await;
    assert_eq!(alice.state(kept.message.id).await, MessageState::Settled);
}

#[tokio::test]
async fn an_answer_may_cost_what_is_left_for_its_recipient_and_for_all() {
    let network = network(FakeOptions::default());
    let alice = Bare::start(&network, OutboxOptions { answers: Msat::from_sat(30), ..options() }).await;
    let to: Vec<NodeId> = ["bob", "carol", "dave"].map(|name| network.id(name)).to_vec();
    network.close_channels("alice", "bob");
    // Bob has no channel with alice any more, so that the fees of others may come on top.
    let first = alice.outbox.prepare(answer(to[0])).await.unwrap().unwrap();
    assert_eq!(first.allowed.as_ref().unwrap().most(), Msat::from_sat(11));
    assert_eq!(first.answer.message.answer, Some(Msat::from_sat(11)));
    assert!(alice.outbox.prepare(answer(to[0])).await.unwrap().is_none(), "22 sat for one");
    let refused = alice.outbox.send(answer(to[0]), None).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::ResourceExhausted, "ANSWERS_USED_UP"));
    assert!(refused.to_string().contains("failed"), "{refused}");
    drop(first);
    let first = alice.outbox.prepare(answer(to[0])).await.unwrap().unwrap();
    alice.take_in(vec![first.answer]).await;
    drop(first.allowed);
    assert!(alice.outbox.prepare(answer(to[0])).await.unwrap().is_none(), "the row counts now");

    let mut held = Vec::new();
    while let Some(prepared) = alice.outbox.prepare(answer(to[1])).await.unwrap() {
        assert_eq!(prepared.answer.message.answer, Some(Msat::from_sat(1)), "nobody forwards it");
        held.push(prepared);
    }
    assert_eq!(held.len(), 19, "of 30 sat, 11 are bob's");
    assert!(alice.outbox.prepare(answer(to[2])).await.unwrap().is_none());
    let asked_for = Draft { answer: None, ..answer(to[2]) };
    assert!(alice.outbox.prepare(asked_for).await.unwrap().is_some(), "what a caller asked for is none");
}
