//! How much goes through a relay: in a second, and in all.

use std::time::Duration;

use super::{Moment, Run};

/// What may go through in one go after a pause is what a second may have, divided by this.
const BURSTS_PER_SEC: u64 = 4;

/// Thousandths, in which allowances are kept: one falls due in each millisecond for a rate of 1 per second.
const MILLI: i64 = 1_000;

/// How much may go through a relay, both sides together. Bytes are those of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets in all.
    pub max_packets: u64,
    /// Bytes in all.
    pub max_bytes: u64,
    /// Packets in a second.
    pub max_packets_per_sec: u64,
    /// Bytes in a second.
    pub max_bytes_per_sec: u64,
}

/// A bucket that fills at a rate.
///
/// A packet passes while there is anything in it and may leave it in debt, so that one that is larger than the bucket
/// passes some time, and the rate holds all the same.
#[derive(Clone, Debug)]
struct Bucket {
    per_sec: u64,
    /// In thousandths.
    most: i64,
    balance: i64,
}

impl Bucket {
    fn new(per_sec: u64) -> Self {
        let most = milli((per_sec / BURSTS_PER_SEC).max(1));
        Self { per_sec, most, balance: most }
    }

    fn fill(&mut self, elapsed: Duration) {
        // A thousandth for each millisecond and unit of the rate.
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let due = i64::try_from(self.per_sec.saturating_mul(millis)).unwrap_or(i64::MAX);
        self.balance = self.balance.saturating_add(due).min(self.most);
    }

    /// How many pieces of `size` pass before it is empty.
    fn pieces(&self, size: u64) -> u64 {
        if self.balance <= 0 {
            return 0;
        }
        self.balance.unsigned_abs().div_ceil(milli(size.max(1)).unsigned_abs())
    }

    fn take(&mut self, amount: u64) {
        self.balance = self.balance.saturating_sub(milli(amount));
    }
}

fn milli(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX).saturating_mul(MILLI)
}

/// Counts what goes through against [`Limits`].
#[derive(Clone, Debug)]
pub(super) struct Meter {
    limits: Limits,
    packets: Bucket,
    bytes: Bucket,
    filled: Moment,
    used_packets: u64,
    used_bytes: u64,
}

/// How much of a run passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// So many of its first packets go through.
    pub(super) packets: u64,
    /// So many after those were above the rate.
    pub(super) above_rate: u64,
    /// The relay has used up what it had: what is left of the run has no relay any more.
    pub(super) is_used_up: bool,
}

impl Meter {
    pub(super) fn new(limits: Limits, now: Moment) -> Self {
        Self {
            limits,
            packets: Bucket::new(limits.max_packets_per_sec),
            bytes: Bucket::new(limits.max_bytes_per_sec),
            filled: now,
            used_packets: 0,
            used_bytes: 0,
        }
    }

    /// Lets the run, or its beginning, through.
    pub(super) fn pass(&mut self, run: &Run, now: Moment) -> Passed {
        let within_rate = self.within_rate(run, now);
        let within_limits = self.within_limits(run).min(within_rate);
        let bytes = run.bytes_of(within_limits);
        self.packets.take(within_limits);
        self.bytes.take(bytes);
        self.used_packets += within_limits;
        self.used_bytes += bytes;
        let is_used_up = within_limits < within_rate
            || self.used_packets >= self.limits.max_packets
            || self.used_bytes >= self.limits.max_bytes;
        let above_rate = if is_used_up { 0 } else { run.packets - within_limits };
        Passed { packets: within_limits, above_rate, is_used_up }
    }

    /// Charges an answer of our own to the rate, but not to the limits; whether it is within the rate.
    pub(super) fn answer(&mut self, bytes: u64, now: Moment) -> bool {
        let passes = self.within_rate(&Run::one(bytes), now) == 1;
        if passes {
            self.packets.take(1);
            self.bytes.take(bytes);
        }
        passes
    }

    /// Takes back packets that did not go through after all.
    pub(super) fn give_back(&mut self, packets: u64, bytes: u64) {
        self.used_packets = self.used_packets.saturating_sub(packets);
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
    }

    fn within_rate(&mut self, run: &Run, now: Moment) -> u64 {
        let elapsed = now.since(self.filled);
        if !elapsed.is_zero() {
            self.packets.fill(elapsed);
            self.bytes.fill(elapsed);
            self.filled = now;
        }
        run.packets.min(self.packets.pieces(1)).min(self.bytes.pieces(run.stride))
    }

    fn within_limits(&self, run: &Run) -> u64 {
        let packets = run.packets.min(self.limits.max_packets.saturating_sub(self.used_packets));
        let left = self.limits.max_bytes.saturating_sub(self.used_bytes);
        if run.bytes_of(packets) <= left { packets } else { (left / run.stride.max(1)).min(packets) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Limits = Limits {
        max_packets: u64::MAX,
        max_bytes: u64::MAX,
        max_packets_per_sec: u64::MAX,
        max_bytes_per_sec: u64::MAX,
    };

    fn passes(meter: &mut Meter, run: Run, at: u64) -> Passed {
        meter.pass(&run, Moment(at))
    }

    #[test]
    fn what_is_above_the_packets_of_a_second_is_left_out() {
        let mut meter = Meter::new(Limits { max_packets_per_sec: 40, ..FREE }, Moment(0));
        let first = passes(&mut meter, Run::new(1_500, 100), 0);
        assert_eq!(first, Passed { packets: 10, above_rate: 5, is_used_up: false });
        assert_eq!(passes(&mut meter, Run::one(1), 0).packets, 0);
        assert_eq!(passes(&mut meter, Run::one(1), 1).packets, 1, "a part of one is due");
        assert_eq!(passes(&mut meter, Run::one(1), 25).packets, 0, "which it owes");
        assert_eq!(passes(&mut meter, Run::one(1), 26).packets, 1);
    }

    #[test]
    fn a_packet_larger_than_a_second_of_bytes_passes_and_is_paid_off() {
        let mut meter = Meter::new(Limits { max_bytes_per_sec: 100, ..FREE }, Moment(0));
        assert_eq!(passes(&mut meter, Run::one(1_025), 0).packets, 1);
        assert_eq!(
            passes(&mut meter, Run::one(1), 10_000).packets,
            0,
            "25 less 1,025 is ten seconds of debt"
        );
        assert_eq!(passes(&mut meter, Run::one(1), 10_010).packets, 1);
    }

    #[test]
    fn the_last_packet_within_a_limit_ends_it() {
        let mut meter = Meter::new(Limits { max_packets: 3, ..FREE }, Moment(0));
        assert_eq!(
            passes(&mut meter, Run::new(20, 10), 0),
            Passed { packets: 2, above_rate: 0, is_used_up: false }
        );
        assert_eq!(
            passes(&mut meter, Run::new(20, 10), 0),
            Passed { packets: 1, above_rate: 0, is_used_up: true }
        );
    }

    #[test]
    fn no_more_bytes_pass_than_the_limit() {
        let mut meter = Meter::new(Limits { max_bytes: 25, ..FREE }, Moment(0));
        let passed = passes(&mut meter, Run::new(30, 10), 0);
        assert_eq!(passed, Passed { packets: 2, above_rate: 0, is_used_up: true });
        meter.give_back(1, 10);
        assert_eq!(passes(&mut meter, Run::one(15), 0).packets, 1);
    }

    #[test]
    fn empty_packets_count_as_packets() {
        let mut meter = Meter::new(Limits { max_packets_per_sec: 4, max_packets: 2, ..FREE }, Moment(0));
        assert_eq!(passes(&mut meter, Run::one(0), 0).packets, 1);
        assert_eq!(passes(&mut meter, Run::one(0), 0).above_rate, 1);
        assert!(passes(&mut meter, Run::one(0), 250).is_used_up);
    }
}
