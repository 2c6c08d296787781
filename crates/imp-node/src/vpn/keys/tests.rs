use imp_core::id::MessageId;
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::PurchaseState;
use imp_core::vpn::{Config, Limits, Meter, Quote};

use super::*;
use crate::events::Events;
use crate::events::history::Query;
use crate::store::journal::{ServiceSet, ServiceType};
use crate::store::sqlite::SqliteOptions;
use crate::store::vpn::VpnChange;
use crate::store::{JournalStore, SqliteStore};

const SELLER: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OTHER: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

fn key() -> PrivateKey {
    PrivateKey::from_random([7; 32])
}

fn id(n: u8) -> MessageId {
    MessageId::from_random([n; 16])
}

fn config() -> Config {
    Config {
        client_key: key().public(),
        server: "203.0.113.5:51820".parse().unwrap(),
        server_key: PrivateKey::from_random([8; 32]).public(),
        client: "10.0.0.10/24".parse().unwrap(),
        allowed: vec!["0.0.0.0/0".parse().unwrap()],
        dns: "8.8.8.8".parse().unwrap(),
        psk: PrivateKey::from_random([9; 32]).to_base64().parse().unwrap(),
        nonce: "a".parse().unwrap(),
        expiry_secs: 1_700_003_600,
        duration_secs: 3600,
        mtu: 1420,
        limits: Limits::default(),
    }
}

fn purchase(state: PurchaseState) -> Purchase {
    Purchase {
        quote: Quote {
            nonce: "a".parse().unwrap(),
            price_sat: 1,
            valid_secs: 600,
            expiry_secs: 1,
            duration_secs: 3600,
            max_secs: 3600,
            limits: Limits::default(),
        },
        seller: SELLER.parse().unwrap(),
        state,
        private_key: Some(key()),
        public_key: key().public(),
        contract_id: id(1),
        payment_open: false,
        made: UnixMillis(1),
        config: Some(config()),
        event_id: Some(id(2)),
        started: None,
        ends: None,
        left_secs: 0,
        refresh: None,
        inquiry: None,
        bytes_allowed: None,
        paid_sat: 1,
        refunded_sat: 0,
        auto_limit_sat: None,
        auto_spent_sat: 0,
        auto_next: None,
        told_expiring: false,
        up: None,
        meter: Meter::default(),
        reason: String::new(),
    }
}

fn event(id: MessageId, from: &str, service: Service) -> NewEvent {
    NewEvent {
        at: UnixMillis(1),
        id: id.to_string(),
        reply_to: String::new(),
        from: from.parse().unwrap(),
        service: ServiceType::Record(service),
        data: config().to_json(),
        amount_sat: 1,
        late: false,
    }
}

/// The texts of all events, as a page has them and as a subscriber gets them.
async fn texts(events: &Events) -> Vec<String> {
    let query = Query { after: None, limit: 100, services: ServiceSet::all() };
    let page = events.list(query).await.unwrap();
    let mut subscription = events.subscribe(Some(0), ServiceSet::all()).await.unwrap();
    let mut texts = Vec::new();
    for listed in page.events {
        let told = subscription.next().await.unwrap();
        assert_eq!(*told, listed, "a page and a subscriber get the same");
        texts.push(listed.event.data);
    }
    texts
}

#[tokio::test]
async fn the_event_of_a_contract_has_its_key_as_long_as_there_is_time_left() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions::in_dir(dir.path());
    let store = SqliteStore::open(&options).unwrap();
    let bought = purchase(PurchaseState::Active);
    let publish = vec![
        event(id(2), SELLER, Service::Vpn),
        event(id(2), SELLER, Service::Message),
        event(id(2), OTHER, Service::Vpn),
        event(id(3), SELLER, Service::Vpn),
    ];
    let change = VpnChange { put_purchases: vec![bought.clone()], publish, ..VpnChange::default() };
    let keys = PrivateKeys::default();
    keys.follow(&bought);
    store.commit_vpn(change).await.unwrap();
    let (bare, joined) = (config().to_json(), config().to_json_with(Some(&key())));
    assert_ne!(bare, joined);
    let with_key = vec![joined, bare.clone(), bare.clone(), bare.clone()];
    let from_memory = Events::new(Arc::new(store.clone()), Arc::new(keys.clone()));
    assert_eq!(texts(&from_memory).await, with_key);

    store.close();
    let store = SqliteStore::open(&options).unwrap();
    let keys = PrivateKeys::load(&store).await.unwrap();
    let events = Events::new(Arc::new(store.clone()), Arc::new(keys.clone()));
    assert_eq!(texts(&events).await, with_key, "from the database, in the next run");
    keys.follow(&purchase(PurchaseState::Expired));
    assert_eq!(texts(&events).await, vec![bare; 4]);
}

#[tokio::test]
async fn a_live_subscriber_gets_the_key_with_the_event() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let keys = PrivateKeys::default();
    let events = Events::new(Arc::new(store.clone()), Arc::new(keys.clone()));
    let mut live = events.subscribe(None, ServiceSet::original()).await.unwrap();
    keys.follow(&purchase(PurchaseState::Active));
    store.append(vec![event(id(2), SELLER, Service::Vpn)]).await.unwrap();
    assert_eq!(live.next().await.unwrap().event.data, config().to_json_with(Some(&key())));
    let stored = store.tail().next_after(0, ServiceSet::all());
    let crate::store::journal::FromTail::Event(stored) = stored else { panic!("{stored:?}") };
    assert_eq!(stored.event.data, config().to_json(), "nobody else gets it by the way");
}

#[test]
fn keys_are_not_printed() {
    let keys = PrivateKeys::default();
    keys.follow(&purchase(PurchaseState::Active));
    assert_eq!(format!("{keys:?}"), "PrivateKeys { keys: 1 }");
}
