//! A disk that fills up, which needs a look inside.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::Store;
use crate::chain::{ChainOptions, DevChain, MineError};

/// Every write to it fails for want of space.
fn full_disk() -> File {
    OpenOptions::new().append(true).open("/dev/full").unwrap()
}

fn open(dir: &Path) -> DevChain {
    let options = ChainOptions {
        dir: Some(dir.to_owned()),
        mine_interval: None,
        initial_blocks: 3,
        ..ChainOptions::default()
    };
    DevChain::new(options).unwrap()
}

/// Lets the chain write to another file and gives the one it wrote to.
fn swap(chain: &DevChain, file: File) -> File {
    let mut state = chain.state();
    std::mem::replace(&mut state.store.as_mut().unwrap().file, file)
}

#[test]
fn nothing_more_is_mined_until_the_file_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let chain = open(dir.path());
    let file = swap(&chain, full_disk());
    assert!(matches!(chain.mine(2).unwrap_err(), MineError::Disk(_)));
    let height = chain.height();
    for _ in 0..3 {
        assert!(matches!(chain.mine(1).unwrap_err(), MineError::Disk(_)));
        assert_eq!(chain.height(), height);
    }
    drop(swap(&chain, file));
    chain.mine(1).unwrap();
    let tip = chain.tip_hash();
    drop(chain);
    // What was mined while the disk was full is there as well.
    let chain = open(dir.path());
    assert_eq!((chain.height(), chain.tip_hash()), (height + 1, tip));
}

#[test]
fn what_a_failed_write_left_behind_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let block = crate::chain::params::genesis();
    let (mut store, records) = Store::open(dir.path()).unwrap();
    store.append([&block]).unwrap();
    // Half a record is in the file, and the store knows that a write failed.
    std::io::Write::write_all(&mut store.file, &[1, 2, 3]).unwrap();
    store.torn = true;
    store.append([&block]).unwrap();
    drop(store);
    let (_, again) = Store::open(dir.path()).unwrap();
    assert_eq!(again.len(), records.len() + 2);
}
