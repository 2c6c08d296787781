//! Methods about the mempool.

use std::collections::{BTreeSet, HashSet};

use bitcoin::{Amount, Transaction, Txid};
use serde_json::{Map, Value, json};

use super::args::Args;
use super::{Context, Method, Outcome, RpcError};
use crate::chain::mempool::{Admission, FeeRule, MIN_RELAY_SAT_PER_VB, Mempool, Reject, Waiting};
use crate::chain::{State, unix_now};

pub(super) const METHODS: &[Method] = &[
    Method { name: "getmempoolentry", params: &["txid"], run: get_mempool_entry },
    Method { name: "getmempoolinfo", params: &[], run: get_mempool_info },
    Method { name: "getrawmempool", params: &["verbose", "mempool_sequence"], run: get_raw_mempool },
    Method {
        name: "sendrawtransaction",
        params: &["hexstring", "maxfeerate", "maxburnamount"],
        run: send_raw_transaction,
    },
    Method {
        name: "submitpackage",
        params: &["package", "maxfeerate", "maxburnamount"],
        run: submit_package,
    },
    Method { name: "testmempoolaccept", params: &["rawtxs", "maxfeerate"], run: test_mempool_accept },
];

/// How many transactions a package may have.
const MAX_PACKAGE: usize = 25;

/// The fee rate above which a transaction is taken for a mistake unless the caller says otherwise, per 1000 virtual
/// bytes.
const DEFAULT_MAX_FEERATE: Amount = Amount::from_sat(10_000_000);

/// [`MIN_RELAY_SAT_PER_VB`] in the unit of the RPC, bitcoin per 1000 virtual bytes.
pub(super) fn min_relay_btc_per_kvb() -> f64 {
    Amount::from_sat(MIN_RELAY_SAT_PER_VB * 1_000).to_btc()
}

fn get_mempool_info(context: &Context<'_>, _: &Args) -> Outcome {
    let state = context.chain.state();
    let mempool = state.ledger.mempool();
    let bytes: u64 = mempool.iter().map(|waiting| waiting.vsize).sum();
    let fees: Amount = mempool.iter().map(|waiting| waiting.fee).sum();
    Ok(json!({
        "loaded": true,
        "size": mempool.len(),
        "bytes": bytes,
        "usage": bytes,
        "total_fee": fees.to_btc(),
        "maxmempool": 300_000_000,
        "mempoolminfee": min_relay_btc_per_kvb(),
        "minrelaytxfee": min_relay_btc_per_kvb(),
        "incrementalrelayfee": min_relay_btc_per_kvb(),
        "unbroadcastcount": 0,
        "fullrbf": false,
    }))
}

fn get_raw_mempool(context: &Context<'_>, args: &Args) -> Outcome {
    let verbose = args.flag(0, false)?;
    let with_sequence = args.flag(1, false)?;
    if verbose && with_sequence {
        return Err(args.invalid(1, "verbose results cannot contain mempool sequence values"));
    }
    let state = context.chain.state();
    let mempool = state.ledger.mempool();
    if verbose {
        let entries = mempool.iter().map(|waiting| (waiting.txid.to_string(), entry_json(mempool, waiting)));
        return Ok(Value::Object(entries.collect::<Map<_, _>>()));
    }
    let txids: Vec<Txid> = mempool.iter().map(|waiting| waiting.txid).collect();
    if with_sequence {
        return Ok(json!({ "txids": txids, "mempool_sequence": mempool.sequence() }));
    }
    Ok(json!(txids))
}

fn get_mempool_entry(context: &Context<'_>, args: &Args) -> Outcome {
    let txid = args.txid(0)?;
    let state = context.chain.state();
    let mempool = state.ledger.mempool();
    let waiting =
        mempool.get(&txid).ok_or(RpcError::new(RpcError::NOT_FOUND, "Transaction not in mempool"))?;
    Ok(entry_json(mempool, waiting))
}

fn entry_json(mempool: &Mempool, waiting: &Waiting) -> Value {
    let sums = |ids: &BTreeSet<Txid>| {
        let entries = || ids.iter().filter_map(|txid| mempool.get(txid));
        let vsize: u64 = entries().map(|waiting| waiting.vsize).sum();
        let fees: Amount = entries().map(|waiting| waiting.fee).sum();
        (vsize, fees.to_btc())
    };
    let ancestors = mempool.with_ancestors(&waiting.txid);
    let descendants = mempool.with_descendants(&waiting.txid);
    let (ancestor_size, ancestor_fees) = sums(&ancestors);
    let (descendant_size, descendant_fees) = sums(&descendants);
    json!({
        "vsize": waiting.vsize,
        "weight": waiting.tx.weight().to_wu(),
        "time": waiting.time,
        "height": waiting.height,
        "ancestorcount": ancestors.len(),
        "ancestorsize": ancestor_size,
        "descendantcount": descendants.len(),
        "descendantsize": descendant_size,
        "wtxid": waiting.wtxid,
        "fees": {
            "base": waiting.fee.to_btc(),
            "modified": waiting.fee.to_btc(),
            "ancestor": ancestor_fees,
            "descendant": descendant_fees,
        },
        "depends": mempool.parents(&waiting.tx),
        "spentby": mempool.children(waiting),
        "bip125-replaceable": mempool.is_replaceable(&waiting.txid),
        "unbroadcast": false,
    })
}

fn send_raw_transaction(context: &Context<'_>, args: &Args) -> Outcome {
    let tx = args.transaction(0)?;
    let limits = Limits::read(args, 1)?;
    let mut state = context.chain.state();
    // Sending what is known already only announces it again.
    let txid = tx.compute_txid();
    if state.ledger.mempool().get(&txid).is_some() {
        return Ok(json!(txid));
    }
    limits.check_burn(&tx)?;
    let confirmed = (0..).take(tx.output.len()).map(|vout| bitcoin::OutPoint::new(txid, vout));
    let chain = state.ledger.chain();
    if confirmed.into_iter().any(|outpoint| chain.coin(&outpoint).is_some()) {
        return Err(RpcError::new(RpcError::ALREADY_IN_CHAIN, "Transaction outputs already in utxo set"));
    }
    let admission = state.ledger.check(&tx).map_err(|reject| rejected(&reject))?;
    limits.check_fee(&admission)?;
    let admission = state.ledger.submit(tx, unix_now()).map_err(|reject| rejected(&reject))?;
    Ok(json!(admission.txid))
}

fn rejected(reject: &Reject) -> RpcError {
    let code = if reject.is_missing_input() { RpcError::VERIFY } else { RpcError::VERIFY_REJECTED };
    RpcError::new(code, reject.to_string())
}

/// What the caller allows a transaction to waste.
struct Limits {
    max_feerate: Amount,
    max_burn: Amount,
}

impl Limits {
    /// Reads `maxfeerate` at `index` and `maxburnamount` after it.
    fn read(args: &Args, index: usize) -> Result<Self, RpcError> {
        let max_feerate = if args.is_absent(index) { DEFAULT_MAX_FEERATE } else { args.bitcoin(index)? };
        let max_burn = if args.is_absent(index + 1) { Amount::ZERO } else { args.bitcoin(index + 1)? };
        Ok(Self { max_feerate, max_burn })
    }

    fn check_burn(&self, tx: &Transaction) -> Result<(), RpcError> {
        let burnt = tx.output.iter().filter(|output| output.script_pubkey.is_op_return());
        if burnt.into_iter().any(|output| output.value > self.max_burn) {
            let text = "Unspendable output exceeds maximum configured by user (maxburnamount)";
            return Err(RpcError::new(RpcError::VERIFY, text));
        }
        Ok(())
    }

    fn exceeds_fee(&self, admission: &Admission) -> bool {
        // Zero stands for any rate.
        let fee_per_kvb = u128::from(admission.fee.to_sat()) * 1_000;
        let max = u128::from(self.max_feerate.to_sat()) * u128::from(admission.vsize);
        self.max_feerate > Amount::ZERO && fee_per_kvb > max
    }

    fn check_fee(&self, admission: &Admission) -> Result<(), RpcError> {
        if self.exceeds_fee(admission) {
            let text = "Fee exceeds maximum configured by user (e.g. -maxtxfee, maxfeerate)";
            return Err(RpcError::new(RpcError::VERIFY, text));
        }
        Ok(())
    }
}

fn test_mempool_accept(context: &Context<'_>, args: &Args) -> Outcome {
    let transactions = args.transactions(0, MAX_PACKAGE)?;
    let limits = Limits { max_feerate: Limits::read(args, 1)?.max_feerate, max_burn: Amount::MAX };
    let mut state = context.chain.state();
    if let [tx] = &transactions[..] {
        let outcome = state.ledger.check(tx);
        return Ok(json!([acceptance_json(tx, &outcome, &limits)]));
    }
    // Later ones may spend outputs of earlier ones: let them in for the time of the call.
    let saved = state.ledger.save_mempool();
    let mut results = Vec::with_capacity(transactions.len());
    for tx in &transactions {
        let outcome = state.ledger.submit(tx.clone(), unix_now());
        results.push(acceptance_json(tx, &outcome, &limits));
    }
    state.ledger.restore_mempool(saved);
    Ok(Value::Array(results))
}

fn acceptance_json(tx: &Transaction, outcome: &Result<Admission, Reject>, limits: &Limits) -> Value {
    let mut result = json!({ "txid": tx.compute_txid(), "wtxid": tx.compute_wtxid() });
    match outcome {
        Ok(admission) if !limits.exceeds_fee(admission) => {
            result["allowed"] = json!(true);
            result["vsize"] = json!(admission.vsize);
            result["fees"] = json!({ "base": admission.fee.to_btc() });
        }
        Ok(_) => {
            result["allowed"] = json!(false);
            result["reject-reason"] = json!("max-fee-exceeded");
        }
        Err(reject) => {
            let reason =
                if reject.is_missing_input() { "missing-inputs".to_owned() } else { reject.reason() };
            result["allowed"] = json!(false);
            result["reject-reason"] = json!(reason);
            result["reject-details"] = json!(reject.to_string());
        }
    }
    result
}

fn submit_package(context: &Context<'_>, args: &Args) -> Outcome {
    let transactions = args.transactions(0, MAX_PACKAGE)?;
    let limits = Limits::read(args, 1)?;
    check_package_form(&transactions)?;
    for tx in &transactions {
        limits.check_burn(tx)?;
    }
    let mut state = context.chain.state();
    let saved = state.ledger.save_mempool();
    let outcomes = submit_all(&mut state, &transactions);
    let accepted = outcomes.iter().all(|(_, outcome)| match outcome {
        Ok(admission) => !limits.exceeds_fee(admission),
        Err(reject) => *reject == Reject::AlreadyInMempool,
    });
    if !accepted {
        state.ledger.restore_mempool(saved);
    }
    let mut results = Map::new();
    let mut replaced: Vec<Txid> = Vec::new();
    for (tx, outcome) in &outcomes {
        let mut result = json!({ "txid": tx.compute_txid() });
        match outcome {
            Ok(admission) if limits.exceeds_fee(admission) => result["error"] = json!("max-fee-exceeded"),
            Ok(admission) => {
                result["vsize"] = json!(admission.vsize);
                result["fees"] = json!({ "base": admission.fee.to_btc() });
                if accepted {
                    replaced.extend(&admission.replaces);
                }
            }
            Err(Reject::AlreadyInMempool) => {
                if let Some(waiting) = state.ledger.mempool().get(&tx.compute_txid()) {
                    result["vsize"] = json!(waiting.vsize);
                    result["fees"] = json!({ "base": waiting.fee.to_btc() });
                }
            }
            Err(reject) => result["error"] = json!(reject.to_string()),
        }
        results.insert(tx.compute_wtxid().to_string(), result);
    }
    Ok(json!({
        "package_msg": if accepted { "success" } else { "transaction failed" },
        "tx-results": results,
        "replaced-transactions": replaced,
    }))
}

/// Lets the transactions in, each of which may pay too little if they pay enough together.
fn submit_all<'a>(
    state: &mut State,
    transactions: &'a [Transaction],
) -> Vec<(&'a Transaction, Result<Admission, Reject>)> {
    let mut outcomes = Vec::with_capacity(transactions.len());
    for tx in transactions {
        outcomes.push((tx, state.ledger.admit(tx.clone(), FeeRule::Exempt, unix_now())));
    }
    let admitted = || outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok());
    let fee_sat: u64 = admitted().map(|admission| admission.fee.to_sat()).sum();
    let vsize: u64 = admitted().map(|admission| admission.vsize).sum();
    let wanted_sat = vsize * MIN_RELAY_SAT_PER_VB;
    if fee_sat < wanted_sat {
        for (_, outcome) in &mut outcomes {
            if outcome.is_ok() {
                *outcome = Err(Reject::FeeTooLow { fee_sat, wanted_sat });
            }
        }
    }
    outcomes
}

/// A package is one child after all those it spends, in an order in which each can be added.
fn check_package_form(transactions: &[Transaction]) -> Result<(), RpcError> {
    let refuse = |text: &str| Err(RpcError::new(RpcError::VERIFY, text));
    let Some((child, parents)) = transactions.split_last() else {
        return refuse("package-not-child-with-parents");
    };
    let ids: Vec<Txid> = transactions.iter().map(Transaction::compute_txid).collect();
    let mut seen = HashSet::new();
    if !ids.iter().all(|txid| seen.insert(*txid)) {
        return refuse("package-contains-duplicates");
    }
    for (index, tx) in transactions.iter().enumerate() {
        if tx.input.iter().any(|input| ids[index..].contains(&input.previous_output.txid)) {
            return refuse("package-not-sorted");
        }
    }
    let mut spent = HashSet::new();
    let mut inputs = transactions.iter().flat_map(|tx| &tx.input);
    if !inputs.all(|input| spent.insert(input.previous_output)) {
        return refuse("conflict-in-package");
    }
    let spends = |txid: &Txid| child.input.iter().any(|input| input.previous_output.txid == *txid);
    if !ids.iter().take(parents.len()).all(spends) {
        return refuse(
            "package topology disallowed. not child-with-parents or parents depend on each other.",
        );
    }
    Ok(())
}
