use imp_core::id::NodeId;
use imp_core::record::Service;
use imp_core::time::UnixMillis;

use super::*;
use crate::store::SqliteStore;
use crate::store::journal::{NewEvent, ServiceType};
use crate::store::sqlite::SqliteOptions;

fn event(n: usize) -> NewEvent {
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    NewEvent {
        at: UnixMillis(n as u64),
        id: n.to_string(),
        reply_to: String::new(),
        from: key.parse::<NodeId>().unwrap(),
        service: ServiceType::Record(Service::Message),
        data: format!("text {n}"),
        amount_sat: 1,
        late: false,
    }
}

async fn take(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(subscription.next().await.unwrap().event.id.clone());
    }
    ids
}

fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|n| n.to_string()).collect()
}

#[tokio::test]
async fn a_subscriber_gets_what_comes_after_it_and_one_with_a_cursor_what_came_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let cursors = store.append((0..3).map(event).collect()).await.unwrap();
    let events = Events::new(Arc::new(store.clone()), Arc::new(AsStored));
    let mut live = events.subscribe(None, ServiceSet::original()).await.unwrap();
    let mut replay = events.subscribe(Some(cursors[0]), ServiceSet::original()).await.unwrap();
    let mut all = events.subscribe(Some(0), ServiceSet::original()).await.unwrap();
    store.append((3..5).map(event).collect()).await.unwrap();
    assert_eq!(take(&mut live, 2).await, ids(3..5));
    assert_eq!(take(&mut replay, 4).await, ids(1..5));
    assert_eq!(take(&mut all, 5).await, ids(0..5));
}

#[tokio::test]
async fn one_that_lags_beyond_the_memory_is_fed_from_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let events = Events::new(Arc::new(store.clone()), Arc::new(AsStored));
    let mut slow = events.subscribe(None, ServiceSet::original()).await.unwrap();
    for from in (0..3000).step_by(500) {
        store.append((from..from + 500).map(event).collect()).await.unwrap();
    }
    assert_eq!(take(&mut slow, 3000).await, ids(0..3000));
}

#[tokio::test]
async fn events_survive_a_restart_and_cursors_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions::in_dir(dir.path());
    let store = SqliteStore::open(&options).unwrap();
    let before = store.append((0..2).map(event).collect()).await.unwrap();
    store.close();
    assert_eq!(store.append(vec![event(9)]).await, Err(StoreError::Closed));
    let store = SqliteStore::open(&options).unwrap();
    let after = store.append(vec![event(2)]).await.unwrap();
    assert!(after[0] > before[1]);
    let mut all = Events::new(Arc::new(store), Arc::new(AsStored))
        .subscribe(Some(0), ServiceSet::original())
        .await
        .unwrap();
    assert_eq!(take(&mut all, 3).await, ids(0..3));
}

#[tokio::test]
async fn what_was_let_go_is_out_of_range_and_the_error_names_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    store.append((0..10).map(event).collect()).await.unwrap();
    assert_eq!(store.forget_events(UnixMillis(4), u64::MAX).await, Ok(4), "by time");
    assert_eq!(store.forget_events(UnixMillis(0), 3 * 250).await, Ok(3), "by size, the oldest first");
    let events = Events::new(Arc::new(store.clone()), Arc::new(AsStored));
    let refused = events.subscribe(Some(6), ServiceSet::original()).await.unwrap_err();
    assert_eq!(refused.code(), imp_api::error::Code::OutOfRange);
    assert!(refused.to_string().contains("oldest cursor to ask for is 7"), "{refused}");
    let mut kept = events.subscribe(Some(7), ServiceSet::original()).await.unwrap();
    assert_eq!(take(&mut kept, 3).await, ids(7..10));
    let mut lagging = events.subscribe(Some(7), ServiceSet::original()).await.unwrap();
    let reopened = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    assert_eq!(reopened.forget_events(UnixMillis(9), u64::MAX).await, Ok(2));
    let mut lagging_elsewhere = Events::new(Arc::new(reopened), Arc::new(AsStored))
        .subscribe(Some(9), ServiceSet::original())
        .await
        .unwrap();
    assert_eq!(take(&mut lagging_elsewhere, 1).await, ids(9..10));
    assert_eq!(take(&mut lagging, 3).await, ids(7..10), "from memory");
    assert!(events.subscribe(Some(8), ServiceSet::original()).await.is_err());
    let mut live = events.subscribe(Some(10), ServiceSet::original()).await.unwrap();
    store.append(vec![event(10)]).await.unwrap();
    assert_eq!(take(&mut live, 1).await, ids(10..11));
}

#[tokio::test]
async fn a_subscriber_is_told_when_events_were_let_go_before_it_took_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    store.append((0..10).map(event).collect()).await.unwrap();
    store.close();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let mut lagging = Events::new(Arc::new(store.clone()), Arc::new(AsStored))
        .subscribe(Some(2), ServiceSet::original())
        .await
        .unwrap();
    store.forget_events(UnixMillis(5), u64::MAX).await.unwrap();
    let refused = lagging.next().await.unwrap_err();
    assert_eq!(refused.code(), imp_api::error::Code::OutOfRange);
    assert!(refused.to_string().contains("after cursor 2 were let go"), "{refused}");
}

#[tokio::test]
async fn cursors_go_on_after_a_restart_with_an_empty_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    store.append((0..3).map(event).collect()).await.unwrap();
    assert_eq!(store.forget_events(UnixMillis(0), 0).await, Ok(3));
    store.close();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let mut where_it_was = Events::new(Arc::new(store.clone()), Arc::new(AsStored))
        .subscribe(Some(3), ServiceSet::original())
        .await
        .unwrap();
    assert_eq!(store.append(vec![event(3)]).await, Ok(vec![4]));
    assert_eq!(take(&mut where_it_was, 1).await, ids(3..4));
}

#[tokio::test]
async fn a_cursor_that_was_never_reached_is_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let cursors = store.append(vec![event(0)]).await.unwrap();
    let events = Events::new(Arc::new(store), Arc::new(AsStored));
    let refused = events.subscribe(Some(cursors[0] + 1), ServiceSet::original()).await.unwrap_err();
    assert_eq!(refused.code(), imp_api::error::Code::OutOfRange);
    assert!(refused.to_string().contains("newest cursor, 1"), "{refused}");
}

fn of(service: ServiceType, n: usize) -> NewEvent {
    NewEvent { service, ..event(n) }
}

/// Every `nth` event is of Lightning, from the first on; the others are messages.
fn mixed(count: usize, nth: usize) -> Vec<NewEvent> {
    let kind = |n: usize| if n.is_multiple_of(nth) { ServiceType::Lightning } else { MESSAGE };
    (0..count).map(|n| of(kind(n), n)).collect()
}

const MESSAGE: ServiceType = ServiceType::Record(Service::Message);
const VPN: ServiceType = ServiceType::Record(Service::Vpn);

fn only(service: ServiceType) -> ServiceSet {
    [service].into_iter().collect()
}

#[tokio::test]
async fn a_subscriber_gets_what_it_asks_for_live_and_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let events = Events::new(Arc::new(store.clone()), Arc::new(AsStored));
    let mut live: Vec<(ServiceSet, Subscription)> = Vec::new();
    for services in [ServiceSet::original(), only(ServiceType::Lightning), ServiceSet::all(), only(VPN)] {
        live.push((services, events.subscribe(None, services).await.unwrap()));
    }
    let all: Vec<NewEvent> = mixed(40, 3).into_iter().chain([of(VPN, 40)]).collect();
    store.append(all.clone()).await.unwrap();
    store.close();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let reopened = Events::new(Arc::new(store), Arc::new(AsStored));
    for (services, mut live) in live {
        let expected: Vec<_> = all
            .iter()
            .filter(|event| services.contains(event.service))
            .map(|event| event.id.clone())
            .collect();
        assert_eq!(take(&mut live, expected.len()).await, expected, "{services:?}");
        let mut replay = reopened.subscribe(Some(0), services).await.unwrap();
        assert_eq!(take(&mut replay, expected.len()).await, expected, "{services:?}");
    }
}

#[tokio::test]
async fn resuming_at_each_cursor_gives_each_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    store.append(mixed(50, 7)).await.unwrap();
    let events = Events::new(Arc::new(store), Arc::new(AsStored));
    let services = only(ServiceType::Lightning);
    let (mut seen, mut after) = (Vec::new(), 0);
    while seen.len() < 8 {
        let mut one = events.subscribe(Some(after), services).await.unwrap();
        let event = one.next().await.unwrap();
        assert_eq!(one.position(), event.cursor);
        seen.push(event.event.id.clone());
        after = event.cursor;
    }
    assert_eq!(seen, ["0", "7", "14", "21", "28", "35", "42", "49"]);
}

#[tokio::test]
async fn a_replay_over_many_events_that_are_not_wanted_comes_to_the_one_that_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    store.append((0..20_000).map(event).chain([of(VPN, 20_000)]).collect()).await.unwrap();
    let events = Events::new(Arc::new(store), Arc::new(AsStored));
    let mut one = events.subscribe(Some(0), only(VPN)).await.unwrap();
    assert_eq!(take(&mut one, 1).await, ["20000"]);
}

#[tokio::test]
async fn a_subscriber_lags_by_what_it_does_not_want_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let mut lagging =
        Events::new(Arc::new(store.clone()), Arc::new(AsStored)).subscribe(None, only(VPN)).await.unwrap();
    store.append((0..3000).map(event).collect()).await.unwrap();
    store.forget_events(UnixMillis(5), u64::MAX).await.unwrap();
    let refused = lagging.next().await.unwrap_err();
    assert_eq!(refused.code(), imp_api::error::Code::OutOfRange);

    let mut in_time =
        Events::new(Arc::new(store.clone()), Arc::new(AsStored)).subscribe(None, only(VPN)).await.unwrap();
    for n in 0..3 {
        store.append((0..1000).map(event).collect()).await.unwrap();
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), in_time.next()).await;
        assert!(waits.is_err(), "nothing for it in round {n}, but its cursor moves on");
    }
    store.forget_events(UnixMillis(u64::MAX >> 1), u64::MAX).await.unwrap();
    store.append(vec![of(VPN, 1)]).await.unwrap();
    assert_eq!(take(&mut in_time, 1).await, ["1"]);
}

#[tokio::test]
async fn large_events_are_read_a_few_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let large = |n| NewEvent { data: "x".repeat(400_000), ..event(n) };
    store.append((0..30).map(large).collect()).await.unwrap();
    let mut replay = Events::new(Arc::new(store), Arc::new(AsStored))
        .subscribe(Some(0), ServiceSet::original())
        .await
        .unwrap();
    for n in 0..30 {
        assert_eq!(replay.next().await.unwrap().event.id, n.to_string());
        assert!(replay.batch.events.is_empty(), "the next one is still in the database");
    }
}
