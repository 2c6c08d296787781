//! What may wait for a block, and what is mined of it.

use bitcoin::absolute::LockTime;
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, Sequence, Transaction};
use imp_devnet::chain::check::TxError;
use imp_devnet::chain::ledger::Ledger;
use imp_devnet::chain::{FundError, Reject};

use crate::wallet::{NOW, address, confirmed, first_output, funded, ledger, mine, next_block, spend};

fn refused(ledger: &mut Ledger, tx: &Transaction) -> Reject {
    let before = ledger.mempool().len();
    let reject = ledger.submit(tx.clone(), NOW).unwrap_err();
    assert_eq!(ledger.check(tx).unwrap_err(), reject);
    assert_eq!(ledger.mempool().len(), before);
    reject
}

#[test]
fn a_transaction_waits_and_is_mined() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let tx = spend(&coins, &[60_000, 39_000]);
    let admission = ledger.submit(tx.clone(), NOW).unwrap();
    assert_eq!((admission.fee, admission.vsize), (Amount::from_sat(1_000), tx.vsize() as u64));
    mine(&mut ledger);
    assert!(ledger.mempool().is_empty());
    let (mined, block) = ledger.chain().transaction(&tx.compute_txid()).unwrap();
    assert_eq!((mined, block.height), (&tx, ledger.chain().height()));
    assert_eq!(block.block.txdata[0].output[0].value, Amount::from_sat(5_000_001_000));
}

#[test]
fn a_known_transaction_is_refused_by_the_name_of_where_it_is() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let tx = spend(&coins, &[99_000]);
    ledger.submit(tx.clone(), NOW).unwrap();
    assert_eq!(refused(&mut ledger, &tx).reason(), "txn-already-in-mempool");
    let mut twin = tx.clone();
    twin.input[0].witness.push([1]);
    assert_eq!(refused(&mut ledger, &twin).reason(), "txn-same-nonwitness-data-in-mempool");
    mine(&mut ledger);
    assert_eq!(refused(&mut ledger, &tx).reason(), "txn-already-known");
    // Once its outputs are spent too, nothing tells it from one whose inputs never were.
    let child = spend(&[first_output(&tx)], &[98_000]);
    ledger.submit(child, NOW).unwrap();
    mine(&mut ledger);
    assert_eq!(refused(&mut ledger, &tx).reason(), "bad-txns-inputs-missingorspent");
}

#[test]
fn inputs_must_exist() {
    let mut ledger = ledger(101);
    let coin = confirmed(&mut ledger, &[100_000])[0];
    for coin in
        [OutPoint::new(coin.txid, 77), OutPoint { txid: spend(&[coin], &[1]).compute_txid(), vout: 0 }]
    {
        assert!(refused(&mut ledger, &spend(&[coin], &[99_000])).is_missing_input());
    }
    let null = refused(&mut ledger, &spend(&[coin, OutPoint::null()], &[99_000]));
    assert_eq!(null, Reject::Invalid(TxError::NullPrevout));
}

#[test]
fn a_coinbase_is_not_relayed() {
    let mut ledger = ledger(101);
    let coinbase = next_block(&ledger).txdata[0].clone();
    assert_eq!(refused(&mut ledger, &coinbase), Reject::Coinbase);
}

#[test]
fn a_coinbase_is_spendable_in_the_block_after_its_hundredth() {
    let mut ledger = ledger(99);
    let first = ledger.chain().block(&ledger.chain().hash_at(1).unwrap()).unwrap().txids[0];
    let mut tx = spend(&[OutPoint::new(first, 0)], &[1_000_000]);
    tx.input[0].witness.clear();
    assert_eq!(refused(&mut ledger, &tx).reason(), "bad-txns-premature-spend-of-coinbase");
    mine(&mut ledger);
    ledger.submit(tx, NOW).unwrap();
    mine(&mut ledger);
    assert!(ledger.mempool().is_empty());
}

#[test]
fn one_satoshi_per_virtual_byte_is_the_least_fee() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let vsize = spend(&coins, &[1]).vsize() as u64;
    let low = refused(&mut ledger, &spend(&coins, &[100_000 - vsize + 1]));
    assert_eq!(low, Reject::FeeTooLow { fee_sat: vsize - 1, wanted_sat: vsize });
    assert_eq!(low.reason(), "min relay fee not met");
    let none = refused(&mut ledger, &spend(&coins, &[100_000]));
    assert_eq!(none.reason(), "min relay fee not met");
    let more = refused(&mut ledger, &spend(&coins, &[100_001]));
    assert_eq!(more.reason(), "bad-txns-in-belowout");
    ledger.submit(spend(&coins, &[100_000 - vsize]), NOW).unwrap();
}

#[test]
fn sizes_have_limits() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let mut small = spend(&coins, &[99_000]);
    small.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    assert_eq!(refused(&mut ledger, &small).reason(), "tx-size-small");
    let mut large = spend(&coins, &[99_000]);
    large.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51; 100_000]);
    assert_eq!(refused(&mut ledger, &large).reason(), "tx-size");
}

#[test]
fn lock_times_are_those_of_the_next_block() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000]);
    let mut tx = spend(&coins, &[99_000]);
    tx.lock_time = LockTime::from_consensus(ledger.chain().height() + 1);
    assert_eq!(refused(&mut ledger, &tx).reason(), "non-final");
    let mut relative = spend(&coins, &[99_000]);
    relative.input[0].sequence = Sequence::from_height(2);
    assert_eq!(refused(&mut ledger, &relative).reason(), "non-BIP68-final");
    mine(&mut ledger);
    assert!(ledger.check(&tx).is_ok());
    ledger.submit(relative, NOW).unwrap();
    mine(&mut ledger);
    assert!(ledger.mempool().is_empty());
}

#[test]
fn a_relative_lock_on_an_unconfirmed_coin_waits_for_it() {
    let mut ledger = ledger(101);
    let coin = funded(&mut ledger, 100_000);
    let mut tx = spend(&[coin], &[99_000]);
    tx.input[0].sequence = Sequence::from_height(1);
    assert_eq!(refused(&mut ledger, &tx).reason(), "non-BIP68-final");
    mine(&mut ledger);
    ledger.submit(tx, NOW).unwrap();
}

#[test]
fn parents_are_mined_before_children() {
    let mut ledger = ledger(101);
    let mut coin = funded(&mut ledger, 100_000);
    let mut family = vec![coin.txid];
    for generation in 1..30 {
        let tx = spend(&[coin], &[100_000 - 1_000 * generation]);
        coin = first_output(&tx);
        family.push(coin.txid);
        ledger.submit(tx, NOW).unwrap();
    }
    mine(&mut ledger);
    assert!(ledger.mempool().is_empty());
    assert_eq!(ledger.chain().tip().txids[1..], family);
}

#[test]
fn evicting_a_transaction_takes_its_descendants_along() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000, 100_000]);
    let parent = spend(&coins[..1], &[99_000]);
    let child = spend(&[first_output(&parent), coins[1]], &[198_000]);
    ledger.submit(parent.clone(), NOW).unwrap();
    ledger.submit(child.clone(), NOW).unwrap();
    assert_eq!(ledger.evict(&parent.compute_txid()).len(), 2);
    assert!(ledger.mempool().is_empty());
    assert_eq!(ledger.evict(&parent.compute_txid()), []);
    // Their coins are free again.
    ledger.submit(spend(&coins, &[150_000]), NOW).unwrap();
}

#[test]
fn blocks_hold_no_more_than_fits() {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[1_000_000; 12]);
    for coin in &coins[1..] {
        let mut tx = spend(&[*coin], &[600_000]);
        tx.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51; 99_000]);
        ledger.submit(tx, NOW).unwrap();
    }
    // A child for which there would be room waits with its parent.
    let last = ledger.mempool().iter().last().unwrap().txid;
    let mut parent = spend(&[OutPoint::new(coins[0].txid, 0)], &[500_000, 50_000]);
    parent.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51; 99_000]);
    ledger.submit(parent.clone(), NOW).unwrap();
    let child = spend(&[OutPoint::new(parent.compute_txid(), 1)], &[49_000]);
    ledger.submit(child.clone(), NOW).unwrap();

    mine(&mut ledger);
    assert_eq!(ledger.chain().tip().txids.len(), 11);
    let waiting: Vec<_> = ledger.mempool().iter().map(|waiting| waiting.txid).collect();
    assert_eq!(waiting, [last, parent.compute_txid(), child.compute_txid()]);
    mine(&mut ledger);
    assert!(ledger.mempool().is_empty());
}

#[test]
fn many_addresses_are_funded_by_one_transaction() {
    let mut ledger = ledger(101);
    let payments: Vec<_> = (1..=20).map(|sat| (address(), Amount::from_sat(sat * 10_000))).collect();
    let txid = ledger.fund(&payments, NOW).unwrap();
    let tx = ledger.mempool().get(&txid).unwrap().tx.clone();
    for ((_, amount), output) in payments.iter().zip(&tx.output) {
        assert_eq!((output.value, &output.script_pubkey), (*amount, &address().script_pubkey()));
    }
    // Change of an unconfirmed funding pays for the next.
    for _ in 0..40 {
        funded(&mut ledger, 100_000);
    }
    mine(&mut ledger);
    assert!(ledger.mempool().is_empty());
}

#[test]
fn funding_says_what_is_wrong() {
    let mut ledger = ledger(100);
    let most = 50 * 100_000_000;
    let fund = |ledger: &mut Ledger, sat: u64| ledger.fund(&[(address(), Amount::from_sat(sat))], NOW);
    assert_eq!(
        fund(&mut ledger, most).unwrap_err(),
        FundError::NotEnough { wanted_sat: most, spendable_sat: most }
    );
    assert!(matches!(fund(&mut ledger, 0).unwrap_err(), FundError::Amount { sat: 0, .. }));
    assert!(matches!(fund(&mut ledger, u64::MAX).unwrap_err(), FundError::Amount { .. }));
    let huge = vec![(address(), Amount::MAX_MONEY); 1_000];
    assert!(matches!(ledger.fund(&huge, NOW).unwrap_err(), FundError::NotEnough { .. }));
    assert_eq!(ledger.fund(&[], NOW).unwrap_err(), FundError::Count { count: 0 });
    let mainnet = bitcoin::Address::p2wsh(&ScriptBuf::new(), Network::Bitcoin);
    let error = ledger.fund(&[(mainnet, Amount::ONE_BTC)], NOW).unwrap_err();
    assert!(matches!(error, FundError::Network { .. }));
    // Two coinbases together are enough.
    mine(&mut ledger);
    fund(&mut ledger, most).unwrap();
    assert!(ledger.mempool().iter().any(|waiting| waiting.tx.input.len() == 2));
}
