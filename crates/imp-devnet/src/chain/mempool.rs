//! Transactions that wait for a block, and the rules that let them in.
//!
//! The rules are bitcoind's that a Lightning node can run into: inputs, values, lock times, the minimum relay fee, fee
//! bumps (BIP125), duplicates. Left out are those that only guard a public network: standard script forms, dust, limits
//! on chains of unconfirmed transactions, version 3.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bitcoin::{Amount, OutPoint, Transaction, Txid, Weight, Wtxid};

use super::check::{self, Coin, TxError};
use super::locktime;
use super::state::Chain;

/// The least fee for being relayed, and the least that a replacement must pay more, per virtual byte.
pub const MIN_RELAY_SAT_PER_VB: u64 = 1;

/// The heaviest transaction that is relayed.
const MAX_TX_WEIGHT: u64 = 400_000;

/// The smallest transaction that is relayed, in bytes without witnesses (CVE-2017-12842).
const MIN_TX_BYTES: usize = 65;

/// How many transactions one replacement may push out.
const MAX_REPLACED: usize = 100;

/// How many transactions may wait.
const MAX_WAITING: usize = 10_000;

/// What of a block is kept free for the header and the coinbase.
const RESERVED_WEIGHT: u64 = 4_000;

/// Why a transaction is not let in. Texts are bitcoind's reasons; what comes after the first comma is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    #[error(transparent)]
    Invalid(#[from] TxError),
    #[error("coinbase")]
    Coinbase,
    #[error("tx-size-small")]
    TooSmall,
    #[error("tx-size")]
    TooLarge,
    #[error("non-final, locktime {lock_time} is not reached by the next block")]
    NonFinal { lock_time: u32 },
    #[error("txn-already-in-mempool")]
    AlreadyInMempool,
    #[error("txn-same-nonwitness-data-in-mempool")]
    OtherWitnessInMempool,
    #[error("txn-already-known")]
    AlreadyConfirmed,
    #[error("txn-mempool-conflict, {with} spends the same coin and does not allow replacement")]
    Conflict { with: Txid },
    #[error("bad-txns-spends-conflicting-tx, it spends an output of {of}, which it would replace")]
    SpendsReplaced { of: Txid },
    #[error("replacement-adds-unconfirmed, input {outpoint} is new and unconfirmed")]
    AddsUnconfirmed { outpoint: OutPoint },
    #[error("too many potential replacements, {count} would be pushed out")]
    TooManyReplaced { count: usize },
    #[error(
        "insufficient fee, a replacement must pay {wanted_sat} sat or more and a higher rate, it pays {fee_sat} sat"
    )]
    InsufficientFee { fee_sat: u64, wanted_sat: u64 },
    #[error("min relay fee not met, {fee_sat} < {wanted_sat}")]
    FeeTooLow { fee_sat: u64, wanted_sat: u64 },
    #[error("mempool full, {MAX_WAITING} transactions are waiting: mine a block")]
    Full,
}

impl Reject {
    /// The part of the text that programs match on.
    pub fn reason(&self) -> String {
        let text = self.to_string();
        text.split(", ").next().unwrap_or_default().to_owned()
    }

    /// Whether an input is not there to be spent.
    pub fn is_missing_input(&self) -> bool {
        *self == Self::Invalid(TxError::MissingOrSpent)
    }
}

/// Which fees are asked of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeRule {
    /// The minimum relay fee.
    Relay,
    /// None: the transaction is part of a package that pays enough as a whole, or was in the mempool or a block before.
    Exempt,
}

/// A transaction that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub tx: Arc<Transaction>,
    pub txid: Txid,
    pub wtxid: Wtxid,
    pub fee: Amount,
    /// Virtual size in bytes.
    pub vsize: u64,
    /// When it came, Unix seconds.
    pub time: u32,
    /// The height of the chain when it came.
    pub height: u32,
    sequence: u64,
}

/// What letting a transaction in would mean.
#[derive(Clone, Debug)]
pub struct Admission {
    pub txid: Txid,
    pub wtxid: Wtxid,
    pub fee: Amount,
    /// Virtual size in bytes.
    pub vsize: u64,
    /// What it pushes out, in no order.
    pub replaces: Vec<Txid>,
}

/// The transactions that wait, none of which spends a coin that another one spends.
#[derive(Clone, Debug, Default)]
pub struct Mempool {
    by_txid: HashMap<Txid, Waiting>,
    /// In the order of arrival: parents stand before children.
    order: BTreeMap<u64, Txid>,
    spenders: HashMap<OutPoint, Txid>,
    next_sequence: u64,
}

impl Mempool {
    pub fn len(&self) -> usize {
        self.by_txid.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_txid.is_empty()
    }

    pub fn get(&self, txid: &Txid) -> Option<&Waiting> {
        self.by_txid.get(txid)
    }

    /// All that wait, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.order.values().map(|txid| &self.by_txid[txid])
    }

    /// A number that rises with every transaction that is let in.
    pub fn sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The transaction that spends the coin.
    pub fn spender(&self, outpoint: &OutPoint) -> Option<Txid> {
        self.spenders.get(outpoint).copied()
    }

    /// The output of a transaction that waits, whether or not another one that waits spends it.
    pub fn output(&self, outpoint: &OutPoint) -> Option<&bitcoin::TxOut> {
        self.by_txid.get(&outpoint.txid)?.tx.output.get(outpoint.vout as usize)
    }

    /// The transactions that wait and whose outputs this one spends.
    pub fn parents(&self, tx: &Transaction) -> BTreeSet<Txid> {
        let ids = tx.input.iter().map(|input| input.previous_output.txid);
        ids.filter(|txid| self.by_txid.contains_key(txid)).collect()
    }

    /// The transactions that wait and spend an output of this one.
    pub fn children(&self, waiting: &Waiting) -> BTreeSet<Txid> {
        let outpoints = (0..).take(waiting.tx.output.len()).map(|vout| OutPoint::new(waiting.txid, vout));
        outpoints.filter_map(|outpoint| self.spender(&outpoint)).collect()
    }

    /// The transaction and all unconfirmed ones it builds on.
    pub fn with_ancestors(&self, txid: &Txid) -> BTreeSet<Txid> {
        self.reach(txid, |waiting| self.parents(&waiting.tx))
    }

    /// The transaction and all that build on it.
    pub fn with_descendants(&self, txid: &Txid) -> BTreeSet<Txid> {
        self.reach(txid, |waiting| self.children(waiting))
    }

    fn reach(&self, from: &Txid, next: impl Fn(&Waiting) -> BTreeSet<Txid>) -> BTreeSet<Txid> {
        let mut found = BTreeSet::new();
        let mut open = vec![*from];
        while let Some(txid) = open.pop() {
            if let Some(waiting) = self.by_txid.get(&txid).filter(|_| found.insert(txid)) {
                open.extend(next(waiting));
            }
        }
        found
    }

    /// Whether the transaction or an unconfirmed one that it builds on allows replacement (BIP125).
    pub fn is_replaceable(&self, txid: &Txid) -> bool {
        self.with_ancestors(txid).iter().any(|txid| self.by_txid[txid].tx.is_explicitly_rbf())
    }

    /// Checks whether the transaction may wait for the next block of `chain`. Changes nothing.
    pub fn check(&self, chain: &Chain, tx: &Transaction, fees: FeeRule) -> Result<Admission, Reject> {
        check::check_transaction(tx)?;
        if tx.is_coinbase() {
            return Err(Reject::Coinbase);
        }
        if tx.base_size() < MIN_TX_BYTES {
            return Err(Reject::TooSmall);
        }
        if tx.weight().to_wu() > MAX_TX_WEIGHT {
            return Err(Reject::TooLarge);
        }
        let block = chain.next_block();
        if !locktime::is_final(tx, block) {
            return Err(Reject::NonFinal { lock_time: tx.lock_time.to_consensus_u32() });
        }
        let (txid, wtxid) = (tx.compute_txid(), tx.compute_wtxid());
        if let Some(waiting) = self.by_txid.get(&txid) {
            let same = waiting.wtxid == wtxid;
            return Err(if same { Reject::AlreadyInMempool } else { Reject::OtherWitnessInMempool });
        }
        let coins = self.coins(chain, tx, txid, block.height)?;
        let fee = check::check_spend(tx, &coins, block, |height| chain.median_time_at(height))?;
        let vsize = tx.vsize() as u64;
        let wanted_sat = vsize * MIN_RELAY_SAT_PER_VB;
        if fees == FeeRule::Relay && fee.to_sat() < wanted_sat {
            return Err(Reject::FeeTooLow { fee_sat: fee.to_sat(), wanted_sat });
        }
        let mut admission = Admission { txid, wtxid, fee, vsize, replaces: Vec::new() };
        admission.replaces = self.check_replacement(tx, &admission)?;
        if self.len() >= MAX_WAITING {
            return Err(Reject::Full);
        }
        Ok(admission)
    }

    fn coins(&self, chain: &Chain, tx: &Transaction, txid: Txid, height: u32) -> Result<Vec<Coin>, Reject> {
        let find = |outpoint: &OutPoint| {
            chain.coin(outpoint).cloned().or_else(|| {
                let output = self.output(outpoint)?.clone();
                Some(Coin { output, height, coinbase: false })
            })
        };
        let coins: Option<Vec<_>> = tx.input.iter().map(|input| find(&input.previous_output)).collect();
        coins.ok_or_else(|| {
            let mut outputs = (0..).take(tx.output.len()).map(|vout| OutPoint::new(txid, vout));
            if outputs.any(|outpoint| chain.coin(&outpoint).is_some()) {
                Reject::AlreadyConfirmed
            } else {
                Reject::Invalid(TxError::MissingOrSpent)
            }
        })
    }

    /// The rules of BIP125 for a transaction that spends a coin which another one spends already.
    fn check_replacement(&self, tx: &Transaction, new: &Admission) -> Result<Vec<Txid>, Reject> {
        let direct: BTreeSet<Txid> =
            tx.input.iter().filter_map(|input| self.spender(&input.previous_output)).collect();
        if direct.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(with) = direct.iter().find(|txid| !self.is_replaceable(txid)) {
            return Err(Reject::Conflict { with: *with });
        }
        let mut replaced: BTreeSet<Txid> = BTreeSet::new();
        for txid in &direct {
            replaced.extend(self.with_descendants(txid));
            if replaced.len() > MAX_REPLACED {
                return Err(Reject::TooManyReplaced { count: replaced.len() });
            }
        }
        let inputs = || tx.input.iter().map(|input| input.previous_output);
        if let Some(outpoint) = inputs().find(|outpoint| replaced.contains(&outpoint.txid)) {
            return Err(Reject::SpendsReplaced { of: outpoint.txid });
        }
        let known: HashSet<Txid> =
            direct.iter().flat_map(|txid| self.parents(&self.by_txid[txid].tx)).collect();
        let added = inputs()
            .find(|outpoint| self.by_txid.contains_key(&outpoint.txid) && !known.contains(&outpoint.txid));
        if let Some(outpoint) = added {
            return Err(Reject::AddsUnconfirmed { outpoint });
        }
        let old_fees_sat: u64 = replaced.iter().map(|txid| self.by_txid[txid].fee.to_sat()).sum();
        let wanted_sat = old_fees_sat + new.vsize * MIN_RELAY_SAT_PER_VB;
        let fee_sat = new.fee.to_sat();
        let higher_rate = direct.iter().map(|txid| &self.by_txid[txid]).all(|old| {
            u128::from(fee_sat) * u128::from(old.vsize) > u128::from(old.fee.to_sat()) * u128::from(new.vsize)
        });
        if fee_sat < wanted_sat || !higher_rate {
            return Err(Reject::InsufficientFee { fee_sat, wanted_sat });
        }
        Ok(replaced.into_iter().collect())
    }

    /// Lets a transaction in that [`check`](Self::check) passed with this result and nothing in between. `now` in Unix
    /// seconds.
    pub fn insert(&mut self, chain: &Chain, tx: Transaction, admission: Admission, now: u32) {
        for txid in &admission.replaces {
            self.remove(txid);
        }
        let Admission { txid, wtxid, fee, vsize, .. } = admission;
        self.spenders.extend(tx.input.iter().map(|input| (input.previous_output, txid)));
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.order.insert(sequence, txid);
        let tx = Arc::new(tx);
        let waiting = Waiting { tx, txid, wtxid, fee, vsize, time: now, height: chain.height(), sequence };
        self.by_txid.insert(txid, waiting);
    }

    /// Takes one transaction out and leaves those that build on it.
    pub fn remove(&mut self, txid: &Txid) -> Option<Waiting> {
        let waiting = self.by_txid.remove(txid)?;
        self.order.remove(&waiting.sequence);
        for input in &waiting.tx.input {
            self.spenders.remove(&input.previous_output);
        }
        Some(waiting)
    }

    /// Takes a transaction out and all that build on it. Gives what was taken out.
    pub fn evict(&mut self, txid: &Txid) -> Vec<Txid> {
        let gone = self.with_descendants(txid);
        gone.iter().filter_map(|txid| self.remove(txid)).map(|waiting| waiting.txid).collect()
    }

    /// Takes out what a block confirms or makes impossible.
    pub fn remove_confirmed(&mut self, transactions: &[Transaction], txids: &[Txid]) {
        for (tx, txid) in transactions.iter().zip(txids) {
            self.remove(txid);
            for input in &tx.input {
                if let Some(other) = self.spender(&input.previous_output) {
                    self.evict(&other);
                }
            }
        }
    }

    /// Takes everything out, in order.
    pub fn drain(&mut self) -> Vec<Waiting> {
        let all = self.iter().cloned().collect();
        *self = Self { next_sequence: self.next_sequence, ..Self::default() };
        all
    }

    /// What fits into one block, parents before children, and what it pays in fees.
    ///
    /// First come, first served: blocks of this chain are never full enough for fees to compete.
    pub fn select(&self) -> (Vec<Transaction>, Amount) {
        let mut room = Weight::MAX_BLOCK.to_wu() - RESERVED_WEIGHT;
        let mut left_out: HashSet<Txid> = HashSet::new();
        let mut chosen = Vec::new();
        let mut fees = Amount::ZERO;
        for waiting in self.iter() {
            let weight = waiting.tx.weight().to_wu();
            let orphaned =
                waiting.tx.input.iter().any(|input| left_out.contains(&input.previous_output.txid));
            if orphaned || weight > room {
                left_out.insert(waiting.txid);
            } else {
                room -= weight;
                fees += waiting.fee;
                chosen.push(Transaction::clone(&waiting.tx));
            }
        }
        (chosen, fees)
    }
}
