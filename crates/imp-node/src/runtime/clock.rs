//! The time of day.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use imp_core::time::UnixMillis;
use tokio::time::Instant;

/// Where times that are stored or sent come from. Waiting goes by `tokio::time`, which no step of the clock disturbs.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now. May step back when the machine's clock is set.
    fn now(&self) -> UnixMillis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that goes with tokio's, and so stands still where that is paused.
#[derive(Clone, Copy, Debug)]
pub struct TestClock {
    base: UnixMillis,
    started: Instant,
}

impl TestClock {
    /// A clock that shows `base` now.
    pub fn new(base: UnixMillis) -> Self {
        Self { base, started: Instant::now() }
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        self.base.plus(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_a_time_after_this_was_written() {
        assert!(SystemClock.now() > UnixMillis(1_760_000_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn the_test_clock_moves_with_paused_time() {
        let clock = TestClock::new(UnixMillis(1_000));
        assert_eq!(clock.now(), UnixMillis(1_000));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.now(), UnixMillis(61_000));
    }
}
