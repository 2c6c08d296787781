//! What nodes may do: the spam floor, rights, names and blocks.

use imp_api::error::Code;
use imp_core::delivery::MessageState;
use imp_core::federation::{Denial, Policy, Rights, Rules, State};
use imp_core::id::NodeId;
use imp_lightning::fake::FakeOptions;
use imp_node::node::NodeOptions;
use imp_node::service::federate::{ListPeers, SetRights};
use imp_node::service::messaging::SendMessage;

use super::{has_said, is, kinds, peer, policy, request, state, two, with};
use crate::lab::{TestNode, network, options, text_to, wait_for};

async fn send(node: &TestNode, to: NodeId, text: &str, amount: i64) {
    let message = SendMessage { amount, ..text_to(to, text) };
    node.call(async move |services| services.messaging.send(message).await).await.unwrap();
}

async fn withheld(node: &TestNode) -> Vec<(String, Denial, u64)> {
    let page = node.call(async |services| services.federate.withheld(0, 0, "").await).await.unwrap();
    let mut rows: Vec<_> = page
        .messages
        .into_iter()
        .map(|row| (row.service.name().to_owned(), row.reason, row.amount_sat))
        .collect();
    rows.reverse();
    rows
}

/// Waits until so many messages were withheld: they are behind their payments.
async fn has_withheld(node: &TestNode, count: usize) {
    wait_for(&format!("{count} withheld"), async || withheld(node).await.len() >= count).await;
}

#[tokio::test]
async fn the_floor_counts_over_all_parts_and_what_is_below_it_keeps_the_order() {
    let floor = Rights { min_message_sat: 3, ..Rights::ALL };
    let rules = Rules { stranger_rights: floor, ..Rules::default() };
    let (_network, alice, bob) = two(options(), with(rules)).await;
    let long = "long ".repeat(400);
    send(&alice, bob.id, "one sat", 0).await;
    send(&alice, bob.id, "three sat", 3).await;
    send(&alice, bob.id, "two sat", 2).await;
    // Three parts of a satoshi each.
    send(&alice, bob.id, &long, 0).await;
    bob.has_published(2).await;
    assert_eq!(bob.texts().await, ["three sat".to_owned(), long]);
    assert!(bob.journal().await.iter().all(|event| !event.event.late));
    let message = |sat| ("message".to_owned(), Denial::BelowMinimum, sat);
    has_withheld(&bob, 2).await;
    assert_eq!(withheld(&bob).await, [message(1), message(2)]);
    assert!(peer(&bob, alice.id).await.is_none(), "a stranger is not remembered for it");

    // Federated by their own request only, they stay strangers; once asked from here they are peers.
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    let terms = peer(&alice, bob.id).await.unwrap().view.peer.terms;
    assert_eq!(terms, Some(floor), "they are told");
    send(&alice, bob.id, "still a stranger", 0).await;
    has_withheld(&bob, 3).await;
    assert_eq!(withheld(&bob).await.len(), 3);
    request(&bob, alice.id).await.unwrap();
    send(&alice, bob.id, "a peer", 0).await;
    wait_for("the peer's message", async || bob.texts().await.contains(&"a peer".to_owned())).await;
    assert_eq!(peer(&bob, alice.id).await.unwrap().withheld, 3);
}

#[tokio::test]
async fn rights_of_a_peer_go_over_those_of_its_standing_until_they_are_reset() {
    let (_network, alice, bob) = two(options(), options()).await;
    let set = async |rights: SetRights| {
        let of = alice.id.to_string();
        bob.call(async move |services| services.federate.set_rights(&of, rights).await).await
    };
    let no_messages = SetRights { messages: Some(false), min_message_sat: Some(9), ..SetRights::default() };
    let info = set(no_messages).await.unwrap();
    assert_eq!(info.view.rights, Rights { messages: false, min_message_sat: 9, ..Rights::ALL });
    assert_eq!(info.view.peer.state, State::None);
    send(&alice, bob.id, "may not", 100).await;
    has_withheld(&bob, 1).await;
    assert_eq!(withheld(&bob).await, [("message".to_owned(), Denial::NoRight, 100)]);
    let bob = bob.restart().await;
    let of = alice.id.to_string();
    let back = SetRights { messages: Some(true), ..SetRights::default() };
    let info = bob.call(async move |services| services.federate.set_rights(&of, back).await).await.unwrap();
    assert_eq!(info.view.rights.min_message_sat, 9, "what is not named stays");
    let of = alice.id.to_string();
    let reset = SetRights { reset: true, ..SetRights::default() };
    bob.call(async move |services| services.federate.set_rights(&of, reset).await).await.unwrap();
    assert!(peer(&bob, alice.id).await.is_none(), "nothing is left to remember");
    let of = alice.id.to_string();
    let both = SetRights { reset: true, messages: Some(true), ..SetRights::default() };
    let error =
        bob.call(async move |services| services.federate.set_rights(&of, both).await).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_blocked_node_is_not_heard_and_not_answered() {
    let (_network, alice, bob) = two(options(), options()).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    let of = alice.id.to_string();
    let blocked = bob.call(async move |services| services.federate.block(&of).await).await.unwrap();
    assert_eq!((blocked.view.peer.state, blocked.view.rights), (State::Left, Rights::NONE));
    let published = bob.journal().await.len();
    send(&alice, bob.id, "do you hear me", 1_000).await;
    request(&alice, bob.id).await.unwrap();
    let blocked = |service: &str, sat| (service.to_owned(), Denial::Blocked, sat);
    has_withheld(&bob, 2).await;
    assert_eq!(withheld(&bob).await, [blocked("message", 1_000), blocked("federate", 1)]);
    assert_eq!(bob.journal().await.len(), published, "nothing was published");
    assert_eq!(state(&alice, bob.id).await, State::Federated, "it is not told");
    let error = request(&bob, alice.id).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "{error}");

    let bob = bob.restart().await;
    let of = alice.id.to_string();
    bob.call(async move |services| services.federate.unblock(&of).await).await.unwrap();
    request(&alice, bob.id).await.unwrap();
    is(&bob, alice.id, State::Federated).await;
    assert_eq!(withheld(&bob).await.len(), 2, "what was withheld stays so");
}

#[tokio::test]
async fn a_name_is_one_nodes_only_and_found() {
    let (network, alice, bob) = two(options(), options()).await;
    let carol = TestNode::start(&network, "carol").await;
    let name = async |of: NodeId, name: &'static str| {
        alice
            .call(async move |services| services.federate.set_name(&of.to_string(), name.to_owned()).await)
            .await
    };
    assert_eq!(name(bob.id, "bob").await.unwrap().view.peer.name, "bob");
    let error = name(carol.id, "bob").await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists, "{error}");
    name(carol.id, "carol").await.unwrap();
    let list = async |request: ListPeers| {
        alice.call(async move |services| services.federate.list(request).await).await.unwrap()
    };
    let found = list(ListPeers { name: "bob".to_owned(), ..ListPeers::default() }).await;
    assert_eq!(found.peers.iter().map(|info| info.view.node).collect::<Vec<_>>(), [bob.id]);
    let first = list(ListPeers { limit: 1, ..ListPeers::default() }).await;
    let cursor = first.next.unwrap().to_string();
    let second = list(ListPeers { limit: 1, cursor, ..ListPeers::default() }).await;
    let mut both = vec![first.peers[0].view.node, second.peers[0].view.node];
    both.sort();
    let mut named = vec![bob.id, carol.id];
    named.sort();
    assert_eq!((both, second.next), (named, None));
    name(bob.id, "").await.unwrap();
    name(carol.id, "bob").await.unwrap();
    assert!(peer(&alice, bob.id).await.is_none());
}

#[tokio::test]
async fn requests_beyond_the_allowance_leave_everything_as_it_was() {
    let network = network(FakeOptions::default());
    let poor = NodeOptions { answers: imp_core::amount::Msat::from_sat(1), ..policy(Policy::Auto) };
    let bob = TestNode::start_with(&network, "bob", poor).await;
    let alice = TestNode::start(&network, "alice").await;
    let carol = TestNode::start(&network, "carol").await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    request(&carol, bob.id).await.unwrap();
    has_said(&bob, "REQUEST", 2).await;
    assert!(peer(&bob, carol.id).await.is_none());
    assert_eq!(state(&carol, bob.id).await, State::Requested);
    assert_eq!(bob.counter("answers_refused").await, 1);
    assert_eq!(kinds(&bob).await, ["REQUEST", "ACCEPT", "REQUEST"]);
}

#[tokio::test]
async fn strangers_leave_a_quarter_of_the_allowance_to_peers() {
    let network = network(FakeOptions::default());
    let poor = NodeOptions { answers: imp_core::amount::Msat::from_sat(4), ..policy(Policy::Auto) };
    let bob = TestNode::start_with(&network, "bob", poor).await;
    let alice = TestNode::start(&network, "alice").await;
    let mut strangers = Vec::new();
    for name in ["carol", "dave", "erin", "frank"] {
        let stranger = TestNode::start(&network, name).await;
        // Of the first no answer is ever paid: what it may cost counts like what the others did.
        network.set_route("bob", "carol", false);
        request(&stranger, bob.id).await.unwrap();
        strangers.push(stranger);
    }
    wait_for("the last one to be refused", async || bob.counter("answers_refused").await == 1).await;
    let mut states = Vec::new();
    for stranger in &strangers {
        states.push(state(&bob, stranger.id).await);
    }
    assert_eq!(states, [State::Federated, State::Federated, State::Federated, State::None]);
    // Who was chosen here is answered all the same, and then it is at its end for everybody.
    request(&bob, alice.id).await.unwrap();
    is(&bob, alice.id, State::Federated).await;
    request(&alice, bob.id).await.unwrap();
    has_said(&alice, "ACCEPT", 2).await;
    request(&alice, bob.id).await.unwrap();
    wait_for("a refusal", async || bob.counter("answers_refused").await == 2).await;
}

#[tokio::test]
async fn an_answer_that_is_open_for_more_than_a_day_asks_for_room_before_it_is_tried() {
    for (answers, becomes) in [(0, MessageState::Failed), (1_000, MessageState::Settled)] {
        let network = network(FakeOptions::default());
        let mut bob = TestNode::start(&network, "bob").await;
        let alice = TestNode::start(&network, "alice").await;
        network.set_route("bob", "alice", false);
        request(&alice, bob.id).await.unwrap();
        is(&bob, alice.id, State::Federated).await;
        // An attempt that was begun is followed whatever it costs: it may have been paid.
        wait_for("the end of the first try", async || {
            let answer = bob.messages().await.pop().unwrap();
            answer.state == MessageState::Queued && answer.failure.is_some()
        })
        .await;
        bob.stop().await;
        bob.database().execute("UPDATE outbox_message SET accepted_ms = accepted_ms - 86400000", []).unwrap();
        network.set_route("bob", "alice", true);
        let answers = imp_core::amount::Msat::from_sat(answers);
        let bob = bob.restart_with(NodeOptions { answers, ..policy(Policy::Auto) }).await;
        bob.outbox_is_done().await;
        let answer = bob.messages().await.pop().unwrap();
        assert_eq!(answer.state, becomes);
        if becomes == MessageState::Failed {
            assert_eq!(answer.failure.unwrap().reason, "ANSWERS_USED_UP");
        }
    }
}
