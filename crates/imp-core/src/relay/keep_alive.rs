//! The end of a relay that joins it: when it says that it is there.
//!
//! The address was a stranger's choice. So an end that is not answered falls silent: whoever is named in an offer is not
//! sent to for ever.

use std::time::Duration;

use super::Moment;

/// How often a relay that answers is told that this end is there. RFC 8085 section 3.5 asks for 15 s at least, for what is sent
/// for NAT alone; this is to notice as well that the relay is gone, and two in a row may be lost before [`GIVE_UP_AFTER`].
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);

/// The pause after the first one; it doubles while nothing has been heard, up to [`KEEP_ALIVE_EVERY`].
pub const FIRST_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// How long nothing is heard before this end falls silent.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// How an end stands with its relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The relay has not answered yet.
    Joining,
    /// It has.
    Joined,
    /// It has not for [`GIVE_UP_AFTER`].
    Silent,
}

impl State {
    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Joined => "joined",
            Self::Silent => "silent",
        }
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send a keep-alive and ask again.
    Send,
    /// Nothing before this moment.
    At(Moment),
    /// Nothing before the local program sends.
    Never,
}

/// When keep-alives are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Since when an answer is waited for: the beginning, or when the program ended a silence.
    asked: Moment,
    heard: Option<Moment>,
    next: Moment,
    pause: Duration,
}

impl KeepAlive {
    /// An end that begins now; its first keep-alive is due.
    pub const fn new(now: Moment) -> Self {
        Self { asked: now, heard: None, next: now, pause: FIRST_KEEP_ALIVE }
    }

    /// What to do now. [`Due::Send`] counts as done.
    pub fn due(&mut self, now: Moment) -> Due {
        if self.is_silent(now) {
            return Due::Never;
        }
        if now < self.next {
            return Due::At(self.next.min(self.gives_up()));
        }
        self.next = now.plus(self.pause);
        self.pause = (self.pause * 2).min(KEEP_ALIVE_EVERY);
        Due::Send
    }

    /// Something came from the relay.
    pub fn heard(&mut self, now: Moment) {
        self.heard = Some(now);
        if self.pause < KEEP_ALIVE_EVERY {
            self.pause = KEEP_ALIVE_EVERY;
            self.next = now.plus(KEEP_ALIVE_EVERY);
        }
    }

    /// The local program sends. Whether that ends a silence: then [`Self::due`] has a keep-alive, to be sent first, since
    /// the relay may have forgotten this end and demand its token.
    pub fn program_sends(&mut self, now: Moment) -> bool {
        let is_silent = self.is_silent(now);
        if is_silent {
            *self = Self { heard: self.heard, ..Self::new(now) };
        }
        is_silent
    }

    /// How this end stands.
    pub fn state(&self, now: Moment) -> State {
        if self.is_silent(now) {
            State::Silent
        } else if self.heard.is_some_and(|heard| heard >= self.asked) {
            State::Joined
        } else {
            State::Joining
        }
    }

    /// When the relay was last heard.
    pub const fn last_heard(&self) -> Option<Moment> {
        self.heard
    }

    fn gives_up(&self) -> Moment {
        self.heard.map_or(self.asked, |heard| heard.max(self.asked)).plus(GIVE_UP_AFTER)
    }

    fn is_silent(&self, now: Moment) -> bool {
        now >= self.gives_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Moment {
        Moment(1_000_000 + secs * 1_000)
    }

    /// When keep-alives go out between two times, in seconds, and what is due after them.
    fn sent(keep_alive: &mut KeepAlive, from: u64, until: u64) -> (Vec<u64>, Due) {
        let (mut sent, mut last) = (Vec::new(), Due::Never);
        for secs in from..until {
            last = keep_alive.due(at(secs));
            if last == Due::Send {
                sent.push(secs);
                last = keep_alive.due(at(secs));
            }
            if let Due::At(moment) = last {
                assert!(moment > at(secs), "a deadline that has passed would be asked for at once, for ever");
            }
        }
        (sent, last)
    }

    #[test]
    fn keep_alives_end_after_thirty_seconds_without_an_answer() {
        let mut keep_alive = KeepAlive::new(at(0));
        assert_eq!(sent(&mut keep_alive, 0, 100), (vec![0, 1, 3, 7, 15, 25], Due::Never));
        assert_eq!(keep_alive.state(at(29)), State::Joining);
        assert_eq!(keep_alive.state(at(30)), State::Silent);
    }

    #[test]
    fn a_relay_that_answers_is_told_every_ten_seconds() {
        let mut keep_alive = KeepAlive::new(at(0));
        assert_eq!(keep_alive.due(at(0)), Due::Send);
        keep_alive.heard(at(0));
        assert_eq!(keep_alive.state(at(0)), State::Joined);
        let mut all = Vec::new();
        for secs in 1..60 {
            if keep_alive.due(at(secs)) == Due::Send {
                keep_alive.heard(at(secs));
                all.push(secs);
            }
        }
        assert_eq!(all, [10, 20, 30, 40, 50]);
        assert_eq!(sent(&mut keep_alive, 60, 200), (vec![60, 70], Due::Never), "heard last at 50");
    }

    #[test]
    fn the_program_ends_a_silence_and_the_token_goes_first() {
        let mut keep_alive = KeepAlive::new(at(0));
        assert!(!keep_alive.program_sends(at(5)));
        sent(&mut keep_alive, 0, 40);
        assert!(keep_alive.program_sends(at(50)));
        assert!(!keep_alive.program_sends(at(50)));
        assert_eq!(keep_alive.state(at(50)), State::Joining);
        assert_eq!(keep_alive.due(at(50)), Due::Send);
        assert_eq!(sent(&mut keep_alive, 50, 120).1, Due::Never);
    }

    #[test]
    fn a_late_packet_of_the_relay_ends_a_silence_too() {
        let mut keep_alive = KeepAlive::new(at(0));
        sent(&mut keep_alive, 0, 40);
        keep_alive.heard(at(45));
        assert_eq!(keep_alive.state(at(45)), State::Joined);
        assert_eq!(keep_alive.due(at(45)), Due::Send);
    }
}
