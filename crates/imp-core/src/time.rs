//! Points in time, as values that callers pass in.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This time and `after` later.
    pub const fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after.as_millis() as u64))
    }

    /// This time and `before` earlier, at least the epoch.
    pub const fn minus(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(before.as_millis() as u64))
    }

    /// How long ago `earlier` was; zero where it lies in the future, as it does after a step of the clock.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since the epoch.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }
}
