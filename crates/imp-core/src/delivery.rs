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

#[cfg(test)]
mod tests {
    use super::PartState::{Failed, InFlight, Settled, Unknown, Waiting};
    use super::*;

    #[test]
    fn a_message_stands_as_its_parts_do() {
        use MessageState as Message;
        let table: [(&[PartState], Message); 14] = [
            (&[Waiting], Message::Queued),
            (&[Waiting, Waiting], Message::Queued),
            (&[InFlight, Waiting], Message::Sending),
            (&[Settled, Waiting], Message::Sending),
            (&[Settled, InFlight, Failed], Message::Sending),
            (&[Settled, InFlight, Unknown], Message::Sending),
            (&[Settled, Settled], Message::Settled),
            (&[Failed, Waiting], Message::Failed),
            (&[Settled, Failed, Settled], Message::Failed),
            (&[Settled, Failed, Unknown], Message::Failed),
            (&[Settled, Unknown, Waiting], Message::Failed),
            (&[Unknown], Message::Unknown),
            (&[Settled, Unknown], Message::Unknown),
            (&[Unknown, Waiting], Message::Failed),
        ];
        for (parts, state) in table {
            assert_eq!(Delivery::restore(parts.to_vec()).state(), state, "{parts:?}");
        }
    }

    #[test]
    fn a_part_that_waits_for_another_attempt_keeps_its_message_on_its_way() {
        let mut delivery = Delivery::new(1);
        assert_eq!(delivery.state(), MessageState::Queued);
        delivery.set(0, InFlight).unwrap();
        delivery.set(0, Waiting).unwrap();
        assert_eq!((delivery.state(), delivery.next_part()), (MessageState::Sending, Some(0)));
    }

    #[test]
    fn each_part_changes_only_as_attempts_can() {
        let all = [Waiting, InFlight, Settled, Failed, Unknown];
        let legal = |from, to| match from {
            Waiting => matches!(to, Waiting | InFlight | Failed),
            InFlight | Unknown => true,
            Settled => to == Settled,
            Failed => to == Failed,
        };
        for (from, to) in all.into_iter().flat_map(|from| all.map(|to| (from, to))) {
            let mut delivery = Delivery::restore(vec![from]);
            let illegal = Err(PartChangeError::Illegal { index: 0, from, to });
            assert_eq!(delivery.set(0, to), if legal(from, to) { Ok(()) } else { illegal });
            assert_eq!(delivery.parts(), [if legal(from, to) { to } else { from }]);
        }
        assert_eq!(Delivery::new(1).set(1, InFlight), Err(PartChangeError::NoSuchPart(1)));
    }

    #[test]
    fn the_first_part_settles_before_another_starts() {
        let mut delivery = Delivery::new(3);
        assert_eq!(delivery.next_part(), Some(0));
        delivery.set(0, InFlight).unwrap();
        assert_eq!(delivery.next_part(), None);
        delivery.set(0, Settled).unwrap();
        assert_eq!(delivery.next_part(), Some(1));
        delivery.set(1, InFlight).unwrap();
        assert_eq!(delivery.next_part(), Some(2));
    }

    #[test]
    fn sixteen_parts_are_in_flight_at_most() {
        let mut delivery = Delivery::new(40);
        delivery.set(0, InFlight).unwrap();
        delivery.set(0, Settled).unwrap();
        let mut begun = 0;
        while let Some(part) = delivery.next_part() {
            delivery.set(part, InFlight).unwrap();
            begun += 1;
        }
        assert_eq!(begun, MAX_PARTS_IN_FLIGHT);
        delivery.set(7, Settled).unwrap();
        assert_eq!(delivery.next_part(), Some(17));
    }

    #[test]
    fn nothing_more_is_begun_once_a_part_failed_or_is_unknown() {
        for end in [Failed, Unknown] {
            let mut delivery = Delivery::restore(vec![Settled, InFlight, InFlight, Waiting]);
            delivery.set(1, end).unwrap();
            assert_eq!((delivery.next_part(), delivery.state()), (None, MessageState::Sending));
            delivery.set(2, Settled).unwrap();
            assert_eq!((delivery.next_part(), delivery.state()), (None, MessageState::Failed));
        }
    }

    #[test]
    fn trying_again_sends_only_what_is_missing() {
        let mut delivery = Delivery::restore(vec![Settled, Failed, Settled, Waiting]);
        delivery.try_again();
        assert_eq!(delivery.parts(), [Settled, Waiting, Settled, Waiting]);
        assert_eq!((delivery.next_part(), delivery.state()), (Some(1), MessageState::Sending));
    }
}
