//! An attempt: one payment for one part of a message, from its preimage to its end.
//!
//! ```text
//!            in flight  deferred  refused  outcome lost  settled  failed
//! ready      sent       ready     failed   unknown       settled  failed*
//! sent       sent       -         -        unknown       settled  failed*
//! unknown    sent       unknown   unknown  unknown       settled  failed*
//! settled    settled    settled   settled  settled       settled  -
//! failed     failed     failed    failed   failed        -        failed
//!
//! * unknown, if a channel of ours closed since the attempt was made, or if the attempt was unknown before and the
//!   recipient refused it
//! ```
//!
//! An attempt is stored before the backend hears of it. As long as it has not definitely failed, no other payment is
//! made for its part: it is looked up, or submitted again byte for byte, under the same hash. After a definite failure
//! the next attempt has another hash, since receivers refuse a hash that they have seen, or settle it without a word.

use thiserror::Error;

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptState {
    /// Stored, not taken by the backend.
    Ready,
    /// The backend has it; its end will come.
    Sent,
    /// Paid: the recipient's Lightning node took it.
    Settled,
    /// Not paid, and never will be.
    Failed,
    /// It cannot be told whether it was or will be paid.
    Unknown,
}

/// Why a payment failed, as far as it matters for what is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureCause {
    /// No path to the recipient now.
    NoRoute,
    /// The recipient refused it.
    RecipientRejected,
    /// Every path that was tried failed.
    RetriesExhausted,
    /// The backend's time for trying was over.
    TimedOut,
    /// Less can be sent than the payment takes.
    InsufficientBalance,
    /// The backend is starting, stopping or away.
    Unavailable,
    /// It makes no sense to the backend, and will not later.
    Invalid,
    /// Anything else.
    Other,
}

/// What happens to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptEvent {
    /// The backend has it: it took it, knows it already, or says so when asked.
    InFlight,
    /// The backend has no room now and did nothing.
    Deferred,
    /// The backend refused it and did nothing.
    Refused(FailureCause),
    /// The call that submitted it, or asked about it, ended without an answer; or the daemon was started again.
    OutcomeLost,
    /// The backend says that it is paid.
    Settled,
    /// The backend says that it failed.
    Failed {
        /// Why.
        cause: FailureCause,
        /// A channel of this node closed since the attempt was made. A payment in a closed channel may yet be
        /// claimed on the chain, whatever the backend says.
        channel_closed: bool,
    },
}

/// An event that cannot follow on what was known. The attempt stays as it was.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an attempt that is {state:?} cannot take {event:?}")]
pub struct Contradiction {
    /// How the attempt stands.
    pub state: AttemptState,
    /// What was told of it.
    pub event: AttemptEvent,
}

/// The state of an attempt, and the rules by which it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    state: AttemptState,
    /// Its outcome was unknown once, so it may have been submitted more than once.
    was_unknown: bool,
}

impl AttemptState {
    /// Whether this is the end: only a contradiction could follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Settled | Self::Failed)
    }
}

impl Attempt {
    /// An attempt that is stored and was not submitted.
    #[expect(clippy::new_without_default, reason = "an attempt does not come from nothing")]
    pub const fn new() -> Self {
        Self { state: AttemptState::Ready, was_unknown: false }
    }

    /// An attempt as it was stored by an earlier run of the daemon. Unless it had ended its outcome is unknown: even
    /// one that was stored as ready may have been submitted.
    pub const fn restore(stored: AttemptState) -> Self {
        match stored {
            AttemptState::Settled | AttemptState::Failed => Self { state: stored, was_unknown: false },
            AttemptState::Ready | AttemptState::Sent | AttemptState::Unknown => {
                Self { state: AttemptState::Unknown, was_unknown: true }
            }
        }
    }

    /// How the attempt stands.
    pub const fn state(self) -> AttemptState {
        self.state
    }

    /// Whether another payment may be made for the same part.
    pub const fn allows_another(self) -> bool {
        matches!(self.state, AttemptState::Failed)
    }

    /// Takes an event. Events that tell nothing new are taken without a change, since backends tell some twice and a
    /// payment's end may overtake the answer to the call that began it.
    pub fn apply(&mut self, event: AttemptEvent) -> Result<AttemptState, Contradiction> {
        use AttemptEvent as Event;
        use AttemptState as State;
        let state = match (self.state, event) {
            (State::Settled, Event::Failed { .. }) | (State::Failed, Event::Settled) => {
                return Err(Contradiction { state: self.state, event });
            }
            (State::Settled | State::Failed, _) => self.state,
            (_, Event::Settled) => State::Settled,
            (_, Event::Failed { cause, channel_closed }) => self.failed(cause, channel_closed),
            (_, Event::InFlight) => State::Sent,
            (_, Event::OutcomeLost) => State::Unknown,
            (State::Ready, Event::Refused(_)) => State::Failed,
            (State::Ready, Event::Deferred) => State::Ready,
            // That it cannot be sent now says nothing about whether it was sent before.
            (State::Unknown, Event::Refused(_) | Event::Deferred) => State::Unknown,
            (State::Sent, Event::Refused(_) | Event::Deferred) => {
                return Err(Contradiction { state: self.state, event });
            }
        };
        self.state = state;
        self.was_unknown |= state == State::Unknown;
        Ok(state)
    }

    /// What a failure means. A recipient refuses a payment whose hash it has seen, so its refusal of one that may have
    /// been submitted before says nothing about the first.
    const fn failed(self, cause: FailureCause, channel_closed: bool) -> AttemptState {
        let rejected = matches!(cause, FailureCause::RecipientRejected);
        if channel_closed || rejected && self.was_unknown {
            AttemptState::Unknown
        } else {
            AttemptState::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AttemptEvent::{Deferred, InFlight, OutcomeLost, Refused};
    use super::AttemptState::{Failed, Ready, Sent, Settled, Unknown};
    use super::*;

    const SETTLED: AttemptEvent = AttemptEvent::Settled;

    fn failed(cause: FailureCause) -> AttemptEvent {
        AttemptEvent::Failed { cause, channel_closed: false }
    }

    fn failed_as_a_channel_closed() -> AttemptEvent {
        AttemptEvent::Failed { cause: FailureCause::NoRoute, channel_closed: true }
    }

    fn after(events: &[AttemptEvent]) -> Attempt {
        let mut attempt = Attempt::new();
        for event in events {
            attempt.apply(*event).unwrap();
        }
        attempt
    }

    #[test]
    fn each_state_takes_each_event_as_the_table_says() {
        let no_route = failed(FailureCause::NoRoute);
        let refused = Refused(FailureCause::NoRoute);
        let events =
            [InFlight, Deferred, refused, OutcomeLost, SETTLED, no_route, failed_as_a_channel_closed()];
        let before: [(&[AttemptEvent], AttemptState); 5] = [
            (&[], Ready),
            (&[InFlight], Sent),
            (&[OutcomeLost], Unknown),
            (&[SETTLED], Settled),
            (&[no_route], Failed),
        ];
        let after_each = [
            [Sent, Ready, Failed, Unknown, Settled, Failed, Unknown].map(Some),
            [Some(Sent), None, None, Some(Unknown), Some(Settled), Some(Failed), Some(Unknown)],
            [Sent, Unknown, Unknown, Unknown, Settled, Failed, Unknown].map(Some),
            [Some(Settled), Some(Settled), Some(Settled), Some(Settled), Some(Settled), None, None],
            [Some(Failed), Some(Failed), Some(Failed), Some(Failed), None, Some(Failed), Some(Failed)],
        ];
        for ((history, state), row) in before.into_iter().zip(after_each) {
            assert_eq!(after(history).state(), state);
            for (event, expected) in events.into_iter().zip(row) {
                let mut attempt = after(history);
                let got = attempt.apply(event);
                assert_eq!(got, expected.ok_or(Contradiction { state, event }), "{state:?} and {event:?}");
                assert_eq!(attempt.state(), expected.unwrap_or(state));
            }
        }
    }

    #[test]
    fn a_refusal_by_the_recipient_is_definite_only_for_what_was_never_unknown() {
        let rejected = failed(FailureCause::RecipientRejected);
        assert_eq!(after(&[InFlight, rejected]).state(), Failed);
        assert_eq!(after(&[OutcomeLost, rejected]).state(), Unknown);
        assert_eq!(after(&[OutcomeLost, InFlight, rejected]).state(), Unknown);
        assert_eq!(after(&[InFlight, failed_as_a_channel_closed(), rejected]).state(), Unknown);
        assert_eq!(after(&[OutcomeLost, InFlight, failed(FailureCause::NoRoute)]).state(), Failed);
    }

    #[test]
    fn another_payment_is_made_only_after_a_definite_failure() {
        for state in [Ready, Sent, Settled, Failed, Unknown] {
            let attempt = Attempt { state, was_unknown: false };
            assert_eq!(attempt.allows_another(), state == Failed, "{state:?}");
        }
    }

    #[test]
    fn after_a_restart_what_had_not_ended_is_unknown() {
        for (stored, state) in
            [(Ready, Unknown), (Sent, Unknown), (Unknown, Unknown), (Settled, Settled), (Failed, Failed)]
        {
            let mut attempt = Attempt::restore(stored);
            assert_eq!(attempt.state(), state);
            let rejected = attempt.apply(failed(FailureCause::RecipientRejected));
            assert!(state.is_final() || rejected == Ok(Unknown), "{stored:?} gave {rejected:?}");
        }
    }
}
