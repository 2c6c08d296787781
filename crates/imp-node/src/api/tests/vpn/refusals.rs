//! What is refused, and how that is said.

use imp_api::proto::imp::vpn::v1::contracts_server::Contracts;
use imp_api::proto::imp::vpn::v1::*;

use super::*;

/// All calls, by verb, path and body.
const CALLS: [(&str, &str, &str); 13] = [
    ("POST", "/v1/vpn/quote", "{}"),
    ("POST", "/v1/vpn/contract", "{}"),
    ("POST", "/v1/vpn/refresh", "{}"),
    ("GET", "/v1/vpn/contracts", ""),
    ("GET", "/v1/vpn/contracts/n", ""),
    ("GET", "/v1/vpn/contracts/n/config", ""),
    ("GET", "/v1/vpn/contracts/n/qr", ""),
    ("POST", "/v1/vpn/contracts/n/up", "{}"),
    ("POST", "/v1/vpn/contracts/n/down", "{}"),
    ("POST", "/v1/vpn/contracts/n/auto_refresh", "{}"),
    ("GET", "/v1/vpn/quotes", ""),
    ("GET", "/v1/vpn/payments", ""),
    ("GET", "/v1/vpn/seller", ""),
];

async fn call(edge: &TestNode, verb: &str, path: &str, body: &'static str) -> (u16, Value) {
    let request = reqwest::Client::new().request(verb.parse().unwrap(), edge.url(path)).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The calls of a node that is about to run.
fn starting() -> Arc<Calls> {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let tasks = Tasks::new();
    Arc::new(Calls {
        events: Events::new(Arc::new(store), Arc::new(PrivateKeys::default())),
        services: watch::channel(None).1,
        inactive: Vec::new(),
        shutdown: tasks.token(),
        tasks,
    })
}

#[tokio::test]
async fn a_service_that_is_switched_off_says_so_in_every_call() {
    let network = FakeNetwork::new(FakeOptions::default());
    let alice = Host::start(&network, "alice", |options| options.vpn.active = false).await;
    for (verb, path, body) in CALLS {
        let (status, refused) = call(&alice.edge, verb, path, body).await;
        assert_eq!((status, refused["code"].as_u64()), (400, Some(9)), "{path}: {refused}");
        assert_eq!(refused["details"][0]["reason"], json!("SERVICE_INACTIVE"), "{path}");
    }
}

#[tokio::test]
async fn a_node_that_starts_says_so_in_every_call() {
    let calls = starting();
    let add = |services: Services, _| services.vpn(Arc::clone(&calls)).contracts(calls);
    let edge = TestNode::with(tempfile::tempdir().unwrap(), add).await;
    for (verb, path, body) in CALLS {
        let (status, refused) = call(&edge, verb, path, body).await;
        assert_eq!((status, refused["code"].as_u64()), (503, Some(14)), "{path}: {refused}");
        let says_failed = refused["message"].as_str().unwrap().contains("failed");
        assert_eq!(says_failed, path.matches('/').count() == 3 && verb == "POST", "{path}: {refused}");
    }
}

#[tokio::test]
async fn keys_and_tunnels_are_the_owners() {
    let calls = starting();
    // A request without a peer comes from nowhere that could be called this machine.
    let nonce = || "n".to_owned();
    let codes = [
        calls.get_vpn_config(Request::new(GetVpnConfigRequest { nonce: nonce() })).await.unwrap_err().code(),
        calls
            .get_vpn_qr(Request::new(GetVpnQrRequest { nonce: nonce(), ..Default::default() }))
            .await
            .unwrap_err()
            .code(),
        calls
            .bring_up_vpn(Request::new(BringUpVpnRequest { nonce: nonce(), ..Default::default() }))
            .await
            .unwrap_err()
            .code(),
        calls.take_down_vpn(Request::new(TakeDownVpnRequest { nonce: nonce() })).await.unwrap_err().code(),
        calls
            .set_vpn_auto_refresh(Request::new(SetVpnAutoRefreshRequest { nonce: nonce(), limit_sat: 1 }))
            .await
            .unwrap_err()
            .code(),
    ];
    assert_eq!(codes, [tonic::Code::PermissionDenied; 5]);
    let seller = calls.get_vpn_seller(Request::new(GetVpnSellerRequest {})).await.unwrap_err();
    assert_eq!(seller.code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_price_is_text_and_that_of_a_quote_that_is_held() {
    let (_network, alice, bob) = two().await;
    let quote = alice.quote(&bob).await;
    let accept = |nonce: &Value, price: Value| json!({"pubkey": bob.pubkey, "nonce": nonce, "price": price});
    for (body, code, word) in [
        (accept(&quote["nonce"], json!(100)), 3, "price"),
        (accept(&quote["nonce"], json!("1e2")), 3, "price"),
        (accept(&quote["nonce"], json!("-100")), 3, "price"),
        (accept(&quote["nonce"], json!("99")), 9, "price"),
        (accept(&json!("another"), json!("100")), 9, "quote"),
        (accept(&json!("a b"), json!("100")), 3, "nonce"),
        (json!({"pubkey": "zz", "nonce": quote["nonce"], "price": "100"}), 3, "pubkey"),
    ] {
        let (status, refused) = alice.post("/v1/vpn/contract", &body).await;
        assert_eq!((status, refused["code"].as_u64()), (400, Some(code)), "{body}: {refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("failed") && message.contains(word), "{body}: {message}");
    }
    assert_eq!(bob.get("/v1/vpn/payments").await.1, json!({"payments": []}));
    let good = accept(&quote["nonce"], quote["priceSat"].clone());
    assert_eq!(alice.post("/v1/vpn/contract", &good).await.0, 200);
    let (status, again) = alice.post("/v1/vpn/contract", &good).await;
    assert_eq!((status, again["code"].as_u64()), (409, Some(6)), "{again}");
}

#[tokio::test]
async fn a_contract_that_is_not_there_is_404_and_json() {
    let network = FakeNetwork::new(FakeOptions::default());
    let alice = Host::start(&network, "alice", |_| {}).await;
    for (verb, path, body) in CALLS {
        if path.contains("/contracts/n") {
            let (status, refused) = call(&alice.edge, verb, path, body).await;
            assert_eq!((status, refused["code"].as_u64()), (404, Some(5)), "{path}: {refused}");
        }
    }
    for path in ["/v1/vpn/contracts/n/config", "/v1/vpn/contracts/n/qr"] {
        for verb in ["HEAD", "POST", "DELETE"] {
            let request = reqwest::Client::new().request(verb.parse().unwrap(), alice.edge.url(path));
            assert_eq!(request.send().await.unwrap().status(), 501, "{verb} {path}");
        }
    }
    for query in ["role=lent", "state=nonsense", "pubkey=zz", "limit=1001", "cursor=%20"] {
        let (status, refused) = alice.get(&format!("/v1/vpn/contracts?{query}")).await;
        assert_eq!((status, refused["code"].as_u64()), (400, Some(3)), "{query}: {refused}");
    }
    for query in ["state=active", "nonce=a%20b", "limit=-1"] {
        let (status, refused) = alice.get(&format!("/v1/vpn/payments?{query}")).await;
        assert_eq!((status, refused["code"].as_u64()), (400, Some(3)), "{query}: {refused}");
    }
}
