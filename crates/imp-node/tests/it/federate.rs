//! Federation between nodes on the simulated network.

mod crash;
mod edge;
mod last_word;
mod rights;
mod times;

use imp_api::error::Code;
use imp_core::federation::{AskedBy, Policy, Rights, Rules, Standing, State};
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::error::Error;
use imp_node::federation::{Capacity, FederationOptions};
use imp_node::idempotency::CallKey;
use imp_node::node::NodeOptions;
use imp_node::service::federate::{ListPeers, PeerInfo};
use serde_json::Value;

use crate::lab::{TestNode, network, options, wait_for};

/// An event of the service, shortened: who it is about, and the fields that tests look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) kind: String,
    pub(crate) from: NodeId,
    /// Of what the node itself did: to whom.
    pub(crate) to: Option<NodeId>,
    pub(crate) id: String,
    pub(crate) reply_to: String,
}

pub(crate) fn with(rules: Rules) -> NodeOptions {
    NodeOptions { federate: FederationOptions { rules, ..FederationOptions::default() }, ..options() }
}

pub(crate) fn policy(policy: Policy) -> NodeOptions {
    with(Rules { policy, ..Rules::default() })
}

pub(crate) async fn two(alice: NodeOptions, bob: NodeOptions) -> (FakeNetwork, TestNode, TestNode) {
    let network = network(FakeOptions::default());
    let alice = TestNode::start_with(&network, "alice", alice).await;
    let bob = TestNode::start_with(&network, "bob", bob).await;
    (network, alice, bob)
}

pub(crate) async fn request(node: &TestNode, to: NodeId) -> Result<MessageId, Error> {
    node.call(async move |services| services.federate.request(&to.to_string(), None).await).await
}

pub(crate) async fn leave(node: &TestNode, to: NodeId) -> Result<MessageId, Error> {
    node.call(async move |services| services.federate.leave(&to.to_string(), None).await).await
}

pub(crate) async fn peer(node: &TestNode, of: NodeId) -> Option<PeerInfo> {
    node.call(async move |services| services.federate.get(&of.to_string()).await).await.ok()
}

pub(crate) async fn state(node: &TestNode, of: NodeId) -> State {
    peer(node, of).await.map_or(State::None, |info| info.view.peer.state)
}

pub(crate) async fn is(node: &TestNode, of: NodeId, wanted: State) {
    wait_for(&format!("a peer that is {}", wanted.name()), async || state(node, of).await == wanted).await;
}

/// What the node's programs learned of federation.
pub(crate) async fn said(node: &TestNode) -> Vec<Said> {
    let journal = node.journal().await.into_iter().map(|event| event.event);
    journal
        .filter(|event| event.service == Service::Federate.into())
        .map(|event| {
            let data: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(data["recordId"], "FEDERATE");
            Said {
                kind: data["type"].as_str().unwrap().to_owned(),
                from: event.from,
                to: data["pubkey"].as_str().map(|key| key.parse().unwrap()),
                id: event.id,
                reply_to: event.reply_to,
            }
        })
        .collect()
}

pub(crate) async fn kinds(node: &TestNode) -> Vec<String> {
    said(node).await.into_iter().map(|said| said.kind).collect()
}

pub(crate) async fn has_said(node: &TestNode, kind: &str, times: usize) {
    wait_for(&format!("{times} of {kind}"), async || {
        kinds(node).await.iter().filter(|said| *said == kind).count() >= times
    })
    .await;
}

#[tokio::test]
async fn a_request_is_answered_and_both_sides_tell_their_programs() {
    let (_network, alice, bob) = two(policy(Policy::Auto), policy(Policy::Auto)).await;
    let id = request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    has_said(&alice, "REQUEST", 1).await;
    let (here, there) = (said(&alice).await, said(&bob).await);
    let answer = here[1].id.clone();
    let event = |kind: &str, from, to, id: &str, reply_to: &str| Said {
        kind: kind.to_owned(),
        from,
        to,
        id: id.to_owned(),
        reply_to: reply_to.to_owned(),
    };
    let id = id.to_string();
    assert_eq!(
        here,
        [event("REQUEST", alice.id, Some(bob.id), &id, ""), event("ACCEPT", bob.id, None, &answer, &id),]
    );
    assert_eq!(
        there,
        [event("REQUEST", alice.id, None, &id, ""), event("ACCEPT", bob.id, Some(alice.id), &answer, &id)]
    );
    let (to_bob, to_alice) = (peer(&alice, bob.id).await.unwrap(), peer(&bob, alice.id).await.unwrap());
    assert_eq!(
        (to_bob.view.peer.asked_by, to_alice.view.peer.asked_by),
        (Some(AskedBy::Us), Some(AskedBy::Them))
    );
    assert_eq!(to_bob.view.peer.standing, Some(Standing::Request));
    assert_eq!(to_alice.view.peer.standing, Some(Standing::Auto));
    assert!(to_bob.view.peer.asks.is_empty() && to_bob.view.peer.terms == Some(Rights::ALL));
}

#[tokio::test]
async fn requests_that_cross_end_in_one_federation() {
    for kind in Policy::ALL {
        let (_network, alice, bob) = two(policy(kind), policy(kind)).await;
        let (a, b) = (alice.id, bob.id);
        let asking = alice
            .calling(move |services| async move { services.federate.request(&b.to_string(), None).await });
        let asked = request(&bob, a).await;
        asking.await.unwrap().unwrap();
        asked.unwrap();
        // Where they come one after the other, an allowlist may reject the first before the second is sent.
        let federated = async |node: &TestNode, of| {
            let peer = peer(node, of).await.map(|info| info.view.peer);
            peer.filter(|peer| peer.state == State::Federated).map(|peer| peer.asked_by)
        };
        wait_for(&format!("one end of both: {kind:?}"), async || {
            let ends = (federated(&alice, b).await, federated(&bob, a).await);
            let both = Some(Some(AskedBy::Both));
            ends == (both, both) || (kind == Policy::Allowlist && ends == (None, None))
        })
        .await;
    }
}

#[tokio::test]
async fn leaving_ends_it_on_both_sides_also_where_the_other_is_away() {
    let (network, alice, bob) = two(options(), options()).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    let id = leave(&bob, alice.id).await.unwrap();
    assert_eq!(state(&bob, alice.id).await, State::Left);
    is(&alice, bob.id, State::Left).await;
    assert_eq!(said(&alice).await.last().unwrap().id, id.to_string());

    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    network.set_online("bob", false);
    leave(&alice, bob.id).await.unwrap();
    assert_eq!((state(&alice, bob.id).await, state(&bob, alice.id).await), (State::Left, State::Federated));
    network.set_online("bob", true);
    is(&bob, alice.id, State::Left).await;

    // A stranger is told once, and not waited for.
    network.set_online("bob", false);
    let error = leave(&alice, bob.id).await.unwrap_err();
    assert!(error.code() == Code::Unavailable && error.to_string().contains("failed"), "{error}");
}

#[tokio::test]
async fn a_request_waits_for_the_owner_who_accepts_or_rejects_it() {
    let (_network, alice, bob) = two(options(), policy(Policy::Manual)).await;
    let decide = async |accept: bool| {
        let of = alice.id.to_string();
        bob.call(async move |services| {
            if accept { services.federate.accept(&of).await } else { services.federate.reject(&of).await }
        })
        .await
    };
    assert_eq!(decide(true).await.unwrap_err().code(), Code::FailedPrecondition);
    let id = request(&alice, bob.id).await.unwrap();
    is(&bob, alice.id, State::Pending).await;
    assert_eq!(state(&alice, bob.id).await, State::Requested);
    let answer = decide(false).await.unwrap();
    is(&alice, bob.id, State::Rejected).await;
    let last = said(&alice).await.pop().unwrap();
    assert_eq!((last.kind.as_str(), last.id, last.reply_to), ("REJECT", answer.to_string(), id.to_string()));
    assert_eq!(state(&bob, alice.id).await, State::Rejected);

    request(&alice, bob.id).await.unwrap();
    is(&bob, alice.id, State::Pending).await;
    let page = bob.call(async |services| services.federate.list(ListPeers::default()).await).await.unwrap();
    assert_eq!((page.peers.len(), page.pending, page.federated), (1, 1, 0));
    // A request of one's own is a decision, too.
    request(&bob, alice.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    is(&bob, alice.id, State::Federated).await;
    assert_eq!(peer(&bob, alice.id).await.unwrap().view.peer.standing, Some(Standing::Request));
}

#[tokio::test]
async fn only_those_on_the_allowlist_are_accepted() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let carol = TestNode::start(&network, "carol").await;
    let rules = Rules { policy: Policy::Allowlist, allowlist: [alice.id].into(), ..Rules::default() };
    let bob = TestNode::start_with(&network, "bob", with(rules)).await;
    request(&alice, bob.id).await.unwrap();
    request(&carol, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    is(&carol, bob.id, State::Rejected).await;
    assert_eq!(peer(&bob, alice.id).await.unwrap().view.peer.standing, Some(Standing::Allowlist));
    assert_eq!(state(&bob, carol.id).await, State::Rejected);
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_leaves_no_trace() {
    let (network, alice, bob) = two(options(), options()).await;
    network.set_online("bob", false);
    let error = request(&alice, bob.id).await.unwrap_err();
    assert!(error.to_string().contains("failed"), "{error}");
    assert!(peer(&alice, bob.id).await.is_none() && said(&alice).await.is_empty());
    for call in [request(&alice, alice.id).await, leave(&alice, alice.id).await] {
        let error = call.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().contains("failed"), "{error}");
    }
    assert!(bob.journal().await.is_empty());
}

#[tokio::test]
async fn a_call_that_is_repeated_under_its_key_asks_once() {
    let (network, alice, bob) = two(options(), options()).await;
    let keyed = async |method: &'static str, text: &'static str| {
        let to = bob.id.to_string();
        let key = CallKey::of_call(method, Some(text.as_bytes()), [], to.as_bytes()).unwrap();
        let ask = method.ends_with("RequestFederate");
        alice
            .call(async move |services| {
                if ask {
                    services.federate.request(&to, key).await
                } else {
                    services.federate.leave(&to, key).await
                }
            })
            .await
    };
    let (ask, leave) = ("federate.Federate/RequestFederate", "federate.Federate/LeaveFederation");
    // One that nobody could be asked for is asked by its repetition.
    network.fail_next("alice", 6, imp_lightning::FailureReason::NoRoute);
    keyed(ask, "k").await.unwrap_err();
    let first = keyed(ask, "k").await.unwrap();
    assert_eq!(keyed(ask, "k").await.unwrap(), first);
    is(&alice, bob.id, State::Federated).await;
    let left = keyed(leave, "k").await.unwrap();
    assert_eq!(keyed(leave, "k").await.unwrap(), left);
    is(&bob, alice.id, State::Left).await;
    assert_eq!(kinds(&bob).await, ["REQUEST", "ACCEPT", "LEAVE"]);
}

#[tokio::test]
async fn a_text_of_federation_counts_under_its_own_record_only() {
    let (_network, alice, bob) = two(options(), options()).await;
    alice.send(bob.id, r#"{"recordId":"FEDERATE","type":"REQUEST","impId":"","ttl":60}"#).await.unwrap();
    bob.has_published(1).await;
    assert!(peer(&bob, alice.id).await.is_none() && said(&bob).await.is_empty());
}

#[tokio::test]
async fn a_leave_where_nothing_was_is_counted_and_not_published() {
    let (_network, alice, bob) = two(options(), options()).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    leave(&bob, alice.id).await.unwrap();
    is(&alice, bob.id, State::Left).await;
    leave(&alice, bob.id).await.unwrap();
    wait_for("the second LEAVE", async || bob.counter("federate_ignored").await == 1).await;
    assert_eq!(state(&bob, alice.id).await, State::Left);
    assert_eq!(kinds(&bob).await, ["REQUEST", "ACCEPT", "LEAVE"]);
}

#[tokio::test]
async fn beyond_the_bound_the_peer_that_was_silent_for_longest_makes_room() {
    let network = network(FakeOptions::default());
    let capacity = Capacity { auto: 2, pending: 1, ended: 1 };
    let federate = FederationOptions { capacity, ..FederationOptions::default() };
    let bob = TestNode::start_with(&network, "bob", NodeOptions { federate, ..options() }).await;
    let mut askers = Vec::new();
    for name in ["first", "second", "third", "fourth", "fifth"] {
        let asker = TestNode::start(&network, name).await;
        request(&asker, bob.id).await.unwrap();
        is(&asker, bob.id, State::Federated).await;
        askers.push(asker);
    }
    let mut states = Vec::new();
    for asker in &askers {
        states.push(state(&bob, asker.id).await);
    }
    assert_eq!(states[3..], [State::Federated; 2], "{states:?}");
    assert!(!states[..3].contains(&State::Federated), "{states:?}");
    assert_eq!(bob.counter("federate_evicted").await, 3);
    // Of those who went one is remembered.
    wait_for("the others to be forgotten", async || {
        bob.call(async |services| services.federate.list(ListPeers::default()).await)
            .await
            .unwrap()
            .peers
            .len()
            == 3
    })
    .await;
}
