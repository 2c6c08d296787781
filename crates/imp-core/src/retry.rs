//! Whether and when a part is paid for again after its attempt definitely failed.
//!
//! A *try* of a message begins when it gets its number and ends when it has settled or is given up. It must be over
//! before its receiver stops waiting for the number, so it has a deadline.

use std::time::Duration;

use crate::attempt::FailureCause;
use crate::time::UnixMillis;

/// How long a try goes on without progress. Less than the receiver's [`crate::order::GAP_PATIENCE`].
pub const TRY_DEADLINE: Duration = Duration::from_secs(45);

/// How long a try goes on at most, however many parts settle.
pub const TRY_DEADLINE_WITH_PROGRESS: Duration = Duration::from_secs(600);

/// The pause after a part's first failed attempt. It doubles with each further one.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Attempts after which a cause that seldom passes is believed: about three seconds of pauses.
const ATTEMPTS_UNTIL_BELIEVED: u32 = 6;

/// One try of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    began: UnixMillis,
    progressed: UnixMillis,
}

impl FailureCause {
    /// After how many failed attempts of one part it is given up, however much time is left; nothing where only the
    /// deadline counts.
    pub const fn most_attempts(self) -> Option<u32> {
        match self {
            Self::Invalid => Some(1),
            // A receiver that was killed refuses what it had seen before. A backend says for a moment that it has no
            // balance when a channel has just come up or payments in flight take their share of the reserve.
            Self::RecipientRejected | Self::InsufficientBalance => Some(ATTEMPTS_UNTIL_BELIEVED),
            // Peers reconnect, and payments in flight make room.
            Self::NoRoute | Self::RetriesExhausted | Self::TimedOut | Self::Unavailable | Self::Other => None,
        }
    }
}

impl Try {
    /// A try that begins now.
    pub const fn new(now: UnixMillis) -> Self {
        Self { began: now, progressed: now }
    }

    /// Notes that a part has settled.
    pub fn progress(&mut self, now: UnixMillis) {
        self.progressed = self.progressed.max(now);
    }

    /// No attempt is begun from this time on: 45 s after the last progress, or 10 min after the beginning.
    pub fn deadline(&self) -> UnixMillis {
        let without_progress = self.progressed.plus(TRY_DEADLINE);
        without_progress.min(self.began.plus(TRY_DEADLINE_WITH_PROGRESS))
    }

    /// When to attempt a part again whose `failures`th attempt in this try has just definitely failed (1 for the
    /// first); nothing where the part has failed for good.
    pub fn retry_at(&self, cause: FailureCause, failures: u32, now: UnixMillis) -> Option<UnixMillis> {
        if cause.most_attempts().is_some_and(|most| failures >= most) {
            return None;
        }
        let at = now.plus(pause_after(failures));
        (at < self.deadline()).then_some(at)
    }
}

/// The pause after a part's `failures`th failed attempt (1 for the first).
pub fn pause_after(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}
