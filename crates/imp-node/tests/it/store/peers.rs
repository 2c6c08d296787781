//! What is kept of peers.

use imp_core::federation::{Ask, AskKind, AskedBy, Before, Denial, Peer, Rights, Standing, State};
use imp_core::id::NodeId;
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_node::store::federate::{FederateChange, PeerRow};
use imp_node::store::inbox::{InboxChange, Withheld, WithheldQuery};
use imp_node::store::journal::{NewEvent, ServiceSet};
use imp_node::store::{FederateStore, InboxStore, JournalStore, StoreError};

use super::{id, node, store};
use crate::lab::EVERYTHING;

fn other() -> NodeId {
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5".parse().unwrap()
}

/// A peer of which everything is known.
fn full() -> Peer {
    let rights = |sat| Rights { messages: true, sockets: false, vpn_quotes: true, min_message_sat: sat };
    Peer {
        name: "bob".to_owned(),
        imp_id: "é".to_owned(),
        state: State::Federated,
        asked_by: Some(AskedBy::Both),
        standing: Some(Standing::Request),
        since: UnixMillis(10),
        until: Some(UnixMillis(20)),
        lasts_secs: 3_155_760_000,
        renew_at: Some(UnixMillis(15)),
        own_rights: Some(rights(7)),
        blocked: true,
        last_seen: Some(UnixMillis(12)),
        terms: Some(rights(21_000_000 * 100_000_000)),
        asks: vec![
            Ask { crossed: true, ..Ask::request(id(1)) },
            Ask { told: false, kind: AskKind::Renew, ..Ask::renew(id(2)) },
        ],
        to_decide: Some(id(3)),
        wished_secs: 5,
        before: Some(Before { state: State::Left, asked_by: Some(AskedBy::Them), since: UnixMillis(3) }),
    }
}

#[tokio::test]
async fn all_that_is_known_of_a_peer_is_read_back() {
    let (_dir, store) = store();
    let rows = vec![PeerRow { node: node(), peer: full() }, PeerRow { node: other(), peer: Peer::default() }];
    let change = FederateChange { peers: rows.clone(), ..FederateChange::default() };
    store.commit_federation(change.clone()).await.unwrap();
    store.commit_federation(change).await.unwrap();
    assert_eq!(store.peers().await.unwrap(), rows, "by key, and once");

    let fewer = Peer { asks: vec![Ask::renew(id(2))], ..full() };
    let rows = vec![PeerRow { node: node(), peer: fewer }];
    let inbox = InboxChange { peers: rows.clone(), ..InboxChange::default() };
    store.commit_inbox(inbox).await.unwrap();
    let forget = FederateChange { forget: vec![other()], ..FederateChange::default() };
    store.commit_federation(forget).await.unwrap();
    assert_eq!(store.peers().await.unwrap(), rows);
}

#[tokio::test]
async fn a_name_that_another_has_takes_the_whole_change_back() {
    let (_dir, store) = store();
    let first = PeerRow { node: node(), peer: full() };
    let change = FederateChange { peers: vec![first.clone()], ..FederateChange::default() };
    store.commit_federation(change).await.unwrap();
    let event = NewEvent {
        at: UnixMillis(1),
        id: id(9).to_string(),
        reply_to: String::new(),
        from: node(),
        service: Service::Federate.into(),
        data: "{}".to_owned(),
        amount_sat: 0,
        late: false,
    };
    let second = PeerRow { node: other(), peer: full() };
    let change = FederateChange {
        peers: vec![second.clone()],
        publish: vec![event.clone()],
        ..FederateChange::default()
    };
    assert!(matches!(store.commit_federation(change).await, Err(StoreError::Database(_))));
    assert_eq!(store.peers().await.unwrap(), [first]);
    let change = FederateChange {
        peers: vec![second.clone()],
        forget: vec![node()],
        publish: vec![event.clone()],
        ..FederateChange::default()
    };
    store.commit_federation(change).await.unwrap();
    assert_eq!(store.peers().await.unwrap(), [second]);
    let events = store.read_events(0, ServiceSet::all(), EVERYTHING).await.unwrap().events;
    assert_eq!(events.into_iter().map(|event| event.event).collect::<Vec<_>>(), [event]);
}

#[tokio::test]
async fn every_reason_to_withhold_is_read_back() {
    let (_dir, store) = store();
    let withheld: Vec<_> = Denial::ALL
        .into_iter()
        .map(|reason| Withheld {
            sender: node(),
            id: id(4),
            service: Service::Socket,
            amount_sat: 1,
            bytes: 2,
            reason,
            at: UnixMillis(3),
        })
        .collect();
    let change = InboxChange { withheld: withheld.clone(), ..InboxChange::default() };
    store.commit_inbox(change).await.unwrap();
    let query = WithheldQuery { limit: 10, ..WithheldQuery::default() };
    let mut listed = store.list_withheld(query).await.unwrap().messages;
    listed.reverse();
    assert_eq!(listed, withheld);
}
