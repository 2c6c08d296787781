//! What became of messages, as REST shows it, on the services of the node itself.

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

/// A node of a simulated network that sends messages.
struct Sender {
    edge: TestNode,
    pubkey: String,
}

impl Sender {
    async fn start(network: &FakeNetwork, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let lightning = network.restart(name);
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
        let services = NodeServices::start(ports, NodeOptions::default()).await.unwrap();
        let services = watch::channel(Some(Arc::new(services))).1;
        let (inactive, shutdown) = (Vec::new(), tasks.token());
        let calls = Arc::new(Calls { events, services, inactive, shutdown, tasks });
        let add = |services: Services, _| services.messaging(Arc::clone(&calls)).messages(calls);
        Self { edge: TestNode::with(dir, add).await, pubkey }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = reqwest::get(self.edge.url(path)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// POSTs a body, under these keys.
    async fn post(&self, path: &str, body: Value, keys: &[&str]) -> (u16, Value) {
        let request = reqwest::Client::new().post(self.edge.url(path)).body(body.to_string());
        let request = keys.iter().fold(request, |request, key| request.header("Idempotency-Key", *key));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn send(&self, body: Value) -> String {
        let (status, answer) = self.post("/v1/message/send", body, &[]).await;
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }
}

async fn two() -> (FakeNetwork, Sender, Sender) {
    let network = FakeNetwork::new(FakeOptions::default());
    let (alice, bob) = (Sender::start(&network, "alice").await, Sender::start(&network, "bob").await);
    (network, alice, bob)
}

#[tokio::test]
async fn a_message_is_looked_up_by_its_id() {
    let (_network, alice, bob) = two().await;
    let body = json!({"msg": "hello", "pubkey": bob.pubkey, "amount": "7", "reply_to_id": "any text"});
    let id = alice.send(body).await;
    let (status, found) = alice.get(&format!("/v1/message/{id}")).await;
    assert_eq!(status, 200, "{found}");
    let mut message = found.clone();
    let attempts = message.as_object_mut().unwrap().remove("attempts").unwrap();
    let expected = json!({
        "id": id,
        "state": "settled",
        "error": "",
        "serviceType": "message",
        "pubkey": bob.pubkey,
        "replyToId": "any text",
        "amount": "7",
        "feeMsat": "0",
        "bytes": "5",
        "parts": 1,
        "partsSettled": 1,
        "attemptCount": 1,
        "acceptedMs": message["acceptedMs"],
        "endedMs": message["endedMs"],
    });
    assert_eq!(message, expected);
    let [attempt] = &attempts.as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&attempt["state"], &attempt["amountMsat"]), (&json!("settled"), &json!("7000")));
    assert_eq!(attempt["paymentHash"].as_str().unwrap().len(), 64);
    assert!(attempt.get("preimage").is_none() && attempt.get("envelope").is_none(), "{attempt}");

    let (status, found) = alice.get(&format!("/v1/message/{}", id.to_uppercase())).await;
    assert_eq!((status, &found["id"]), (200, &json!(id)));
    for (path, status, code) in [
        ("/v1/message/00000000-0000-4000-8000-000000000000", 404, 5),
        ("/v1/message/no-uuid", 404, 5),
        ("/v1/message/send", 501, 12),
        ("/v1/message", 404, 5),
    ] {
        let (answered, error) = alice.get(path).await;
        assert_eq!((answered, &error["code"]), (status, &json!(code)), "{path}: {error}");
    }
}

#[tokio::test]
async fn messages_are_listed_a_page_at_a_time() {
    let (_network, alice, bob) = two().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(alice.send(json!({"msg": n.to_string(), "pubkey": bob.pubkey})).await);
    }
    ids.push(alice.send(json!({"msg": "note", "pubkey": alice.pubkey})).await);
    ids.reverse();
    let of = |page: &Value| -> Vec<String> {
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect()
    };
    let (_, all) = alice.get("/v1/messages").await;
    assert_eq!(of(&all), ids);
    assert!(all.get("nextCursor").is_none(), "{all}");
    let (_, first) = alice.get("/v1/messages?limit=4").await;
    assert_eq!(of(&first), ids[..4]);
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, rest) = alice.get(&format!("/v1/messages?limit=4&cursor={cursor}")).await;
    assert_eq!(of(&rest), ids[4..]);
    let (_, to_bob) =
        alice.get(&format!("/v1/messages?pubkey={}&state=settled,failed&limit=9", bob.pubkey)).await;
    assert_eq!(of(&to_bob), ids[1..]);
    let (_, none) = alice.get("/v1/messages?state=failed").await;
    assert_eq!(none, json!({"messages": []}));
    for query in ["limit=-1", "limit=1001", "cursor=-1", "state=done", "pubkey=02", "service=sign"] {
        let (status, error) = alice.get(&format!("/v1/messages?{query}")).await;
        assert_eq!((status, &error["code"]), (400, &json!(3)), "{query}: {error}");
        let field = query.split('=').next().unwrap();
        assert!(error["message"].as_str().unwrap().starts_with(field), "{error}");
    }
}

#[tokio::test]
async fn a_kept_message_is_answered_with_its_state_and_others_as_ever() {
    let (network, alice, bob) = two().await;
    let body = |keep: Option<&str>| match keep {
        None => json!({"msg": "x", "pubkey": bob.pubkey}),
        Some(keep) => json!({"msg": "x", "pubkey": bob.pubkey, "keep_secs": keep}),
    };
    for (keep, state) in [(None, None), (Some("0"), None), (Some("60"), Some("settled"))] {
        let (status, answer) = alice.post("/v1/message/send", body(keep), &[]).await;
        assert_eq!((status, answer.get("state").and_then(Value::as_str)), (200, state), "{answer}");
    }
    for keep in ["-1", "604801"] {
        let (status, error) = alice.post("/v1/message/send", body(Some(keep)), &[]).await;
        assert_eq!((status, &error["code"]), (400, &json!(3)), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("failed") && message.contains("keep_secs"), "{message}");
        assert!(error.get("id").is_none(), "{error}");
    }
    network.set_online("bob", false);
    let (status, kept) = alice.post("/v1/message/send", body(Some("60")), &[]).await;
    assert_eq!((status, &kept["state"]), (200, &json!("queued")));
    let id = kept["id"].as_str().unwrap();
    let (_, found) = alice.get(&format!("/v1/message/{id}")).await;
    assert_eq!(found["state"], "queued");
    assert!(found["keepUntilMs"].is_string() && found.get("endedMs").is_none(), "{found}");
    let (status, error) = alice.post(&format!("/v1/message/{id}/retry"), json!({}), &[]).await;
    assert_eq!((status, &error["code"]), (400, &json!(9)), "{error}");
    network.set_online("bob", true);
    let until = tokio::time::Instant::now() + PATIENCE;
    while alice.get(&format!("/v1/message/{id}")).await.1["state"] != "settled" {
        assert!(tokio::time::Instant::now() < until, "the message is not sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, again) = alice.post(&format!("/v1/message/{id}/retry"), json!({}), &[]).await;
    assert_eq!((status, again), (200, json!({"id": id})));
}

#[tokio::test]
async fn a_call_is_repeated_by_header_or_field_however_it_is_spelled() {
    let (_network, alice, bob) = two().await;
    let body = json!({"msg": "once", "pubkey": bob.pubkey, "amount": 7});
    let (status, first) = alice.post("/v1/message/send", body, &["k"]).await;
    assert_eq!(status, 200, "{first}");
    let by_field =
        json!({"idempotencyKey": "k", "amount": "7", "unknown": [1], "pubkey": bob.pubkey, "msg": "once"});
    assert_eq!(alice.post("/v1/message/send", by_field.clone(), &[]).await, (200, first.clone()));
    assert_eq!(alice.post("/v1/message/send", by_field.clone(), &["k"]).await, (200, first.clone()));
    let (status, error) = alice.post("/v1/message/send", by_field, &["l"]).await;
    assert_eq!((status, &error["code"]), (400, &json!(3)), "{error}");
    let two = json!({"msg": "once", "pubkey": bob.pubkey, "amount": 7});
    let (status, error) = alice.post("/v1/message/send", two, &["k", "l"]).await;
    assert_eq!((status, &error["code"]), (400, &json!(3)), "{error}");
    let other = json!({"msg": "other", "pubkey": bob.pubkey, "amount": 7});
    let (status, error) = alice.post("/v1/message/send", other, &["k"]).await;
    assert_eq!((status, &error["code"]), (409, &json!(6)), "{error}");
    assert!(error["message"].as_str().unwrap().contains("failed"), "{error}");
    let long = "k".repeat(256);
    for key in ["", &long] {
        let bad = json!({"msg": "x", "pubkey": bob.pubkey, "idempotency_key": key});
        let (status, error) = alice.post("/v1/message/send", bad, &[]).await;
        assert_eq!((status, &error["code"]), (400, &json!(3)), "{error}");
    }
    let (_, all) = alice.get("/v1/messages").await;
    assert_eq!(all["messages"].as_array().unwrap().len(), 1, "{all}");
}
