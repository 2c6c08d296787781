//! The chain together with the transactions that wait for it: mining, relaying, reorganising.
//!
//! Like [`Chain`] it is pure: time comes in as an argument, in Unix seconds.

use std::collections::HashMap;

use bitcoin::{Amount, Block, BlockHash, OutPoint, Script, Transaction, Txid};

use super::check;
use super::mempool::{Admission, FeeRule, Mempool, Reject};
use super::params;
use super::state::{BlockError, Chain, Change};
use super::template::Template;

/// How deep a reorganisation may go. It bounds the work of one call.
pub const MAX_REORG_DEPTH: u32 = 1_000;

/// Why the chain was not reorganised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReorgError {
    #[error(
        "the depth of a reorganisation is 1 to {MAX_REORG_DEPTH} and at most the height {height}, not {depth}"
    )]
    Depth { depth: u32, height: u32 },
    #[error("the other branch is invalid: {0}")]
    Block(#[from] BlockError),
}

/// A chain and its mempool.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    chain: Chain,
    mempool: Mempool,
}

impl Ledger {
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// Checks a transaction without letting it in.
    pub fn check(&self, tx: &Transaction) -> Result<Admission, Reject> {
        self.mempool.check(&self.chain, tx, FeeRule::Relay)
    }

    /// Lets a transaction into the mempool.
    pub fn submit(&mut self, tx: Transaction, now: u32) -> Result<Admission, Reject> {
        self.admit(tx, FeeRule::Relay, now)
    }

    pub(super) fn admit(&mut self, tx: Transaction, fees: FeeRule, now: u32) -> Result<Admission, Reject> {
        let admission = self.mempool.check(&self.chain, &tx, fees)?;
        self.mempool.insert(&self.chain, tx, admission.clone(), now);
        Ok(admission)
    }

    /// A copy of the mempool, to be put back with [`restore_mempool`](Self::restore_mempool) if what follows fails.
    pub(super) fn save_mempool(&self) -> Mempool {
        self.mempool.clone()
    }

    pub(super) fn restore_mempool(&mut self, saved: Mempool) {
        self.mempool = saved;
    }

    /// Takes a waiting transaction out of the mempool, and all that build on it. Gives what was taken out.
    pub fn evict(&mut self, txid: &Txid) -> Vec<Txid> {
        self.mempool.evict(txid)
    }

    /// Mines a block of what waits. `by_clock` as in [`Chain::next_time`].
    pub fn mine(&mut self, payout: &Script, now: u32, by_clock: bool) -> Result<BlockHash, BlockError> {
        let (transactions, fees) = self.mempool.select();
        self.mine_on_tip(payout, transactions, fees, now, by_clock)
    }

    /// Mines a block of exactly these transactions, in this order, whether or not they are in the mempool.
    pub fn mine_with(
        &mut self,
        payout: &Script,
        transactions: Vec<Transaction>,
        now: u32,
    ) -> Result<BlockHash, BlockError> {
        let fees = self.fees(&transactions);
        self.mine_on_tip(payout, transactions, fees, now, true)
    }

    /// What the transactions pay in fees if each spends coins of the chain or of those before it. Of others nothing
    /// sensible can be said, and no block with them is valid.
    fn fees(&self, transactions: &[Transaction]) -> Amount {
        let mut created = HashMap::new();
        let mut fees = Amount::ZERO;
        for tx in transactions {
            let mut spent = tx.input.iter().map(|input| {
                let outpoint = &input.previous_output;
                let confirmed = self.chain.coin(outpoint).map(|coin| coin.output.value);
                confirmed.or_else(|| created.get(outpoint).copied())
            });
            let spent = spent.try_fold(Amount::ZERO, |sum, value| sum.checked_add(value?));
            let paid = check::output_total(tx).ok();
            let fee = spent.zip(paid).and_then(|(spent, paid)| spent.checked_sub(paid));
            fees = fee.and_then(|fee| fees.checked_add(fee)).unwrap_or(fees);
            let txid = tx.compute_txid();
            created.extend(
                (0..).zip(&tx.output).map(|(vout, output)| (OutPoint::new(txid, vout), output.value)),
            );
        }
        fees
    }

    fn mine_on_tip(
        &mut self,
        payout: &Script,
        transactions: Vec<Transaction>,
        fees: Amount,
        now: u32,
        by_clock: bool,
    ) -> Result<BlockHash, BlockError> {
        let parent = self.chain.tip_hash();
        let height = self.chain.height() + 1;
        let template = Template {
            parent,
            height,
            time: self.chain.next_time(&parent, now, by_clock),
            reward: params::subsidy(height).checked_add(fees).unwrap_or(Amount::MAX_MONEY),
            payout,
            extra_nonce: self.chain.known_blocks() as u64,
            transactions,
        };
        let block = template.mine();
        let hash = block.block_hash();
        self.accept(block, now)?;
        Ok(hash)
    }

    /// Adds a block from elsewhere and brings the mempool in line with what it changed.
    pub fn accept(&mut self, block: Block, now: u32) -> Result<Change, BlockError> {
        let change = self.chain.accept(block, now)?;
        for hash in &change.connected {
            if let Some(stored) = self.chain.block(hash) {
                self.mempool.remove_confirmed(&stored.block.txdata, &stored.txids);
            }
        }
        if !change.disconnected.is_empty() || change.connected.len() > 1 {
            self.refill(&change.disconnected, now);
        }
        Ok(change)
    }

    /// Offers the transactions of blocks that were taken off to the mempool, and everything in it again: coins may be
    /// gone and lock times may have moved back.
    fn refill(&mut self, disconnected: &[Transaction], now: u32) {
        let waiting = self.mempool.drain();
        let again = disconnected.iter().cloned().map(|tx| (tx, now));
        let waiting = waiting.into_iter().map(|waiting| (Transaction::clone(&waiting.tx), waiting.time));
        for (tx, time) in again.chain(waiting) {
            // What does not fit any more is dropped, as every node does after a reorganisation.
            if let Ok(admission) = self.mempool.check(&self.chain, &tx, FeeRule::Exempt)
                && admission.replaces.is_empty()
            {
                self.mempool.insert(&self.chain, tx, admission, time);
            }
        }
    }

    /// Leaves the newest `depth` blocks and mines `depth + 1` empty ones in their place, so that the new tip is higher.
    /// Transactions of the blocks that were left are in the mempool afterwards. Gives the new blocks, lowest first.
    pub fn reorg(&mut self, payout: &Script, depth: u32, now: u32) -> Result<Vec<BlockHash>, ReorgError> {
        let height = self.chain.height();
        if depth == 0 || depth > height.min(MAX_REORG_DEPTH) {
            return Err(ReorgError::Depth { depth, height });
        }
        let fork = height - depth;
        let mut parent = self.chain.hash_at(fork).expect("the fork is below the tip");
        let mut hashes = Vec::new();
        for height in fork + 1..=fork + depth + 1 {
            let template = Template {
                parent,
                height,
                time: self.chain.next_time(&parent, now, height == fork + depth + 1),
                reward: params::subsidy(height),
                payout,
                extra_nonce: self.chain.known_blocks() as u64,
                transactions: Vec::new(),
            };
            let block = template.mine();
            parent = block.block_hash();
            self.accept(block, now)?;
            hashes.push(parent);
        }
        Ok(hashes)
    }
}
