//! What the owner of a node does with its wallet, channels and peers.

use imp_api::error::Code;
use imp_lightning::LightningError;
use imp_lightning::fake::FakeOptions;
use imp_node::error::Error;
use imp_node::idempotency::CallKey;
use imp_node::service::node::{OpenChannelRequest, SendOnchain};
use imp_node::store::sqlite::Crash;
use tokio::task::JoinHandle;

use crate::lab::{TestNode, network, wait_for};

fn to(address: &str, amount_sat: i64) -> SendOnchain {
    SendOnchain { address: address.to_owned(), amount_sat, ..SendOnchain::default() }
}

fn sending(node: &TestNode, request: SendOnchain, key: Option<&str>) -> JoinHandle<Result<String, Error>> {
    let key = key.map(|key| {
        let asked = format!("{request:?}");
        CallKey::of_call("SendOnchain", Some(key.as_bytes()), [], asked.as_bytes()).unwrap().unwrap()
    });
    node.calling(|services| async move { services.node.send_onchain(request, key).await })
}

async fn send(node: &TestNode, request: SendOnchain, key: Option<&str>) -> Result<String, Error> {
    sending(node, request, key).await.unwrap()
}

async fn address(node: &TestNode) -> String {
    node.call(|services| async move { services.node.new_address().await }).await.unwrap()
}

async fn onchain_total(node: &TestNode) -> u64 {
    node.call(|services| async move { services.node.status().await }).await.unwrap().onchain_total_sat
}

#[tokio::test]
async fn bitcoin_is_sent_once_under_a_key_and_each_time_without() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let (address, before) = (address(&bob).await, onchain_total(&bob).await);
    let calls: Vec<_> = (0..5).map(|_| sending(&alice, to(&address, 10_000), Some("k"))).collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await.unwrap().unwrap());
    }
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 64), "{ids:?}");
    let alice = alice.restart().await;
    assert_eq!(send(&alice, to(&address, 10_000), Some("k")).await.as_ref(), Ok(&ids[0]));
    assert_eq!(onchain_total(&bob).await, before + 10_000);
    let refused = send(&alice, to(&address, 10_001), Some("k")).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let another = send(&alice, to(&address, 10_000), None).await.unwrap();
    assert_ne!(another, ids[0]);
    assert_eq!(onchain_total(&bob).await, before + 20_000);
    send(&alice, SendOnchain { all: true, fee_sat_per_vbyte: 2, ..to(&address, 0) }, None).await.unwrap();
    assert!(onchain_total(&bob).await > before + 1_000_000);
}

#[tokio::test]
async fn a_key_whose_call_died_in_between_never_sends_again() {
    for commit in 1..10 {
        let network = network(FakeOptions::default());
        drop(TestNode::start(&network, "alice").await);
        let bob = TestNode::start(&network, "bob").await;
        let (address, before) = (address(&bob).await, onchain_total(&bob).await);
        let alice = TestNode::start_dying(&network, "alice", Crash::StopAfterCommit(commit)).await;
        let call = sending(&alice, to(&address, 10_000), Some("k"));
        wait_for("the call to end or the store to die", async || alice.store_is_dead() || call.is_finished())
            .await;
        let finished = !alice.store_is_dead();
        let alice = alice.restart().await;
        let sent = onchain_total(&bob).await - before;
        let again = send(&alice, to(&address, 10_000), Some("k")).await;
        match &again {
            Ok(_) => assert_eq!(onchain_total(&bob).await, before + 10_000, "commit {commit}"),
            Err(error) => {
                assert_eq!((error.code(), error.reason()), (Code::Unknown, "OUTCOME_UNKNOWN"));
                assert!(error.to_string().starts_with("failed to learn whether"), "{error}");
                assert!(error.to_string().contains("look at the transactions of the wallet"), "{error}");
                assert_eq!(
                    onchain_total(&bob).await,
                    before + sent,
                    "commit {commit}: nothing was sent again"
                );
            }
        }
        assert_eq!(send(&alice, to(&address, 10_000), Some("k")).await, again);
        if finished {
            assert!(again.is_ok());
            return;
        }
    }
    panic!("the call never came to its end");
}

#[tokio::test]
async fn a_key_whose_call_made_no_transaction_stays_good() {
    let network = network(FakeOptions::default());
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let (address, before) = (address(&bob).await, onchain_total(&bob).await);
    network.crash("alice");
    let refused = send(&alice, to(&address, 10_000), Some("k")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let alice = alice.restart().await;
    send(&alice, to(&address, 10_000), Some("k")).await.unwrap();
    assert_eq!(onchain_total(&bob).await, before + 10_000);
}

#[tokio::test]
async fn each_field_that_makes_no_sense_is_named_and_its_key_stays_good() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let good = address(&alice).await;
    let all = |amount_sat| SendOnchain { all: true, ..to(&good, amount_sat) };
    let fee = |fee_sat_per_vbyte| SendOnchain { fee_sat_per_vbyte, ..to(&good, 1000) };
    let cases = [
        (to("", 1000), "address: is empty"),
        (to(&good, 0), "amount_sat: is 0; give 1 to 2100000000000000 sat, or set all"),
        (to(&good, -5), "amount_sat: is -5"),
        (to(&good, i64::MAX), "amount_sat: is 9223372036854775807"),
        (all(5), "amount_sat: is 5, and all is set"),
        (all(-5), "amount_sat: is -5, and all is set"),
        (fee(-1), "fee_sat_per_vbyte: is -1; give 1 to 10000, or 0 for an estimate"),
        (fee(10_001), "fee_sat_per_vbyte: is 10001"),
        (to("bcrt1qnonsense", 1000), "no bitcoin address"),
        (to("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", 1000), "this node is on regtest"),
        (to(&good, 100), "are dust"),
    ];
    for (request, text) in cases {
        let error = send(&alice, request.clone(), Some("k")).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.to_string().contains(text) && error.to_string().contains("failed"), "{text}: {error}");
    }
    let error = send(&alice, to(&good, 1_000_000_000), Some("k")).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "INSUFFICIENT_BALANCE"), "{error}");
    send(&alice, to(&good, 1000), Some("k")).await.unwrap();
}

#[tokio::test]
async fn channels_and_peers_come_and_go_and_faults_name_their_field() {
    let network = network(FakeOptions { connect_all: false, ..FakeOptions::default() });
    let (alice, bob) = (TestNode::start(&network, "alice").await, TestNode::start(&network, "bob").await);
    let bob_key = bob.id.to_string();
    let (key, at) = (bob_key.clone(), "127.0.0.1:9735");
    alice.call(|services| async move { services.node.connect(&key, at).await }).await.unwrap();
    let peers = alice.call(|services| async move { services.node.peers().await }).await.unwrap();
    assert_eq!(peers.iter().map(|peer| (peer.id, peer.connected)).collect::<Vec<_>>(), [(bob.id, true)]);
    let open = OpenChannelRequest {
        pubkey: bob_key.clone(),
        address: at.to_owned(),
        capacity_sat: 100_000,
        ..OpenChannelRequest::default()
    };
    let request = open.clone();
    let key = || CallKey::of_call("OpenChannel", Some(b"k"), [], b"asked").unwrap();
    let first = request.clone();
    let id =
        alice.call(|services| async move { services.node.open_channel(first, key()).await }).await.unwrap();
    let again = alice.call(|services| async move { services.node.open_channel(request, key()).await }).await;
    assert_eq!(again, Ok(id), "the key makes it one channel");
    wait_for("the channel to be usable", async || {
        let channels = alice.call(|services| async move { services.node.channels().await }).await.unwrap();
        channels.iter().any(|channel| channel.usable)
    })
    .await;
    let key = bob_key.clone();
    let error = alice.call(|services| async move { services.node.disconnect(&key).await }).await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition, "there is a channel: {error}");
    let name = id.to_string();
    alice.call(|services| async move { services.node.close_channel(&name, false).await }).await.unwrap();
    wait_for("the channel to be gone", async || {
        network.mine();
        alice.call(|services| async move { services.node.channels().await }).await.unwrap().is_empty()
    })
    .await;
    let key = bob_key.clone();
    alice.call(|services| async move { services.node.disconnect(&key).await }).await.unwrap();
    let key = bob_key.clone();
    let error = alice.call(|services| async move { services.node.disconnect(&key).await }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");

    for (name, code) in [
        ("", Code::InvalidArgument),
        ("-1", Code::InvalidArgument),
        ("+1", Code::InvalidArgument),
        ("0x1", Code::InvalidArgument),
        ("340282366920938463463374607431768211456", Code::InvalidArgument),
        ("12345", Code::NotFound),
    ] {
        let error = alice.call(|services| async move { services.node.close_channel(name, true).await }).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
        assert_eq!(
            error.to_string().starts_with("user_channel_id: "),
            code == Code::InvalidArgument,
            "{error}"
        );
    }
    let faults = [
        (OpenChannelRequest { pubkey: String::new(), ..open.clone() }, "pubkey: is empty"),
        (
            OpenChannelRequest { address: "nowhere".to_owned(), ..open.clone() },
            "address: \"nowhere\" is no address",
        ),
        (OpenChannelRequest { capacity_sat: 0, ..open.clone() }, "capacity_sat: 0 sat"),
        (
            OpenChannelRequest { capacity_sat: i64::MAX, ..open.clone() },
            "capacity_sat: 9223372036854775807 sat",
        ),
        (OpenChannelRequest { push_sat: -1, ..open.clone() }, "push_sat: -1"),
        (OpenChannelRequest { push_sat: 100_001, ..open }, "push_sat: 100001"),
    ];
    for (request, text) in faults {
        let error =
            alice.call(|services| async move { services.node.open_channel(request, None).await }).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().starts_with(text), "{error}");
    }
    let error = alice.call(|services| async move { services.node.connect(&bob_key, "a b:1").await }).await;
    assert!(error.unwrap_err().to_string().starts_with("address: "));
}

#[test]
fn what_the_lightning_node_says_keeps_its_meaning() {
    let cases = [
        (LightningError::Invalid("x".to_owned()), Code::InvalidArgument),
        (LightningError::NotFound("x".to_owned()), Code::NotFound),
        (LightningError::Unavailable("x".to_owned()), Code::Unavailable),
        (LightningError::Failed("x".to_owned()), Code::FailedPrecondition),
        (LightningError::Unknown("x".to_owned()), Code::Unknown),
    ];
    for (error, code) in cases {
        assert_eq!(Error::from(error).code(), code);
    }
}
