//! Absolute and relative lock times (BIP65, BIP68, BIP113).

use bitcoin::absolute::LockTime;
use bitcoin::relative;
use bitcoin::transaction::Version;
use bitcoin::{Sequence, Transaction};

/// The block a transaction is to be in, as far as lock times go.
#[derive(Clone, Copy, Debug)]
pub struct BlockContext {
    /// Its height.
    pub height: u32,
    /// The median time of the eleven blocks before it: the clock that BIP113 tells time by.
    pub median_time: u32,
}

/// Whether `nLockTime` lets the transaction into the block.
pub fn is_final(tx: &Transaction, block: BlockContext) -> bool {
    let reached = match tx.lock_time {
        LockTime::Blocks(height) => {
            height.to_consensus_u32() < block.height || height.to_consensus_u32() == 0
        }
        LockTime::Seconds(time) => time.to_consensus_u32() < block.median_time,
    };
    reached || tx.input.iter().all(|input| input.sequence == Sequence::MAX)
}

/// Whether the relative lock of one input lets the transaction into the block.
///
/// `coin_height` is the height at which the spent coin was confirmed, or that of `block` if it is not yet;
/// `median_time_at(h)` is the median time of the eleven blocks that end with the one at height `h`.
pub fn sequence_allows(
    version: Version,
    sequence: Sequence,
    coin_height: u32,
    block: BlockContext,
    median_time_at: impl Fn(u32) -> u32,
) -> bool {
    // Version is signed in the protocol but compared as unsigned by BIP68's rule: -1 is a high version.
    if (version.0 as u32) < 2 {
        return true;
    }
    match sequence.to_relative_lock_time() {
        None => true,
        Some(relative::LockTime::Blocks(blocks)) => {
            u64::from(coin_height) + u64::from(blocks.value()) <= u64::from(block.height)
        }
        Some(relative::LockTime::Time(units)) => {
            let since = median_time_at(coin_height.saturating_sub(1));
            u64::from(since) + (u64::from(units.value()) << 9) <= u64::from(block.median_time)
        }
    }
}
