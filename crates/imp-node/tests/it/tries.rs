//! Tries that go wrong in the node itself, and tries that take their time.

use imp_core::delivery::MessageState;
use imp_lightning::fake::FakeOptions;
use imp_node::store::OutboxStore;

use crate::lab::{TestNode, network};

/// As many numbers as are given above one that is not resolved.
const WINDOW: usize = 256;

#[tokio::test]
async fn an_attempt_that_cannot_be_stored_ends_its_message_and_holds_nobody_up() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let full =
        "CREATE TRIGGER full BEFORE INSERT ON outbox_attempt BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    alice.database().execute_batch(full).unwrap();
    let texts: Vec<String> = (0..=WINDOW).map(|n| n.to_string()).collect();
    for sent in alice.send_all(bob.id, &texts).await {
        let error = sent.unwrap_err();
        assert!(error.to_string().contains("failed"), "{error}");
    }
    let failed = alice.messages().await;
    assert!(failed.iter().all(|stored| stored.state == MessageState::Failed), "each row says so");
    assert!(alice.store.open_messages().await.unwrap().is_empty(), "nothing is left to the next run");
    alice.database().execute_batch("DROP TRIGGER full").unwrap();
    alice.send(bob.id, "later").await.unwrap();
    let retried = failed[0].message.id.to_string();
    let again = retried.clone();
    alice.call(|services| async move { services.messages.retry(&again).await }).await.unwrap();
    assert_eq!(bob.journal().await[1].event.id, retried);
}
