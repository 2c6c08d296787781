//! The numbers of Bitcoin's regtest network.

use bitcoin::blockdata::constants;
use bitcoin::script::Builder;
use bitcoin::{Amount, Block, CompactTarget, Network, ScriptBuf, Target, opcodes};

/// Blocks that must lie between a coinbase and the block that spends it, both counted once.
pub const COINBASE_MATURITY: u32 = 100;

/// Blocks between two halvings of the subsidy.
const HALVING_INTERVAL: u32 = 150;

/// How far a block's time may be ahead of the clock.
pub const MAX_FUTURE_SECS: u32 = 2 * 60 * 60;

/// The header version that signals no soft fork (BIP9).
pub const BLOCK_VERSION: i32 = 0x2000_0000;

/// The proof of work that every header of regtest names: half of all hashes pass.
pub fn bits() -> CompactTarget {
    CompactTarget::from_consensus(0x207f_ffff)
}

/// [`bits`], unpacked.
pub fn target() -> Target {
    Target::from_compact(bits())
}

/// The real first block of regtest, `0f9188f1…`.
pub fn genesis() -> Block {
    constants::genesis_block(Network::Regtest)
}

/// What the miner of the block at `height` may create.
pub fn subsidy(height: u32) -> Amount {
    let halvings = height / HALVING_INTERVAL;
    Amount::from_sat(Amount::from_int_btc(50).to_sat().checked_shr(halvings).unwrap_or(0))
}

/// The script that anyone can spend with no key and no witness: what the chain pays its own coinbases to, so that it
/// can fund any address without a wallet.
pub fn anyone_can_spend() -> ScriptBuf {
    Builder::new().push_opcode(opcodes::OP_TRUE).into_script()
}
