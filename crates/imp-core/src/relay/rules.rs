//! A relay as a whole: what becomes of each run of packets, and when it is over.

use std::net::SocketAddr;
use std::time::Duration;

use super::meter::{Limits, Meter};
use super::pins::{Pin, Pins};
use super::{Dropped, End, Moment, Run, Side, canonical, refused};
use crate::socket::Token;

/// How often a keep-alive of a side is answered at most. Programs send them every second or more seldom. Without this,
/// whoever has the token and forges sources would have the relay send to them as much as its rate allows, and an echo
/// service whose address was forged would send each answer back to be answered, for ever.
pub const ECHO_EVERY: Duration = Duration::from_millis(500);

/// How a relay is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a side may be silent before it is forgotten.
    pub idle: Duration,
    /// Whether the relay ends once both sides were silent for that long.
    pub ends_on_idle: bool,
    /// How long it lasts at most; nothing for no end.
    pub life: Option<Duration>,
    /// How much may go through.
    pub limits: Limits,
    /// A packet that is exactly this is a keep-alive.
    pub token: Token,
    /// Whether a new source must begin with the token.
    pub require_token: bool,
    /// Whether private and link-local sources are let in.
    pub allow_private: bool,
}

/// What came from one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SideCount {
    /// Packets that went to the other side.
    pub packets: u64,
    /// Their payload in bytes.
    pub bytes: u64,
    /// Keep-alives that were taken and not passed on.
    pub keep_alives: u64,
}

/// What to do with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the first `packets` of it to the other side's pin. The others were dropped: they are above the rate.
    Forward {
        /// How many; at least 1.
        packets: u64,
        /// To whom.
        to: SocketAddr,
    },
    /// Send it back to its source.
    Echo,
    /// Nothing: it was a keep-alive, and an answer would be above the rate or follow another within [`ECHO_EVERY`].
    Keep,
    /// Nothing.
    Drop(Dropped),
    /// Nothing: the relay is over.
    Over,
}

impl Verdict {
    /// Whether the source is the one that is known on its side.
    pub const fn is_heard(self) -> bool {
        match self {
            Self::Forward { .. } | Self::Echo | Self::Keep | Self::Drop(Dropped::NoPeer | Dropped::Rate) => {
                true
            }
            Self::Drop(_) | Self::Over => false,
        }
    }
}

/// The rules of one relay.
#[derive(Clone, Debug)]
pub struct Rules {
    options: Options,
    started: Moment,
    pins: Pins,
    meter: Meter,
    /// When a keep-alive of each side was answered last, whosever it was.
    answered: [Option<Moment>; 2],
    is_used_up: bool,
    counts: [SideCount; 2],
    drops: [u64; Dropped::ALL.len()],
    /// Goes up whenever a pin is learned or becomes firm.
    revision: u64,
}

impl Rules {
    /// A relay that begins now, with pins from an earlier run of it, if any. What those were heard in the future of `now`
    /// counts as heard now.
    pub fn new(options: Options, pins: [Option<Pin>; 2], now: Moment) -> Self {
        let pins = pins.map(|pin| {
            pin.map(|pin| Pin {
                source: canonical(pin.source),
                learned: pin.learned.min(now),
                last_heard: pin.last_heard.min(now),
                ..pin
            })
        });
        Self {
            started: now,
            pins: Pins::new(options.idle, pins),
            meter: Meter::new(options.limits, now),
            answered: [None; 2],
            is_used_up: false,
            counts: [SideCount::default(); 2],
            drops: [0; Dropped::ALL.len()],
            revision: 0,
            options,
        }
    }

    /// Decides on a run of packets of one source. A keep-alive is a run of its own: one packet that is exactly
    /// [`Self::token`]. `is_own_relay` is asked only about a source that would be new.
    pub fn take(
        &mut self,
        side: Side,
        source: SocketAddr,
        run: Run,
        is_token: bool,
        now: Moment,
        is_own_relay: impl FnOnce(SocketAddr) -> bool,
    ) -> Verdict {
        if self.end(now).is_some() {
            return Verdict::Over;
        }
        let source = canonical(source);
        let Options { require_token, allow_private, .. } = self.options;
        let heard = self.pins.hear(side, source, now, || {
            refused(source, allow_private, || is_own_relay(source))
                .or((require_token && !is_token).then_some(Dropped::Token))
        });
        match heard {
            Ok(is_new) => self.revision += u64::from(is_new),
            Err(why) => return self.dropped(why, run.packets),
        }
        if is_token {
            self.counts[side.index()].keep_alives += run.packets;
            return if self.answers(side, run.stride, now) { Verdict::Echo } else { Verdict::Keep };
        }
        let Some(to) = self.pins.live(side.other(), now).map(|pin| pin.source) else {
            return self.dropped(Dropped::NoPeer, run.packets);
        };
        let passed = self.meter.pass(&run, now);
        self.is_used_up = passed.is_used_up;
        self.drops[Dropped::Rate.index()] += passed.above_rate;
        if passed.packets == 0 {
            return if passed.is_used_up { Verdict::Over } else { Verdict::Drop(Dropped::Rate) };
        }
        let count = &mut self.counts[side.index()];
        count.packets += passed.packets;
        count.bytes += run.bytes_of(passed.packets);
        self.revision += u64::from(self.pins.forward(side));
        Verdict::Forward { packets: passed.packets, to }
    }

    /// Whether a keep-alive of a side is answered; that counts as done.
    fn answers(&mut self, side: Side, bytes: u64, now: Moment) -> bool {
        let last = &mut self.answered[side.index()];
        let answers = last.is_none_or(|last| now.since(last) >= ECHO_EVERY) && self.meter.answer(bytes, now);
        if answers {
            *last = Some(now);
        }
        answers
    }

    fn dropped(&mut self, why: Dropped, packets: u64) -> Verdict {
        self.drops[why.index()] += packets;
        Verdict::Drop(why)
    }

    /// Takes back packets from a side that were to be forwarded, but the system did not send.
    pub fn unsent(&mut self, side: Side, packets: u64, bytes: u64, why: Dropped) {
        let count = &mut self.counts[side.index()];
        count.packets = count.packets.saturating_sub(packets);
        count.bytes = count.bytes.saturating_sub(bytes);
        self.drops[why.index()] += packets;
        self.meter.give_back(packets, bytes);
    }

    /// Why the relay is over; nothing while it is not.
    pub fn end(&self, now: Moment) -> Option<End> {
        if self.is_used_up {
            return Some(End::Limit);
        }
        if self.life_ends().is_some_and(|at| now >= at) {
            return Some(End::Life);
        }
        (self.options.ends_on_idle && now >= self.idle_ends()).then_some(End::Idle)
    }

    /// When it ends if nothing more is heard; nothing where it does not end by itself.
    pub fn deadline(&self) -> Option<Moment> {
        let idle = self.options.ends_on_idle.then(|| self.idle_ends());
        [self.life_ends(), idle].into_iter().flatten().min()
    }

    fn life_ends(&self) -> Option<Moment> {
        self.options.life.map(|life| self.started.plus(life))
    }

    fn idle_ends(&self) -> Moment {
        let heard = Side::BOTH.into_iter().filter_map(|side| self.pins.last_heard(side));
        heard.fold(self.started, Moment::max).plus(self.options.idle)
    }

    /// Who is known on a side and not silent for the idle time.
    pub fn pin(&self, side: Side, now: Moment) -> Option<&Pin> {
        self.pins.live(side, now)
    }

    /// When a side was last heard, by whomever.
    pub fn last_heard(&self, side: Side) -> Option<Moment> {
        self.pins.last_heard(side)
    }

    /// A number that grows whenever a source is learned or becomes firm.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What came from a side.
    pub fn count(&self, side: Side) -> SideCount {
        self.counts[side.index()]
    }

    /// How many packets were dropped, by [`Dropped::index`].
    pub fn drops(&self) -> &[u64; Dropped::ALL.len()] {
        &self.drops
    }

    /// The relay's token.
    pub fn token(&self) -> &Token {
        &self.options.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([1, 2, 3, 4], port))
    }

    fn rules() -> Rules {
        let limits = Limits {
            max_packets: u64::MAX,
            max_bytes: u64::MAX,
            max_packets_per_sec: 1_000_000,
            max_bytes_per_sec: 1_000_000_000,
        };
        let options = Options {
            idle: Duration::from_secs(120),
            ends_on_idle: true,
            life: None,
            limits,
            token: Token::from_random([0; 16]),
            require_token: false,
            allow_private: false,
        };
        Rules::new(options, [None; 2], Moment(0))
    }

    fn keep_alive(rules: &mut Rules, side: Side, port: u16, at: u64) -> Verdict {
        rules.take(side, addr(port), Run::one(32), true, Moment(at), |_| false)
    }

    #[test]
    fn keep_alives_of_a_side_are_answered_twice_a_second_at_most() {
        let mut rules = rules();
        assert_eq!(keep_alive(&mut rules, Side::First, 1, 0), Verdict::Echo);
        assert_eq!(keep_alive(&mut rules, Side::First, 1, 0), Verdict::Keep);
        assert_eq!(keep_alive(&mut rules, Side::Second, 2, 0), Verdict::Echo, "the other side has its own");
        assert_eq!(keep_alive(&mut rules, Side::First, 1, 499), Verdict::Keep);
        assert_eq!(keep_alive(&mut rules, Side::First, 1, 500), Verdict::Echo);
        assert_eq!(rules.count(Side::First).keep_alives, 4, "they count as heard all the same");
    }

    #[test]
    fn an_answer_above_the_rate_puts_off_none_that_is_within_it() {
        let mut rules = rules();
        rules.options.limits.max_packets_per_sec = 4;
        rules.meter = Meter::new(rules.options.limits, Moment(0));
        assert_eq!(keep_alive(&mut rules, Side::Second, 2, 0), Verdict::Echo);
        assert_eq!(keep_alive(&mut rules, Side::First, 1, 0), Verdict::Keep, "above the rate");
        assert_eq!(keep_alive(&mut rules, Side::First, 1, 250), Verdict::Echo);
    }
}
