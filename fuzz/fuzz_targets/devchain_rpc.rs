//! Any bytes as JSON-RPC requests to one devchain: each is answered with JSON, and the chain's rules hold after it.

#![no_main]

use imp_devnet::chain::{ChainOptions, DevChain, rpc};
use libfuzzer_sys::fuzz_target;

/// Requests are parted by this byte, which no JSON text holds: one input is a history.
const PART: u8 = 0;

fuzz_target!(|history: &[u8]| {
    let options = ChainOptions { mine_interval: None, initial_blocks: 2, ..ChainOptions::default() };
    let chain = DevChain::new(options).expect("a chain in memory needs nothing");
    for request in history.split(|byte| *byte == PART).take(20) {
        let answer = rpc::handle(&chain, request);
        if answer.is_empty() {
            // A notification is due no answer.
            continue;
        }
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("every answer is JSON");
        assert!(answer.is_object() || answer.is_array());
    }
    let ledger = chain.snapshot();
    assert_eq!(ledger.chain().height(), chain.height());
});
