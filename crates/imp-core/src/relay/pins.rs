//! Who is known on each side of a relay.
//!
//! ```text
//!            first acceptable packet            packets forwarded both ways
//!   empty ───────────────────────────> soft ───────────────────────────────> firm
//!     ^                                  │ 10 s after it was learned            │
//!     │                                  └──> another source takes its place    │
//!     └───────────────── silent for the idle time ─────────────────────────────┘
//! ```
//!
//! A side learns its user's address from the packets themselves, as plain programs behind NAT need it. Whoever
//! sends first is believed; so that a stranger's packet does not shut the user out, a source that nothing shows to
//! take part can be replaced soon, and so that no stranger can step into a conversation, one that takes part cannot.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Dropped, Moment, Side};

/// How long a source is safe from others before packets have passed both ways.
pub const REPLACEABLE_AFTER: Duration = Duration::from_secs(10);

/// The source that is known on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its address, in [`super::canonical`] form.
    pub source: SocketAddr,
    /// Whether packets have passed both ways since both sides are known.
    pub is_firm: bool,
    /// When its first packet came.
    pub learned: Moment,
    /// When its last packet came.
    pub last_heard: Moment,
}

/// The pins of both sides. What is silent for the idle time is forgotten, without a timer: it is looked at when it
/// matters.
#[derive(Clone, Debug)]
pub struct Pins {
    pins: [Option<Pin>; 2],
    /// Whether packets have been forwarded from a side since both are known as they are now.
    forwarded: [bool; 2],
    idle: Duration,
}

impl Pins {
    /// Pins that were learned before, or none.
    pub fn new(idle: Duration, pins: [Option<Pin>; 2]) -> Self {
        let forwarded = [pins[0].is_some_and(|pin| pin.is_firm), pins[1].is_some_and(|pin| pin.is_firm)];
        // What is firm on one side only must not make the other so.
        let forwarded = if forwarded == [true; 2] { forwarded } else { [false; 2] };
        Self { pins, forwarded, idle }
    }

    /// Whoever is known on a side and not silent for the idle time.
    pub fn live(&self, side: Side, now: Moment) -> Option<&Pin> {
        self.pins[side.index()].as_ref().filter(|pin| now.since(pin.last_heard) < self.idle)
    }

    /// When a side was last heard, by whomever.
    pub fn last_heard(&self, side: Side) -> Option<Moment> {
        self.pins[side.index()].map(|pin| pin.last_heard)
    }

    /// Takes note of a packet. `refused` is asked only if its source would be a new one, and says why it may not be.
    ///
    /// Whether the source is new; or why the packet is dropped.
    pub fn hear(
        &mut self,
        side: Side,
        source: SocketAddr,
        now: Moment,
        refused: impl FnOnce() -> Option<Dropped>,
    ) -> Result<bool, Dropped> {
        let idle = self.idle;
        let known = self.pins[side.index()].as_mut().filter(|pin| now.since(pin.last_heard) < idle);
        match known {
            Some(pin) if pin.source == source => {
                pin.last_heard = now;
                return Ok(false);
            }
            Some(pin) if pin.is_firm || now.since(pin.learned) < REPLACEABLE_AFTER => {
                return Err(Dropped::OtherSource);
            }
            Some(_) | None => {}
        }
        if let Some(why) = refused() {
            return Err(why);
        }
        self.pins[side.index()] = Some(Pin { source, is_firm: false, learned: now, last_heard: now });
        self.forwarded = [false; 2];
        Ok(true)
    }

    /// Takes note that something is forwarded from a side to the other, both of which are live. Whether that made a
    /// pin firm.
    pub fn forward(&mut self, from: Side) -> bool {
        if self.forwarded[from.index()] {
            return false;
        }
        self.forwarded[from.index()] = true;
        if self.forwarded != [true; 2] {
            return false;
        }
        for pin in self.pins.iter_mut().flatten() {
            pin.is_firm = true;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(120);

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([1, 2, 3, 4], port))
    }

    fn hear(pins: &mut Pins, side: Side, port: u16, secs: u64) -> Result<bool, Dropped> {
        pins.hear(side, addr(port), Moment(secs * 1_000), || None)
    }

    fn conversation() -> Pins {
        let mut pins = Pins::new(IDLE, [None; 2]);
        assert_eq!(hear(&mut pins, Side::First, 1, 0), Ok(true));
        assert_eq!(hear(&mut pins, Side::Second, 2, 0), Ok(true));
        assert!(!pins.forward(Side::First));
        assert!(pins.forward(Side::Second));
        pins
    }

    #[test]
    fn a_soft_pin_is_replaced_ten_seconds_after_it_was_learned() {
        let mut pins = Pins::new(IDLE, [None; 2]);
        assert_eq!(hear(&mut pins, Side::First, 1, 0), Ok(true));
        assert_eq!(hear(&mut pins, Side::First, 1, 9), Ok(false), "to be heard does not put it off");
        assert_eq!(hear(&mut pins, Side::First, 2, 9), Err(Dropped::OtherSource));
        assert_eq!(hear(&mut pins, Side::First, 2, 10), Ok(true));
        assert_eq!(hear(&mut pins, Side::First, 1, 11), Err(Dropped::OtherSource));
    }

    #[test]
    fn a_source_that_is_refused_replaces_nobody() {
        let mut pins = Pins::new(IDLE, [None; 2]);
        assert_eq!(hear(&mut pins, Side::First, 1, 0), Ok(true));
        let refused = pins.hear(Side::First, addr(2), Moment(60_000), || Some(Dropped::Token));
        assert_eq!(refused, Err(Dropped::Token));
        assert_eq!(pins.live(Side::First, Moment(60_000)).unwrap().source, addr(1));
    }

    #[test]
    fn packets_one_way_make_nobody_firm() {
        let mut pins = Pins::new(IDLE, [None; 2]);
        assert_eq!(hear(&mut pins, Side::First, 1, 0), Ok(true));
        assert_eq!(hear(&mut pins, Side::Second, 2, 0), Ok(true));
        for _ in 0..3 {
            assert!(!pins.forward(Side::First));
        }
        assert_eq!(hear(&mut pins, Side::First, 3, 10), Ok(true));
        assert!(!pins.forward(Side::Second), "what passed to another does not count for the new one");
    }

    #[test]
    fn a_firm_pin_is_replaced_only_after_the_idle_time() {
        let mut pins = conversation();
        assert_eq!(hear(&mut pins, Side::First, 1, 60), Ok(false));
        assert_eq!(hear(&mut pins, Side::First, 3, 179), Err(Dropped::OtherSource));
        assert_eq!(hear(&mut pins, Side::First, 3, 180), Ok(true));
        assert!(!pins.live(Side::First, Moment(180_000)).unwrap().is_firm);
    }

    #[test]
    fn a_side_that_is_silent_is_forgotten_alone() {
        let mut pins = conversation();
        assert_eq!(hear(&mut pins, Side::Second, 2, 100), Ok(false));
        assert!(pins.live(Side::First, Moment(120_000)).is_none());
        assert!(pins.live(Side::Second, Moment(120_000)).unwrap().is_firm);
        assert_eq!(hear(&mut pins, Side::First, 1, 130), Ok(true), "even the same source is learned again");
    }

    #[test]
    fn firm_pins_from_before_a_restart_stay_firm() {
        let pins = conversation().pins;
        let mut again = Pins::new(IDLE, pins);
        assert_eq!(hear(&mut again, Side::First, 3, 60), Err(Dropped::OtherSource));
        let mut half = Pins::new(IDLE, [pins[0], None]);
        assert_eq!(hear(&mut half, Side::Second, 9, 60), Ok(true));
        assert!(!half.forward(Side::Second), "one way is not both");
    }
}
