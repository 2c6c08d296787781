//! Which branch is the chain, and what a reorganisation does to coins and mempool.

use bitcoin::absolute::LockTime;
use bitcoin::{Amount, OutPoint};
use imp_devnet::chain::ledger::Ledger;
use imp_devnet::chain::params;
use imp_devnet::chain::{BlockError, ReorgError};

use crate::wallet::{NOW, confirmed, first_output, funded, ledger, mine, next_block, reseal, spend};

fn reorg(ledger: &mut Ledger, depth: u32) {
    ledger.reorg(&params::anyone_can_spend(), depth, NOW).unwrap();
}

#[test]
fn of_two_branches_with_the_same_work_the_first_one_stays() {
    let mut one = ledger(5);
    let mut other = one.clone();
    mine(&mut one);
    // A longer history of known blocks gives the other branch different coinbases.
    other.reorg(&params::anyone_can_spend(), 1, NOW).unwrap();
    let tip = one.chain().tip_hash();
    let rivals: Vec<_> = [5, 6]
        .map(|height| other.chain().block(&other.chain().hash_at(height).unwrap()).unwrap().block.clone())
        .into();
    for rival in rivals {
        assert!(one.accept(rival, NOW).unwrap().connected.is_empty());
        assert_eq!(one.chain().tip_hash(), tip);
    }
    // One block more, and the other branch is the chain.
    mine(&mut other);
    one.accept(other.chain().tip().block.clone(), NOW).unwrap();
    assert_eq!(one.chain().tip_hash(), other.chain().tip_hash());
    assert_eq!(one.chain().height(), 7);
    assert!(!one.chain().is_active(&tip));
}

#[test]
fn a_reorganisation_ends_higher_and_with_more_work() {
    let mut ledger = ledger(10);
    let before = ledger.chain().tip().clone();
    let new = ledger.reorg(&params::anyone_can_spend(), 3, NOW).unwrap();
    assert_eq!(ledger.chain().height(), 11);
    assert!(ledger.chain().tip().chainwork > before.chainwork);
    let active: Vec<_> = (8..=11).map(|height| ledger.chain().hash_at(height).unwrap()).collect();
    assert_eq!(new, active);
}

#[test]
fn a_depth_that_cannot_be_is_refused() {
    let mut ledger = ledger(10);
    for depth in [0, 11, u32::MAX] {
        let error = ledger.reorg(&params::anyone_can_spend(), depth, NOW).unwrap_err();
        assert_eq!(error, ReorgError::Depth { depth, height: 10 });
    }
    reorg(&mut ledger, 10);
    assert_eq!(ledger.chain().height(), 11);
}

#[test]
fn transactions_of_blocks_that_were_left_wait_again_in_order() {
    let mut ledger = ledger(101);
    let coin = funded(&mut ledger, 100_000);
    let parent = spend(&[coin], &[99_000]);
    ledger.submit(parent.clone(), NOW).unwrap();
    mine(&mut ledger);
    let child = spend(&[first_output(&parent)], &[98_000]);
    ledger.submit(child.clone(), NOW).unwrap();
    mine(&mut ledger);
    let grandchild = spend(&[first_output(&child)], &[97_000]);
    ledger.submit(grandchild.clone(), NOW).unwrap();

    reorg(&mut ledger, 2);
    let waiting: Vec<_> = ledger.mempool().iter().map(|waiting| waiting.txid).collect();
    let family = [coin.txid, parent.compute_txid(), child.compute_txid(), grandchild.compute_txid()];
    assert_eq!(waiting, family);
    assert!(ledger.chain().transaction(&parent.compute_txid()).is_none());
    mine(&mut ledger);
    assert!(ledger.mempool().is_empty());
    assert!(family.iter().all(|txid| ledger.chain().transaction(txid).is_some()));
}

#[test]
fn what_a_left_coinbase_paid_for_is_gone() {
    let mut ledger = ledger(101);
    let coin = funded(&mut ledger, 100_000);
    mine(&mut ledger);
    // The funding spends the coinbase of block 1, which this leaves.
    reorg(&mut ledger, 102);
    assert!(ledger.mempool().is_empty());
    assert_eq!(ledger.chain().coin(&coin), None);
}

#[test]
fn a_conflict_that_was_mined_pushes_out_what_waited() {
    let mut ledger = ledger(101);
    let coin = confirmed(&mut ledger, &[100_000])[0];
    let waiting = spend(&[coin], &[99_000]);
    let child = spend(&[first_output(&waiting)], &[98_000]);
    ledger.submit(waiting, NOW).unwrap();
    ledger.submit(child, NOW).unwrap();
    let rival = spend(&[coin], &[50_000]);
    ledger.mine_with(&params::anyone_can_spend(), vec![rival.clone()], NOW).unwrap();
    assert!(ledger.mempool().is_empty());
    assert!(ledger.chain().coin(&first_output(&rival)).is_some());

    // Left again, it is the one that waits: nobody remembers the other.
    reorg(&mut ledger, 1);
    assert_eq!(
        ledger.mempool().iter().map(|waiting| waiting.txid).collect::<Vec<_>>(),
        [rival.compute_txid()]
    );
}

#[test]
fn a_transaction_locked_to_a_height_waits_again_only_if_it_may() {
    let mut ledger = ledger(101);
    let coin = confirmed(&mut ledger, &[100_000])[0];
    let mut tx = spend(&[coin], &[99_000]);
    tx.lock_time = LockTime::from_consensus(ledger.chain().height());
    ledger.submit(tx.clone(), NOW).unwrap();
    mine(&mut ledger);
    reorg(&mut ledger, 1);
    assert!(ledger.mempool().get(&tx.compute_txid()).is_some());
}

#[test]
fn a_branch_with_an_invalid_block_leaves_the_chain_as_it_was() {
    let mut ledger = ledger(101);
    let coin = confirmed(&mut ledger, &[100_000])[0];
    let spending = spend(&[coin], &[99_000]);
    ledger.submit(spending.clone(), NOW).unwrap();
    mine(&mut ledger);
    let before: Vec<(OutPoint, Amount)> = coins(&ledger);

    // A rival branch from before the spend: an honest block, a greedy one, and one on top of that.
    let mut rival = ledger.clone();
    reorg(&mut rival, 1);
    let honest = rival.chain().block(&rival.chain().hash_at(103).unwrap()).unwrap().block.clone();
    let mut greedy = rival.chain().tip().block.clone();
    greedy.txdata[0].output[0].value += Amount::ONE_SAT;
    let greedy = reseal(greedy);
    assert!(ledger.accept(honest, NOW).unwrap().connected.is_empty());
    let known = ledger.chain().known_blocks();
    let error = ledger.accept(greedy, NOW).unwrap_err();
    assert!(matches!(error, BlockError::CoinbaseAmount { .. }));

    assert_eq!(coins(&ledger), before);
    assert!(ledger.chain().transaction(&spending.compute_txid()).is_some());
    assert_eq!(ledger.chain().known_blocks(), known);
    let block = next_block(&ledger);
    ledger.accept(block, NOW).unwrap();
}

fn coins(ledger: &Ledger) -> Vec<(OutPoint, Amount)> {
    let mut coins: Vec<_> =
        ledger.chain().coins().map(|(outpoint, coin)| (*outpoint, coin.output.value)).collect();
    coins.sort_unstable();
    coins
}
