//! The chain's own methods, which bitcoind does not have: for tests and for the `imp-devnet` program.

use std::time::Duration;

use bitcoin::{Amount, FeeRate};
use serde_json::{Map, Value, json};

use super::args::{self, Args};
use super::mining::failed;
use super::{Context, Method, Outcome, RpcError};
use crate::chain::{FundError, MAX_DELAY, UnknownMethod};

pub(super) const METHODS: &[Method] = &[
    Method { name: "devchain_calls", params: &["method"], run: calls },
    Method { name: "devchain_delay", params: &["method", "delay_ms"], run: delay },
    Method { name: "devchain_evict", params: &["txid"], run: evict },
    Method { name: "devchain_fail_next", params: &["method", "calls", "code"], run: fail_next },
    Method { name: "devchain_fund", params: &["address", "amount_sat"], run: fund },
    Method { name: "devchain_fund_many", params: &["amounts_sat"], run: fund_many },
    Method { name: "devchain_mine", params: &["blocks"], run: mine },
    Method { name: "devchain_reorg", params: &["depth"], run: reorg },
    Method { name: "devchain_set_feerate", params: &["sat_per_vb"], run: set_feerate },
    Method { name: "devchain_set_mine_interval", params: &["interval_ms"], run: set_mine_interval },
];

/// Mines `blocks` blocks, 1 if absent, and gives their hashes.
fn mine(context: &Context<'_>, args: &Args) -> Outcome {
    let blocks = if args.is_absent(0) { 1 } else { args.u32(0)? };
    context.claim_blocks(blocks)?;
    Ok(json!(context.chain.mine(blocks).map_err(|error| failed(&error))?))
}

/// Leaves `depth` blocks for `depth + 1` others and gives the hashes of those.
fn reorg(context: &Context<'_>, args: &Args) -> Outcome {
    let depth = args.u32(0)?;
    context.claim_blocks(depth)?;
    Ok(json!(context.chain.reorg(depth).map_err(|error| failed(&error))?))
}

/// Pays an address and gives the id of the transaction.
fn fund(context: &Context<'_>, args: &Args) -> Outcome {
    let payment = (args.address(0)?, Amount::from_sat(args.u64(1)?));
    Ok(json!(context.chain.fund_many(&[payment]).map_err(|error| unfunded(&error))?))
}

/// Pays all addresses of an object `{address: amount in satoshis}` in one transaction.
fn fund_many(context: &Context<'_>, args: &Args) -> Outcome {
    let amounts =
        args.get(0).as_object().ok_or_else(|| args.invalid(0, "must be an object {address: sat}"))?;
    let mut payments = Vec::with_capacity(amounts.len());
    for (address, amount) in amounts {
        let sat = amount.as_u64().ok_or_else(|| args.invalid(0, "amounts must be whole satoshis"))?;
        payments.push((args::address(address)?, Amount::from_sat(sat)));
    }
    Ok(json!(context.chain.fund_many(&payments).map_err(|error| unfunded(&error))?))
}

fn unfunded(error: &FundError) -> RpcError {
    RpcError::new(RpcError::INVALID_PARAMETER, error.to_string())
}

/// Takes a transaction and those that build on it out of the mempool and gives their ids.
fn evict(context: &Context<'_>, args: &Args) -> Outcome {
    Ok(json!(context.chain.evict(&args.txid(0)?)))
}

/// Sets what `estimatesmartfee` answers.
fn set_feerate(context: &Context<'_>, args: &Args) -> Outcome {
    let feerate = FeeRate::from_sat_per_vb(args.u64(0)?).ok_or_else(|| args.invalid(0, "is too large"))?;
    context.chain.set_feerate(feerate);
    Ok(Value::Null)
}

/// Sets how often the chain mines by itself if transactions wait; null for never.
fn set_mine_interval(context: &Context<'_>, args: &Args) -> Outcome {
    let interval = if args.is_absent(0) { None } else { Some(Duration::from_millis(args.u64(0)?)) };
    context.chain.set_mine_interval(interval);
    Ok(Value::Null)
}

/// Makes the next calls of a method fail with an error code.
fn fail_next(context: &Context<'_>, args: &Args) -> Outcome {
    let (method, calls, code) = (args.text(0)?, args.u32(1)?, args.i32(2)?);
    context.chain.fail_next(method, calls, code).map_err(|error| unknown(&error))?;
    Ok(Value::Null)
}

/// Makes every call of a method wait; 0 ends it.
fn delay(context: &Context<'_>, args: &Args) -> Outcome {
    let delay = Duration::from_millis(args.u64(1)?);
    if delay > MAX_DELAY {
        return Err(args.invalid(1, &format!("at most {} ms", MAX_DELAY.as_millis())));
    }
    context.chain.delay(args.text(0)?, delay).map_err(|error| unknown(&error))?;
    Ok(Value::Null)
}

fn unknown(error: &UnknownMethod) -> RpcError {
    RpcError::new(RpcError::INVALID_PARAMETER, error.to_string())
}

/// How many calls of a method came, or of each method as an object.
fn calls(context: &Context<'_>, args: &Args) -> Outcome {
    if !args.is_absent(0) {
        return Ok(json!(context.chain.calls(args.text(0)?)));
    }
    let faults = context.chain.faults();
    let counts = faults.counts().map(|(method, count)| (method.to_owned(), json!(count)));
    Ok(Value::Object(counts.collect::<Map<_, _>>()))
}
