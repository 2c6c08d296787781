//! What is kept on disk, and what happens when it was cut short or changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bitcoin::Amount;
use imp_devnet::chain::ledger::Ledger;
use imp_devnet::chain::{ChainOptions, DevChain, NewChainError, OpenError};

use crate::wallet::address;

fn open(dir: &Path) -> Result<DevChain, NewChainError> {
    let options = ChainOptions {
        dir: Some(dir.to_owned()),
        mine_interval: None,
        initial_blocks: 101,
        ..ChainOptions::default()
    };
    DevChain::new(options)
}

/// The problem that keeps a chain from being opened.
fn problem(dir: &Path) -> String {
    match open(dir).unwrap_err() {
        NewChainError::Open(error @ OpenError::Damaged { .. }) => error.to_string(),
        error => panic!("another error: {error}"),
    }
}

fn known_hashes(ledger: &Ledger) -> Vec<String> {
    ledger.chain().blocks_since(0).map(|block| block.block_hash().to_string()).collect()
}

#[test]
fn a_chain_is_what_it_was_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let chain = open(dir.path()).unwrap();
    let txid = chain.fund(&address(), Amount::ONE_BTC).unwrap();
    chain.mine(3).unwrap();
    chain.reorg(2).unwrap();
    chain.mine(1).unwrap();
    chain.fund(&address(), Amount::ONE_BTC).unwrap();
    let (before, password) = (chain.snapshot(), chain.rpc_password().to_owned());
    assert_eq!(before.chain().height(), 106);
    drop(chain);

    let chain = open(dir.path()).unwrap();
    let after = chain.snapshot();
    assert_eq!(known_hashes(&after), known_hashes(&before));
    assert_eq!(after.chain().tip_hash(), before.chain().tip_hash());
    assert!(after.chain().transaction(&txid).is_some());
    let coins = |ledger: &Ledger| {
        let mut coins: Vec<_> =
            ledger.chain().coins().map(|(outpoint, coin)| (*outpoint, coin.clone())).collect();
        coins.sort_unstable_by_key(|(outpoint, _)| *outpoint);
        coins
    };
    assert_eq!(coins(&after), coins(&before));
    // The mempool is not kept, the password is.
    assert!(chain.mempool().is_empty());
    assert_eq!(chain.rpc_password(), password);
}

#[test]
fn a_chain_below_its_first_height_is_mined_up_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = |initial_blocks| ChainOptions {
        dir: Some(dir.path().to_owned()),
        initial_blocks,
        ..ChainOptions::default()
    };
    assert_eq!(DevChain::new(options(5)).unwrap().height(), 5);
    assert_eq!(DevChain::new(options(9)).unwrap().height(), 9);
    assert_eq!(DevChain::new(options(2)).unwrap().height(), 9);
}

#[test]
fn only_the_owner_reads_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a").join("chain");
    drop(open(&inner).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    assert_eq!(mode(&inner.join("blocks.dat")), 0o600);
    assert_eq!(mode(&inner.join("rpc-cookie")), 0o600);
    let cookie = fs::read_to_string(inner.join("rpc-cookie")).unwrap();
    assert!(cookie.starts_with("devchain:"));
}

#[test]
fn a_directory_serves_one_chain_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let chain = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, NewChainError::Open(OpenError::Locked { .. })), "{error}");
    drop(chain);
    open(dir.path()).unwrap();
}

#[test]
fn an_unfinished_record_at_the_end_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blocks.dat");
    let chain = open(dir.path()).unwrap();
    let short = fs::metadata(&file).unwrap().len();
    chain.mine(1).unwrap();
    drop(chain);
    let whole = fs::read(&file).unwrap();
    // A kill can leave any number of bytes of the last record.
    for len in short..whole.len() as u64 {
        fs::write(&file, &whole[..len as usize]).unwrap();
        let chain = open(dir.path()).unwrap();
        assert_eq!(chain.height(), 101, "{len} bytes");
        drop(chain);
        assert_eq!(fs::metadata(&file).unwrap().len(), short);
    }
    // What is mined then follows without a gap.
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    open(dir.path()).unwrap().mine(2).unwrap();
    assert_eq!(open(dir.path()).unwrap().height(), 103);
}

#[test]
fn a_file_that_was_never_begun_is_begun() {
    for len in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("blocks.dat"), &b"impblk\x00\x01"[..len]).unwrap();
        drop(open(dir.path()).unwrap());
        assert_eq!(open(dir.path()).unwrap().height(), 101);
    }
}

#[test]
fn damage_is_told_with_its_place_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blocks.dat");
    drop(open(dir.path()).unwrap());
    let whole = fs::read(&file).unwrap();
    let damaged = |offset: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[offset] ^= byte;
        fs::write(&file, &bytes).unwrap();
        let problem = problem(dir.path());
        assert_eq!(fs::read(&file).unwrap(), bytes);
        problem
    };
    assert!(damaged(0, 1).contains("at byte 0: it is no block file of this version"));
    assert!(damaged(7, 3).contains("at byte 0"));
    let in_a_block = damaged(100, 0x10);
    assert!(in_a_block.contains("at byte 8: the checksum of a block does not match"), "{in_a_block}");
    assert!(in_a_block.contains("blocks.dat"));
    assert!(damaged(11, 0x80).contains("longer than blocks can be"));
    assert!(damaged(whole.len() - 1, 1).contains("checksum"));

    // Blocks that are whole but in another order, so that a parent is missing.
    let first = 8 + 8 + u32::from_le_bytes(whole[8..12].try_into().unwrap()) as usize;
    let without_first = [&whole[..8], &whole[first..]].concat();
    fs::write(&file, without_first).unwrap();
    assert!(problem(dir.path()).contains("at byte 8: prev-blk-not-found"));
    // A block twice.
    let twice = [&whole[..first], &whole[8..]].concat();
    fs::write(&file, twice).unwrap();
    assert!(problem(dir.path()).contains(&format!("at byte {first}: duplicate")));
}

#[test]
fn an_unusable_directory_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open(&file).unwrap_err();
    assert!(matches!(error, NewChainError::Open(OpenError::Io { .. })), "{error}");
    assert!(error.to_string().contains("file"));
}
