//! Bytes as a relay's options and as packets of users and strangers to it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/imp-core/tests/it/traffic.rs"]
mod traffic;

use traffic::Traffic;

/// What went through in the last second is added up after each packet.
const MAX_STEPS: usize = 500;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut traffic = Traffic::new(&mut rest);
    for _ in 0..MAX_STEPS {
        if !traffic.step(&mut rest) {
            break;
        }
    }
    traffic.finish();
});
