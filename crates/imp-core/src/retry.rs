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

/// How long after its end a message that failed may be tried again.
pub const TRY_AGAIN_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// How long after its acceptance anything is begun for a message. No longer than receivers remember its parts
/// ([`crate::parts`]).
pub const SEND_WITHIN: Duration = Duration::from_secs(8 * 24 * 3600);

/// The pause after a part's first failed attempt. It doubles with each further one.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between attempts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Attempts after which a cause that seldom passes is believed: about three seconds of pauses.
const ATTEMPTS_UNTIL_BELIEVED: u32 = 6;

/// The same for a message that is tried once more: others will follow.
const ATTEMPTS_OF_ANOTHER_TRY: u32 = 2;

/// One try of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    began: UnixMillis,
    progressed: UnixMillis,
    is_first: bool,
}

impl FailureCause {
    /// After how many failed attempts of one part it is given up, however much time is left; nothing where only the
    /// deadline counts.
    pub const fn most_attempts(self) -> Option<u32> {
        match self {
            Self::Invalid => Some(1),
            // A receiver that was killed refuses what it had seen before. A backend says for a moment that it has no
            // balance when a channel has just come up or payments in flight take their share of the reserve. A peer
            // that restarts is back within that time; whoever is away for longer is reported as such.
            Self::RecipientRejected | Self::InsufficientBalance | Self::NoRoute => {
                Some(ATTEMPTS_UNTIL_BELIEVED)
            }
            // Payments in flight make room.
            Self::RetriesExhausted | Self::TimedOut | Self::Unavailable | Self::Other => None,
        }
    }
}

impl Try {
    /// A try that begins now.
    pub const fn new(now: UnixMillis) -> Self {
        Self { began: now, progressed: now, is_first: true }
    }

    /// Another try of a message that is kept: what its first try ended with is believed sooner.
    pub const fn another(now: UnixMillis) -> Self {
        Self { is_first: false, ..Self::new(now) }
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
        let most = cause.most_attempts();
        let most = if self.is_first { most } else { most.map(|most| most.min(ATTEMPTS_OF_ANOTHER_TRY)) };
        if most.is_some_and(|most| failures >= most) {
            return None;
        }
        let at = now.plus(pause_after(failures));
        (at < self.deadline()).then_some(at)
    }
}

/// Whether what is missing of a message that was accepted and failed at these times may be sent now.
pub fn may_try_again(accepted: UnixMillis, failed: UnixMillis, now: UnixMillis) -> bool {
    now.since(failed) < TRY_AGAIN_WITHIN && now.since(accepted) < SEND_WITHIN
}

/// The pause after a part's `failures`th failed attempt (1 for the first).
pub fn pause_after(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn in_secs(secs: u64) -> UnixMillis {
        NOW.plus(Duration::from_secs(secs))
    }

    #[test]
    fn pauses_double_up_to_three_seconds() {
        let pauses: Vec<u128> = (1..=7).map(|failures| pause_after(failures).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(pause_after(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn what_may_pass_is_tried_until_the_deadline() {
        let this = Try::new(NOW);
        let causes = [
            FailureCause::RetriesExhausted,
            FailureCause::TimedOut,
            FailureCause::Unavailable,
            FailureCause::Other,
        ];
        for cause in causes {
            assert_eq!(this.retry_at(cause, 1, NOW), Some(NOW.plus(FIRST_PAUSE)), "{cause:?}");
            assert_eq!(this.retry_at(cause, 500, in_secs(41)), Some(in_secs(44)), "{cause:?}");
            assert_eq!(this.retry_at(cause, 500, in_secs(42)), None, "{cause:?}");
        }
    }

    #[test]
    fn what_seldom_passes_is_tried_for_three_seconds() {
        let causes =
            [FailureCause::NoRoute, FailureCause::RecipientRejected, FailureCause::InsufficientBalance];
        for cause in causes {
            assert!(Try::new(NOW).retry_at(cause, 5, NOW).is_some());
            assert_eq!(Try::new(NOW).retry_at(cause, 6, NOW), None);
        }
    }

    #[test]
    fn another_try_of_a_kept_message_believes_sooner() {
        let another = Try::another(NOW);
        assert!(another.retry_at(FailureCause::NoRoute, 1, NOW).is_some());
        assert_eq!(another.retry_at(FailureCause::NoRoute, 2, NOW), None);
        assert!(another.retry_at(FailureCause::Other, 2, NOW).is_some());
    }

    #[test]
    fn what_never_passes_is_tried_once() {
        assert_eq!(Try::new(NOW).retry_at(FailureCause::Invalid, 1, NOW), None);
    }

    #[test]
    fn a_message_that_failed_may_be_tried_again_for_a_day_and_for_eight_days_in_all() {
        let hours = |hours: u64| in_secs(hours * 3600);
        assert!(may_try_again(NOW, hours(1), hours(24)));
        assert!(!may_try_again(NOW, hours(1), hours(25)));
        assert!(may_try_again(NOW, hours(180), hours(191)));
        assert!(!may_try_again(NOW, hours(180), hours(192)));
    }

    #[test]
    fn progress_puts_the_deadline_off_for_ten_minutes_at_most() {
        let mut this = Try::new(NOW);
        assert_eq!(this.deadline(), in_secs(45));
        this.progress(in_secs(40));
        assert_eq!(this.deadline(), in_secs(85));
        this.progress(in_secs(30));
        assert_eq!(this.deadline(), in_secs(85), "told late");
        this.progress(in_secs(580));
        assert_eq!(this.deadline(), in_secs(600));
    }
}
