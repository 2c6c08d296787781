//! Fee bumps (BIP125).

use bitcoin::{OutPoint, Sequence, Transaction};
use imp_devnet::chain::Reject;
use imp_devnet::chain::ledger::Ledger;

use crate::wallet::{NOW, confirmed, first_output, ledger, spend};

/// A ledger with two confirmed coins of 100,000 sat and a transaction that spends the first one for a fee of 1,000 sat.
fn bumpable() -> (Ledger, Vec<OutPoint>, Transaction) {
    let mut ledger = ledger(101);
    let coins = confirmed(&mut ledger, &[100_000, 100_000]);
    let tx = spend(&coins[..1], &[99_000]);
    ledger.submit(tx.clone(), NOW).unwrap();
    (ledger, coins, tx)
}

fn reason(ledger: &mut Ledger, tx: Transaction) -> String {
    let before: Vec<_> = ledger.mempool().iter().map(|waiting| waiting.txid).collect();
    let reason = ledger.submit(tx, NOW).unwrap_err().reason();
    assert!(ledger.mempool().iter().map(|waiting| waiting.txid).eq(before));
    reason
}

#[test]
fn a_higher_fee_replaces_a_transaction_and_what_builds_on_it() {
    let (mut ledger, coins, tx) = bumpable();
    let child = spend(&[first_output(&tx)], &[98_000]);
    ledger.submit(child.clone(), NOW).unwrap();
    let bump = spend(&coins[..1], &[90_000]);
    let admission = ledger.submit(bump.clone(), NOW).unwrap();
    let mut replaced = admission.replaces;
    replaced.sort_unstable();
    let mut family = [tx.compute_txid(), child.compute_txid()];
    family.sort_unstable();
    assert_eq!(replaced, family);
    assert_eq!(
        ledger.mempool().iter().map(|waiting| waiting.txid).collect::<Vec<_>>(),
        [bump.compute_txid()]
    );
}

#[test]
fn a_transaction_that_does_not_allow_it_is_not_replaced() {
    let (mut ledger, coins, _) = bumpable();
    let mut fixed = spend(&coins[1..], &[99_000]);
    fixed.input[0].sequence = Sequence::MAX;
    ledger.submit(fixed.clone(), NOW).unwrap();
    let bump = spend(&coins[1..], &[50_000]);
    assert_eq!(ledger.check(&bump).unwrap_err(), Reject::Conflict { with: fixed.compute_txid() });
    assert_eq!(reason(&mut ledger, bump), "txn-mempool-conflict");
}

#[test]
fn a_child_allows_what_its_unconfirmed_parent_allows() {
    let (mut ledger, _, tx) = bumpable();
    let mut child = spend(&[first_output(&tx)], &[98_000]);
    child.input[0].sequence = Sequence::MAX;
    ledger.submit(child, NOW).unwrap();
    ledger.submit(spend(&[first_output(&tx)], &[50_000]), NOW).unwrap();
}

#[test]
fn a_bump_pays_for_what_it_replaces_and_for_itself() {
    let (mut ledger, coins, tx) = bumpable();
    let child = spend(&[first_output(&tx)], &[94_000]);
    ledger.submit(child, NOW).unwrap();
    // 6,000 sat wait in fees.
    let vsize = tx.vsize() as u64;
    let paying = |fee_sat: u64| spend(&coins[..1], &[100_000 - fee_sat]);
    assert_eq!(reason(&mut ledger, paying(6_000)), "insufficient fee");
    assert_eq!(reason(&mut ledger, paying(6_000 + vsize - 1)), "insufficient fee");
    ledger.submit(paying(6_000 + vsize), NOW).unwrap();
}

#[test]
fn a_bump_pays_a_higher_rate() {
    let (mut ledger, coins, _) = bumpable();
    // 4,000 sat for some 1,800 virtual bytes: more in all, but a lower rate than 1,000 for 100.
    let wide = spend(&coins[..1], &[2_400; 40]);
    assert!(wide.vsize() < 3_000);
    assert_eq!(reason(&mut ledger, wide), "insufficient fee");
}

#[test]
fn a_bump_adds_no_unconfirmed_coins() {
    let (mut ledger, coins, _) = bumpable();
    let other = spend(&coins[1..], &[99_000]);
    ledger.submit(other.clone(), NOW).unwrap();
    let bump = spend(&[coins[0], first_output(&other)], &[100_000]);
    assert_eq!(reason(&mut ledger, bump), "replacement-adds-unconfirmed");
}

#[test]
fn a_bump_does_not_spend_what_it_replaces() {
    let (mut ledger, coins, tx) = bumpable();
    let bump = spend(&[coins[0], first_output(&tx)], &[100_000]);
    assert_eq!(reason(&mut ledger, bump), "bad-txns-spends-conflicting-tx");
}

#[test]
fn a_bump_pushes_out_a_hundred_at_most() {
    let (mut ledger, coins, _) = bumpable();
    let parent = spend(&coins[1..], &[900; 101]);
    ledger.submit(parent.clone(), NOW).unwrap();
    for vout in 0..101 {
        let child = spend(&[OutPoint::new(parent.compute_txid(), vout)], &[700]);
        ledger.submit(child, NOW).unwrap();
    }
    assert_eq!(reason(&mut ledger, spend(&coins[1..], &[1_000])), "too many potential replacements");
}
