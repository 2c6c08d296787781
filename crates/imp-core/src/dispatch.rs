//! The sender's numbers: what one run of the daemon gives to its messages for one recipient and record type.
//!
//! A number is given when a message is sent off, in order of acceptance, and is resolved when the message has settled or
//! its try was given up. The lowest number that is not resolved is the floor; every envelope tells how far below its
//! own number the floor is, so that the receiver knows what not to wait for.

use std::collections::BTreeSet;

/// Numbers are given only while they are less than this above the floor: what the receiver would hold is bounded.
pub const MAX_ABOVE_FLOOR: u32 = 256;

/// The number of a message, to be stored with it: every attempt and every part of the same try bears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numbered {
    /// The stream.
    pub stream: u32,
    /// The number in the stream, from 0.
    pub seq: u32,
}

/// The numbers of one recipient and record type.
#[derive(Clone, Debug)]
pub struct Window {
    stream: u32,
    /// The number given next; 2^32 once all have been given.
    next: u64,
    unresolved: BTreeSet<u32>,
}

impl Window {
    /// The window of a stream in which no number was given. A run's stream is higher than the last run's.
    pub const fn new(stream: u32) -> Self {
        Self { stream, next: 0, unresolved: BTreeSet::new() }
    }

    /// The window of a stream in which the numbers below `next` were given and `unresolved` are not resolved.
    pub fn restore(stream: u32, next: u64, unresolved: impl IntoIterator<Item = u32>) -> Self {
        let unresolved: BTreeSet<u32> = unresolved.into_iter().collect();
        let next = unresolved.last().map_or(next, |last| next.max(u64::from(*last) + 1));
        Self { stream, next: next.min(1 << 32), unresolved }
    }

    /// The stream in which the next number is given.
    pub const fn stream(&self) -> u32 {
        self.stream
    }

    /// A number for the next message; nothing while the window is full.
    ///
    /// Once the numbers of a stream are used up, nothing is given until all are resolved; then the next stream begins
    /// with 0. After the last number of stream 2^32 - 1 nothing is given any more.
    pub fn assign(&mut self) -> Option<Numbered> {
        if self.next > u64::from(u32::MAX) && self.unresolved.is_empty() {
            self.stream = self.stream.checked_add(1)?;
            self.next = 0;
        }
        let seq = u32::try_from(self.next).ok()?;
        let floor = self.unresolved.first().copied().unwrap_or(seq);
        if seq - floor >= MAX_ABOVE_FLOOR {
            return None;
        }
        self.next += 1;
        self.unresolved.insert(seq);
        Some(Numbered { stream: self.stream, seq })
    }

    /// How far below `seq` the floor is now: what an attempt with this number says, if it is made now. At most 65,535; 0
    /// for a number below the floor, with which nothing may be sent any more.
    pub fn floor_back(&self, seq: u32) -> u16 {
        let floor = self.unresolved.first().copied().unwrap_or(seq);
        u16::try_from(seq.saturating_sub(floor)).unwrap_or(u16::MAX)
    }

    /// Marks a number as settled or given up: nothing will be sent with it any more. Whether that is news.
    pub fn resolve(&mut self, seq: u32) -> bool {
        self.unresolved.remove(&seq)
    }

    /// The numbers that are not resolved, lowest first.
    pub fn unresolved(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.unresolved.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(window: &mut Window) -> Option<(u32, u32)> {
        window.assign().map(|numbered| (numbered.stream, numbered.seq))
    }

    #[test]
    fn numbers_rise_from_zero() {
        let mut window = Window::new(7);
        assert_eq!([assign(&mut window), assign(&mut window)], [Some((7, 0)), Some((7, 1))]);
    }

    #[test]
    fn the_lowest_unresolved_number_is_the_floor() {
        let mut window = Window::new(7);
        for _ in 0..4 {
            window.assign();
        }
        assert!(window.resolve(1));
        assert_eq!(window.floor_back(3), 3, "0 is not resolved");
        assert!(window.resolve(0));
        assert_eq!([window.floor_back(3), window.floor_back(2)], [1, 0]);
        assert_eq!(window.floor_back(1), 0, "below the floor");
        assert!(!window.resolve(0), "no news");
        assert_eq!(window.unresolved().collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn no_number_is_given_256_above_the_floor() {
        let mut window = Window::new(7);
        for seq in 0..256 {
            assert_eq!(assign(&mut window), Some((7, seq)));
        }
        assert_eq!(assign(&mut window), None);
        window.resolve(1);
        assert_eq!(assign(&mut window), None, "the floor is where it was");
        window.resolve(0);
        assert_eq!([assign(&mut window), assign(&mut window)], [Some((7, 256)), Some((7, 257))]);
        assert_eq!(assign(&mut window), None);
    }

    #[test]
    fn a_restored_window_goes_on_where_it_was() {
        let mut window = Window::restore(7, 5, [2, 3]);
        assert_eq!((assign(&mut window), window.floor_back(5)), (Some((7, 5)), 3));
        let mut behind = Window::restore(7, 0, [2, 3]);
        assert_eq!(assign(&mut behind), Some((7, 4)), "no number is given twice");
    }

    #[test]
    fn after_the_last_number_a_new_stream_begins_once_all_is_resolved() {
        let mut window = Window::restore(7, u32::MAX.into(), []);
        assert_eq!(assign(&mut window), Some((7, u32::MAX)));
        assert_eq!(assign(&mut window), None);
        window.resolve(u32::MAX);
        assert_eq!(assign(&mut window), Some((8, 0)));
        assert_eq!(window.stream(), 8);
        let mut last = Window::restore(u32::MAX, 1 << 32, []);
        assert_eq!((assign(&mut last), last.stream()), (None, u32::MAX));
    }

    #[test]
    fn a_floor_too_far_below_is_told_as_far_as_it_can_be() {
        let window = Window::restore(7, 100_000, [0, 99_999]);
        assert_eq!(window.floor_back(99_999), u16::MAX);
    }
}
