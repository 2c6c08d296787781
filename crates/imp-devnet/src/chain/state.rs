//! The blocks: what makes one valid, which branch is the chain, and what can be spent on it.
//!
//! [`Chain`] does no I/O and reads no clock. It keeps every block it ever accepted, those of stale branches too, the set
//! of unspent coins and the index of transactions of the active branch, and for each active block the coins that it
//! spent, so that it can be taken off again.

use std::collections::{HashMap, HashSet};

use bitcoin::{Block, BlockHash, OutPoint, Transaction, Txid, Weight, Work};

use super::check::{self, Coin, TxError};
use super::locktime::{self, BlockContext};
use super::{params, template};

/// How many blocks the median time is taken over.
const MEDIAN_TIME_SPAN: usize = 11;

/// How far behind the clock a block may be dated when the clock's own time is taken, see [`Chain::next_time`].
const TIME_SLACK_SECS: u32 = 30 * 60;

/// Why a block is refused. Texts are bitcoind's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("duplicate")]
    Duplicate,
    #[error("prev-blk-not-found")]
    UnknownParent,
    #[error("high-hash")]
    ProofOfWork,
    #[error("bad-diffbits")]
    Bits,
    #[error("time-too-old, the block's time {time} is not after the median {median} of those before it")]
    TimeTooOld { time: u32, median: u32 },
    #[error("time-too-new, the block's time {time} is more than two hours after the clock's {now}")]
    TimeTooNew { time: u32, now: u32 },
    #[error("bad-txnmrklroot")]
    MerkleRoot,
    #[error("bad-txns-duplicate")]
    DuplicateTransaction,
    #[error("bad-witness-merkle-match")]
    WitnessCommitment,
    #[error("bad-blk-length")]
    Length,
    #[error("bad-cb-missing")]
    NoCoinbase,
    #[error("bad-cb-multiple")]
    SecondCoinbase,
    #[error("bad-cb-height")]
    CoinbaseHeight,
    #[error("bad-cb-amount, the coinbase pays {paid_sat} sat of {allowed_sat} sat")]
    CoinbaseAmount { paid_sat: u64, allowed_sat: u64 },
    #[error("{error} (transaction {txid})")]
    Transaction { txid: Txid, error: TxError },
}

/// A block that was accepted.
#[derive(Clone, Debug)]
pub struct StoredBlock {
    pub block: Block,
    /// The ids of its transactions, in order.
    pub txids: Vec<Txid>,
    pub height: u32,
    /// The work of this block and all before it.
    pub chainwork: Work,
}

/// What accepting a block changed.
#[derive(Debug, Default)]
pub struct Change {
    /// Blocks that are now part of the chain, lowest first. Empty for a block of a side branch.
    pub connected: Vec<BlockHash>,
    /// Transactions of blocks that no longer are, coinbases left out, in the order of the chain.
    pub disconnected: Vec<Transaction>,
}

/// The block tree, its best branch and what that branch leaves unspent.
#[derive(Clone, Debug)]
pub struct Chain {
    blocks: HashMap<BlockHash, StoredBlock>,
    /// All blocks but the first, in the order in which they were accepted.
    arrivals: Vec<BlockHash>,
    active: Vec<BlockHash>,
    coins: HashMap<OutPoint, Coin>,
    transactions: HashMap<Txid, (u32, usize)>,
    undo: Vec<Vec<(OutPoint, Coin)>>,
}

impl Default for Chain {
    fn default() -> Self {
        let block = params::genesis();
        let hash = block.block_hash();
        let stored = StoredBlock {
            txids: block.txdata.iter().map(Transaction::compute_txid).collect(),
            height: 0,
            chainwork: block.header.work(),
            block,
        };
        // The first block's coinbase is neither a coin nor in the index: bitcoind cannot find or spend it either.
        Self {
            blocks: HashMap::from([(hash, stored)]),
            arrivals: Vec::new(),
            active: vec![hash],
            coins: HashMap::new(),
            transactions: HashMap::new(),
            undo: vec![Vec::new()],
        }
    }
}

impl Chain {
    /// The height of the newest block; 0 for a chain of the first block alone.
    pub fn height(&self) -> u32 {
        u32::try_from(self.active.len() - 1)
            .expect("a chain of four thousand million blocks does not fit into memory")
    }

    /// The hash of the newest block.
    pub fn tip_hash(&self) -> BlockHash {
        *self.active.last().expect("the first block is never taken off")
    }

    /// The newest block.
    pub fn tip(&self) -> &StoredBlock {
        &self.blocks[&self.tip_hash()]
    }

    /// The hash of the block at `height` of the active branch.
    pub fn hash_at(&self, height: u32) -> Option<BlockHash> {
        self.active.get(height as usize).copied()
    }

    /// A block, of the active branch or a stale one.
    pub fn block(&self, hash: &BlockHash) -> Option<&StoredBlock> {
        self.blocks.get(hash)
    }

    /// Whether the block is part of the active branch.
    pub fn is_active(&self, hash: &BlockHash) -> bool {
        self.blocks.get(hash).is_some_and(|stored| self.hash_at(stored.height) == Some(*hash))
    }

    /// How many blocks were accepted, stale ones included and the first one not.
    pub fn known_blocks(&self) -> usize {
        self.arrivals.len()
    }

    /// The blocks that were accepted after the first `count`, in that order.
    pub fn blocks_since(&self, count: usize) -> impl Iterator<Item = &Block> {
        self.arrivals.iter().skip(count).map(|hash| &self.blocks[hash].block)
    }

    /// The unspent output of a confirmed transaction.
    pub fn coin(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.coins.get(outpoint)
    }

    /// All unspent outputs, in no order.
    pub fn coins(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.coins.iter()
    }

    /// A transaction of the active branch and the block it is in.
    pub fn transaction(&self, txid: &Txid) -> Option<(&Transaction, &StoredBlock)> {
        let (height, position) = self.transactions.get(txid)?;
        let stored = &self.blocks[&self.active[*height as usize]];
        Some((&stored.block.txdata[*position], stored))
    }

    /// The block that is to be mined next, as far as lock times go.
    pub fn next_block(&self) -> BlockContext {
        BlockContext { height: self.height() + 1, median_time: self.median_time(&self.tip_hash()) }
    }

    /// The median time of the eleven blocks that end with the one at `height` of the active branch, or with the newest
    /// one if there is none at that height.
    pub fn median_time_at(&self, height: u32) -> u32 {
        self.median_time(&self.hash_at(height).unwrap_or_else(|| self.tip_hash()))
    }

    /// The median time of the eleven blocks that end with `hash`, which must be known.
    pub fn median_time(&self, hash: &BlockHash) -> u32 {
        let mut times = self.recent_times(hash);
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn recent_times(&self, hash: &BlockHash) -> Vec<u32> {
        std::iter::successors(self.blocks.get(hash), |stored| {
            self.blocks.get(&stored.block.header.prev_blockhash)
        })
        .take(MEDIAN_TIME_SPAN)
        .map(|stored| stored.block.header.time)
        .collect()
    }

    /// The time to give to a block on top of `parent`, which must be known.
    ///
    /// Lightning nodes judge invoices by the newest header time, so that times must not run ahead of the clock however
    /// fast blocks are mined. Therefore one block in a second is dated by the clock, and only if `by_clock`; the others
    /// are dated as early as the median rule allows, up to half an hour back.
    pub fn next_time(&self, parent: &BlockHash, now: u32, by_clock: bool) -> u32 {
        let times = self.recent_times(parent);
        let newest = times.iter().copied().max().unwrap_or(0);
        let floor = self.median_time(parent).saturating_add(1).max(now.saturating_sub(TIME_SLACK_SECS));
        // Of two blocks the later one is the median: on top of the first block the clock would bind all that follow.
        let by_clock = by_clock && newest < now && times.len() > 1;
        if by_clock { now.max(floor) } else { floor }
    }

    /// Checks a block and adds it. The branch with the most work is the chain; of two with the same work, the one that
    /// was complete first. `now` in Unix seconds. A block that is refused changes nothing.
    pub fn accept(&mut self, block: Block, now: u32) -> Result<Change, BlockError> {
        let hash = block.block_hash();
        if self.blocks.contains_key(&hash) {
            return Err(BlockError::Duplicate);
        }
        let parent = self.blocks.get(&block.header.prev_blockhash).ok_or(BlockError::UnknownParent)?;
        let height = parent.height + 1;
        let chainwork = parent.chainwork + block.header.work();
        let txids = self.check_block(&block, height, now)?;
        self.blocks.insert(hash, StoredBlock { block, txids, height, chainwork });
        self.arrivals.push(hash);
        if chainwork <= self.tip().chainwork {
            return Ok(Change::default());
        }
        self.activate(hash)
    }

    /// All rules that need the headers before the block, but not the coins.
    fn check_block(&self, block: &Block, height: u32, now: u32) -> Result<Vec<Txid>, BlockError> {
        let header = &block.header;
        if header.bits != params::bits() {
            return Err(BlockError::Bits);
        }
        header.validate_pow(params::target()).map_err(|_| BlockError::ProofOfWork)?;
        let median = self.median_time(&header.prev_blockhash);
        if header.time <= median {
            return Err(BlockError::TimeTooOld { time: header.time, median });
        }
        if header.time > now.saturating_add(params::MAX_FUTURE_SECS) {
            return Err(BlockError::TimeTooNew { time: header.time, now });
        }
        let coinbase = block.coinbase().filter(|tx| tx.is_coinbase()).ok_or(BlockError::NoCoinbase)?;
        if block.weight() > Weight::MAX_BLOCK {
            return Err(BlockError::Length);
        }
        if block.txdata[1..].iter().any(Transaction::is_coinbase) {
            return Err(BlockError::SecondCoinbase);
        }
        if !block.check_merkle_root() {
            return Err(BlockError::MerkleRoot);
        }
        let txids: Vec<_> = block.txdata.iter().map(Transaction::compute_txid).collect();
        // A repeated tail of transactions has the same merkle root as the list without it (CVE-2012-2459).
        let mut seen = HashSet::with_capacity(txids.len());
        if !txids.iter().all(|txid| seen.insert(txid)) {
            return Err(BlockError::DuplicateTransaction);
        }
        // BIP141 asks for a commitment only where there are witnesses; here a block always has one, as bitcoind's do.
        if coinbase.input[0].witness.is_empty() || !block.check_witness_commitment() {
            return Err(BlockError::WitnessCommitment);
        }
        if !coinbase.input[0].script_sig.as_bytes().starts_with(&template::height_prefix(height)) {
            return Err(BlockError::CoinbaseHeight);
        }
        let context = BlockContext { height, median_time: median };
        for (tx, txid) in block.txdata.iter().zip(&txids) {
            let refuse = |error| BlockError::Transaction { txid: *txid, error };
            check::check_transaction(tx).map_err(refuse)?;
            if !locktime::is_final(tx, context) {
                return Err(refuse(TxError::NonFinal { lock_time: tx.lock_time.to_consensus_u32() }));
            }
        }
        Ok(txids)
    }

    /// Makes the branch that ends with `tip` the chain. If a block of it turns out to be invalid, that block and those
    /// after it are forgotten and the chain stays what it was.
    fn activate(&mut self, tip: BlockHash) -> Result<Change, BlockError> {
        let mut branch = vec![tip];
        let mut fork = self.blocks[&tip].block.header.prev_blockhash;
        while !self.is_active(&fork) {
            branch.push(fork);
            fork = self.blocks[&fork].block.header.prev_blockhash;
        }
        branch.reverse();

        let mut removed = Vec::new();
        while self.tip_hash() != fork {
            removed.push(self.disconnect_tip());
        }
        removed.reverse();

        for (connected, hash) in branch.iter().enumerate() {
            if let Err(error) = self.connect(*hash) {
                for _ in 0..connected {
                    self.disconnect_tip();
                }
                for hash in &branch[connected..] {
                    self.blocks.remove(hash);
                }
                self.arrivals.retain(|hash| self.blocks.contains_key(hash));
                for hash in &removed {
                    self.connect(*hash).expect("a block that was connected before can be connected again");
                }
                return Err(error);
            }
        }
        let disconnected =
            removed.iter().flat_map(|hash| self.blocks[hash].block.txdata.iter().skip(1).cloned()).collect();
        Ok(Change { connected: branch, disconnected })
    }

    /// Checks the block, whose parent must be the tip, against the coins, and makes it the tip.
    fn connect(&mut self, hash: BlockHash) -> Result<(), BlockError> {
        let stored = &self.blocks[&hash];
        let (height, txdata) = (stored.height, &stored.block.txdata);
        let context = self.next_block();
        let mut created: HashMap<OutPoint, Coin> = HashMap::new();
        let mut spent: Vec<(OutPoint, Coin)> = Vec::new();
        let mut spent_set: HashSet<OutPoint> = HashSet::new();
        let mut allowed = params::subsidy(height);

        for (tx, txid) in txdata.iter().zip(&stored.txids) {
            let refuse = |error| BlockError::Transaction { txid: *txid, error };
            let coinbase = tx.is_coinbase();
            if !coinbase {
                let mut coins = Vec::with_capacity(tx.input.len());
                for input in &tx.input {
                    let outpoint = input.previous_output;
                    let coin = match created.remove(&outpoint) {
                        Some(coin) => coin,
                        None => {
                            let coin = self.coins.get(&outpoint).filter(|_| spent_set.insert(outpoint));
                            let coin = coin.ok_or(refuse(TxError::MissingOrSpent))?.clone();
                            spent.push((outpoint, coin.clone()));
                            coin
                        }
                    };
                    coins.push(coin);
                }
                let fee = check::check_spend(tx, &coins, context, |height| self.median_time_at(height))
                    .map_err(refuse)?;
                allowed = allowed.checked_add(fee).ok_or(refuse(TxError::InputValues))?;
            }
            for (vout, output) in (0..).zip(&tx.output) {
                // What can never be spent is no coin.
                if !output.script_pubkey.is_op_return() {
                    let coin = Coin { output: output.clone(), height, coinbase };
                    created.insert(OutPoint::new(*txid, vout), coin);
                }
            }
        }
        let paid = check::output_total(&txdata[0])
            .map_err(|error| BlockError::Transaction { txid: stored.txids[0], error })?;
        if paid > allowed {
            return Err(BlockError::CoinbaseAmount {
                paid_sat: paid.to_sat(),
                allowed_sat: allowed.to_sat(),
            });
        }

        for (outpoint, _) in &spent {
            self.coins.remove(outpoint);
        }
        self.coins.extend(created);
        self.transactions
            .extend(stored.txids.iter().enumerate().map(|(position, txid)| (*txid, (height, position))));
        self.undo.push(spent);
        self.active.push(hash);
        Ok(())
    }

    /// Takes the newest block off. Must not be called when only the first block is left.
    fn disconnect_tip(&mut self) -> BlockHash {
        let hash = self.active.pop().expect("the first block is never taken off");
        let spent = self.undo.pop().expect("each active block has its undo data");
        let stored = &self.blocks[&hash];
        for (tx, txid) in stored.block.txdata.iter().zip(&stored.txids) {
            for vout in (0..).take(tx.output.len()) {
                self.coins.remove(&OutPoint::new(*txid, vout));
            }
            self.transactions.remove(txid);
        }
        self.coins.extend(spent);
        hash
    }
}
