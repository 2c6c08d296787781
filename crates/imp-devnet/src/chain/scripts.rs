//! Running scripts with the code of Bitcoin Core.

use bitcoin::Transaction;
use bitcoin::consensus::encode;
use bitcoinconsensus::{Utxo, VERIFY_ALL_PRE_TAPROOT, VERIFY_TAPROOT};

use super::check::{Coin, TxError};

/// Checks that every input satisfies the script of the coin that it spends. `coins` has one for each input, in order.
pub(super) fn verify(tx: &Transaction, coins: &[Coin]) -> Result<(), TxError> {
    let bytes = encode::serialize(tx);
    let spent: Option<Vec<Utxo>> = coins.iter().map(utxo).collect();
    let spent = spent.ok_or(TxError::InputValues)?;
    for (input, coin) in coins.iter().enumerate() {
        bitcoinconsensus::verify_with_flags(
            coin.output.script_pubkey.as_bytes(),
            coin.output.value.to_sat(),
            &bytes,
            Some(&spent),
            input,
            VERIFY_ALL_PRE_TAPROOT | VERIFY_TAPROOT,
        )
        .map_err(|_| TxError::Script { input })?;
    }
    Ok(())
}

/// The coin as the library wants it. It points into the coin, which therefore has to outlive it.
fn utxo(coin: &Coin) -> Option<Utxo> {
    let script = coin.output.script_pubkey.as_bytes();
    Some(Utxo {
        script_pubkey: script.as_ptr(),
        script_pubkey_len: u32::try_from(script.len()).ok()?,
        value: i64::try_from(coin.output.value.to_sat()).ok()?,
    })
}
