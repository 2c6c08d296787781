//! What a message may cost by itself, and who learns of its end.

use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_lightning::fake::{FakeNetwork, FakeOptions, Moment};
use imp_node::outbox::{AnswerTo, Draft, OutboxOptions};
use imp_node::store::OutboxStore;
use imp_node::store::outbox::MessageQuery;
use tokio::sync::broadcast::Receiver;

use super::outbox::{Bare, HOUR, draft, options, sending};
use crate::lab::{TestNode, network, wait_for};

const FEE: Msat = Msat::from_sat(5);

fn paid(to: NodeId, fee_limit: Option<Msat>) -> Draft {
    Draft { amount_sat: 100, fee_limit, ..draft(to, "paid") }
}

/// Bob, and alice, whose payments to him are forwarded for [`FEE`].
async fn forwarded(options: OutboxOptions) -> (FakeNetwork, TestNode, Bare) {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = Bare::start(&network, options).await;
    network.set_forwarding_fee("alice", "bob", Some(FEE));
    (network, bob, alice)
}

async fn has_ended(ends: &mut Receiver<MessageId>, id: MessageId) {
    let ended = async { while ends.recv().await.unwrap() != id {} };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("its end is told");
}

#[tokio::test]
async fn a_message_pays_what_it_says_for_forwarding_and_not_a_satoshi_more() {
    let (_network, bob, alice) = forwarded(options()).await;
    for too_little in [Some(Msat::ZERO), Some(Msat(4_999))] {
        let refused = alice.outbox.send(paid(bob.id, too_little), None).await.unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::Unavailable, "NO_ROUTE"));
    }
    for enough in [Some(FEE), None] {
        let sent = alice.outbox.send(paid(bob.id, enough), None).await.unwrap();
        let stored = alice.outbox.state(sent.id).await.unwrap().unwrap();
        assert_eq!((stored.tally.fee, stored.message.fee_limit), (FEE, enough));
    }
    bob.has_published(2).await;
}

#[tokio::test]
async fn a_limit_holds_for_each_try_of_a_message_that_is_kept_also_after_a_restart() {
    let (network, bob, alice) = forwarded(options()).await;
    let limit = Msat::from_sat(4);
    let sent = alice.outbox.send(Draft { keep: HOUR, ..paid(bob.id, Some(limit)) }, None).await.unwrap();
    assert_eq!(sent.state, MessageState::Queued);
    // What the configuration says now would do, and in the next run would not.
    let alice = alice.restart(OutboxOptions { fee_limit: Some(Msat::from_sat(50)), ..options() }).await;
    wait_for("another try", async || alice.store.message(sent.id).await.unwrap().unwrap().tally.attempts > 1)
        .await;
    assert_eq!(bob.texts().await, Vec::<String>::new());
    let alice = alice.restart(OutboxOptions { fee_limit: Some(Msat::ZERO), ..options() }).await;
    let mut ends = alice.outbox.ends();
    network.set_forwarding_fee("alice", "bob", Some(limit));
    alice.outbox.reachable(Some(bob.id));
    has_ended(&mut ends, sent.id).await;
    let stored = alice.outbox.state(sent.id).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.tally.fee), (MessageState::Settled, limit));
}

#[tokio::test]
async fn a_payment_that_a_crash_left_open_is_made_with_the_limit_of_its_message() {
    for (limit, state) in [(FEE, MessageState::Settled), (Msat::from_sat(4), MessageState::Unknown)] {
        let (network, bob, alice) = forwarded(options()).await;
        network.crash_at("alice", Moment::BeforeSend, 0);
        let sending = sending(&alice, paid(bob.id, Some(limit)));
        network.crashed("alice").await;
        let id = alice.store.open_messages().await.unwrap().remove(0).message.id;
        let other_than_its_own = if state == MessageState::Settled { Msat::ZERO } else { FEE };
        let fee_limit = Some(other_than_its_own);
        let alice = alice.restart(OutboxOptions { fee_limit, ..options() }).await;
        alice.is_done().await;
        // Of one that is refused now it is not known whether it went before the crash.
        assert_eq!(alice.state(id).await, state, "{limit:?}");
        assert_eq!(bob.texts().await.len(), usize::from(state == MessageState::Settled));
        sending.abort();
    }
}

#[tokio::test]
async fn an_answer_counts_with_its_own_limit() {
    let (_network, bob, alice) = forwarded(options()).await;
    let answer = Draft { answer: Some(AnswerTo::Stranger), ..draft(bob.id, "an answer") };
    for (fee_limit, most) in [(None, 11), (Some(Msat::from_sat(2)), 3), (Some(Msat::ZERO), 1)] {
        let prepared = alice.outbox.prepare(Draft { fee_limit, ..answer.clone() }).await.unwrap().unwrap();
        assert_eq!(prepared.answer.message.answer, Some(Msat::from_sat(most)));
    }
}

#[tokio::test]
async fn whoever_follows_ends_is_told_of_each_once_it_stands() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = Bare::start(&network, options()).await;
    let mut ends = alice.outbox.ends();
    let settled = alice.outbox.send(draft(bob.id, "settled"), None).await.unwrap();
    has_ended(&mut ends, settled.id).await;
    assert_eq!(alice.state(settled.id).await, MessageState::Settled);

    network.set_route("alice", "bob", false);
    let failed = alice.outbox.send(draft(bob.id, "failed"), None).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    let failed =
        alice.store.list_messages(MessageQuery { limit: 1, ..MessageQuery::default() }).await.unwrap();
    let failed = failed.messages[0].message.id;
    has_ended(&mut ends, failed).await;
    assert_eq!(alice.state(failed).await, MessageState::Failed);
    network.set_route("alice", "bob", true);
}

#[tokio::test]
async fn an_end_that_is_learned_in_the_next_run_is_told_in_it() {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let alice = Bare::start(&network, options()).await;
    network.hold("alice", "bob", true);
    let sending = sending(&alice, draft(bob.id, "held"));
    network.holds(1).await;
    let id = alice.store.open_messages().await.unwrap().remove(0).message.id;
    let alice = alice.restart(options()).await;
    let mut ends = alice.outbox.ends();
    network.hold("alice", "bob", false);
    network.release_all();
    has_ended(&mut ends, id).await;
    assert_eq!(alice.state(id).await, MessageState::Settled);
    sending.abort();
}
