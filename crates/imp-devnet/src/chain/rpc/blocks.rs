//! Methods about blocks.

use bitcoin::BlockHash;
use bitcoin::consensus::encode::serialize_hex;
use serde_json::{Value, json};

use super::args::Args;
use super::{Context, Method, Outcome, RpcError, raw};
use crate::chain::params;
use crate::chain::state::{Chain, StoredBlock};

pub(super) const METHODS: &[Method] = &[
    Method { name: "getbestblockhash", params: &[], run: get_best_block_hash },
    Method { name: "getblock", params: &["blockhash", "verbosity"], run: get_block },
    Method { name: "getblockchaininfo", params: &[], run: get_blockchain_info },
    Method { name: "getblockcount", params: &[], run: get_block_count },
    Method { name: "getblockhash", params: &["height"], run: get_block_hash },
    Method { name: "getblockheader", params: &["blockhash", "verbose"], run: get_block_header },
    Method { name: "getdeploymentinfo", params: &["blockhash"], run: get_deployment_info },
];

fn get_best_block_hash(context: &Context<'_>, _: &Args) -> Outcome {
    Ok(json!(context.chain.tip_hash()))
}

fn get_block_count(context: &Context<'_>, _: &Args) -> Outcome {
    Ok(json!(context.chain.height()))
}

fn get_block_hash(context: &Context<'_>, args: &Args) -> Outcome {
    let height = args.u64(0)?;
    let state = context.chain.state();
    let hash = u32::try_from(height).ok().and_then(|height| state.ledger.chain().hash_at(height));
    let hash = hash.ok_or(RpcError::new(RpcError::INVALID_PARAMETER, "Block height out of range"))?;
    Ok(json!(hash))
}

fn get_block_header(context: &Context<'_>, args: &Args) -> Outcome {
    let hash = args.block_hash(0)?;
    let verbose = args.flag(1, true)?;
    let state = context.chain.state();
    let stored = find(state.ledger.chain(), &hash)?;
    if verbose {
        Ok(header_json(state.ledger.chain(), &hash, stored))
    } else {
        Ok(json!(serialize_hex(&stored.block.header)))
    }
}

fn get_block(context: &Context<'_>, args: &Args) -> Outcome {
    let hash = args.block_hash(0)?;
    let verbosity = args.verbosity(1, 1)?;
    let state = context.chain.state();
    let chain = state.ledger.chain();
    let stored = find(chain, &hash)?;
    if verbosity == 0 {
        return Ok(json!(serialize_hex(&stored.block)));
    }
    let mut result = header_json(chain, &hash, stored);
    let block = &stored.block;
    let weight = block.weight().to_wu();
    let total = block.total_size() as u64;
    result["size"] = json!(total);
    result["weight"] = json!(weight);
    result["strippedsize"] = json!((weight - total) / 3);
    result["tx"] = if verbosity == 1 {
        json!(stored.txids)
    } else {
        block.txdata.iter().map(raw::transaction_json).collect()
    };
    Ok(result)
}

fn get_blockchain_info(context: &Context<'_>, _: &Args) -> Outcome {
    let state = context.chain.state();
    let chain = state.ledger.chain();
    let tip = chain.tip();
    let hash = chain.tip_hash();
    Ok(json!({
        "chain": "regtest",
        "blocks": tip.height,
        "headers": tip.height,
        "bestblockhash": hash,
        "bits": bits_hex(tip),
        "difficulty": tip.block.header.difficulty_float(),
        "time": tip.block.header.time,
        "mediantime": chain.median_time(&hash),
        "verificationprogress": 1,
        "initialblockdownload": false,
        "chainwork": hex::encode(tip.chainwork.to_be_bytes()),
        "size_on_disk": 0,
        "pruned": false,
        // Programs that know older versions look for taproot here, newer ones ask getdeploymentinfo.
        "softforks": deployments(),
        "warnings": [],
    }))
}

fn get_deployment_info(context: &Context<'_>, args: &Args) -> Outcome {
    let asked = if args.is_absent(0) { None } else { Some(args.block_hash(0)?) };
    let state = context.chain.state();
    let chain = state.ledger.chain();
    let hash = asked.unwrap_or_else(|| chain.tip_hash());
    let stored = find(chain, &hash)?;
    Ok(json!({ "hash": hash, "height": stored.height, "deployments": deployments() }))
}

/// All rules that regtest has from its first blocks on.
fn deployments() -> Value {
    let buried = |height: u32| json!({ "type": "buried", "active": true, "height": height });
    json!({
        "bip34": buried(1),
        "bip65": buried(1),
        "bip66": buried(1),
        "csv": buried(1),
        "segwit": buried(0),
        "taproot": {
            "type": "bip9",
            "active": true,
            "height": 0,
            "bip9": {
                "start_time": -1,
                "timeout": i64::MAX,
                "min_activation_height": 0,
                "status": "active",
                "since": 0,
                "status_next": "active",
            },
        },
    })
}

fn find<'a>(chain: &'a Chain, hash: &BlockHash) -> Result<&'a StoredBlock, RpcError> {
    chain.block(hash).ok_or(RpcError::new(RpcError::NOT_FOUND, "Block not found"))
}

/// How many blocks of the active branch there are from this one on, itself included; -1 for a block of another branch.
pub(super) fn confirmations(chain: &Chain, hash: &BlockHash, height: u32) -> i64 {
    if chain.is_active(hash) { i64::from(chain.height()) - i64::from(height) + 1 } else { -1 }
}

fn header_json(chain: &Chain, hash: &BlockHash, stored: &StoredBlock) -> Value {
    let header = &stored.block.header;
    let mut result = json!({
        "hash": hash,
        "confirmations": confirmations(chain, hash, stored.height),
        "height": stored.height,
        "version": header.version.to_consensus(),
        "versionHex": hex::encode(header.version.to_consensus().to_be_bytes()),
        "merkleroot": header.merkle_root,
        "time": header.time,
        "mediantime": chain.median_time(hash),
        "nonce": header.nonce,
        "bits": bits_hex(stored),
        "target": hex::encode(params::target().to_be_bytes()),
        "difficulty": header.difficulty_float(),
        "chainwork": hex::encode(stored.chainwork.to_be_bytes()),
        "nTx": stored.txids.len(),
    });
    if stored.height > 0 {
        result["previousblockhash"] = json!(header.prev_blockhash);
    }
    if let Some(next) = chain.hash_at(stored.height + 1)
        && chain.is_active(hash)
    {
        result["nextblockhash"] = json!(next);
    }
    result
}

fn bits_hex(stored: &StoredBlock) -> String {
    hex::encode(stored.block.header.bits.to_consensus().to_be_bytes())
}
