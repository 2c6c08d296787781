//! Payments, invoices, wallet, peers and signatures as REST shows them, on the services of the node itself.

use imp_api::proto::imp::lightning::v1::SendKeysendRequest;
use imp_api::proto::imp::lightning::v1::payments_server::Payments;
use imp_api::proto::imp::node::v1 as node_proto;
use imp_api::proto::imp::node::v1::node_server::Node;
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

/// A node of a simulated network, with all of its own services.
struct Whole {
    edge: TestNode,
    calls: Arc<Calls>,
    pubkey: String,
}

impl Whole {
    async fn start(network: &FakeNetwork, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let lightning = network.restart(name);
        let (pubkey, tasks) = (lightning.id().to_string(), Tasks::new());
        let events = Events::new(Arc::new(store.clone()), Arc::new(crate::events::AsStored));
        let clock = Arc::new(SystemClock);
        let ports = Ports {
            store: Arc::new(store),
            lightning,
            clock,
            tasks: tasks.clone(),
            vpn_keys: crate::vpn::PrivateKeys::default(),
            vpn_station: None,
        };
        let services = NodeServices::start(ports, NodeOptions::default()).await.unwrap();
        let calls = Arc::new(Calls {
            events,
            services: watch::channel(Some(Arc::new(services))).1,
            inactive: Vec::new(),
            shutdown: tasks.token(),
            tasks,
        });
        let served = Arc::clone(&calls);
        let edge = TestNode::with(dir, |services, _| {
            let services = services.lightning(Arc::clone(&served)).payments(Arc::clone(&served));
            let services = services.events(Arc::clone(&served)).signing(Arc::clone(&served));
            services.node(served)
        })
        .await;
        Self { edge, calls, pubkey }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = reqwest::get(self.edge.url(path)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// POSTs a body, under a key or without.
    async fn post(&self, path: &str, body: Value, key: Option<&str>) -> (u16, Value) {
        let request = reqwest::Client::new().post(self.edge.url(path)).body(body.to_string());
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn ok(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

async fn two() -> (FakeNetwork, Whole, Whole) {
    let network = FakeNetwork::new(FakeOptions::default());
    let (alice, bob) = (Whole::start(&network, "alice").await, Whole::start(&network, "bob").await);
    (network, alice, bob)
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn has_digits(value: &Value, digits: usize) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[tokio::test]
async fn an_invoice_is_made_paid_and_listed() {
    let (_network, alice, bob) = two().await;
    let asked = json!({"amount": "25", "memo": "tea", "expiry_secs": 600});
    let made = bob.ok("/v1/lightning/generateinvoice", asked).await;
    assert_eq!(keys(&made), ["invoice"]);
    let open = bob.get("/v1/lightning/invoices?state=open").await;
    let [row] = &open["invoices"].as_array().unwrap()[..] else { panic!("{open}") };
    assert_eq!(
        keys(row),
        ["amount", "createdMs", "expiresMs", "invoice", "memo", "paymentHash", "state"],
        "paid by nobody: {row}"
    );
    let ms = |name: &str| row[name].as_str().unwrap().parse::<i64>().unwrap();
    assert!((590_000..=600_000).contains(&(ms("expiresMs") - ms("createdMs"))), "{row}");

    let paid = alice.ok("/v1/lightning/payinvoice", made.clone()).await;
    assert_eq!(keys(&paid), ["preimage"]);
    assert!(has_digits(&paid["preimage"], 64));
    let (status, again) = alice.post("/v1/lightning/payinvoice", made.clone(), None).await;
    assert_eq!((status, &again["code"]), (400, &json!(3)));
    assert_eq!(again["details"][0]["reason"], "INVOICE_PAID");
    assert!(again["message"].as_str().unwrap().contains("failed"), "{again}");

    let list = alice.get("/v1/lightning/payments").await;
    assert_eq!(keys(&list), ["payments"], "the last page names no next one");
    let row = &list["payments"][0];
    assert_eq!(
        keys(row),
        [
            "amountMsat",
            "begunMs",
            "endedMs",
            "error",
            "feeMsat",
            "invoice",
            "kind",
            "paymentHash",
            "preimage",
            "pubkey",
            "state"
        ]
    );
    let expected =
        json!({"state": "settled", "kind": "invoice", "amountMsat": "25000", "feeMsat": "0", "error": ""});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&row[key], value, "{row}");
    }
    assert_eq!((&row["pubkey"], &row["invoice"]), (&json!(bob.pubkey), &made["invoice"]));
    assert_eq!(row["preimage"], paid["preimage"]);

    let until = tokio::time::Instant::now() + PATIENCE;
    let row = loop {
        let list = bob.get("/v1/lightning/invoices?state=paid").await;
        if let Some(row) = list["invoices"].as_array().unwrap().first() {
            break row.clone();
        }
        assert!(tokio::time::Instant::now() < until, "the payment is noted");
        tokio::task::yield_now().await;
    };
    assert_eq!((&row["paidMsat"], &row["state"]), (&json!("25000"), &json!("paid")));
    assert_eq!(bob.ok("/v1/lightning/checkinvoice", made).await, json!({"paid": true}));
    let events = bob.get("/v1/events?service=lightning").await;
    let event = &events["events"][0];
    assert_eq!((&event["serviceType"], &event["amount"]), (&json!("lightning"), &json!("25")));
    let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
    assert_eq!((&data["recordId"], &data["type"]), (&json!("LIGHTNING"), &json!("INVOICE_PAID")));
}

#[tokio::test]
async fn a_keysend_is_paid_once_under_a_key_in_the_header_or_in_the_body() {
    let (_network, alice, bob) = two().await;
    let body = json!({"pubkey": bob.pubkey, "amount": 5});
    let (status, first) = alice.post("/v1/lightning/keysend", body.clone(), Some("k")).await;
    assert_eq!((status, keys(&first)), (200, vec!["feeMsat", "paymentHash", "preimage"]), "{first}");
    assert!(has_digits(&first["paymentHash"], 64) && has_digits(&first["preimage"], 64));
    assert_eq!(alice.post("/v1/lightning/keysend", body, Some("k")).await, (200, first.clone()));
    let in_body = json!({"pubkey": bob.pubkey, "amount": "5", "idempotencyKey": "k"});
    assert_eq!(alice.post("/v1/lightning/keysend", in_body, None).await, (200, first));
    let other = json!({"pubkey": bob.pubkey, "amount": 6, "idempotency_key": "k"});
    let (status, refused) = alice.post("/v1/lightning/keysend", other, None).await;
    assert_eq!((status, &refused["code"]), (409, &json!(6)), "{refused}");
    for amount in [2, 3, 4] {
        alice.ok("/v1/lightning/keysend", json!({"pubkey": bob.pubkey, "amount": amount})).await;
    }
    let page = alice.get("/v1/lightning/payments?limit=3").await;
    let amounts = |page: &Value| {
        let rows = page["payments"].as_array().unwrap();
        rows.iter().map(|row| row["amountMsat"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(amounts(&page), ["4000", "3000", "2000"]);
    let next = page["nextCursor"].as_str().unwrap();
    let last = alice.get(&format!("/v1/lightning/payments?limit=3&cursor={next}")).await;
    assert_eq!((amounts(&last), last.get("nextCursor")), (vec!["5000".to_owned()], None));
}

#[tokio::test]
async fn the_node_tells_what_it_holds_and_moves_it() {
    let (network, alice, bob) = two().await;
    let node = alice.get("/v1/node").await;
    assert_eq!(node["spendableSat"], "500000");
    assert_eq!((&node["receivableSat"], &node["onchainTotalSat"]), (&json!("500000"), &json!("10000000")));
    let balance = alice.get("/v1/node/balance").await;
    assert_eq!(
        keys(&balance),
        [
            "channelSat",
            "closingSat",
            "onchainReservedSat",
            "onchainSpendableSat",
            "onchainTotalSat",
            "receivableSat",
            "spendableSat"
        ]
    );
    let peers = alice.get("/v1/node/peers").await;
    assert_eq!(
        (&peers["peers"][0]["pubkey"], &peers["peers"][0]["connected"]),
        (&json!(bob.pubkey), &json!(true))
    );

    let address = bob.ok("/v1/node/address", json!({})).await["address"].clone();
    let send = json!({"address": address, "amountSat": "12345", "feeSatPerVbyte": 2});
    let (status, sent) = alice.post("/v1/node/send", send.clone(), Some("k")).await;
    assert_eq!((status, keys(&sent)), (200, vec!["txid"]), "{sent}");
    assert!(has_digits(&sent["txid"], 64));
    assert_eq!(alice.post("/v1/node/send", send, Some("k")).await, (200, sent));
    network.mine();
    assert_eq!(bob.get("/v1/node/balance").await["onchainTotalSat"], "10012345");
    let both = json!({"address": address, "amountSat": 1, "all": true});
    let (status, refused) = alice.post("/v1/node/send", both, None).await;
    assert_eq!((status, &refused["details"][0]["metadata"]["field"]), (400, &json!("amount_sat")));
    assert!(refused["message"].as_str().unwrap().starts_with("payment failed: amount_sat"), "{refused}");

    let disconnect = json!({"pubkey": bob.pubkey});
    let (status, refused) = alice.post("/v1/node/disconnect", disconnect.clone(), None).await;
    assert_eq!((status, &refused["code"]), (400, &json!(9)), "there is a channel: {refused}");
    let channels = alice.get("/v1/node/channels").await;
    let name = channels["channels"][0]["userChannelId"].clone();
    let close = json!({"userChannelId": name, "force": true});
    assert_eq!(alice.ok("/v1/node/channels/close", close.clone()).await, json!({}));
    network.mine();
    let (status, gone) = alice.post("/v1/node/channels/close", close, None).await;
    assert_eq!((status, &gone["code"]), (404, &json!(5)), "{gone}");
    assert_eq!(alice.ok("/v1/node/disconnect", disconnect).await, json!({}));
}

#[tokio::test]
async fn a_signature_is_checked_for_the_node_that_is_named() {
    let (_network, alice, bob) = two().await;
    let signed = alice.ok("/v1/sign", json!({"msg": "text"})).await;
    let verify = |pubkey: Option<&str>| {
        let mut body = json!({"msg": "text", "signature": signed["signature"]});
        if let Some(pubkey) = pubkey {
            body["pubkey"] = json!(pubkey);
        }
        body
    };
    assert_eq!(bob.ok("/v1/verify", verify(None)).await, json!({"result": true}), "a peer is known");
    assert_eq!(bob.ok("/v1/verify", verify(Some(&alice.pubkey))).await, json!({"result": true}));
    assert_eq!(bob.ok("/v1/verify", verify(Some(&bob.pubkey))).await, json!({"result": false}));
    let (status, refused) = bob.post("/v1/verify", verify(Some("nonsense")), None).await;
    assert_eq!((status, &refused["code"]), (400, &json!(3)), "{refused}");
}

#[tokio::test]
async fn what_is_the_owners_is_refused_to_a_caller_from_elsewhere() {
    let network = FakeNetwork::new(FakeOptions::default());
    let alice = Whole::start(&network, "alice").await;
    fn from_elsewhere<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Peer::Tcp { remote: Some("10.0.0.1:5".parse().unwrap()) });
        request
    }
    let calls = &*alice.calls;
    let refused = [
        calls.send_keysend(from_elsewhere(SendKeysendRequest::default())).await.err(),
        calls.get_balance(from_elsewhere(node_proto::GetBalanceRequest {})).await.err(),
        calls.list_channels(from_elsewhere(node_proto::ListChannelsRequest {})).await.err(),
        calls.new_address(from_elsewhere(node_proto::NewAddressRequest {})).await.err(),
        calls.send_onchain(from_elsewhere(node_proto::SendOnchainRequest::default())).await.err(),
        calls.list_peers(from_elsewhere(node_proto::ListPeersRequest {})).await.err(),
        calls.disconnect_peer(from_elsewhere(node_proto::DisconnectPeerRequest::default())).await.err(),
        calls.connect_peer(from_elsewhere(node_proto::ConnectPeerRequest::default())).await.err(),
        calls.open_channel(from_elsewhere(node_proto::OpenChannelRequest::default())).await.err(),
        calls.close_channel(from_elsewhere(node_proto::CloseChannelRequest::default())).await.err(),
        calls.sync_chain(from_elsewhere(node_proto::SyncChainRequest {})).await.err(),
    ];
    for status in refused {
        assert_eq!(status.map(|status| status.code()), Some(tonic::Code::PermissionDenied));
    }
    let answered = calls.get_node(from_elsewhere(node_proto::GetNodeRequest {})).await;
    assert_eq!(answered.unwrap().into_inner().pubkey, alice.pubkey, "who it is anybody may know");
}
