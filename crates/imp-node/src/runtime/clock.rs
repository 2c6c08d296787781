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

/// A time that begins with what a clock shows and goes on with `tokio::time`, whatever becomes of the clock: for what is
/// measured, and not stored.
#[derive(Clone, Copy, Debug)]
pub struct Steady {
    base: UnixMillis,
    started: Instant,
}

impl Steady {
    /// A time that begins with `base` now.
    pub fn new(base: UnixMillis) -> Self {
        Self { base, started: Instant::now() }
    }

    /// The time now. Never steps back.
    pub fn now(&self) -> UnixMillis {
        self.base.plus(self.started.elapsed())
    }
}

/// A clock that goes with tokio's, and so stands still where that is paused.
#[derive(Clone, Copy, Debug)]
pub struct TestClock(Steady);

impl TestClock {
    /// A clock that shows `base` now.
    pub fn new(base: UnixMillis) -> Self {
        Self(Steady::new(base))
    }
}

impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        self.0.now()
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
