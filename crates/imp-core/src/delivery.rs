//! A message on its way out, made of its parts.
//!
//! Part 0 goes first and must settle before any other starts, so that a recipient who takes nothing costs one payment.
//! Then a bounded number of parts is in flight at once. When a part has failed for good, or its outcome is unknown, no
//! further part is begun: the message could not be known to arrive whole.

use thiserror::Error;

/// The most parts of one message that are in flight at once.
pub const MAX_PARTS_IN_FLIGHT: usize = 16;

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartState {
    /// To be sent: nothing was sent yet, or what was sent has definitely failed and is worth another attempt.
    Waiting,
    /// An attempt is ready or sent.
    InFlight,
    /// Paid.
    Settled,
    /// Not paid, and not tried again.
    Failed,
    /// It cannot be told whether it was paid.
    Unknown,
}

/// How a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Nothing was sent yet.
    Queued,
    /// On its way, or parts in flight are waited for.
    Sending,
    /// Every part is paid.
    Settled,
    /// It did not arrive whole: at least one part is not paid, and no more is sent.
    Failed,
    /// It may have arrived whole: of some parts it cannot be told, all others are paid.
    Unknown,
}

/// A part that cannot change in this way, or does not exist.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PartChangeError {
    /// There is no such part.
    #[error("the message has no part {0}")]
    NoSuchPart(u16),
    /// The part is where it cannot come from.
    #[error("part {index} is {from:?} and cannot become {to:?}")]
    Illegal {
        /// The part.
        index: u16,
        /// How it stands.
        from: PartState,
        /// What it was to become.
        to: PartState,
    },
}

/// The parts of a message that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    parts: Vec<PartState>,
    begun: bool,
}

impl Delivery {
    /// A message of `count` parts, at least one, of which nothing was sent.
    pub fn new(count: u16) -> Self {
        Self::restore(vec![PartState::Waiting; count.into()])
    }

    /// A message whose parts stand like this.
    pub fn restore(parts: Vec<PartState>) -> Self {
        let begun = parts.iter().any(|part| *part != PartState::Waiting);
        Self { parts, begun }
    }

    /// How the parts stand.
    pub fn parts(&self) -> &[PartState] {
        &self.parts
    }

    /// How many parts stand like this.
    pub fn count(&self, state: PartState) -> usize {
        self.parts.iter().filter(|part| **part == state).count()
    }

    /// The part to begin now; nothing where a part's end must be waited for, or no more is to be sent.
    pub fn next_part(&self) -> Option<u16> {
        if self.is_stopped() || self.count(PartState::InFlight) >= MAX_PARTS_IN_FLIGHT {
            return None;
        }
        let first_is_paid = self.parts.first() == Some(&PartState::Settled);
        let open_to = if first_is_paid { self.parts.len() } else { 1 };
        let next = self.parts.iter().take(open_to).position(|part| *part == PartState::Waiting)?;
        u16::try_from(next).ok()
    }

    /// Notes how a part stands now. That it stands as before is no error.
    pub fn set(&mut self, index: u16, to: PartState) -> Result<(), PartChangeError> {
        use PartState::{Failed, InFlight, Settled, Unknown, Waiting};
        let part = self.parts.get_mut(usize::from(index)).ok_or(PartChangeError::NoSuchPart(index))?;
        let from = *part;
        let legal = match (from, to) {
            (Waiting, InFlight | Failed) => true,
            (InFlight | Unknown, _) => true,
            (Waiting | Settled | Failed, _) => from == to,
        };
        if !legal {
            return Err(PartChangeError::Illegal { index, from, to });
        }
        *part = to;
        self.begun |= to != Waiting;
        Ok(())
    }

    /// Begins a new try of a message that failed: the parts that failed are to be sent again, the paid ones are not.
    pub fn try_again(&mut self) {
        for part in &mut self.parts {
            if *part == PartState::Failed {
                *part = PartState::Waiting;
            }
        }
    }

    /// How the message stands.
    pub fn state(&self) -> MessageState {
        let any = |state| self.parts.contains(&state);
        if any(PartState::InFlight) {
            MessageState::Sending
        } else if any(PartState::Failed) {
            MessageState::Failed
        } else if any(PartState::Waiting) {
            match (self.is_stopped(), self.begun) {
                (true, _) => MessageState::Failed,
                (false, true) => MessageState::Sending,
                (false, false) => MessageState::Queued,
            }
        } else if any(PartState::Unknown) {
            MessageState::Unknown
        } else {
            MessageState::Settled
        }
    }

    /// Whether no further part is begun.
    fn is_stopped(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, PartState::Failed | PartState::Unknown))
    }
}
