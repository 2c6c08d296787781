//! Contracts of the VPN as REST and gRPC show them, on the services of two nodes.

mod refusals;

use std::net::Ipv4Addr;

use imp_api::proto::imp::vpn::v1::GetVpnConfigRequest;
use imp_core::record::Service;
use imp_lightning::LightningNode;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use serde_json::{Value, json};

use super::super::grpc::Calls;
use super::super::picture;
use super::*;
use crate::events::Events;
use crate::exit::fake::FakeExit;
use crate::node::{NodeOptions, Ports, Services as NodeServices};
use crate::runtime::clock::SystemClock;
use crate::runtime::tasks::Tasks;
use crate::store::SqliteStore;
use crate::store::sqlite::SqliteOptions;
use crate::tunnel::fake::FakeTunnels;
use crate::vpn::{Hosts, PrivateKeys};
use crate::wireguard::fake::FakeDevices;

/// A node of a simulated network, on a machine of its own.
struct Host {
    edge: TestNode,
    pubkey: String,
    tunnels: FakeTunnels,
}

impl Host {
    async fn start(network: &FakeNetwork, name: &str, change: impl FnOnce(&mut NodeOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let lightning = network.restart(name);
        let (pubkey, tasks, vpn_keys) = (lightning.id().to_string(), Tasks::new(), PrivateKeys::default());
        let events = Events::new(Arc::new(store.clone()), Arc::new(vpn_keys.clone()));
        let devices = Arc::new(FakeDevices::new());
        let tunnels = FakeTunnels::new(Arc::clone(&devices) as _);
        let mut options = NodeOptions::default();
        options.vpn.seller.server_ip = Some(Ipv4Addr::new(203, 0, 113, 7).into());
        options.vpn.hosts =
            Hosts { devices, exit: Arc::new(FakeExit::new()), tunnels: Arc::new(tunnels.clone()) };
        change(&mut options);
        let inactive = if options.vpn.active { Vec::new() } else { vec![Service::Vpn] };
        let ports = Ports {
            store: Arc::new(store),
            lightning,
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
            vpn_keys,
            vpn_station: None,
        };
        let services = NodeServices::start(ports, options).await.unwrap();
        let services = watch::channel(Some(Arc::new(services))).1;
        let calls = Arc::new(Calls { events, services, inactive, shutdown: tasks.token(), tasks });
        let add = |services: Services, _| {
            services.vpn(Arc::clone(&calls)).contracts(Arc::clone(&calls)).events(calls)
        };
        Self { edge: TestNode::with(dir, add).await, pubkey, tunnels }
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = reqwest::get(self.edge.url(path)).await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.edge.post(path, body.to_string()).await;
        (status, serde_json::from_str(&text).unwrap())
    }

    /// Asks until an answer is as it is waited for.
    async fn until(&self, path: &str, mut is_there: impl FnMut(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let (status, answer) = self.get(path).await;
                if status == 200 && is_there(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(answer) => answer,
            Err(_) => panic!("{path}: {:?}", self.get(path).await),
        }
    }

    /// A quote of a seller: the only one of its answer to a question.
    async fn quote(&self, seller: &Self) -> Value {
        let (status, asked) = self.post("/v1/vpn/quote", &json!({"pubkey": seller.pubkey})).await;
        assert_eq!(status, 200, "{asked}");
        let path = format!("/v1/vpn/quotes?requestId={}", asked["id"].as_str().unwrap());
        let listed = self.until(&path, |answer| answer["quotes"].as_array().unwrap().len() == 1).await;
        assert_eq!(listed["quotes"][0]["requestId"], asked["id"]);
        listed["quotes"][0].clone()
    }

    /// The nonce of a contract with a seller, once it can be used.
    async fn buy(&self, seller: &Self) -> String {
        let quote = self.quote(seller).await;
        let nonce = quote["nonce"].as_str().unwrap().to_owned();
        let body = json!({"pubkey": seller.pubkey, "nonce": nonce, "price": quote["priceSat"]});
        let (status, answer) = self.post("/v1/vpn/contract", &body).await;
        assert_eq!(status, 200, "{answer}");
        self.until(&format!("/v1/vpn/contracts/{nonce}"), |contract| contract["state"] == "active").await;
        nonce
    }
}

/// A buyer, and a node that sells.
async fn two() -> (FakeNetwork, Host, Host) {
    let network = FakeNetwork::new(FakeOptions::default());
    let alice = Host::start(&network, "alice", |_| {}).await;
    let bob = Host::start(&network, "bob", |options| options.vpn.seller.sell = true).await;
    bob.until("/v1/vpn/seller", |seller| seller["selling"] == true).await;
    (network, alice, bob)
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_quote_becomes_a_contract_that_both_nodes_list() {
    let (_network, alice, bob) = two().await;
    let quote = alice.quote(&bob).await;
    let expected = [
        "acceptUntilMs",
        "durationSecs",
        "maxSecs",
        "nonce",
        "priceSat",
        "pubkey",
        "receivedMs",
        "requestId",
    ];
    assert_eq!(keys(&quote), expected);
    assert_eq!((&quote["priceSat"], &quote["durationSecs"]), (&json!("100"), &json!("3600")));
    assert_eq!(alice.get(&format!("/v1/vpn/quotes?pubkey={}", alice.pubkey)).await.1, json!({"quotes": []}));

    let nonce = alice.buy(&bob).await;
    let (_, bought) = alice.get(&format!("/v1/vpn/contracts/{nonce}")).await;
    let expected = json!({
        "nonce": nonce,
        "role": "bought",
        "pubkey": bob.pubkey,
        "state": "active",
        "priceSat": "100",
        "durationSecs": "3600",
        "madeMs": bought["madeMs"],
        "startedMs": bought["startedMs"],
        "endsMs": bought["endsMs"],
        "paidSat": "100",
        "refundedSat": "0",
        "clientIp": bought["clientIp"],
        "endpoint": "203.0.113.7:51820",
        "clientPublicKey": bought["clientPublicKey"],
        "serverPublicKey": bought["serverPublicKey"],
        "allowedIps": ["0.0.0.0/0"],
        "dnsIp": "8.8.8.8",
        "mtu": "1420",
        "receivedBytes": "0",
        "sentBytes": "0",
        "reason": "",
        "autoRefreshSpentSat": "0",
    });
    assert_eq!(bought, expected);
    assert!(bought["clientIp"].as_str().unwrap().starts_with("10.0.0."), "{bought}");
    let path = "/v1/vpn/contracts?role=sold&state=active";
    let sold = bob.until(path, |list| list["contracts"].as_array().unwrap().len() == 1).await;
    let sold = &sold["contracts"][0];
    for same in ["nonce", "priceSat", "clientIp", "endpoint", "clientPublicKey", "serverPublicKey", "mtu"] {
        assert_eq!(sold[same], bought[same], "{same}");
    }
    assert_eq!((&sold["role"], &sold["pubkey"]), (&json!("sold"), &json!(alice.pubkey)));
    assert_eq!(bob.get("/v1/vpn/contracts?role=bought").await.1, json!({"contracts": [], "nextCursor": ""}));

    let (_, paid) = bob.get(&format!("/v1/vpn/payments?nonce={nonce}")).await;
    assert_eq!(keys(&paid), ["payments"]);
    let expected = [
        "answerId",
        "error",
        "kind",
        "messageId",
        "nonce",
        "paymentHash",
        "pubkey",
        "reason",
        "receivedMs",
        "receivedMsat",
        "refundSat",
        "state",
    ];
    assert_eq!(keys(&paid["payments"][0]), expected);
    let payment = &paid["payments"][0];
    assert_eq!((&payment["state"], &payment["receivedMsat"]), (&json!("served"), &json!("100000")));
    let (_, seller) = bob.get("/v1/vpn/seller").await;
    assert_eq!((&seller["enabled"], &seller["contracts"]), (&json!(true), &json!("1")));
    assert_eq!((&seller["publicKey"], &seller["problem"]), (&bought["serverPublicKey"], &json!("")));
    let (_, buyer) = alice.get("/v1/vpn/seller").await;
    assert_eq!((&buyer["enabled"], &buyer["selling"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn a_configuration_is_a_file_and_a_picture_of_it() {
    let (_network, alice, bob) = two().await;
    let nonce = alice.buy(&bob).await;
    let fetch = |path: String| {
        let url = alice.edge.url(&format!("/v1/vpn/contracts/{nonce}/{path}"));
        async move {
            let answer = reqwest::get(url).await.unwrap();
            assert_eq!(answer.status(), 200);
            let headers = answer.headers().clone();
            assert_eq!(headers["cache-control"], "no-store");
            assert!(headers.contains_key("x-request-id"));
            (headers, answer.bytes().await.unwrap())
        }
    };
    let (headers, text) = fetch("config".into()).await;
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.starts_with("[Interface]\nPrivateKey = ") && text.contains("\n[Peer]\n"), "{text}");
    assert!(text.contains("\nEndpoint = 203.0.113.7:51820\n"), "{text}");
    let disposition = headers["content-disposition"].to_str().unwrap();
    let name = disposition.strip_prefix("attachment; filename=\"").and_then(|it| it.strip_suffix(".conf\""));
    // The name of the file becomes that of the interface.
    let name = name.unwrap_or_else(|| panic!("{disposition}"));
    assert!((1..=15).contains(&name.len()), "{name}");

    for path in ["qr", "qr?format=png"] {
        let (headers, image) = fetch(path.into()).await;
        assert_eq!(headers["content-type"], "image/png");
        assert_eq!(headers["content-disposition"], format!("inline; filename=\"{name}.png\""));
        assert_eq!(picture::tests::read(&image), text);
    }
    let (headers, drawing) = fetch("qr?format=svg".into()).await;
    assert_eq!(headers["content-type"], "image/svg+xml");
    assert!(headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    assert!(drawing.starts_with(b"<?xml"), "{drawing:?}");

    let file = alice.edge.client().await.get_vpn_config(GetVpnConfigRequest { nonce: nonce.clone() }).await;
    let file = file.unwrap();
    assert_eq!((file.name, file.data), (format!("{name}.conf"), text.into_bytes()));
    let (status, refused) = alice.get(&format!("/v1/vpn/contracts/{nonce}/qr?format=gif")).await;
    assert_eq!((status, refused["code"].as_u64()), (400, Some(3)), "{refused}");
    // What was sold is the buyer's: its seller has no private key of it.
    assert_eq!(bob.get(&format!("/v1/vpn/contracts/{nonce}/config")).await.0, 404);
}

#[tokio::test]
async fn a_tunnel_goes_up_and_down() {
    let (_network, alice, bob) = two().await;
    let nonce = alice.buy(&bob).await;
    let (up, down) = (format!("/v1/vpn/contracts/{nonce}/up"), format!("/v1/vpn/contracts/{nonce}/down"));
    let (status, tunnel) = alice.post(&up, &json!({"keepDns": true})).await;
    assert_eq!(status, 200, "{tunnel}");
    assert_eq!(keys(&tunnel), ["dnsIp", "interface", "leftOut", "routes", "sinceMs"]);
    assert_eq!(alice.tunnels.up_now().len(), 1);
    let (_, contract) = alice.get(&format!("/v1/vpn/contracts/{nonce}")).await;
    assert_eq!(contract["tunnel"], tunnel);
    for _ in 0..2 {
        assert_eq!(alice.post(&down, &json!({})).await, (200, json!({})));
    }
    assert_eq!(alice.tunnels.up_now().len(), 0);
    alice.tunnels.refuse(Some("CAP_NET_ADMIN is missing"));
    let (status, refused) = alice.post(&up, &json!({})).await;
    assert_eq!((status, refused["code"].as_u64()), (400, Some(9)), "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("CAP_NET_ADMIN"), "{refused}");
}

#[tokio::test]
async fn more_time_is_bought_by_hand_and_by_itself() {
    let (_network, alice, bob) = two().await;
    let nonce = alice.buy(&bob).await;
    let path = format!("/v1/vpn/contracts/{nonce}");
    let (_, before) = alice.get(&path).await;
    let body = json!({"pubkey": bob.pubkey, "nonce": nonce, "price": "100", "idempotencyKey": "k"});
    let (status, sent) = alice.post("/v1/vpn/refresh", &body).await;
    assert_eq!((status, keys(&sent)), (200, vec!["id"]), "{sent}");
    let ends = |contract: &Value| contract["endsMs"].as_str().unwrap().parse::<i64>().unwrap();
    let after = alice.until(&path, |contract| ends(contract) > ends(&before) + 3_000_000).await;
    assert_eq!(after["paidSat"], json!("200"));
    assert_eq!(alice.post("/v1/vpn/refresh", &body).await, (200, sent));
    assert_eq!(alice.get(&path).await.1["paidSat"], json!("200"));

    let (status, set) = alice.post(&format!("{path}/auto_refresh"), &json!({"limitSat": 500})).await;
    assert_eq!((status, &set["autoRefreshLimitSat"]), (200, &json!("500")), "{set}");
    let (_, unset) = alice.post(&format!("{path}/auto_refresh"), &json!({"limitSat": "0"})).await;
    assert_eq!(unset.get("autoRefreshLimitSat"), None);
}
