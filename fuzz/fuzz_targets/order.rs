//! Bytes as the history of a sender, a network and a receiver that crashes.

#![no_main]

use imp_core::id::NodeId;
use libfuzzer_sys::fuzz_target;
use secp256k1::{SECP256K1, SecretKey};

#[path = "../../crates/imp-core/tests/it/exchange.rs"]
mod exchange;

use exchange::{Exchange, Op};

/// The naive order that the real one is compared with takes time that grows with the square of the history.
const MAX_OPS: usize = 300;

fuzz_target!(|history: &[u8]| {
    let secret = SecretKey::from_slice(&[1; 32]).expect("a key in range");
    let mut exchange = Exchange::new(NodeId::from(secret.public_key(SECP256K1)));
    let mut rest = history;
    for _ in 0..MAX_OPS {
        let Some(op) = Op::read(&mut rest) else { break };
        exchange.step(op);
    }
    exchange.finish();
});
