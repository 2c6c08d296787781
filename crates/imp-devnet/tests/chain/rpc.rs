//! The methods about blocks, single transactions, the node, and the chain's own.

use bitcoin::block::{Header, Version};
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Block, CompactTarget, Transaction};
use imp_devnet::chain::{DevChain, rpc};
use serde_json::{Value, json};

use crate::client::quiet_chain;

pub(crate) const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";

/// Calls a method without HTTP and gives its result or its error.
pub(crate) fn call(chain: &DevChain, method: &str, params: Value) -> Result<Value, Value> {
    let body = json!({ "method": method, "params": params, "id": 1 }).to_string();
    let mut answer: Value = serde_json::from_slice(&rpc::handle(chain, body.as_bytes())).unwrap();
    match answer["error"].take() {
        Value::Null => Ok(answer["result"].take()),
        error => Err(error),
    }
}

pub(crate) fn ok(chain: &DevChain, method: &str, params: Value) -> Value {
    call(chain, method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
}

pub(crate) fn code(chain: &DevChain, method: &str, params: Value) -> Value {
    call(chain, method, params).unwrap_err()["code"].take()
}

#[test]
fn the_state_of_the_chain_is_told() {
    let chain = quiet_chain(7);
    let info = ok(&chain, "getblockchaininfo", json!([]));
    assert_eq!(
        (&info["chain"], &info["blocks"], &info["headers"]),
        (&json!("regtest"), &json!(7), &json!(7))
    );
    assert_eq!(info["bestblockhash"], ok(&chain, "getbestblockhash", json!([])));
    assert_eq!(info["bestblockhash"], ok(&chain, "getblockhash", json!([7])));
    assert_eq!(info["initialblockdownload"], false);
    assert_eq!(info["pruned"], false);
    assert_eq!(info["softforks"]["taproot"]["active"], true);
    assert_eq!(ok(&chain, "getblockcount", json!([])), 7);
    assert_eq!(code(&chain, "getblockhash", json!([8])), -8);
}

#[test]
fn a_header_can_be_put_together_from_what_is_told() {
    let chain = quiet_chain(20);
    for height in 0..=20 {
        let hash = ok(&chain, "getblockhash", json!([height]));
        let told = ok(&chain, "getblockheader", json!([hash]));
        assert_eq!(told["height"], height);
        assert_eq!(told["confirmations"], 21 - height);
        assert_eq!(told.get("previousblockhash").is_some(), height > 0);
        assert_eq!(told.get("nextblockhash").is_some(), height < 20);
        assert_eq!(told["chainwork"], format!("{:064x}", 2 * (height + 1)));
        assert_eq!(told["bits"], "207fffff");
        let text = |name: &str| told[name].as_str().unwrap();
        let number = |name: &str| u32::try_from(told[name].as_u64().unwrap()).unwrap();
        let zeros = "0".repeat(64);
        let header = Header {
            version: Version::from_consensus(told["version"].as_i64().unwrap().try_into().unwrap()),
            prev_blockhash: told["previousblockhash"].as_str().unwrap_or(&zeros).parse().unwrap(),
            merkle_root: text("merkleroot").parse().unwrap(),
            time: number("time"),
            bits: CompactTarget::from_consensus(u32::from_str_radix(text("bits"), 16).unwrap()),
            nonce: number("nonce"),
        };
        assert_eq!(header.block_hash().to_string(), hash.as_str().unwrap());
        let raw = ok(&chain, "getblockheader", json!([hash, false]));
        assert_eq!(deserialize_hex::<Header>(raw.as_str().unwrap()).unwrap(), header);
    }
}

#[test]
fn a_block_is_told_as_bytes_as_ids_and_in_full() {
    let chain = quiet_chain(101);
    let txid = ok(&chain, "devchain_fund", json!([ADDRESS, 5_000_000]));
    let hash = ok(&chain, "devchain_mine", json!([]))[0].clone();
    let raw = ok(&chain, "getblock", json!([hash, 0]));
    assert_eq!(raw, ok(&chain, "getblock", json!([hash, false])));
    let block: Block = deserialize_hex(raw.as_str().unwrap()).unwrap();
    assert!(block.check_merkle_root() && block.check_witness_commitment());

    let ids = ok(&chain, "getblock", json!([hash]));
    assert_eq!((&ids["tx"][1], &ids["nTx"]), (&txid, &json!(2)));
    assert_eq!(ids["size"], raw.as_str().unwrap().len() / 2);
    let base_size = block.txdata.iter().map(Transaction::base_size).sum::<usize>() + 81;
    assert_eq!(ids["strippedsize"], base_size);
    let full = ok(&chain, "getblock", json!([hash, 2]));
    assert_eq!(full["tx"][1]["vout"][0]["value"], 0.05);
    assert_eq!(full["tx"][1]["vout"][0]["scriptPubKey"]["address"], ADDRESS);
    assert_eq!(full["tx"][1]["vout"][0]["scriptPubKey"]["type"], "witness_v0_keyhash");
    assert!(full["tx"][0]["vin"][0]["coinbase"].is_string());
    let unknown = json!(["00".repeat(32)]);
    assert_eq!(code(&chain, "getblock", unknown.clone()), -5);
    assert_eq!(code(&chain, "getblockheader", unknown), -5);
}

#[test]
fn a_transaction_is_found_while_it_waits_and_once_it_is_mined() {
    let chain = quiet_chain(101);
    let txid = ok(&chain, "devchain_fund", json!([ADDRESS, 5_000_000]));
    let raw = ok(&chain, "getrawtransaction", json!([txid]));
    let tx: Transaction = deserialize_hex(raw.as_str().unwrap()).unwrap();
    assert_eq!(json!(tx.compute_txid()), txid);
    let waiting = ok(&chain, "getrawtransaction", json!([txid, true]));
    assert_eq!((waiting.get("blockhash"), waiting.get("confirmations")), (None, None));

    let hash = ok(&chain, "devchain_mine", json!([3]))[0].clone();
    let mined = ok(&chain, "getrawtransaction", json!([txid, 1]));
    assert_eq!((&mined["blockhash"], &mined["confirmations"], &mined["hex"]), (&hash, &json!(3), &raw));
    let within = ok(&chain, "getrawtransaction", json!([txid, 1, hash]));
    assert_eq!(within["in_active_chain"], true);
    let tip = ok(&chain, "getbestblockhash", json!([]));
    assert_eq!(code(&chain, "getrawtransaction", json!([txid, 0, tip])), -5);

    let error = call(&chain, "getrawtransaction", json!(["00".repeat(32)])).unwrap_err();
    assert_eq!(error["code"], -5);
    assert!(error["message"].as_str().unwrap().contains("No such mempool or blockchain transaction"));
}

#[test]
fn an_output_is_told_until_it_is_spent() {
    let chain = quiet_chain(101);
    let first = ok(&chain, "getblock", json!([ok(&chain, "getblockhash", json!([1]))]))["tx"][0].clone();
    let coin = ok(&chain, "gettxout", json!([first, 0]));
    assert_eq!((&coin["confirmations"], &coin["coinbase"]), (&json!(101), &json!(true)));
    assert_eq!((&coin["value"], &coin["scriptPubKey"]["hex"]), (&json!(50.0), &json!("51")));
    // The output that commits to witnesses is no coin.
    assert_eq!(ok(&chain, "gettxout", json!([first, 1])), Value::Null);

    let txid = ok(&chain, "devchain_fund", json!([ADDRESS, 5_000_000]));
    assert_eq!(ok(&chain, "gettxout", json!([first, 0, true])), Value::Null);
    assert_eq!(ok(&chain, "gettxout", json!([first, 0, false]))["confirmations"], 101);
    assert_eq!(ok(&chain, "gettxout", json!([txid, 0]))["confirmations"], 0);
    assert_eq!(ok(&chain, "gettxout", json!([txid, 0, false])), Value::Null);
    let spenders =
        ok(&chain, "gettxspendingprevout", json!([[{"txid": first, "vout": 0}, {"txid": txid, "vout": 0}]]));
    assert_eq!(
        spenders,
        json!([{"txid": first, "vout": 0, "spendingtxid": txid}, {"txid": txid, "vout": 0}])
    );

    ok(&chain, "devchain_mine", json!([]));
    assert_eq!(ok(&chain, "gettxout", json!([first, 0, false])), Value::Null);
    assert_eq!(ok(&chain, "gettxout", json!([txid, 0, false]))["confirmations"], 1);
    assert_eq!(code(&chain, "gettxspendingprevout", json!([[]])), -8);
    assert_eq!(code(&chain, "gettxspendingprevout", json!([[{"txid": txid, "vout": -1}]])), -8);
    assert_eq!(code(&chain, "gettxout", json!([txid, 4_294_967_296_u64])), -8);
}

#[test]
fn it_passes_for_a_bitcoind() {
    let chain = quiet_chain(1);
    // lnd takes a server that knows getinfo for btcd.
    assert_eq!(code(&chain, "getinfo", json!([])), -32601);
    let network = ok(&chain, "getnetworkinfo", json!([]));
    assert_eq!((&network["version"], &network["subversion"]), (&json!(290_000), &json!("/Satoshi:29.0.0/")));
    assert_eq!(ok(&chain, "getpeerinfo", json!([])), json!([]));
    assert_eq!(ok(&chain, "getzmqnotifications", json!([])), json!([]));
    assert!(ok(&chain, "uptime", json!([])).is_u64());
    let deployments = ok(&chain, "getdeploymentinfo", json!([]));
    assert_eq!(deployments["deployments"]["taproot"]["active"], true);
    assert_eq!(deployments["height"], 1);
    let help = ok(&chain, "help", json!([]));
    assert!(help.as_str().unwrap().lines().any(|line| line == "getblockhash height"));
}

#[test]
fn the_fee_rate_is_what_was_set() {
    let chain = quiet_chain(1);
    let told = ok(&chain, "estimatesmartfee", json!([6, "ECONOMICAL"]));
    assert_eq!(told, json!({ "feerate": 0.00001, "blocks": 6 }));
    ok(&chain, "devchain_set_feerate", json!([25]));
    assert_eq!(ok(&chain, "estimatesmartfee", json!([1, "CONSERVATIVE"]))["feerate"], 0.00025);
    assert_eq!(code(&chain, "estimatesmartfee", json!([0])), -8);
    assert_eq!(code(&chain, "estimatesmartfee", json!([1009])), -8);
    assert_eq!(code(&chain, "estimatesmartfee", json!([1, "cheap"])), -8);
    assert_eq!(code(&chain, "devchain_set_feerate", json!([u64::MAX])), -8);
}

#[test]
fn blocks_are_mined_on_demand_within_bounds() {
    let chain = quiet_chain(0);
    let hashes = ok(&chain, "generatetoaddress", json!([3, ADDRESS]));
    assert_eq!(hashes[2], ok(&chain, "getbestblockhash", json!([])));
    let block = ok(&chain, "getblock", json!([hashes[2], 2]));
    assert_eq!(block["tx"][0]["vout"][0]["scriptPubKey"]["address"], ADDRESS);
    assert_eq!(ok(&chain, "generatetoaddress", json!([0, ADDRESS])), json!([]));

    for blocks in [json!(1_001), json!(4_000_000_000_u64), json!(u64::MAX), json!(-1), json!(1e300)] {
        assert_eq!(code(&chain, "generatetoaddress", json!([blocks, ADDRESS])), -8);
        assert_eq!(code(&chain, "devchain_mine", json!([blocks])), -8);
    }
    let error = call(&chain, "devchain_mine", json!([1_001])).unwrap_err();
    assert!(error["message"].as_str().unwrap().contains("at most 1000 blocks"));
    assert_eq!(
        code(&chain, "generatetoaddress", json!([1, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"])),
        -5
    );

    // Neither can a batch ask for more.
    let mine = json!({ "method": "devchain_mine", "params": [400], "id": 1 });
    let batch = json!([mine, mine, mine]).to_string();
    let answers: Value = serde_json::from_slice(&rpc::handle(&chain, batch.as_bytes())).unwrap();
    assert_eq!(answers[2]["error"]["code"], -8);
    assert_eq!(chain.height(), 803);
    let long = json!(vec![json!({ "method": "uptime", "id": 1 }); 1_001]).to_string();
    let answer: Value = serde_json::from_slice(&rpc::handle(&chain, long.as_bytes())).unwrap();
    assert_eq!(answer["error"]["code"], -32600);
}

#[test]
fn a_block_holds_what_was_chosen() {
    let chain = quiet_chain(102);
    let one = ok(&chain, "devchain_fund", json!([ADDRESS, 4_900_000_000_u64]));
    let other = ok(&chain, "devchain_fund", json!([ADDRESS, 4_900_000_000_u64]));
    let raw = ok(&chain, "getrawtransaction", json!([other]));
    let hash = ok(&chain, "generateblock", json!([ADDRESS, [other]]))["hash"].clone();
    assert_eq!(ok(&chain, "getblock", json!([hash]))["tx"][1], other);
    assert_eq!(ok(&chain, "getrawmempool", json!([])), json!([one]));
    let error = call(&chain, "generateblock", json!([ADDRESS, [raw]])).unwrap_err();
    assert_eq!(error["code"], -25);
    assert!(error["message"].as_str().unwrap().contains("bad-txns-inputs-missingorspent"));
    assert_eq!(code(&chain, "generateblock", json!([ADDRESS, [other]])), -5);
    assert_eq!(code(&chain, "generateblock", json!([ADDRESS, ["zz"]])), -22);
    assert_eq!(code(&chain, "generateblock", json!([ADDRESS, [one], false])), -8);
    ok(&chain, "generateblock", json!([ADDRESS, []]));
}

#[test]
fn a_reorganisation_is_seen_by_all_methods() {
    let chain = quiet_chain(101);
    let txid = ok(&chain, "devchain_fund", json!([ADDRESS, 5_000_000]));
    let left = ok(&chain, "devchain_mine", json!([2]))[0].clone();
    let new = ok(&chain, "devchain_reorg", json!([2]));
    assert_eq!(ok(&chain, "getblockcount", json!([])), 104);
    assert_eq!(ok(&chain, "getblockhash", json!([102])), new[0]);
    assert_eq!(ok(&chain, "getblockheader", json!([left]))["confirmations"], -1);
    assert_eq!(ok(&chain, "getblockheader", json!([left])).get("nextblockhash"), None);
    assert_eq!(ok(&chain, "getrawmempool", json!([])), json!([txid]));
    assert_eq!(ok(&chain, "gettxout", json!([txid, 0, false])), Value::Null);
    let within = ok(&chain, "getrawtransaction", json!([txid, 1, left]));
    assert_eq!((&within["in_active_chain"], &within["confirmations"]), (&json!(false), &json!(0)));
    for depth in [json!(0), json!(105), json!(4_000_000_000_u64), json!(-1)] {
        assert_eq!(code(&chain, "devchain_reorg", json!([depth])), -8);
    }
}

#[test]
fn addresses_are_funded() {
    let chain = quiet_chain(101);
    let other = "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry";
    let txid = ok(&chain, "devchain_fund_many", json!([{ ADDRESS: 100_000, other: 200_000 }]));
    let outputs = ok(&chain, "getrawtransaction", json!([txid, 1]))["vout"].clone();
    let value = |address: &str| {
        let mut outputs = outputs.as_array().unwrap().iter();
        outputs.find(|output| output["scriptPubKey"]["address"] == address).unwrap()["value"].clone()
    };
    assert_eq!((value(ADDRESS), value(other)), (json!(0.001), json!(0.002)));
    assert_eq!(ok(&chain, "devchain_evict", json!([txid])), json!([txid]));
    assert_eq!(ok(&chain, "getrawmempool", json!([])), json!([]));

    for params in [
        json!([ADDRESS, 0]),
        json!([ADDRESS, u64::MAX]),
        json!([ADDRESS, -5]),
        json!([ADDRESS, 0.5]),
        json!([ADDRESS, 10_000_000_000_u64]),
    ] {
        assert_eq!(code(&chain, "devchain_fund", params.clone()), -8, "{params}");
    }
    assert_eq!(code(&chain, "devchain_fund", json!(["nowhere", 5])), -5);
    assert_eq!(code(&chain, "devchain_fund_many", json!([{}])), -8);
    assert_eq!(code(&chain, "devchain_fund_many", json!([[1]])), -8);
}

#[test]
fn calls_are_counted_and_made_to_fail() {
    let chain = quiet_chain(1);
    ok(&chain, "uptime", json!([]));
    ok(&chain, "devchain_fail_next", json!(["uptime", 1, -28]));
    assert_eq!(code(&chain, "uptime", json!([])), -28);
    ok(&chain, "uptime", json!([]));
    assert_eq!(ok(&chain, "devchain_calls", json!(["uptime"])), 3);
    assert_eq!(ok(&chain, "devchain_calls", json!([]))["uptime"], 3);
    // A call that does not exist is in the log, too.
    assert_eq!(code(&chain, "getinfo", json!([])), -32601);
    let last = chain.call_log().pop().unwrap();
    assert_eq!((last.method.as_str(), last.error_code), ("getinfo", Some(-32601)));
    assert_eq!(code(&chain, "devchain_fail_next", json!(["getinfo", 1, -28])), -8);
    assert_eq!(code(&chain, "devchain_delay", json!(["uptime", 600_001])), -8);
}
