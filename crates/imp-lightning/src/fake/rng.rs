//! Chance that repeats itself: the same seed gives the same run.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The generator SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in `probability` (0 to 1) of the calls.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what an f64 holds without rounding.
        let drawn = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        drawn < probability
    }

    /// A duration within the range, in steps of a microsecond.
    pub(super) fn within(&mut self, range: &RangeInclusive<Duration>) -> Duration {
        let width_us = range.end().saturating_sub(*range.start()).as_micros() as u64;
        *range.start() + Duration::from_micros(self.next() % (width_us + 1))
    }

    pub(super) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        bytes
    }
}
