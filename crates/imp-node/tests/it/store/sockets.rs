//! Relays: kept until they end, and their end published once.

use std::time::Duration;

use imp_core::relay::Limits;
use imp_core::socket::{RelayId, Token};
use imp_node::store::SocketStore;
use imp_node::store::journal::JournalEvent;
use imp_node::store::socket::{RelayUse, StoredPin, StoredRelay};

use super::*;

fn relay_id(n: u8) -> RelayId {
    RelayId::from_random([n; 16])
}

fn relay(n: u8) -> StoredRelay {
    StoredRelay {
        id: relay_id(n),
        owner: "local".to_owned(),
        label: "game".to_owned(),
        is_default: false,
        ports: [1, 65535],
        token: Token::from_random([n; 16]),
        require_token: true,
        idle: Duration::from_secs(7),
        limits: Limits {
            max_packets: 1,
            max_bytes: 2,
            max_packets_per_sec: 3,
            max_bytes_per_sec: 1_000_000_000_000_000_000,
        },
        started: UnixMillis(40),
        ends: Some(UnixMillis(50)),
        used: RelayUse::default(),
    }
}

fn event(id: &str, data: &str) -> NewEvent {
    NewEvent {
        at: UnixMillis(60),
        id: id.to_owned(),
        reply_to: String::new(),
        from: node(),
        service: Service::Socket.into(),
        data: data.to_owned(),
        amount_sat: 0,
        late: false,
    }
}

#[tokio::test]
async fn a_relay_comes_back_as_it_was_kept() {
    let (_dir, store) = store();
    let pin = StoredPin {
        source: "[fe80::1%3]:5".parse().unwrap(),
        is_firm: true,
        learned: UnixMillis(41),
        last_heard: UnixMillis(42),
        reached: Some("::1".parse().unwrap()),
    };
    let other = StoredPin { source: "127.0.0.1:9".parse().unwrap(), is_firm: false, reached: None, ..pin };
    let mut first = relay(1);
    first.used = RelayUse { packets: 7, bytes: 8, pins: [None, Some(other)] };
    let second = StoredRelay { is_default: true, ends: None, require_token: false, ..relay(2) };
    store.add_relay(first.clone()).await.unwrap();
    store.add_relay(second.clone()).await.unwrap();
    assert_eq!(store.relays().await.unwrap(), [first.clone(), second.clone()]);

    let used = RelayUse { packets: 9, bytes: 10, pins: [Some(pin), None] };
    store.save_relays(vec![(first.id, used), (relay_id(9), used)]).await.unwrap();
    first.used = used;
    assert_eq!(store.relays().await.unwrap(), [first, second]);
}

#[tokio::test]
async fn there_is_one_default_relay_and_one_of_each_id() {
    let (_dir, store) = store();
    let default = |n| StoredRelay { is_default: true, ..relay(n) };
    store.add_relay(default(1)).await.unwrap();
    assert!(matches!(store.add_relay(default(2)).await, Err(StoreError::Database(_))));
    assert!(matches!(store.add_relay(relay(1)).await, Err(StoreError::Database(_))));
    store.end_relays(vec![(relay_id(1), event("e", "ended"))]).await.unwrap();
    store.add_relay(default(2)).await.unwrap();
    assert_eq!(store.relays().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_end_is_published_once() {
    let (_dir, store) = store();
    store.add_relay(relay(1)).await.unwrap();
    store.add_relay(relay(2)).await.unwrap();
    let ends = || vec![(relay_id(1), event("1", "first")), (relay_id(2), event("2", "second"))];
    assert_eq!(store.end_relays(ends()).await, Ok(2));
    assert_eq!(store.end_relays(ends()).await, Ok(0));
    assert!(store.relays().await.unwrap().is_empty());
    let published = store.read_events(0, ServiceSet::all(), EVERYTHING).await.unwrap().events;
    let texts: Vec<_> = published.iter().map(|event| event.event.data.as_str()).collect();
    assert_eq!(texts, ["first", "second"]);
    let subscribers_have = store.tail().next_after(1, ServiceSet::original());
    assert!(matches!(subscribers_have, FromTail::Event(_)), "when the call returns");
}

#[tokio::test]
async fn events_of_sockets_are_found_by_their_id_newest_first() {
    let (_dir, store) = store();
    let of_messages = NewEvent { service: Service::Message.into(), ..event("a", "text") };
    let events = vec![event("a", "old"), event("b", "other"), of_messages, event("a", "new")];
    store.append(events).await.unwrap();
    let data = |events: Vec<JournalEvent>| {
        events.into_iter().map(|event| (event.cursor, event.event.data)).collect::<Vec<_>>()
    };
    let found = store.socket_events("a".to_owned()).await.unwrap();
    assert_eq!(data(found), [(4, "new".to_owned()), (1, "old".to_owned())]);
    assert!(store.socket_events("c".to_owned()).await.unwrap().is_empty());
}
