//! Any sequence of what can happen to a chain leaves it consistent.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use bitcoin::{Address, Amount, OutPoint, Sequence, Transaction, Txid};
use imp_devnet::chain::check::Coin;
use imp_devnet::chain::ledger::Ledger;
use imp_devnet::chain::mempool::{FeeRule, Mempool};
use imp_devnet::chain::state::Chain;
use imp_devnet::chain::{ChainOptions, DevChain, params};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::wallet::{NOW, address, spend};

#[derive(Clone, Debug)]
enum Operation {
    Mine {
        blocks: u32,
    },
    Fund {
        sat: u64,
        outputs: usize,
    },
    /// Spends a coin that nothing spends yet, confirmed or not.
    Spend {
        coin: Index,
        fee_sat: u64,
        fixed: bool,
        lock_blocks: u16,
    },
    /// Spends a coin that a waiting transaction spends.
    Rival {
        coin: Index,
        fee_sat: u64,
    },
    /// Mines a rival of a waiting transaction, which nobody saw in the mempool.
    MineRival {
        coin: Index,
    },
    Evict {
        transaction: Index,
    },
    Reorganise {
        depth: u32,
    },
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    let fee_sat = prop_oneof![0..300_u64, 1_000..20_000_u64];
    prop_oneof![
        3 => (1..4_u32).prop_map(|blocks| Operation::Mine { blocks }),
        3 => (50_000..5_000_000_u64, 1..4_usize).prop_map(|(sat, outputs)| Operation::Fund { sat, outputs }),
        8 => (any::<Index>(), fee_sat.clone(), any::<bool>(), 0..3_u16).prop_map(
            |(coin, fee_sat, fixed, lock_blocks)| Operation::Spend { coin, fee_sat, fixed, lock_blocks }
        ),
        4 => (any::<Index>(), fee_sat).prop_map(|(coin, fee_sat)| Operation::Rival { coin, fee_sat }),
        1 => any::<Index>().prop_map(|coin| Operation::MineRival { coin }),
        1 => any::<Index>().prop_map(|transaction| Operation::Evict { transaction }),
        2 => prop_oneof![4 => 1..5_u32, 1 => 100..110_u32].prop_map(|depth| Operation::Reorganise { depth }),
        1 => Just(Operation::Reopen),
    ]
}

fn open(dir: &Path) -> DevChain {
    let options = ChainOptions {
        dir: Some(dir.to_owned()),
        mine_interval: None,
        initial_blocks: 103,
        ..ChainOptions::default()
    };
    DevChain::new(options).unwrap()
}

/// A directory with a young chain, a copy of one that was mined once.
fn young_chain() -> tempfile::TempDir {
    static BLOCKS: OnceLock<Vec<u8>> = OnceLock::new();
    let blocks = BLOCKS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        fs::read(dir.path().join("blocks.dat")).unwrap()
    });
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("blocks.dat"), blocks).unwrap();
    dir
}

/// Coins of [`address`], confirmed and not, in a fixed order.
fn coins(ledger: &Ledger) -> Vec<(OutPoint, u64)> {
    let script = address().script_pubkey();
    let confirmed = ledger.chain().coins().map(|(outpoint, coin)| (*outpoint, coin.output.clone()));
    let waiting = ledger.mempool().iter().flat_map(|waiting| {
        (0..)
            .zip(&waiting.tx.output)
            .map(|(vout, output)| (OutPoint::new(waiting.txid, vout), output.clone()))
    });
    let mut coins: Vec<_> = confirmed
        .chain(waiting)
        .filter(|(_, output)| output.script_pubkey == script)
        .map(|(outpoint, output)| (outpoint, output.value.to_sat()))
        .collect();
    coins.sort_unstable();
    coins
}

/// Of the coins that something in the mempool spends, or of the others, the one that the index picks.
fn pick(ledger: &Ledger, index: &Index, spent: bool) -> Option<(OutPoint, u64)> {
    let mut coins = coins(ledger);
    coins.retain(|(outpoint, _)| ledger.mempool().spender(outpoint).is_some() == spent);
    (!coins.is_empty()).then(|| coins[index.index(coins.len())])
}

/// A transaction that pays its coin on in two halves, less the fee.
fn halves((coin, sat): (OutPoint, u64), fee_sat: u64) -> Option<Transaction> {
    let rest = sat.checked_sub(fee_sat)?;
    Some(spend(&[coin], &[rest / 2, rest - rest / 2]))
}

fn run(chain: DevChain, dir: &Path, operation: &Operation) -> DevChain {
    let ledger = chain.snapshot();
    let height = chain.height();
    match operation {
        Operation::Mine { blocks } => {
            chain.mine(*blocks).unwrap();
            assert_eq!(chain.height(), height + blocks);
            assert!(chain.mempool().is_empty());
        }
        Operation::Fund { sat, outputs } => {
            let payments: Vec<(Address, Amount)> = vec![(address(), Amount::from_sat(*sat)); *outputs];
            if let Ok(txid) = chain.fund_many(&payments) {
                assert!(chain.mempool().contains(&txid));
            }
        }
        Operation::Spend { coin, fee_sat, fixed, lock_blocks } => {
            let coin = pick(&ledger, coin, false);
            if let Some(mut tx) = coin.and_then(|coin| halves(coin, *fee_sat)) {
                let confirmed = ledger.chain().coin(&tx.input[0].previous_output).map(|coin| coin.height);
                if *lock_blocks > 0 {
                    tx.input[0].sequence = Sequence::from_height(*lock_blocks);
                } else if *fixed {
                    tx.input[0].sequence = Sequence::MAX;
                }
                let in_time = confirmed.unwrap_or(height + 1) + u32::from(*lock_blocks) <= height + 1;
                let pays = *fee_sat >= tx.vsize() as u64;
                assert_eq!(chain.submit(tx).is_ok(), in_time && pays);
            }
        }
        Operation::Rival { coin, fee_sat } => {
            let coin = pick(&ledger, coin, true);
            if let Some(tx) = coin.and_then(|coin| halves(coin, *fee_sat)) {
                let old = ledger.mempool().spender(&tx.input[0].previous_output).unwrap();
                let old = ledger.mempool().get(&old).unwrap();
                let txid = tx.compute_txid();
                if txid != old.txid && chain.submit(tx).is_ok() {
                    assert!(old.fee.to_sat() < *fee_sat);
                    assert!(!chain.mempool().contains(&old.txid));
                }
            }
        }
        Operation::MineRival { coin } => {
            let confirmed = pick(&ledger, coin, true).filter(|(coin, _)| ledger.chain().coin(coin).is_some());
            if let Some(tx) = confirmed.and_then(|coin| halves(coin, 77)) {
                let old = ledger.mempool().spender(&tx.input[0].previous_output).unwrap();
                let txid = tx.compute_txid();
                chain.mine_with(&params::anyone_can_spend(), vec![tx]).unwrap();
                assert!(txid == old || !chain.mempool().contains(&old));
            }
        }
        Operation::Evict { transaction } => {
            let waiting = chain.mempool();
            if !waiting.is_empty() {
                let txid = waiting[transaction.index(waiting.len())];
                assert!(chain.evict(&txid).contains(&txid));
            }
        }
        Operation::Reorganise { depth } => {
            if *depth <= height {
                chain.reorg(*depth).unwrap();
                assert_eq!(chain.height(), height + 1);
            }
        }
        Operation::Reopen => {
            drop(chain);
            let chain = open(dir);
            assert_eq!(chain.tip_hash(), ledger.chain().tip_hash());
            return chain;
        }
    }
    chain
}

/// Everything that must hold at any time.
fn check(ledger: &Ledger) {
    let chain = ledger.chain();
    let coins: HashMap<OutPoint, Coin> =
        chain.coins().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect();

    // No money is made or lost: every coinbase here takes all it may, and nothing is burnt.
    let issued: u64 = (1..=chain.height()).map(|height| params::subsidy(height).to_sat()).sum();
    assert_eq!(coins.values().map(|coin| coin.output.value.to_sat()).sum::<u64>(), issued);

    // Coins and index are those of a chain that never saw another branch.
    let mut fresh = Chain::default();
    let mut confirmed: HashSet<Txid> = HashSet::new();
    for height in 1..=chain.height() {
        let stored = chain.block(&chain.hash_at(height).unwrap()).unwrap();
        fresh.accept(stored.block.clone(), u32::MAX).unwrap();
        for (tx, txid) in stored.block.txdata.iter().zip(&stored.txids) {
            let (found, block) = chain.transaction(txid).unwrap();
            assert_eq!((found, block.height), (tx, height));
            confirmed.insert(*txid);
        }
    }
    assert_eq!(fresh.tip_hash(), chain.tip_hash());
    assert_eq!(
        fresh.coins().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect::<HashMap<_, _>>(),
        coins
    );
    for tx in chain.blocks_since(0).flat_map(|block| &block.txdata) {
        let txid = tx.compute_txid();
        assert_eq!(chain.transaction(&txid).is_some(), confirmed.contains(&txid));
    }

    // What waits could come in the same order again: it exists, is spent once, is final, is not mined.
    let mut again = Mempool::default();
    let mut spent = HashSet::new();
    for waiting in ledger.mempool().iter() {
        assert!(waiting.tx.input.iter().all(|input| spent.insert(input.previous_output)));
        let admission = again.check(chain, &waiting.tx, FeeRule::Exempt).unwrap();
        assert_eq!((admission.fee, admission.txid), (waiting.fee, waiting.txid));
        assert!(admission.replaces.is_empty());
        again.insert(chain, Transaction::clone(&waiting.tx), admission, NOW);
    }
    assert_eq!(again.len(), ledger.mempool().len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_keeps_the_chain_consistent(operations in vec(operation(), 1..25)) {
        let dir = young_chain();
        let mut chain = open(dir.path());
        let mut work = chain.snapshot().chain().tip().chainwork;
        for operation in &operations {
            chain = run(chain, dir.path(), operation);
            let ledger = chain.snapshot();
            check(&ledger);
            let now = ledger.chain().tip().chainwork;
            prop_assert!(now >= work);
            work = now;
        }
    }
}
