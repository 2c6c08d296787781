use std::sync::Arc;

use imp_api::error::Code;
use imp_core::record::Service;
use imp_core::time::UnixMillis;

use super::*;
use crate::store::journal::{NewEvent, ServiceType};
use crate::store::sqlite::SqliteOptions;
use crate::store::{JournalStore, SqliteStore};

const MESSAGE: ServiceType = ServiceType::Record(Service::Message);
const VPN: ServiceType = ServiceType::Record(Service::Vpn);

fn event(service: ServiceType, n: usize, bytes: usize) -> NewEvent {
    let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    NewEvent {
        at: UnixMillis(n as u64),
        id: n.to_string(),
        reply_to: String::new(),
        from: key.parse().unwrap(),
        service,
        data: "x".repeat(bytes),
        amount_sat: 1,
        late: false,
    }
}

struct Journal {
    events: Events,
    store: SqliteStore,
    _dir: tempfile::TempDir,
}

async fn journal(contents: Vec<NewEvent>) -> Journal {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    store.append(contents).await.unwrap();
    Journal {
        events: Events::new(Arc::new(store.clone()), Arc::new(crate::events::AsStored)),
        store,
        _dir: dir,
    }
}

fn query(after: Option<i64>, limit: i64) -> Query {
    Query { after, limit, services: ServiceSet::original() }
}

fn ids(page: &Page) -> Vec<&str> {
    page.events.iter().map(|event| event.event.id.as_str()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_and_say_when_there_are_no_more() {
    let Journal { events, store, _dir } = journal((0..10).map(|n| event(MESSAGE, n, 1)).collect()).await;
    let first = events.list(query(None, 4)).await.unwrap();
    assert_eq!((ids(&first), first.next_after, first.more), (vec!["0", "1", "2", "3"], 4, true));
    let second = events.list(query(Some(4), 6)).await.unwrap();
    assert_eq!((ids(&second).len(), second.next_after, second.more), (6, 10, false));
    let none = events.list(query(Some(10), 6)).await.unwrap();
    assert_eq!((none.events.len(), none.next_after, none.more, none.newest), (0, 10, false, 10));
    store.append((10..210).map(|n| event(MESSAGE, n, 1)).collect()).await.unwrap();
    let by_default = events.list(query(Some(10), 0)).await.unwrap();
    assert_eq!((by_default.events.len(), by_default.more), (100, true));
}

#[tokio::test]
async fn limits_that_are_none_are_refused() {
    let Journal { events, _dir, .. } = journal(vec![event(MESSAGE, 0, 1)]).await;
    for limit in [-1, 1001, i64::MIN, i64::MAX] {
        let refused = events.list(query(None, limit)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.to_string().starts_with(&format!("limit: is {limit};")), "{refused}");
    }
    assert_eq!(events.list(query(None, 1000)).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn what_was_let_go_is_said() {
    let Journal { events, store, _dir } = journal((0..10).map(|n| event(MESSAGE, n, 1)).collect()).await;
    assert_eq!(events.list(query(None, 1)).await.unwrap().let_go(), 0);
    store.forget_events(UnixMillis(4), u64::MAX).await.unwrap();
    let page = events.list(query(None, 1)).await.unwrap();
    assert_eq!((page.let_go(), page.oldest, page.newest, ids(&page)), (4, Some(5), 10, vec!["4"]));
    let refused = events.list(query(Some(3), 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(refused.to_string().contains("oldest cursor to ask for is 4"), "{refused}");
    assert_eq!(events.list(query(Some(11), 1)).await.unwrap_err().code(), Code::OutOfRange);
    store.forget_events(UnixMillis(0), 0).await.unwrap();
    let empty = events.list(query(None, 1)).await.unwrap();
    assert_eq!((empty.let_go(), empty.oldest, empty.newest, empty.next_after), (10, None, 10, 10));
    assert_eq!(events.list(query(Some(9), 1)).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn an_empty_journal_has_an_empty_page() {
    let Journal { events, _dir, .. } = journal(Vec::new()).await;
    let page = events.list(query(None, 0)).await.unwrap();
    let expected = Page { events: Vec::new(), next_after: 0, more: false, oldest: None, newest: 0 };
    assert_eq!((page.let_go(), page), (0, expected));
}

#[tokio::test]
async fn a_page_of_large_events_stays_small_and_the_next_goes_on() {
    let Journal { events, _dir, .. } = journal((0..20).map(|n| event(MESSAGE, n, 432_000)).collect()).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = events.list(query(after, 1000)).await.unwrap();
        let bytes: usize = page.events.iter().map(|event| event.event.data.len()).sum();
        assert!(!page.events.is_empty() && bytes < 4 << 20, "{bytes}");
        seen.extend(page.events.iter().map(|event| event.event.id.clone()));
        after = Some(page.next_after);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_of_a_rare_service_is_bounded_in_what_it_looks_at() {
    let rare = 70_000;
    let contents = (0..rare).map(|n| event(MESSAGE, n, 1)).chain([event(VPN, rare, 1)]);
    let Journal { events, _dir, .. } = journal(contents.collect()).await;
    let services = [VPN].into_iter().collect();
    let first = events.list(Query { after: None, limit: 10, services }).await.unwrap();
    assert_eq!((first.events.len(), first.more), (0, true));
    assert!(first.next_after >= 60_000);
    let second = events.list(Query { after: Some(first.next_after), limit: 10, services }).await.unwrap();
    assert_eq!((ids(&second), second.more), (vec!["70000"], false));
}
