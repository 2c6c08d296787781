//! Whatever is sent to a route is answered, with JSON, and not by a fault of the node.

use std::sync::{LazyLock, Mutex};

use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt;
use imp_api::rest::{Lookup, Route, routes};
use imp_lightning::LightningNode;
use imp_lightning::fake::{FakeNetwork, FakeOptions};
use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::super::grpc::Calls;
use super::*;
use crate::node::{NodeOptions, Ports};
use crate::runtime::clock::SystemClock;
use crate::runtime::tasks::Tasks;
use crate::store::SqliteStore;
use crate::store::sqlite::SqliteOptions;

/// The services of a node that has no channels, as the daemon makes them.
struct Node {
    runtime: Runtime,
    router: Mutex<Router>,
    pubkey: String,
    _state: watch::Sender<NodeState>,
    _dir: tempfile::TempDir,
}

static NODE: LazyLock<Node> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
    let (state, states) = watch::channel(NodeState::Ready);
    let (router, pubkey) = runtime.block_on(async {
        let lightning = FakeNetwork::new(FakeOptions::default()).restart("node");
        let pubkey = lightning.id().to_string();
        let tasks = Tasks::new();
        let events = crate::events::Events::new(Arc::new(store.clone()), Arc::new(crate::events::AsStored));
        let ports = Ports {
            store: Arc::new(store),
            lightning,
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
            vpn_keys: crate::vpn::PrivateKeys::default(),
            vpn_station: None,
        };
        let services = crate::node::Services::start(ports, NodeOptions::default()).await.unwrap();
        let calls = Arc::new(Calls {
            events,
            services: watch::channel(Some(Arc::new(services))).1,
            inactive: Vec::new(),
            shutdown: tasks.token(),
            tasks,
        });
        let edge = Edge {
            guard: Arc::new(Guard::default()),
            max_request_bytes: DEFAULT_MAX_REQUEST_BYTES,
            metrics: Metrics::default(),
            state: states,
            shutdown: CancellationToken::new(),
        };
        let routes = Services::new(&edge)
            .messaging(Arc::clone(&calls))
            .messages(Arc::clone(&calls))
            .lightning(Arc::clone(&calls))
            .payments(Arc::clone(&calls))
            .signing(Arc::clone(&calls))
            .node(Arc::clone(&calls))
            .events(calls)
            .into_routes();
        (super::super::rest::router(&edge, routes, Router::new()), pubkey)
    });
    Node { runtime, router: Mutex::new(router), pubkey, _state: state, _dir: dir }
});

fn is_post(route: &&Route) -> bool {
    route.verb == ::http::Method::POST && !route.path.contains('{')
}

/// The routes that take a body, in an order that stays.
static POSTS: LazyLock<Vec<&'static Route>> = LazyLock::new(|| {
    let mut posts: Vec<_> = routes().iter().filter(is_post).collect();
    posts.sort_by_key(|route| &route.path);
    posts
});

/// Sends a body and checks the answer. Nothing here can be on its way for long: there is no channel to pay through.
fn assert_answered(path: &str, body: Vec<u8>) -> Result<(), TestCaseError> {
    let shown = String::from_utf8_lossy(&body).into_owned();
    let router = NODE.router.lock().unwrap().clone();
    let mut request = Request::post(path).header("host", "localhost").body(Body::from(body)).unwrap();
    request.extensions_mut().insert(Peer::OwnerSocket);
    let answered = NODE.runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            let answer = router.oneshot(request).await.unwrap();
            (answer.status(), answer.into_body().collect().await.unwrap().to_bytes())
        })
        .await
    });
    let Ok((status, answer)) = answered else {
        return Err(TestCaseError::fail(format!("{path} {shown}: no answer")));
    };
    let text = String::from_utf8_lossy(&answer).into_owned();
    let json: Value = serde_json::from_slice(&answer).map_err(|_| TestCaseError::fail(text.clone()))?;
    if status == 200 {
        prop_assert!(json.is_object() && json.get("code").is_none(), "{} {}: {}", path, shown, text);
        return Ok(());
    }
    prop_assert!(status.is_client_error() || status == 501, "{} {}: {} {}", path, shown, status, text);
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    prop_assert_eq!(keys, ["code", "details", "message"], "{}", text);
    prop_assert!(
        json["code"].is_u64() && json["message"].is_string() && json["details"].is_array(),
        "{}",
        text
    );
    Ok(())
}

/// Values that come near to what calls take.
fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..2000).prop_map(Value::from),
        (-3_i64..2000).prop_map(|number| number.to_string().into()),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9a-f]{66}".prop_map(Value::from),
        "127\\.0\\.0\\.1:[0-9]{1,6}".prop_map(Value::from),
        "ln(bc|tb|bcrt)[0-9]{0,4}[munp]?1[02-9ac-hj-np-z]{0,120}".prop_map(Value::from),
        Just(Value::from("own")),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// A route, and an object that has some of its fields and some others.
fn any_call() -> impl Strategy<Value = (&'static Route, Value)> {
    prop::sample::select(POSTS.clone()).prop_flat_map(|route| {
        let names: Vec<String> = route.input.fields().map(|field| field.json_name().to_owned()).collect();
        let name = prop_oneof![
            9 => prop::sample::select([names, vec!["x".to_owned()]].concat()),
            1 => any::<String>(),
        ];
        let object = prop::collection::btree_map(name, any_value(), 0..6);
        object.prop_map(move |entries| (route, entries.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn any_object_is_taken_or_refused((route, body) in any_call()) {
        let body = body.to_string().replace("\"own\"", &format!("{:?}", NODE.pubkey));
        assert_answered(&route.path, body.into_bytes())?;
    }

    #[test]
    fn any_bytes_are_taken_or_refused(
        route in prop::sample::select(POSTS.clone()),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        assert_answered(&route.path, body)?;
    }

    #[test]
    fn any_path_and_query_are_answered(target in "/(v1/)?(message|events|subscribe|node|lightning)?[ -~]{0,40}") {
        // What is no target at all never comes so far.
        if let Ok(target) = target.parse::<::http::Uri>()
            && target.path() != "/v1/subscribe"
            && matches!(routes().find(&::http::Method::POST, target.path()), Lookup::NotFound | Lookup::WrongMethod)
        {
            assert_answered(&target.to_string(), Vec::new())?;
        }
    }
}
