//! Faults that a test asks for, and the record of calls that it looks at.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

/// How many calls the log keeps.
const LOG_LENGTH: usize = 1_000;

/// How much of a method's name the log keeps, in characters.
const LOG_NAME_LENGTH: usize = 64;

/// The longest delay of a call.
pub const MAX_DELAY: Duration = Duration::from_secs(600);

/// One RPC call that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The method that was asked for, which may be one that does not exist.
    pub method: String,
    pub at: SystemTime,
    /// The error code of the answer, if it was an error.
    pub error_code: Option<i32>,
}

/// Faults and delays by method, counts and log of calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    failures: HashMap<&'static str, Failure>,
    delays: HashMap<&'static str, Duration>,
    counts: HashMap<&'static str, u64>,
    log: VecDeque<CallRecord>,
}

#[derive(Debug)]
struct Failure {
    left: u32,
    code: i32,
}

impl Faults {
    pub(super) fn fail_next(&mut self, method: &'static str, calls: u32, code: i32) {
        self.failures.insert(method, Failure { left: calls, code });
    }

    pub(super) fn set_delay(&mut self, method: &'static str, delay: Duration) {
        self.delays.insert(method, delay.min(MAX_DELAY));
    }

    pub(super) fn delay(&self, method: &str) -> Duration {
        self.delays.get(method).copied().unwrap_or_default()
    }

    /// Counts a call. Gives the error code if it is to fail.
    pub(super) fn begin(&mut self, method: &'static str) -> Option<i32> {
        *self.counts.entry(method).or_default() += 1;
        let failure = self.failures.get_mut(method)?;
        failure.left = failure.left.checked_sub(1)?;
        Some(failure.code)
    }

    pub(super) fn count(&self, method: &str) -> u64 {
        self.counts.get(method).copied().unwrap_or_default()
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(method, count)| (*method, *count))
    }

    pub(super) fn record(&mut self, method: &str, at: SystemTime, error_code: Option<i32>) {
        if self.log.len() == LOG_LENGTH {
            self.log.pop_front();
        }
        let method = method.chars().take(LOG_NAME_LENGTH).collect();
        self.log.push_back(CallRecord { method, at, error_code });
    }

    pub(super) fn log(&self) -> impl Iterator<Item = &CallRecord> {
        self.log.iter()
    }
}
