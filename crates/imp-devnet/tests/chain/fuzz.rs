//! Whatever is sent to the RPC, it answers and does not panic.

use std::sync::OnceLock;

use bitcoin::consensus::encode::{self, deserialize_hex};
use bitcoin::{Amount, OutPoint};
use imp_devnet::chain::{DevChain, rpc};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::client::quiet_chain;
use crate::rpc::{ADDRESS, ok};
use crate::wallet::{address, spend};

/// A chain that all cases share, and a coin on it that nothing has spent at first.
fn shared() -> &'static (DevChain, OutPoint) {
    static SHARED: OnceLock<(DevChain, OutPoint)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let chain = quiet_chain(110);
        let txid = chain.fund(&address(), Amount::ONE_BTC).unwrap();
        (chain, OutPoint::new(txid, 0))
    })
}

fn chain() -> &'static DevChain {
    &shared().0
}

fn methods() -> Vec<String> {
    let help = ok(chain(), "help", json!([]));
    let names = help.as_str().unwrap().lines().map(|line| line.split(' ').next().unwrap().to_owned());
    names.collect()
}

/// Values at which code that counts, allocates or parses goes wrong.
fn value() -> impl Strategy<Value = Value> {
    let coin = shared().1;
    let tx = encode::serialize_hex(&spend(&[coin], &[99_000_000]));
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3..4_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(1e308)),
        Just(json!(4_294_967_295_u64)),
        Just(json!(4_294_967_296_u64)),
        any::<String>().prop_map(Value::from),
        "[0-9a-f]{0,200}".prop_map(Value::from),
        proptest::sample::select(methods()).prop_map(Value::from),
        Just(json!(chain().tip_hash())),
        Just(json!(coin.txid)),
        Just(json!(ADDRESS)),
        Just(json!(tx)),
        Just(json!("00".repeat(32))),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            btree_map("txid|vout|[a-z]{0,5}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn call() -> impl Strategy<Value = Value> {
    let params = prop_oneof![vec(value(), 0..5).prop_map(Value::Array), value()];
    let id = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    (proptest::sample::select(methods()), params, id)
        .prop_map(|(method, params, id)| json!({ "method": method, "params": params, "id": id }))
}

/// Every answer is a response, or an array of them, with a result or an error.
fn check(body: &[u8]) -> Value {
    let answer = rpc::handle(chain(), body);
    if answer.is_empty() {
        return Value::Null;
    }
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let responses = answer.as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    for response in &responses {
        assert!(response.get("id").is_some(), "{response}");
        assert!(response.get("result").is_some() || response["error"]["code"].is_i64(), "{response}");
    }
    answer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_parameters_are_answered(call in call()) {
        let answer = check(call.to_string().as_bytes());
        prop_assert_eq!(&answer["id"], &call["id"]);
    }

    #[test]
    fn any_batch_is_answered(calls in vec(prop_oneof![call(), value()], 0..6)) {
        let answers = check(Value::Array(calls.clone()).to_string().as_bytes());
        prop_assert_eq!(answers.as_array().unwrap().len(), calls.len());
    }

    #[test]
    fn any_bytes_are_answered(body in vec(any::<u8>(), 0..300)) {
        check(&body);
    }

    #[test]
    fn a_changed_transaction_is_answered(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let coin = shared().1;
        let mut bytes = encode::serialize(&spend(&[coin], &[99_000_000]));
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let hex = hex::encode(&bytes);
        let call = |method: &str| json!({ "method": method, "params": [[hex]], "id": 1 });
        check(call("testmempoolaccept").to_string().as_bytes());
        check(call("submitpackage").to_string().as_bytes());
        let block = json!({ "method": "generateblock", "params": [ADDRESS, [hex]], "id": 1 });
        let mined = check(block.to_string().as_bytes());
        // What was mined all the same was a transaction that follows the rules.
        if let Some(hash) = mined["result"]["hash"].as_str() {
            let raw = ok(chain(), "getblock", json!([hash, 0]));
            deserialize_hex::<bitcoin::Block>(raw.as_str().unwrap()).unwrap();
        }
    }
}

#[test]
fn deep_nesting_is_answered() {
    let body = "[".repeat(100_000);
    assert_eq!(check(body.as_bytes())["error"]["code"], -32700);
    let id = format!(r#"{{"method":"uptime","id":{}1{}}}"#, "[".repeat(120), "]".repeat(120));
    assert_eq!(check(id.as_bytes())["error"], Value::Null);
}
