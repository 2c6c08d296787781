//! Renewal and expiry, also of what fell into a time when a node was off.

use imp_core::federation::{Rules, State};

use super::{has_said, is, kinds, leave, peer, request, said, state, two, with};
use crate::lab::wait_for;

fn short(ttl_secs: u64) -> imp_node::node::NodeOptions {
    with(Rules { ttl_secs, ..Rules::default() })
}

#[tokio::test]
async fn a_federation_is_renewed_by_the_one_who_asked_as_long_as_both_are_there() {
    let (_network, alice, bob) = two(short(2), short(1_000)).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    let until = peer(&bob, alice.id).await.unwrap().view.peer.until.unwrap();
    let since = peer(&bob, alice.id).await.unwrap().view.peer.since;
    assert_eq!(until.since(since).as_secs(), 2, "the shorter of both");
    // Longer than two federations would last.
    has_said(&alice, "RENEW", 4).await;
    assert_eq!(
        (state(&alice, bob.id).await, state(&bob, alice.id).await),
        (State::Federated, State::Federated)
    );
    let renewed = said(&bob).await;
    let renewal = renewed.iter().find(|said| said.kind == "RENEW").unwrap();
    let answer = renewed.iter().find(|said| said.reply_to == renewal.id).unwrap();
    assert_eq!((answer.kind.as_str(), answer.to), ("ACCEPT", Some(alice.id)));
    leave(&alice, bob.id).await.unwrap();
    is(&bob, alice.id, State::Left).await;
    let all = kinds(&bob).await;
    assert!(!all.contains(&"EXPIRED".to_owned()), "{all:?}");
}

#[tokio::test]
async fn without_an_answer_it_expires_on_both_sides_and_programs_learn_of_it() {
    let (network, alice, bob) = two(short(2), short(2)).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    network.set_online("bob", false);
    is(&alice, bob.id, State::Expired).await;
    is(&bob, alice.id, State::Expired).await;
    for (node, other) in [(&alice, bob.id), (&bob, alice.id)] {
        let last = said(node).await.pop().unwrap();
        assert_eq!((last.kind.as_str(), last.from, last.to), ("EXPIRED", other, Some(other)));
    }
    network.set_online("bob", true);
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    is(&bob, alice.id, State::Federated).await;
}

#[tokio::test]
async fn what_ends_while_a_node_is_off_has_ended_when_it_starts() {
    let (_network, alice, mut bob) = two(short(2), short(2)).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    bob.kill();
    let bob_id = bob.id;
    is(&alice, bob_id, State::Expired).await;
    let bob = bob.restart().await;
    has_said(&bob, "EXPIRED", 1).await;
    assert_eq!(state(&bob, alice.id).await, State::Expired);
    assert_eq!(kinds(&bob).await.iter().filter(|kind| *kind == "EXPIRED").count(), 1);
}

#[tokio::test]
async fn a_federation_outlives_restarts_of_both_sides_and_is_renewed_after_them() {
    let (_network, alice, bob) = two(short(5), short(5)).await;
    request(&alice, bob.id).await.unwrap();
    is(&alice, bob.id, State::Federated).await;
    let before = peer(&alice, bob.id).await.unwrap().view.peer;
    let bob = bob.restart().await;
    let alice = alice.restart().await;
    let after = peer(&alice, bob.id).await.unwrap().view.peer;
    assert_eq!((after.state, after.since, after.standing), (State::Federated, before.since, before.standing));
    has_said(&alice, "RENEW", 1).await;
    wait_for("a later end", async || peer(&alice, bob.id).await.unwrap().view.peer.until > before.until)
        .await;
    assert_eq!(state(&bob, alice.id).await, State::Federated);
}
