//! The methods about the mempool, and the codes and texts of its refusals.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Amount, OutPoint, Transaction};
use imp_devnet::chain::DevChain;
use serde_json::{Value, json};

use crate::client::quiet_chain;
use crate::rpc::{call, code, ok};
use crate::wallet::{address, first_output, spend};

/// A chain with confirmed coins of 100,000 sat.
fn chain_with_coins(count: u32) -> (DevChain, Vec<OutPoint>) {
    let chain = quiet_chain(101);
    let payments = vec![(address(), Amount::from_sat(100_000)); count as usize];
    let txid = chain.fund_many(&payments).unwrap();
    chain.mine(1).unwrap();
    (chain, (0..count).map(|vout| OutPoint::new(txid, vout)).collect())
}

fn send(chain: &DevChain, tx: &Transaction) -> Result<Value, Value> {
    call(chain, "sendrawtransaction", json!([serialize_hex(tx)]))
}

fn refusal(chain: &DevChain, tx: &Transaction) -> (Value, String) {
    let mut error = send(chain, tx).unwrap_err();
    (error["code"].take(), error["message"].as_str().unwrap().to_owned())
}

fn tested(chain: &DevChain, tx: &Transaction) -> Value {
    ok(chain, "testmempoolaccept", json!([[serialize_hex(tx)]]))[0].take()
}

#[test]
fn a_sent_transaction_waits_and_may_be_sent_again() {
    let (chain, coins) = chain_with_coins(1);
    let tx = spend(&coins, &[99_000]);
    let txid = json!(tx.compute_txid());
    assert_eq!(tested(&chain, &tx)["allowed"], true);
    assert_eq!(send(&chain, &tx).unwrap(), txid);
    assert_eq!(send(&chain, &tx).unwrap(), txid);
    let again = tested(&chain, &tx);
    assert_eq!(
        (&again["allowed"], &again["reject-reason"]),
        (&json!(false), &json!("txn-already-in-mempool"))
    );

    chain.mine(1).unwrap();
    assert_eq!(refusal(&chain, &tx), (json!(-27), "Transaction outputs already in utxo set".to_owned()));
    assert_eq!(tested(&chain, &tx)["reject-reason"], "txn-already-known");
    send(&chain, &spend(&[first_output(&tx)], &[98_000])).unwrap();
    chain.mine(1).unwrap();
    assert_eq!(refusal(&chain, &tx), (json!(-25), "bad-txns-inputs-missingorspent".to_owned()));
    assert_eq!(tested(&chain, &tx)["reject-reason"], "missing-inputs");
}

#[test]
fn refusals_have_the_codes_and_reasons_of_bitcoind() {
    let (chain, coins) = chain_with_coins(3);
    let mut fixed = spend(&coins[..1], &[99_000]);
    fixed.input[0].sequence = bitcoin::Sequence::MAX;
    send(&chain, &fixed).unwrap();
    send(&chain, &spend(&coins[1..2], &[90_000])).unwrap();
    let mut early = spend(&coins[2..], &[99_000]);
    early.lock_time = bitcoin::absolute::LockTime::from_consensus(1_000);
    for (tx, reason) in [
        (spend(&coins[..1], &[50_000]), "txn-mempool-conflict"),
        (spend(&coins[1..2], &[89_950]), "insufficient fee"),
        (spend(&coins[2..], &[99_999]), "min relay fee not met"),
        (spend(&coins[2..], &[100_001]), "bad-txns-in-belowout"),
        (spend(&coins[2..], &[u64::MAX]), "bad-txns-vout-toolarge"),
        (early, "non-final"),
    ] {
        let (code, message) = refusal(&chain, &tx);
        assert_eq!(code, -26, "{message}");
        assert!(message.starts_with(reason), "{message}");
        assert_eq!(tested(&chain, &tx)["reject-reason"], reason);
    }
}

#[test]
fn an_absurd_fee_needs_the_callers_consent() {
    let chain = quiet_chain(101);
    let coin = OutPoint::new(chain.fund(&address(), Amount::from_sat(5_000_000)).unwrap(), 0);
    let tx = spend(&[coin], &[10_000]);
    let hex = serialize_hex(&tx);
    let (code, message) = refusal(&chain, &tx);
    assert_eq!(code, -25);
    assert!(message.starts_with("Fee exceeds maximum"), "{message}");
    assert_eq!(tested(&chain, &tx)["reject-reason"], "max-fee-exceeded");
    for rate in [json!("0.00001"), json!(0.001), json!(1e-5)] {
        assert_eq!(self::code(&chain, "sendrawtransaction", json!([hex, rate])), -25);
    }
    for rate in [json!("a lot"), json!(-1), json!(1e30), json!(true)] {
        assert_eq!(self::code(&chain, "sendrawtransaction", json!([hex, rate])), -3);
    }
    assert_eq!(ok(&chain, "testmempoolaccept", json!([[hex], 0]))[0]["allowed"], true);
    ok(&chain, "sendrawtransaction", json!([hex, 0]));
}

#[test]
fn money_is_not_burnt_by_mistake() {
    let (chain, coins) = chain_with_coins(1);
    let mut tx = spend(&coins, &[50_000, 49_000]);
    tx.output[1].script_pubkey = bitcoin::ScriptBuf::new_op_return([7; 20]);
    let (code, message) = refusal(&chain, &tx);
    assert_eq!(code, -25);
    assert!(message.contains("maxburnamount"), "{message}");
    ok(&chain, "sendrawtransaction", json!([serialize_hex(&tx), null, 0.001]));
    chain.mine(1).unwrap();
    assert_eq!(ok(&chain, "gettxout", json!([tx.compute_txid(), 1])), Value::Null);
}

#[test]
fn a_mempool_entry_tells_of_its_family() {
    let (chain, coins) = chain_with_coins(1);
    let parent = spend(&coins, &[99_000]);
    let child = spend(&[first_output(&parent)], &[97_000]);
    send(&chain, &parent).unwrap();
    send(&chain, &child).unwrap();
    let (parent_id, child_id) = (json!(parent.compute_txid()), json!(child.compute_txid()));
    assert_eq!(ok(&chain, "getrawmempool", json!([])), json!([parent_id, child_id]));
    assert_eq!(ok(&chain, "getrawmempool", json!([false, true]))["txids"], json!([parent_id, child_id]));

    let entry = ok(&chain, "getmempoolentry", json!([child_id]));
    assert_eq!(entry["height"], 102);
    assert!(entry["time"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!((&entry["depends"], &entry["spentby"]), (&json!([parent_id]), &json!([])));
    assert_eq!((&entry["ancestorcount"], &entry["descendantcount"]), (&json!(2), &json!(1)));
    assert_eq!((&entry["fees"]["base"], &entry["fees"]["ancestor"]), (&json!(0.00002), &json!(0.00003)));
    assert_eq!(entry["bip125-replaceable"], true);
    let verbose = ok(&chain, "getrawmempool", json!([true]));
    assert_eq!(verbose[child_id.as_str().unwrap()], entry);
    assert_eq!(verbose[parent_id.as_str().unwrap()]["spentby"], json!([child_id]));

    let info = ok(&chain, "getmempoolinfo", json!([]));
    assert_eq!((&info["size"], &info["total_fee"]), (&json!(2), &json!(0.00003)));
    assert_eq!((&info["mempoolminfee"], &info["minrelaytxfee"]), (&json!(0.00001), &json!(0.00001)));
    let error = call(&chain, "getmempoolentry", json!(["00".repeat(32)])).unwrap_err();
    assert_eq!(error, json!({ "code": -5, "message": "Transaction not in mempool" }));
}

#[test]
fn a_test_of_several_transactions_leaves_the_mempool_alone() {
    let (chain, coins) = chain_with_coins(1);
    let parent = spend(&coins, &[99_000]);
    let child = spend(&[first_output(&parent)], &[98_000]);
    let orphan = spend(&[first_output(&child), OutPoint::new(child.compute_txid(), 1)], &[97_000]);
    let hexes: Vec<_> = [&parent, &child, &orphan].map(serialize_hex).into();
    let results = ok(&chain, "testmempoolaccept", json!([hexes]));
    let allowed: Vec<_> =
        results.as_array().unwrap().iter().map(|result| result["allowed"].clone()).collect();
    assert_eq!(allowed, [true, true, false]);
    assert_eq!(results[2]["reject-reason"], "missing-inputs");
    assert!(chain.mempool().is_empty());
    assert_eq!(code(&chain, "testmempoolaccept", json!([[]])), -8);
    assert_eq!(code(&chain, "testmempoolaccept", json!([vec![&hexes[0]; 26]])), -8);
    assert_eq!(code(&chain, "testmempoolaccept", json!([["00"]])), -22);
    assert_eq!(code(&chain, "testmempoolaccept", json!([[7]])), -22);
}

fn submit(chain: &DevChain, transactions: &[&Transaction]) -> Result<Value, Value> {
    let hexes: Vec<_> = transactions.iter().map(|tx| serialize_hex(*tx)).collect();
    call(chain, "submitpackage", json!([hexes]))
}

#[test]
fn a_child_pays_for_a_parent_that_pays_nothing() {
    let (chain, coins) = chain_with_coins(1);
    let parent = spend(&coins, &[100_000]);
    let child = spend(&[first_output(&parent)], &[95_000]);
    assert_eq!(refusal(&chain, &parent).0, -26);
    let result = submit(&chain, &[&parent, &child]).unwrap();
    assert_eq!(result["package_msg"], "success");
    let told = &result["tx-results"][parent.compute_wtxid().to_string()];
    assert_eq!((&told["txid"], &told["fees"]["base"]), (&json!(parent.compute_txid()), &json!(0.0)));
    assert_eq!(result["replaced-transactions"], json!([]));
    // Submitted again it is what it was.
    assert_eq!(submit(&chain, &[&parent, &child]).unwrap()["package_msg"], "success");
    chain.mine(1).unwrap();
    assert!(chain.mempool().is_empty());
}

#[test]
fn a_package_is_taken_as_a_whole_or_not_at_all() {
    let (chain, coins) = chain_with_coins(2);
    let parent = spend(&coins[..1], &[100_000]);
    let poor = spend(&[first_output(&parent)], &[99_900]);
    let result = submit(&chain, &[&parent, &poor]).unwrap();
    assert_eq!(result["package_msg"], "transaction failed");
    let error = &result["tx-results"][poor.compute_wtxid().to_string()]["error"];
    assert!(error.as_str().unwrap().starts_with("min relay fee not met"), "{error}");
    assert!(chain.mempool().is_empty());

    let greedy = spend(&[first_output(&parent)], &[100_001]);
    assert_eq!(submit(&chain, &[&parent, &greedy]).unwrap()["package_msg"], "transaction failed");
    assert!(chain.mempool().is_empty());

    // A package may replace what waits, and says so.
    let waiting = spend(&coins[1..], &[99_000]);
    send(&chain, &waiting).unwrap();
    let bump = spend(&coins[1..], &[90_000]);
    let child = spend(&[first_output(&bump)], &[89_000]);
    let result = submit(&chain, &[&bump, &child]).unwrap();
    assert_eq!(result["replaced-transactions"], json!([waiting.compute_txid()]));
    assert_eq!(chain.mempool(), [bump.compute_txid(), child.compute_txid()]);
}

#[test]
fn a_package_is_parents_and_their_child() {
    let (chain, coins) = chain_with_coins(2);
    let one = spend(&coins[..1], &[99_000]);
    let two = spend(&coins[1..], &[99_000]);
    let child = spend(&[first_output(&one), first_output(&two)], &[190_000]);
    let grandchild = spend(&[first_output(&child)], &[180_000]);
    let rival = spend(&[coins[0], first_output(&two)], &[190_000]);
    for package in [
        &[&child, &one, &two][..],
        &[&one, &two],
        &[&one, &two, &child, &grandchild],
        &[&one, &two, &rival],
        &[&one, &one],
    ] {
        assert_eq!(submit(&chain, package).unwrap_err()["code"], -25);
    }
    assert!(chain.mempool().is_empty());
    assert_eq!(submit(&chain, &[&one, &two, &child]).unwrap()["package_msg"], "success");
}
