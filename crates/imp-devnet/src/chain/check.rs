//! What a transaction must satisfy, whether it waits in the mempool or stands in a block.

use std::collections::HashSet;

use bitcoin::{Amount, Transaction, TxOut, Weight};

use super::locktime::{self, BlockContext};
use super::params;

/// An output that can be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    pub output: TxOut,
    /// The block it was created in; for an unconfirmed one the block that is to be mined next.
    pub height: u32,
    pub coinbase: bool,
}

/// Why a transaction can be in no block, or not in the next one. Texts are bitcoind's, which programs match on; what
/// comes after the first comma is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxError {
    #[error("bad-txns-vin-empty")]
    NoInputs,
    #[error("bad-txns-vout-empty")]
    NoOutputs,
    #[error("bad-txns-oversize")]
    Oversize,
    #[error("bad-txns-vout-toolarge")]
    OutputTooLarge,
    #[error("bad-txns-txouttotal-toolarge")]
    OutputTotalTooLarge,
    #[error("bad-txns-inputs-duplicate")]
    DuplicateInputs,
    #[error("bad-txns-prevout-null")]
    NullPrevout,
    #[error("bad-cb-length")]
    CoinbaseLength,
    #[error("bad-txns-inputs-missingorspent")]
    MissingOrSpent,
    #[error("bad-txns-nonfinal, locktime {lock_time} is not yet reached")]
    NonFinal { lock_time: u32 },
    #[error("non-BIP68-final, input {input} is locked for longer")]
    NonBip68Final { input: usize },
    #[error("bad-txns-premature-spend-of-coinbase, tried to spend coinbase at depth {depth}")]
    ImmatureCoinbase { depth: u32 },
    #[error("bad-txns-inputvalues-outofrange")]
    InputValues,
    #[error("bad-txns-in-belowout, value in ({input_sat} sat) < value out ({output_sat} sat)")]
    InBelowOut { input_sat: u64, output_sat: u64 },
    #[error("mandatory-script-verify-flag-failed, input {input} does not satisfy the script that it spends")]
    Script { input: usize },
}

/// Checks what needs no knowledge of the chain.
pub fn check_transaction(tx: &Transaction) -> Result<(), TxError> {
    if tx.input.is_empty() {
        return Err(TxError::NoInputs);
    }
    if tx.output.is_empty() {
        return Err(TxError::NoOutputs);
    }
    if tx.base_size() as u64 * 4 > Weight::MAX_BLOCK.to_wu() {
        return Err(TxError::Oversize);
    }
    output_total(tx)?;
    let mut seen = HashSet::with_capacity(tx.input.len());
    if !tx.input.iter().all(|input| seen.insert(input.previous_output)) {
        return Err(TxError::DuplicateInputs);
    }
    if tx.is_coinbase() {
        let length = tx.input[0].script_sig.len();
        if !(2..=100).contains(&length) {
            return Err(TxError::CoinbaseLength);
        }
    } else if tx.input.iter().any(|input| input.previous_output.is_null()) {
        return Err(TxError::NullPrevout);
    }
    Ok(())
}

/// What the outputs are worth together.
pub fn output_total(tx: &Transaction) -> Result<Amount, TxError> {
    let mut total = Amount::ZERO;
    for output in &tx.output {
        if output.value > Amount::MAX_MONEY {
            return Err(TxError::OutputTooLarge);
        }
        total = total.checked_add(output.value).ok_or(TxError::OutputTotalTooLarge)?;
        if total > Amount::MAX_MONEY {
            return Err(TxError::OutputTotalTooLarge);
        }
    }
    Ok(total)
}

/// Checks a transaction that is no coinbase against the coins it spends, one for each input in order, and gives its
/// fee. `median_time_at` is as in [`locktime::sequence_allows`].
pub fn check_spend(
    tx: &Transaction,
    coins: &[Coin],
    block: BlockContext,
    median_time_at: impl Fn(u32) -> u32,
) -> Result<Amount, TxError> {
    let mut total = Amount::ZERO;
    for (index, (input, coin)) in tx.input.iter().zip(coins).enumerate() {
        let depth = block.height.saturating_sub(coin.height);
        if coin.coinbase && depth < params::COINBASE_MATURITY {
            return Err(TxError::ImmatureCoinbase { depth });
        }
        if !locktime::sequence_allows(tx.version, input.sequence, coin.height, block, &median_time_at) {
            return Err(TxError::NonBip68Final { input: index });
        }
        total = total
            .checked_add(coin.output.value)
            .filter(|total| *total <= Amount::MAX_MONEY)
            .ok_or(TxError::InputValues)?;
    }
    let spent = output_total(tx)?;
    let fee = total
        .checked_sub(spent)
        .ok_or(TxError::InBelowOut { input_sat: total.to_sat(), output_sat: spent.to_sat() })?;
    #[cfg(feature = "scripts")]
    super::scripts::verify(tx, coins)?;
    Ok(fee)
}
