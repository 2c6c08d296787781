//! bitcoind's methods that mine.

use bitcoin::Transaction;
use serde_json::{Value, json};

use super::args::{self, Args};
use super::{Context, Method, Outcome, RpcError};
use crate::chain::MineError;

pub(super) const METHODS: &[Method] = &[
    Method { name: "generateblock", params: &["output", "transactions", "submit"], run: generate_block },
    Method {
        name: "generatetoaddress",
        params: &["nblocks", "address", "maxtries"],
        run: generate_to_address,
    },
];

fn generate_to_address(context: &Context<'_>, args: &Args) -> Outcome {
    let blocks = args.u32(0)?;
    let address = args.address(1)?;
    context.claim_blocks(blocks)?;
    let hashes = context.chain.mine_to(&address.script_pubkey(), blocks).map_err(|error| failed(&error))?;
    Ok(json!(hashes))
}

/// `transactions` holds ids of waiting transactions and raw transactions.
fn generate_block(context: &Context<'_>, args: &Args) -> Outcome {
    let address = args.address(0)?;
    let named = args.array(1)?;
    if !args.flag(2, true)? {
        return Err(args.invalid(2, "only true is supported"));
    }
    let transactions = {
        let state = context.chain.state();
        let find = |value: &Value| -> Result<Transaction, RpcError> {
            let txid = value.as_str().and_then(|text| text.parse().ok());
            match txid {
                Some(txid) => {
                    let waiting = state.ledger.mempool().get(&txid);
                    let text = format!("Transaction {txid} not in mempool.");
                    Ok(Transaction::clone(&waiting.ok_or(RpcError::new(RpcError::NOT_FOUND, text))?.tx))
                }
                None => args::transaction(value).ok_or_else(|| {
                    let text = "Transaction decode failed: each one must be a txid or a hex string";
                    RpcError::new(RpcError::DESERIALIZATION, text)
                }),
            }
        };
        named.iter().map(find).collect::<Result<Vec<_>, _>>()?
    };
    context.claim_blocks(1)?;
    let hash =
        context.chain.mine_with(&address.script_pubkey(), transactions).map_err(|error| failed(&error))?;
    Ok(json!({ "hash": hash }))
}

/// The answer for blocks that could not be mined.
pub(super) fn failed(error: &MineError) -> RpcError {
    match error {
        MineError::TooMany { .. } | MineError::Reorg(crate::chain::ReorgError::Depth { .. }) => {
            RpcError::new(RpcError::INVALID_PARAMETER, error.to_string())
        }
        MineError::Block(error) | MineError::Reorg(crate::chain::ReorgError::Block(error)) => {
            RpcError::new(RpcError::VERIFY, format!("TestBlockValidity failed: {error}"))
        }
        MineError::Disk(_) => RpcError::new(RpcError::INTERNAL, error.to_string()),
    }
}
