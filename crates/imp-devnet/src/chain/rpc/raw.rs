//! Methods about single transactions and coins.

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{Address, Network, OutPoint, Script, Transaction, Txid};
use serde_json::{Value, json};

use super::args::Args;
use super::blocks::confirmations;
use super::{Context, Method, Outcome, RpcError};

pub(super) const METHODS: &[Method] = &[
    Method { name: "getrawtransaction", params: &["txid", "verbose", "blockhash"], run: get_raw_transaction },
    Method { name: "gettxout", params: &["txid", "n", "include_mempool"], run: get_tx_out },
    Method { name: "gettxspendingprevout", params: &["outputs"], run: get_tx_spending_prevout },
];

/// How many outputs one call may ask about.
const MAX_OUTPUTS: usize = 10_000;

fn get_raw_transaction(context: &Context<'_>, args: &Args) -> Outcome {
    let txid = args.txid(0)?;
    let verbose = args.verbosity(1, 0)? > 0;
    let within = if args.is_absent(2) { None } else { Some(args.block_hash(2)?) };
    let state = context.chain.state();
    let (chain, mempool) = (state.ledger.chain(), state.ledger.mempool());

    let found = match within {
        Some(hash) => {
            let stored =
                chain.block(&hash).ok_or(RpcError::new(RpcError::NOT_FOUND, "Block hash not found"))?;
            let position = stored.txids.iter().position(|id| *id == txid);
            position.map(|position| (&stored.block.txdata[position], Some(stored)))
        }
        None => match mempool.get(&txid) {
            Some(waiting) => Some((&*waiting.tx, None)),
            None => chain.transaction(&txid).map(|(tx, stored)| (tx, Some(stored))),
        },
    };
    let (tx, stored) = found.ok_or_else(|| {
        let place =
            if within.is_some() { "transaction found in the provided block" } else { MEMPOOL_OR_CHAIN };
        RpcError::new(
            RpcError::NOT_FOUND,
            format!("No such {place}. Use gettransaction for wallet transactions."),
        )
    })?;
    if !verbose {
        return Ok(json!(serialize_hex(tx)));
    }
    let mut result = transaction_json(tx);
    if let Some(stored) = stored {
        let hash = stored.block.block_hash();
        if within.is_some() {
            result["in_active_chain"] = json!(chain.is_active(&hash));
        }
        result["blockhash"] = json!(hash);
        result["confirmations"] = json!(confirmations(chain, &hash, stored.height).max(0));
        result["time"] = json!(stored.block.header.time);
        result["blocktime"] = json!(stored.block.header.time);
    }
    Ok(result)
}

/// lnd looks for this text.
const MEMPOOL_OR_CHAIN: &str = "mempool or blockchain transaction";

fn get_tx_out(context: &Context<'_>, args: &Args) -> Outcome {
    let txid = args.txid(0)?;
    let outpoint = OutPoint::new(txid, args.u32(1)?);
    let include_mempool = args.flag(2, true)?;
    let state = context.chain.state();
    let (chain, mempool) = (state.ledger.chain(), state.ledger.mempool());
    if include_mempool && mempool.spender(&outpoint).is_some() {
        return Ok(Value::Null);
    }
    let unconfirmed = || mempool.output(&outpoint).filter(|_| include_mempool);
    let (output, confirmations, coinbase) = match chain.coin(&outpoint) {
        Some(coin) => (&coin.output, chain.height() - coin.height + 1, coin.coinbase),
        None => match unconfirmed() {
            Some(output) => (output, 0, false),
            None => return Ok(Value::Null),
        },
    };
    Ok(json!({
        "bestblock": chain.tip_hash(),
        "confirmations": confirmations,
        "value": output.value.to_btc(),
        "scriptPubKey": script_json(&output.script_pubkey),
        "coinbase": coinbase,
    }))
}

fn get_tx_spending_prevout(context: &Context<'_>, args: &Args) -> Outcome {
    let outputs = args.array(0)?;
    if outputs.is_empty() {
        return Err(RpcError::new(RpcError::INVALID_PARAMETER, "Invalid parameter, outputs are missing"));
    }
    if outputs.len() > MAX_OUTPUTS {
        return Err(args.invalid(0, &format!("at most {MAX_OUTPUTS} outputs can be asked about at once")));
    }
    let state = context.chain.state();
    let answer = |output: &Value| {
        let txid = output.get("txid").and_then(Value::as_str).and_then(|txid| txid.parse::<Txid>().ok());
        let vout = output.get("vout").and_then(Value::as_u64).and_then(|vout| u32::try_from(vout).ok());
        let (Some(txid), Some(vout)) = (txid, vout) else {
            return Err(args.invalid(0, "each output needs a txid and a vout that is not negative"));
        };
        let mut result = json!({ "txid": txid, "vout": vout });
        if let Some(spender) = state.ledger.mempool().spender(&OutPoint::new(txid, vout)) {
            result["spendingtxid"] = json!(spender);
        }
        Ok(result)
    };
    outputs.iter().map(answer).collect()
}

/// A transaction as bitcoind describes it, without what depends on where it is.
pub(super) fn transaction_json(tx: &Transaction) -> Value {
    let coinbase = tx.is_coinbase();
    let inputs = tx.input.iter().map(|input| {
        let mut result = json!({ "sequence": input.sequence.to_consensus_u32() });
        if coinbase {
            result["coinbase"] = json!(input.script_sig.to_hex_string());
        } else {
            result["txid"] = json!(input.previous_output.txid);
            result["vout"] = json!(input.previous_output.vout);
            result["scriptSig"] =
                json!({ "asm": input.script_sig.to_asm_string(), "hex": input.script_sig.to_hex_string() });
        }
        if !input.witness.is_empty() {
            result["txinwitness"] = input.witness.iter().map(hex::encode).collect();
        }
        result
    });
    let outputs = tx.output.iter().enumerate().map(|(n, output)| {
        json!({ "value": output.value.to_btc(), "n": n, "scriptPubKey": script_json(&output.script_pubkey) })
    });
    json!({
        "txid": tx.compute_txid(),
        "hash": tx.compute_wtxid(),
        // Signed in the protocol, shown without a sign.
        "version": tx.version.0 as u32,
        "size": tx.total_size(),
        "vsize": tx.vsize(),
        "weight": tx.weight().to_wu(),
        "locktime": tx.lock_time.to_consensus_u32(),
        "vin": inputs.collect::<Value>(),
        "vout": outputs.collect::<Value>(),
        "hex": serialize_hex(tx),
    })
}

fn script_json(script: &Script) -> Value {
    let mut result =
        json!({ "asm": script.to_asm_string(), "hex": script.to_hex_string(), "type": script_type(script) });
    if let Ok(address) = Address::from_script(script, Network::Regtest) {
        result["address"] = json!(address.to_string());
    }
    result
}

fn script_type(script: &Script) -> &'static str {
    match script {
        script if script.is_p2pkh() => "pubkeyhash",
        script if script.is_p2sh() => "scripthash",
        script if script.is_p2wpkh() => "witness_v0_keyhash",
        script if script.is_p2wsh() => "witness_v0_scripthash",
        script if script.is_p2tr() => "witness_v1_taproot",
        script if script.as_bytes() == [0x51, 0x02, 0x4e, 0x73] => "anchor",
        script if script.is_witness_program() => "witness_unknown",
        script if script.is_p2pk() => "pubkey",
        script if script.is_multisig() => "multisig",
        script if script.is_op_return() => "nulldata",
        _ => "nonstandard",
    }
}
