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
