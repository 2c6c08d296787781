//! Messages between nodes on a simulated network.

use imp_api::error::Code;
use imp_core::id::NodeId;
use imp_lightning::fake::FakeOptions;
use imp_node::service::messaging::SendMessage;
use imp_node::store::{OutboxStore, SqliteStore};

use crate::lab::{TestNode, network, text_to};

#[tokio::test]
async fn a_message_arrives_with_its_id_sender_amount_and_reply_to() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let message =
        SendMessage { amount: 7, reply_to_id: "Any Text".to_owned(), ..text_to(bob.id, "hello ✓ \0") };
    let id = alice.sending(message).await.unwrap().unwrap();
    bob.has_published(1).await;
    let event = bob.journal().await.remove(0).event;
    assert_eq!(event.id, id.to_string());
    assert_eq!(event.from, alice.id);
    assert_eq!(event.amount_sat, 7);
    assert_eq!(event.reply_to, "Any Text");
    assert_eq!(event.data, "hello ✓ \0");
    assert!(!event.late);
}

#[tokio::test]
async fn messages_come_out_in_order_though_their_payments_overtake_each_other() {
    let network = network(FakeOptions { seed: 3, ..FakeOptions::default() });
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let texts: Vec<String> = (0..300).map(|n| format!("message {n}")).collect();
    for sent in alice.send_all(bob.id, &texts).await {
        sent.unwrap();
    }
    bob.has_published(texts.len()).await;
    assert_eq!(bob.texts().await, texts);
    assert_eq!(bob.counter("inbox_late").await, 0);
}

#[tokio::test]
async fn a_thousand_calls_at_once_all_succeed() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let sending: Vec<_> = (0..1000).map(|n| alice.sending(text_to(bob.id, &n.to_string()))).collect();
    let mut ids = std::collections::HashSet::new();
    for sent in sending {
        ids.insert(sent.await.unwrap().unwrap().to_string());
    }
    assert_eq!(ids.len(), 1000);
    bob.has_published(1000).await;
    let published: std::collections::HashSet<_> =
        bob.journal().await.into_iter().map(|event| event.event.id).collect();
    assert_eq!(published, ids);
}

#[tokio::test]
async fn a_long_message_travels_in_parts_and_arrives_whole() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let text: String = (0..60_000).map(|n| format!("{n:05}")).collect();
    assert_eq!(text.len(), 300_000);
    let id = alice.send(bob.id, &text).await.unwrap();
    bob.has_published(1).await;
    let event = bob.journal().await.remove(0).event;
    assert_eq!((event.id, event.data == text), (id.to_string(), true));
    assert_eq!(event.amount_sat, 300_000_u64.div_ceil(901), "1 sat for each part");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anything_is_paid() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let to = |pubkey: &str, msg: &str, amount| SendMessage {
        msg: msg.to_owned(),
        pubkey: pubkey.to_owned(),
        amount,
        ..SendMessage::default()
    };
    let bob_key = bob.id.to_string();
    let stranger = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let long = "x".repeat(440_000);
    let cases = [
        (to("", "x", 0), Code::InvalidArgument, "pubkey: is empty"),
        (to("02abc", "x", 0), Code::InvalidArgument, "pubkey: has 5 characters"),
        (to(&format!("02{}", "ff".repeat(32)), "x", 0), Code::InvalidArgument, "no point on the curve"),
        (to(&bob_key, "x", -5), Code::InvalidArgument, "amount: -5 sat"),
        (to(&bob_key, &long, 0), Code::InvalidArgument, "msg: has 440000 bytes"),
        (
            to(&bob_key, &long[..2000], 2),
            Code::InvalidArgument,
            "amount: 2 sat is too little: the message takes 3",
        ),
        (to(&bob_key, "x", 600_000), Code::FailedPrecondition, "not enough balance"),
        (to(&bob_key, "x", i64::MAX), Code::InvalidArgument, "amount"),
        (to(stranger, "x", 0), Code::Unavailable, "no route"),
    ];
    for (message, code, text) in cases {
        let error = alice.sending(message).await.unwrap().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.to_string().contains("failed"), "clients look for the word: {error}");
    }
    assert!(bob.journal().await.is_empty());
    assert!(alice.store.open_messages().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_message_to_oneself_is_published_and_not_paid() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let before = network.total();
    let id = alice.send(alice.id, "note to self").await.unwrap();
    let event = alice.journal().await.remove(0).event;
    assert_eq!((event.id, event.amount_sat, event.from), (id.to_string(), 0, alice.id));
    assert_eq!(network.total(), before);
}

#[tokio::test]
async fn failed_payments_are_tried_again_under_the_same_id() {
    let network = network(FakeOptions { loss: 0.3, duplicates: 0.3, seed: 11, ..FakeOptions::default() });
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let texts: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    for sent in alice.send_all(bob.id, &texts).await {
        sent.unwrap();
    }
    bob.has_published(texts.len()).await;
    assert_eq!(bob.texts().await, texts);
}

#[tokio::test]
async fn a_recipient_that_refuses_makes_the_call_fail_and_holds_nobody_up() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    network.set_rejects("bob", true);
    let error = alice.send(bob.id, "refused").await.unwrap_err();
    assert!(error.to_string().contains("failed: the node refused the payment"), "{error}");
    network.set_rejects("bob", false);
    alice.send(bob.id, "taken").await.unwrap();
    bob.has_published(1).await;
    assert_eq!(bob.texts().await, ["taken"]);
}

#[tokio::test]
async fn a_payment_that_fails_after_a_channel_closed_may_have_arrived() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    network.hold("alice", "bob", true);
    let sending = alice.sending(text_to(bob.id, "perhaps"));
    network.holds(1).await;
    network.close_channels("alice", "bob");
    network.mine();
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unknown, "{error}");
    assert!(error.to_string().contains("failed to learn"), "{error}");
    assert!(error.to_string().contains("may have arrived"), "{error}");
    assert_eq!(state_of(&alice.store, &error).await, "unknown");
}

async fn state_of(store: &SqliteStore, error: &imp_node::error::Error) -> &'static str {
    let id = error.details().iter().find(|(key, _)| *key == "messageId").unwrap().1.clone();
    let id = imp_core::id::MessageId::from_canonical(&id).unwrap();
    let stored = store.message(id).await.unwrap().unwrap();
    imp_node::store::outbox::message_state_name(stored.state)
}

#[tokio::test]
async fn a_refused_amount_names_the_least_that_will_do() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let too_little = SendMessage { amount: 2, ..text_to(bob.id, &"x".repeat(1802)) };
    alice.sending(too_little.clone()).await.unwrap().unwrap();
    let error = alice.sending(SendMessage { amount: 1, ..too_little }).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("takes 2 payments"), "{error}");
    bob.has_published(1).await;
    assert_eq!(bob.journal().await[0].event.amount_sat, 2);
}

#[tokio::test]
async fn two_recipients_take_turns() {
    let network = network(FakeOptions { slots_per_channel: 2, ..FakeOptions::default() });
    let alice = TestNode::start(&network, "alice").await;
    let (bob, carol) = (TestNode::start(&network, "bob").await, TestNode::start(&network, "carol").await);
    let to_bob: Vec<_> = (0..100).map(|n| alice.sending(text_to(bob.id, &n.to_string()))).collect();
    let one: NodeId = carol.id;
    alice.send(one, "in between").await.unwrap();
    assert!(bob.journal().await.len() < 100, "the one to carol did not wait for all to bob");
    for sent in to_bob {
        sent.await.unwrap().unwrap();
    }
}
