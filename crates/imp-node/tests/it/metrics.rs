//! `/metrics` of a node that was used: what it counts, its format, and what must not be in it.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use imp_api::client::Client;
use imp_api::proto::messaging::SendMessageRequest;
use imp_core::id::NodeId;
use imp_lightning::LightningNode;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use imp_node::api::grpc::{self, Calls};
use imp_node::api::guard::Guard;
use imp_node::api::health::NodeState;
use imp_node::api::{DEFAULT_MAX_REQUEST_BYTES, Edge, metrics, rest, serve};
use imp_node::events::Events;
use imp_node::node::{NodeOptions, Ports, Services};
use imp_node::runtime::clock::{Clock, SystemClock};
use imp_node::runtime::tasks::Tasks;
use imp_node::store::SqliteStore;
use imp_node::store::sqlite::SqliteOptions;
use imp_node::telemetry::metrics::Metrics;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::lab::{PATIENCE, network, wait_for};

/// A node with its listeners, put together as the daemon does it.
struct Node {
    id: NodeId,
    http: SocketAddr,
    grpc: SocketAddr,
    shutdown: CancellationToken,
    _state: watch::Sender<NodeState>,
    _dir: TempDir,
}

impl Node {
    async fn start(network: &FakeNetwork, name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let counted = Metrics::new(SystemClock.now());
        let options = SqliteOptions { metrics: counted.clone(), ..SqliteOptions::in_dir(dir.path()) };
        let store = SqliteStore::open(&options).unwrap();
        let (lightning, tasks) = (network.restart(name), Tasks::new());
        let id = lightning.id();
        let ports = Ports {
            store: Arc::new(store.clone()),
            lightning,
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
            vpn_keys: imp_node::vpn::PrivateKeys::default(),
            vpn_station: None,
        };
        let services = Services::start(ports, NodeOptions::default()).await.unwrap();
        let calls = Arc::new(Calls {
            events: Events::new(Arc::new(store.clone()), Arc::new(imp_node::events::AsStored)),
            services: watch::channel(Some(Arc::new(services))).1,
            inactive: Vec::new(),
            shutdown: tasks.token(),
            tasks,
        });
        let (state, states) = watch::channel(NodeState::Ready);
        let shutdown = CancellationToken::new();
        let edge = Edge {
            guard: Arc::new(Guard::default()),
            max_request_bytes: DEFAULT_MAX_REQUEST_BYTES,
            metrics: counted.clone(),
            state: states.clone(),
            shutdown: shutdown.clone(),
        };
        let routes = grpc::Services::new(&edge)
            .messaging(Arc::clone(&calls))
            .websocket(Arc::clone(&calls))
            .signing(calls)
            .into_routes();
        let router = rest::router(&edge, routes.clone(), metrics::router(counted, Arc::new(store), states));
        let http_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, grpc) = (http_listener.local_addr().unwrap(), grpc_listener.local_addr().unwrap());
        tokio::spawn(async move {
            let http = serve::http(&edge, http_listener, router, PATIENCE);
            let grpc = grpc::serve(&edge, grpc_listener, routes, PATIENCE);
            let ((), grpc) = tokio::join!(http, grpc);
            grpc.unwrap();
        });
        Self { id, http, grpc, shutdown, _state: state, _dir: dir }
    }

    /// Makes a request and gives its status.
    async fn ask(&self, client: &reqwest::Client, verb: &str, path: &str, body: &str) -> u16 {
        let request = client.request(verb.parse().unwrap(), format!("http://{}{path}", self.http));
        request.body(body.to_owned()).send().await.unwrap().status().as_u16()
    }

    /// The samples of `/metrics`, by name and labels.
    async fn scrape(&self) -> (String, BTreeMap<String, f64>) {
        let answer = reqwest::get(format!("http://{}/metrics", self.http)).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text().await.unwrap();
        let samples = parse(&text);
        (text, samples)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Reads the text format strictly: each sample stands below the type of its family, and no series stands twice.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families) = (BTreeMap::new(), HashSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect(line);
            assert!(is_name(name) && !words.is_empty() && families.insert(name.to_owned()), "{line}");
            family = name.to_owned();
            kind.clear();
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, named) = typed.split_once(' ').expect(line);
            assert!(name == family && ["counter", "gauge", "histogram"].contains(&named), "{line}");
            kind = named.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let suffix = name.strip_prefix(&family).expect(line);
            match kind.as_str() {
                "counter" => assert!(suffix.is_empty() && name.ends_with("_total"), "{line}"),
                "gauge" => assert!(suffix.is_empty(), "{line}"),
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => panic!("no type above {line}"),
            }
            for label in labels.strip_suffix('}').expect(line).split(',').filter(|label| !label.is_empty()) {
                let (name, value) = label.split_once('=').expect(line);
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect(line);
                assert!(is_name(name) && !value.contains(['"', '\\', '\n']), "{line}");
            }
            let value: f64 = value.parse().expect(line);
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line} stands twice");
        }
    }
    samples
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
}

#[tokio::test]
async fn what_was_done_is_counted_once_whichever_way_it_came() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (Node::start(&network, "alice").await, Node::start(&network, "bob").await);
    let client = reqwest::Client::new();
    let message = format!(r#"{{"msg":"hello","pubkey":"{}"}}"#, bob.id);
    assert_eq!(alice.ask(&client, "POST", "/v1/message/send", &message).await, 200);
    assert_eq!(alice.ask(&client, "POST", "/v1/message/send", r#"{"pubkey":"zz"}"#).await, 400);
    let grpc = Client::connect(&alice.grpc.to_string()).await.unwrap();
    let request = SendMessageRequest {
        msg: "hello by gRPC".into(),
        pubkey: bob.id.to_string(),
        ..SendMessageRequest::default()
    };
    grpc.send_message(request).await.unwrap();
    // Registered, but served by nobody.
    assert_eq!(alice.ask(&client, "POST", "/v1/vpn/quote", "{}").await, 501);
    let foreign =
        client.get(format!("http://{}/v1/node", alice.http)).header("origin", "http://evil.example");
    assert_eq!(foreign.send().await.unwrap().status().as_u16(), 403);

    let (_, told) = alice.scrape().await;
    let send =
        |code: &str| format!(r#"imp_calls_total{{rpc="messaging.Messaging/SendMessage",code="{code}"}}"#);
    assert_eq!(told[&send("OK")], 2.0);
    assert_eq!(told[&send("INVALID_ARGUMENT")], 1.0);
    assert_eq!(told[r#"imp_calls_total{rpc="vpn.VPN/RequestQuote",code="UNIMPLEMENTED"}"#], 1.0);
    assert_eq!(told[r#"imp_call_seconds_count{rpc="messaging.Messaging/SendMessage"}"#], 3.0);
    assert_eq!(told[r#"imp_refusals_total{reason="ORIGIN_REFUSED"}"#], 1.0);
    assert_eq!(told[r#"imp_messages_ended_total{state="settled"}"#], 2.0);
    assert_eq!(told[r#"imp_attempts_ended_total{state="settled"}"#], 2.0);
    assert_eq!(told[r#"imp_messages_ended_total{state="failed"}"#], 0.0);
    assert_eq!(told[r#"imp_state{state="ready"}"#], 1.0);
    assert_eq!(told[r#"imp_state{state="draining"}"#], 0.0);
    assert_eq!(told[r#"imp_connections{listener="grpc"}"#], 1.0);
    assert!(told[r#"imp_connections{listener="http"}"#] >= 1.0);
    assert!(told["imp_store_write_seconds_count"] >= 6.0);
    assert_eq!(told[&format!(r#"imp_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))], 1.0);
    assert!(told["process_start_time_seconds"] > 1.6e9 && told["process_cpu_seconds_total"] > 0.0);
    if cfg!(target_os = "linux") {
        assert!(told["process_resident_memory_bytes"] > 1e6);
        assert!(told["process_open_fds"] > 2.0 && told["process_open_fds"] <= told["process_max_fds"]);
    }

    wait_for("both messages at bob", async || {
        bob.scrape().await.1.get(r#"imp_events_published_total{service="message"}"#) == Some(&2.0)
    })
    .await;
    let (_, told) = bob.scrape().await;
    assert_eq!(told[r#"imp_inbox_payments_total{outcome="taken"}"#], 2.0);
    assert_eq!(told[r#"imp_noted_total{what="inbox_parts"}"#], 2.0);
    assert_eq!((told["imp_journal_oldest_cursor"], told["imp_journal_newest_cursor"]), (1.0, 2.0));
}

#[tokio::test]
async fn a_subscriber_is_counted_while_it_listens() {
    let network = network(FakeOptions::default());
    let alice = Node::start(&network, "alice").await;
    let subscribers = async || alice.scrape().await.1["imp_subscribers"];
    assert_eq!(subscribers().await, 0.0);
    let url = format!("{}/v1/subscribe", alice.http);
    let stream = reqwest::get(format!("http://{url}")).await.unwrap();
    let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{url}")).await.unwrap();
    assert_eq!(subscribers().await, 2.0);
    drop(stream);
    let (sink, _) = socket.split();
    drop(sink);
    wait_for("nobody to listen", async || subscribers().await == 0.0).await;
    let (_, told) = alice.scrape().await;
    assert_eq!(told[r#"imp_calls_total{rpc="websocket.Websocket/Subscribe",code="OK"}"#], 2.0);
}

#[tokio::test]
async fn callers_cannot_make_series_and_nobody_is_named() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (Node::start(&network, "alice").await, Node::start(&network, "bob").await);
    let client = reqwest::Client::new();
    let message = format!(r#"{{"msg":"a secret","pubkey":"{}","amount":"4242"}}"#, bob.id);
    assert_eq!(alice.ask(&client, "POST", "/v1/message/send", &message).await, 200);
    let (_, before) = alice.scrape().await;
    for n in 0..20 {
        assert_eq!(alice.ask(&client, "GET", &format!("/v1/no/{n}"), "").await, 404);
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", alice.grpc)).unwrap();
        let mut client = tonic::client::Grpc::new(channel.connect().await.unwrap());
        client.ready().await.unwrap();
        let path = format!("/no.Service{n}/Method").parse().unwrap();
        let codec = tonic_prost::ProstCodec::<SendMessageRequest, SendMessageRequest>::default();
        let answer = client.unary(tonic::Request::new(SendMessageRequest::default()), path, codec).await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::Unimplemented);
    }
    let (text, after) = alice.scrape().await;
    assert_eq!(after[r#"imp_calls_total{rpc="other",code="UNIMPLEMENTED"}"#], 20.0);
    let new: Vec<&String> = after.keys().filter(|series| !before.contains_key(*series)).collect();
    assert!(new.iter().all(|series| series.contains(r#"rpc="other""#) || series.contains("grpc")), "{new:?}");

    let (text_of_bob, _) = bob.scrape().await;
    for text in [&text, &text_of_bob] {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
        for word in words {
            let digits = word.bytes().filter(u8::is_ascii_hexdigit).count();
            assert!(digits < 32, "{word} may be a key, a hash or an id");
            assert!(!word.contains("4242") && word != "secret", "{word}");
        }
    }
}
