//! What makes a block valid.

use bitcoin::absolute::LockTime;
use bitcoin::block::Header;
use bitcoin::{Amount, Block, OutPoint, Sequence, Transaction, Work};
use imp_devnet::chain::BlockError;
use imp_devnet::chain::check::TxError;
use imp_devnet::chain::ledger::Ledger;
use imp_devnet::chain::params;

use crate::wallet::{
    FEE_SAT, NOW, confirmed, first_output, grind, ledger, mine, next_block, next_block_with, reseal,
    reseal_header, spend,
};

/// Offers the block and expects that it is refused and changes nothing.
fn refused(ledger: &mut Ledger, block: Block) -> BlockError {
    let (tip, known) = (ledger.chain().tip_hash(), ledger.chain().known_blocks());
    let error = ledger.accept(block, NOW).unwrap_err();
    assert_eq!((ledger.chain().tip_hash(), ledger.chain().known_blocks()), (tip, known));
    error
}

/// Mines these transactions, valid or not, and gives why the last of them makes the block invalid.
fn refused_transaction(ledger: &mut Ledger, transactions: &[Transaction]) -> TxError {
    let block = next_block_with(ledger, transactions);
    match refused(ledger, block) {
        BlockError::Transaction { txid, error } => {
            assert_eq!(txid, transactions.last().unwrap().compute_txid());
            error
        }
        error => panic!("refused for something else: {error}"),
    }
}

#[test]
fn the_first_block_is_that_of_regtest() {
    let ledger = Ledger::default();
    let genesis = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206";
    assert_eq!(ledger.chain().tip_hash().to_string(), genesis);
    assert_eq!(ledger.chain().coins().count(), 0);
}

#[test]
fn a_mined_block_is_accepted_once() {
    let mut ledger = ledger(3);
    let block = next_block(&ledger);
    ledger.accept(block.clone(), NOW).unwrap();
    assert_eq!(ledger.chain().height(), 4);
    assert_eq!(refused(&mut ledger, block), BlockError::Duplicate);
}

#[test]
fn a_block_without_a_known_parent_is_refused() {
    let mut ahead = ledger(3);
    mine(&mut ahead);
    let block = next_block(&ahead);
    assert_eq!(refused(&mut ledger(2), block), BlockError::UnknownParent);
}

#[test]
fn every_block_has_the_real_proof_of_work() {
    let ledger = ledger(30);
    let mut chainwork = Work::from_be_bytes([0; 32]);
    for height in 0..=30 {
        let stored = ledger.chain().block(&ledger.chain().hash_at(height).unwrap()).unwrap();
        let header: Header = stored.block.header;
        assert_eq!(header.bits.to_consensus(), 0x207f_ffff);
        header.validate_pow(params::target()).unwrap();
        chainwork = chainwork + header.work();
        assert_eq!(stored.chainwork, chainwork);
    }
    // Regtest's target is half of all hashes, so that each block counts for two.
    let mut exact = [0; 32];
    exact[31] = 2 * 31;
    assert_eq!(chainwork.to_be_bytes(), exact);
}

#[test]
fn too_little_work_is_refused() {
    let mut ledger = ledger(1);
    let mut block = next_block(&ledger);
    while params::target().is_met_by(block.block_hash()) {
        block.header.nonce += 1;
    }
    assert_eq!(refused(&mut ledger, block.clone()), BlockError::ProofOfWork);
    block.header.bits = bitcoin::CompactTarget::from_consensus(0x2100_ffff);
    assert_eq!(refused(&mut ledger, block), BlockError::Bits);
}

#[test]
fn times_rise_over_the_median_and_stay_near_the_clock() {
    let mut ledger = ledger(20);
    let median = ledger.chain().next_block().median_time;
    let with_time = |time| {
        let mut block = next_block(&ledger);
        block.header.time = time;
        grind(block)
    };
    let (old, next, far, near) =
        (with_time(median), with_time(median + 1), with_time(NOW + 7_201), with_time(NOW + 7_200));
    assert_eq!(refused(&mut ledger, old), BlockError::TimeTooOld { time: median, median });
    assert_eq!(refused(&mut ledger, far), BlockError::TimeTooNew { time: NOW + 7_201, now: NOW });
    ledger.clone().accept(next, NOW).unwrap();
    ledger.accept(near, NOW).unwrap();
}

#[test]
fn a_thousand_blocks_in_a_second_are_not_dated_ahead_of_the_clock() {
    let ledger = ledger(1_000);
    let times: Vec<u32> = (1..=1_000)
        .map(|height| {
            ledger.chain().block(&ledger.chain().hash_at(height).unwrap()).unwrap().block.header.time
        })
        .collect();
    assert!(times.iter().all(|time| (NOW - 1_800..=NOW).contains(time)));
    assert!(times.contains(&NOW));
}

#[test]
fn a_block_after_a_pause_is_dated_by_the_clock() {
    let mut ledger = ledger(50);
    for later in [1, 60, 86_400] {
        ledger.mine(&params::anyone_can_spend(), NOW + later, true).unwrap();
        assert_eq!(ledger.chain().tip().block.header.time, NOW + later);
    }
}

#[test]
fn the_header_commits_to_the_transactions() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000, 100_000]);
    let transactions: Vec<_> = coins.iter().map(|coin| spend(&[*coin], &[99_000])).collect();
    let block = next_block_with(&ledger, &transactions);

    let mut swapped = block.clone();
    swapped.txdata.swap(1, 2);
    assert_eq!(refused(&mut ledger, swapped), BlockError::MerkleRoot);

    // The merkle tree of three leaves repeats the third, so that this list has the same root.
    let mut repeated = block.clone();
    repeated.txdata.push(transactions[1].clone());
    assert!(repeated.check_merkle_root());
    assert_eq!(refused(&mut ledger, repeated), BlockError::DuplicateTransaction);
    ledger.accept(block, NOW).unwrap();
}

#[test]
fn the_coinbase_commits_to_the_witnesses() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let block = next_block_with(&ledger, &[spend(&coins, &[99_000])]);

    let mut changed = block.clone();
    changed.txdata[1].input[0].witness.push([1]);
    assert_eq!(refused(&mut ledger, reseal_header(changed)), BlockError::WitnessCommitment);

    // Also where there is no witness to commit to.
    let mut missing = next_block(&ledger);
    missing.txdata[0].output.pop();
    missing.txdata[0].input[0].witness.clear();
    assert_eq!(refused(&mut ledger, reseal_header(missing)), BlockError::WitnessCommitment);
    ledger.accept(block, NOW).unwrap();
}

#[test]
fn there_is_exactly_one_coinbase_and_it_is_first() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let block = next_block_with(&ledger, &[spend(&coins, &[99_000])]);
    let mut none = block.clone();
    none.txdata.remove(0);
    assert_eq!(refused(&mut ledger, reseal_header(none)), BlockError::NoCoinbase);
    let mut two = block.clone();
    two.txdata.push(next_block(&self::ledger(5)).txdata[0].clone());
    assert_eq!(refused(&mut ledger, reseal(two)), BlockError::SecondCoinbase);
    let mut empty = block;
    empty.txdata.clear();
    assert_eq!(refused(&mut ledger, reseal_header(empty)), BlockError::NoCoinbase);
}

#[test]
fn the_coinbase_begins_with_the_height() {
    let ledger = ledger(260);
    for (height, prefix) in [
        (1, &[0x51][..]),
        (16, &[0x60]),
        (17, &[0x01, 17]),
        (127, &[0x01, 127]),
        (128, &[0x02, 128, 0]),
        (255, &[0x02, 255, 0]),
        (256, &[0x02, 0, 1]),
    ] {
        let hash = ledger.chain().hash_at(height).unwrap();
        let coinbase = &ledger.chain().block(&hash).unwrap().block.txdata[0];
        assert!(coinbase.input[0].script_sig.as_bytes().starts_with(prefix), "height {height}");
    }
    let mut ledger = ledger;
    let mut block = next_block(&ledger);
    let mut script = block.txdata[0].input[0].script_sig.clone().into_bytes();
    script[1] += 1;
    block.txdata[0].input[0].script_sig = script.into();
    assert_eq!(refused(&mut ledger, reseal(block)), BlockError::CoinbaseHeight);
}

#[test]
fn the_coinbase_pays_at_most_subsidy_and_fees() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let block = next_block_with(&ledger, &[spend(&coins, &[99_000])]);
    let paying = |sat: u64| {
        let mut block = block.clone();
        block.txdata[0].output[0].value = Amount::from_sat(sat);
        reseal(block)
    };
    let allowed_sat = 50 * 100_000_000 + FEE_SAT;
    let refusal = refused(&mut ledger, paying(allowed_sat + 1));
    assert_eq!(refusal, BlockError::CoinbaseAmount { paid_sat: allowed_sat + 1, allowed_sat });
    ledger.clone().accept(paying(0), NOW).unwrap();
    ledger.accept(paying(allowed_sat), NOW).unwrap();
}

#[test]
fn the_subsidy_halves_every_150_blocks_until_it_is_gone() {
    let sat = |height| params::subsidy(height).to_sat();
    assert_eq!(
        (sat(1), sat(149), sat(150), sat(300)),
        (5_000_000_000, 5_000_000_000, 2_500_000_000, 1_250_000_000)
    );
    assert_eq!((sat(150 * 32), sat(150 * 33), sat(150 * 64), sat(u32::MAX)), (1, 0, 0, 0));
}

#[test]
fn a_coinbase_is_spent_after_a_hundred_blocks() {
    let mut ledger = ledger(99);
    let first = ledger.chain().block(&ledger.chain().hash_at(1).unwrap()).unwrap();
    let mut tx = spend(&[OutPoint::new(first.txids[0], 0)], &[1_000_000]);
    tx.input[0].witness.clear();
    let error = refused_transaction(&mut ledger, std::slice::from_ref(&tx));
    assert_eq!(error, TxError::ImmatureCoinbase { depth: 99 });
    mine(&mut ledger);
    let block = next_block_with(&ledger, &[tx]);
    ledger.accept(block, NOW).unwrap();
}

#[test]
fn a_coin_is_spent_once_and_only_if_it_exists() {
    let mut ledger = ledger(101);
    let coin = confirmed(&mut ledger, &[100_000])[0];
    let (one, other) = (spend(&[coin], &[99_000]), spend(&[coin], &[98_000]));
    assert_eq!(refused_transaction(&mut ledger, &[one.clone(), other.clone()]), TxError::MissingOrSpent);
    assert_eq!(refused_transaction(&mut ledger, &[spend(&[coin, coin], &[1_000])]), TxError::DuplicateInputs);
    let child = spend(&[first_output(&one)], &[98_000]);
    let block = next_block_with(&ledger, &[child.clone(), one.clone()]);
    assert!(matches!(
        refused(&mut ledger, block),
        BlockError::Transaction { error: TxError::MissingOrSpent, .. }
    ));
    // Parent and child in one block are fine in this order.
    let block = next_block_with(&ledger, &[one.clone(), child]);
    ledger.accept(block, NOW).unwrap();
    assert_eq!(refused_transaction(&mut ledger, &[other]), TxError::MissingOrSpent);
    assert_eq!(refused_transaction(&mut ledger, &[one]), TxError::MissingOrSpent);
}

#[test]
fn no_money_is_made() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let error = refused_transaction(&mut ledger, &[spend(&coins, &[100_001])]);
    assert_eq!(error, TxError::InBelowOut { input_sat: 100_000, output_sat: 100_001 });
    let most = Amount::MAX_MONEY.to_sat();
    assert_eq!(refused_transaction(&mut ledger, &[spend(&coins, &[most + 1])]), TxError::OutputTooLarge);
    assert_eq!(refused_transaction(&mut ledger, &[spend(&coins, &[most, 1])]), TxError::OutputTotalTooLarge);
    let overflow = spend(&coins, &[u64::MAX, u64::MAX]);
    assert_eq!(refused_transaction(&mut ledger, &[overflow]), TxError::OutputTooLarge);
    assert_eq!(refused_transaction(&mut ledger, &[spend(&coins, &[])]), TxError::NoOutputs);
}

#[test]
fn lock_times_keep_a_transaction_out_of_earlier_blocks() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let height = ledger.chain().height();
    let locked = |lock_time: u32, sequence: Sequence| {
        let mut tx = spend(&coins, &[99_000]);
        tx.lock_time = LockTime::from_consensus(lock_time);
        tx.input[0].sequence = sequence;
        tx
    };
    let rbf = Sequence::ENABLE_RBF_NO_LOCKTIME;
    let error = refused_transaction(&mut ledger, &[locked(height + 1, rbf)]);
    assert_eq!(error, TxError::NonFinal { lock_time: height + 1 });
    let median = ledger.chain().next_block().median_time;
    assert_eq!(
        refused_transaction(&mut ledger, &[locked(median, rbf)]),
        TxError::NonFinal { lock_time: median }
    );
    for tx in [locked(height, rbf), locked(median - 1, rbf), locked(height + 9, Sequence::MAX)] {
        let block = next_block_with(&ledger, &[tx]);
        ledger.clone().accept(block, NOW).unwrap();
    }
}

#[test]
fn relative_lock_times_count_from_the_coin() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let locked = |sequence: Sequence| {
        let mut tx = spend(&coins, &[99_000]);
        tx.input[0].sequence = sequence;
        tx
    };
    let (one_block, two_blocks) = (locked(Sequence::from_height(1)), locked(Sequence::from_height(2)));
    let error = refused_transaction(&mut ledger, std::slice::from_ref(&two_blocks));
    assert_eq!(error, TxError::NonBip68Final { input: 0 });
    let block = next_block_with(&ledger, &[one_block]);
    ledger.clone().accept(block, NOW).unwrap();
    mine(&mut ledger);
    let block = next_block_with(&ledger, &[two_blocks]);
    ledger.clone().accept(block, NOW).unwrap();

    // 512 seconds of median time: the clock alone does not count.
    let later = NOW + 4_000;
    let half_an_hour = locked(Sequence::from_512_second_intervals(1));
    assert_eq!(
        refused_transaction(&mut ledger, std::slice::from_ref(&half_an_hour)),
        TxError::NonBip68Final { input: 0 }
    );
    for second in 0..11 {
        ledger.mine(&params::anyone_can_spend(), later + second, true).unwrap();
    }
    let block = next_block_with(&ledger, &[half_an_hour]);
    ledger.accept(block, later).unwrap();

    // Version 1 knows no relative locks.
    let coins = confirmed(&mut ledger, &[100_000]);
    let mut tx = spend(&coins, &[99_000]);
    tx.input[0].sequence = Sequence::from_height(100);
    tx.version = bitcoin::transaction::Version::ONE;
    let block = next_block_with(&ledger, &[tx]);
    ledger.accept(block, later).unwrap();
}

#[cfg(feature = "scripts")]
#[test]
fn a_witness_that_does_not_fit_is_refused() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let mut tx = spend(&coins, &[99_000]);
    tx.input[0].witness = bitcoin::Witness::from_slice(&[[0x52]]);
    assert_eq!(refused_transaction(&mut ledger, &[tx]), TxError::Script { input: 0 });
}
