//! Relays as REST shows them, on the services of the node itself.

use std::net::Ipv4Addr;

use imp_lightning::LightningNode;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use serde_json::{Value, json};

use super::super::grpc::Calls;
use super::*;
use crate::events::Events;
use crate::node::{NodeOptions, Ports, Services as NodeServices};
use crate::runtime::clock::SystemClock;
use crate::runtime::tasks::Tasks;
use crate::store::SqliteStore;
use crate::store::sqlite::SqliteOptions;

/// A node of a simulated network that has relays.
struct Host {
    edge: TestNode,
    pubkey: String,
}

impl Host {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let lightning = FakeNetwork::new(FakeOptions::default()).restart("alice");
        let (pubkey, tasks) = (lightning.id().to_string(), Tasks::new());
        let events = Events::new(Arc::new(store.clone()), Arc::new(crate::events::AsStored));
        let ports = Ports {
            store: Arc::new(store),
            lightning,
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
            vpn_keys: crate::vpn::PrivateKeys::default(),
            vpn_station: None,
        };
        let mut options = NodeOptions::default();
        options.socket.server_ip = Some(Ipv4Addr::LOCALHOST.into());
        let services = NodeServices::start(ports, options).await.unwrap();
        let services = watch::channel(Some(Arc::new(services))).1;
        let (inactive, shutdown) = (Vec::new(), tasks.token());
        let calls = Arc::new(Calls { events, services, inactive, shutdown, tasks });
        let add = |services: Services, _| services.socket(Arc::clone(&calls)).relays(calls);
        Self { edge: TestNode::with(dir, add).await, pubkey }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = reqwest::get(self.edge.url(path)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let (status, text) = self.edge.post(path, body.to_owned()).await;
        (status, serde_json::from_str(&text).unwrap())
    }
}

#[tokio::test]
async fn the_relay_of_2021_takes_any_body_and_none() {
    let host = Host::start().await;
    let (status, first) = host.post("/v1/socket/start", "").await;
    assert_eq!(status, 200, "{first}");
    let mut keys: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["ip", "port1", "port2", "protocol"]);
    assert_eq!((first["protocol"].as_str(), first["ip"].as_str()), (Some("udp"), Some("127.0.0.1")));
    for port in ["port1", "port2"] {
        let digits = first[port].as_str().unwrap().strip_prefix(':').expect("a leading colon");
        assert!((20_000..=29_999).contains(&digits.parse::<u16>().unwrap()));
    }
    let foreign = host.post("/v1/socket/start", r#"{"msg":"x","pubkey":"y"}"#).await;
    assert_eq!(foreign, (200, first));

    let (status, sent) =
        host.post("/v1/socket/sendRequest", &json!({"pubkey": host.pubkey}).to_string()).await;
    assert_eq!((status, sent.as_object().unwrap().len()), (200, 1));
    assert_eq!(sent["id"].as_str().unwrap().len(), 36);
    let (status, refused) = host.post("/v1/socket/sendRequest", r#"{"pubkey":"02"}"#).await;
    assert_eq!((status, refused["code"].as_u64()), (400, Some(3)));
    assert!(refused["message"].as_str().unwrap().contains("failed"), "{refused}");
    for _ in 0..2 {
        assert_eq!(host.post("/v1/socket/stop", "{}").await, (200, json!({})));
    }
}

#[tokio::test]
async fn relays_are_started_shown_and_stopped_by_their_ids() {
    let host = Host::start().await;
    let body = r#"{"label":"game","idleSecs":7,"lifeSecs":"60","requireToken":true}"#;
    let (status, started) = host.post("/v1/socket/relays", body).await;
    assert_eq!(status, 200, "{started}");
    let id = started["id"].as_str().unwrap();
    assert_eq!((started["label"].as_str(), started["idleSecs"].as_str()), (Some("game"), Some("7")));
    assert_eq!(started["requireToken"], json!(true));
    assert_eq!(host.get(&format!("/v1/socket/relays/{id}")).await, (200, started.clone()));
    assert_eq!(host.get("/v1/socket/relays?owner=local").await.1["relays"], json!([started]));
    assert_eq!(host.get("/v1/socket/relays?owner=else").await.1["relays"], json!([]));
    let (status, refused) = host.post("/v1/socket/relays", r#"{"idleSecs":86401}"#).await;
    assert_eq!(status, 400);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("idle_secs") && message.contains("86400"), "{message}");
    let stop = format!("/v1/socket/relays/{id}/stop");
    assert_eq!(host.post(&stop, "").await, (200, json!({})));
    assert_eq!(host.post(&stop, "").await.0, 404);
    assert_eq!(host.get(&format!("/v1/socket/relays/{id}")).await.0, 404);
}

#[tokio::test]
async fn watching_is_a_stream_whose_first_line_comes_at_once() {
    let host = Host::start().await;
    host.post("/v1/socket/start", "").await;
    let mut answer = reqwest::get(host.edge.url("/v1/socket/watch?intervalMs=60000")).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let chunk = tokio::time::timeout(PATIENCE, answer.chunk()).await.expect("at once").unwrap();
        line.extend_from_slice(&chunk.expect("the stream stands"));
    }
    let first: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(first["result"]["relays"][0]["default"], json!(true));
    let (status, refused) = host.get("/v1/socket/watch?intervalMs=99").await;
    assert_eq!((status, refused["code"].as_u64()), (400, Some(3)));
}

#[tokio::test]
async fn local_ends_are_opened_from_this_machine() {
    let host = Host::start().await;
    let pubkey = json!({"pubkey": host.pubkey}).to_string();
    let (_, sent) = host.post("/v1/socket/sendRequest", &pubkey).await;
    let event = sent["id"].as_str().unwrap();
    let (status, refused) = host.post("/v1/socket/connect", &json!({"eventId": event}).to_string()).await;
    assert_eq!((status, refused["code"].as_u64()), (400, Some(9)), "{refused}");
    let body = json!({"eventId": event, "allowPrivate": true}).to_string();
    let (status, opened) = host.post("/v1/socket/connect", &body).await;
    assert_eq!(status, 200, "{opened}");
    assert_eq!((opened["eventId"].as_str(), opened["pubkey"].as_str()), (Some(event), Some(&*host.pubkey)));
    assert!(opened["local"].as_str().unwrap().starts_with("127.0.0.1:"));
    let (_, listed) = host.get("/v1/socket/connections").await;
    assert_eq!(listed["connections"][0]["id"], opened["id"]);
    let close = format!("/v1/socket/connections/{}/close", opened["id"].as_str().unwrap());
    assert_eq!(host.post(&close, "").await, (200, json!({})));
    assert_eq!(host.post(&close, "").await.0, 404);
    assert_eq!(host.post("/v1/socket/connect", r#"{"eventId":"none"}"#).await.0, 404);
}
