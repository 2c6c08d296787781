//! `GET /v1/events` and the filters of `GET /v1/subscribe`, on the services of the node itself.

use imp_core::record::Service;
use imp_core::time::UnixMillis;
use serde_json::{Value, json};

use super::super::grpc::Calls;
use super::*;
use crate::events::{Completion, Events};
use crate::runtime::tasks::Tasks;
use crate::store::journal::{NewEvent, ServiceType};
use crate::store::sqlite::SqliteOptions;
use crate::store::{JournalStore, SqliteStore};

const KEY: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn journal_event(n: u64, service: ServiceType) -> NewEvent {
    NewEvent {
        at: UnixMillis(1_600_000_000_000 + n),
        id: format!("id{n}"),
        reply_to: String::new(),
        from: KEY.parse().unwrap(),
        service,
        data: format!("text {n}"),
        amount_sat: n,
        late: n == 2,
    }
}

/// The node's own services without a Lightning node, on a journal of a message, a payment, and so on.
async fn start() -> (TestNode, SqliteStore) {
    let (node, store, _) = start_with(Arc::new(crate::events::AsStored)).await;
    (node, store)
}

async fn start_with(completion: Arc<dyn Completion>) -> (TestNode, SqliteStore, Arc<Calls>) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let services = [Service::Message.into(), ServiceType::Lightning, Service::Vpn.into()];
    let contents = (1..=9).zip(services.into_iter().cycle()).map(|(n, service)| journal_event(n, service));
    store.append(contents.collect()).await.unwrap();
    let tasks = Tasks::new();
    let calls = Arc::new(Calls {
        events: Events::new(Arc::new(store.clone()), completion),
        services: watch::channel(None).1,
        inactive: Vec::new(),
        shutdown: tasks.token(),
        tasks,
    });
    let served = Arc::clone(&calls);
    let node =
        TestNode::with(dir, |services, _| services.websocket(Arc::clone(&served)).events(served)).await;
    (node, store, calls)
}

async fn get(node: &TestNode, path: &str) -> (u16, Value) {
    let answer = reqwest::get(node.url(path)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn ids(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_page_is_json_with_every_field() {
    let (node, _store) = start().await;
    let (status, page) = get(&node, "/v1/events?limit=1&after=3").await;
    assert_eq!(status, 200);
    let expected = json!({
        "events": [{
            "id": "id4", "replyToId": "", "fromPubkey": KEY, "data": "text 4", "serviceType": "message",
            "amount": "4", "cursor": "4", "publishedMs": "1600000000004", "late": false,
        }],
        "nextAfter": "4", "more": true, "oldestCursor": "1", "newestCursor": "9", "letGo": "0",
    });
    assert_eq!(page, expected);
}

#[tokio::test]
async fn a_page_holds_what_is_asked_for() {
    let (node, _store) = start().await;
    for (query, expected) in [
        ("", &["id1", "id3", "id4", "id6", "id7", "id9"][..]),
        ("?service=vpn", &["id3", "id6", "id9"]),
        ("?service=%20vpn%20,message", &["id1", "id3", "id4", "id6", "id7", "id9"]),
        ("?service=lightning", &["id2", "id5", "id8"]),
        ("?service=vpn&include=lightning&after=4", &["id5", "id6", "id8", "id9"]),
        ("?include=lightning&limit=2", &["id1", "id2"]),
        ("?service=federate", &[]),
    ] {
        let (status, page) = get(&node, &format!("/v1/events{query}")).await;
        assert_eq!((status, ids(&page)), (200, expected.to_vec()), "{query}");
    }
}

#[tokio::test]
async fn what_cannot_be_listed_is_refused() {
    let (node, store) = start().await;
    store.forget_events(UnixMillis(1_600_000_000_004), u64::MAX).await.unwrap();
    for (query, code, text) in [
        ("limit=1001", 3, "limit: is 1001;"),
        ("limit=-1", 3, "limit: is -1;"),
        ("limit=x", 3, "field limit: invalid value for int64 type"),
        ("after=", 3, "field after: invalid value for int64 type"),
        ("service=mesage", 3, "service: there is no \"mesage\", only federate, "),
        ("include=all", 3, "include: there is no \"all\""),
        ("after=10", 11, "after: 10 is beyond the newest cursor, 9"),
        ("after=2", 11, "after: events from 4 on are kept; the oldest cursor to ask for is 3"),
        ("after=-1", 11, "the oldest cursor to ask for is 3"),
    ] {
        let (status, body) = get(&node, &format!("/v1/events?{query}")).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{query}: {body}");
        assert!(body["message"].as_str().unwrap().contains(text), "{query}: {body}");
    }
    let (_, page) = get(&node, "/v1/events").await;
    assert_eq!((ids(&page)[0], &page["letGo"], &page["oldestCursor"]), ("id4", &json!("3"), &json!("4")));
}

#[tokio::test]
async fn a_subscriber_resumes_at_the_header_and_gets_each_event_it_asked_for_once() {
    let (node, store) = start().await;
    let client = node.client().await;
    let ask = |after| SubscribeRequest { after, include: Some("lightning".into()), ..Default::default() };
    let first = client.subscribe(ask(None)).await.unwrap();
    assert_eq!(first.position(), Some(9));
    drop(first);
    store
        .append(vec![journal_event(10, Service::Vpn.into()), journal_event(11, ServiceType::Lightning)])
        .await
        .unwrap();
    let only = SubscribeRequest { service: Some("lightning".into()), ..ask(Some(9)) };
    let mut resumed = client.subscribe(only).await.unwrap();
    let event = resumed.next().await.unwrap().unwrap();
    assert_eq!(
        (event.id.as_str(), event.service_type.as_str(), event.cursor),
        ("id11", "lightning", Some(11))
    );
    let mut all = client.subscribe(ask(Some(8))).await.unwrap();
    for expected in ["id9", "id10", "id11"] {
        assert_eq!(all.next().await.unwrap().unwrap().id, expected);
    }
}

#[tokio::test]
async fn who_does_not_ask_gets_what_2021_had() {
    let (node, store) = start().await;
    let url = format!("ws://{}/v1/subscribe", node.http);
    let (mut plain, answer) = tokio_tungstenite::connect_async(&url).await.unwrap();
    assert_eq!(answer.headers()[CURSOR_METADATA], "9");
    let (mut vpn, _) = tokio_tungstenite::connect_async(format!("{url}?service=vpn&after=3")).await.unwrap();
    store
        .append(vec![journal_event(10, ServiceType::Lightning), journal_event(11, Service::Vpn.into())])
        .await
        .unwrap();
    let frame = plain.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(frame.contains(r#""id":"id11""#) && !frame.contains("cursor"), "{frame}");
    for expected in ["id6", "id9", "id11"] {
        let frame = vpn.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(frame.contains(&format!(r#""id":"{expected}""#)) && frame.contains("cursor"), "{frame}");
    }
    let (mut wrong, _) = tokio_tungstenite::connect_async(format!("{url}?service=mesage")).await.unwrap();
    let frame = wrong.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(frame.starts_with(r#"{"error":{"code":3,"message":"service: there is no "#), "{frame}");
}

/// Says what nobody else may know.
struct Secret;

impl Completion for Secret {
    fn complete(&self, _event: &NewEvent) -> Option<String> {
        Some("a private key".to_owned())
    }
}

#[tokio::test]
async fn keys_go_with_events_to_this_machine_alone() {
    use imp_api::proto::imp::events::v1::ListEventsRequest;
    use imp_api::proto::imp::events::v1::events_server::Events as _;

    fn from<T>(peer: Option<Peer>, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        request
    }
    let tcp = |address: &str| Some(Peer::Tcp { remote: Some(address.parse().unwrap()) });
    let (node, _store, calls) = start_with(Arc::new(Secret)).await;
    let only = SubscribeRequest { after: Some(0), service: Some("vpn".into()), ..Default::default() };
    for (peer, expected) in [
        (tcp("127.0.0.1:5"), "a private key"),
        (Some(Peer::OwnerSocket), "a private key"),
        (tcp("10.0.0.1:5"), "text 3"),
        (None, "text 3"),
    ] {
        let list = ListEventsRequest { service: "vpn".into(), ..Default::default() };
        let page = calls.list_events(from(peer, list)).await.unwrap().into_inner();
        assert_eq!(page.events[0].data, expected, "{peer:?}");
        let mut events = calls.subscribe(from(peer, only.clone())).await.unwrap().into_inner();
        assert_eq!(events.next().await.unwrap().unwrap().data, expected, "{peer:?}");
    }

    // By every edge of a node, whose listeners are on this machine here.
    let mut grpc = node.client().await.subscribe(only).await.unwrap();
    assert_eq!(grpc.next().await.unwrap().unwrap().data, "a private key");
    let (_, page) = get(&node, "/v1/events?service=vpn").await;
    assert_eq!(page["events"][0]["data"], json!("a private key"));
    let url = format!("ws://{}/v1/subscribe?service=vpn&after=0", node.http);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let frame = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(frame.contains("a private key"), "{frame}");
    let mut lines = reqwest::get(node.url("/v1/subscribe?service=vpn&after=0")).await.unwrap();
    let line = String::from_utf8(lines.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(line.contains("a private key"), "{line}");
}
