//! Packets of users and of strangers on both sides of a relay, and what must hold after each of them.
//!
//! Beside the rules stands a record of all that was sent. The property tests and the fuzz target `relay_packet` share this
//! file: both make the traffic of bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use imp_core::relay::{
    Dropped, ECHO_EVERY, End, Limits, Moment, Options, Pin, REPLACEABLE_AFTER, Rules, Run, Side, Verdict,
    canonical, is_private, spans,
};
use imp_core::socket::Token;

/// Who sends: users, strangers, and those who may never come in.
const SOURCES: [&str; 14] = [
    "1.1.1.1:1",
    "1.1.1.1:2",
    "[::ffff:1.1.1.1]:2",
    "9.9.9.9:9",
    "[2001:db8::1]:5",
    "127.0.0.1:7",
    OWN,
    "10.0.0.1:1",
    "[fe80::1%3]:1",
    "169.254.0.1:80",
    "255.255.255.255:1",
    "224.0.0.1:1",
    "8.8.8.8:0",
    "[::]:1",
];

/// A relay socket of this node.
const OWN: &str = "127.0.0.1:20000";

/// Whatever the limits: what a packet larger than all of it may exceed them by.
const LONGEST: u64 = 300;

pub(crate) struct Traffic {
    options: Options,
    rules: Rules,
    now: Moment,
    /// When each source was last heard on a side, whether or not it was let in.
    sent: HashMap<(Side, SocketAddr), Moment>,
    /// What went through, and when.
    passed: Vec<(Moment, u64, u64)>,
    /// When a keep-alive of each side was answered last.
    echoed: [Option<Moment>; 2],
    /// Packets that the rules were asked about while the relay ran.
    asked: u64,
    /// Of those, what was left when the relay ended in the midst of them.
    left_over: u64,
}

impl Traffic {
    /// A relay whose options are the first bytes.
    pub(crate) fn new(bytes: &mut &[u8]) -> Self {
        let [flags, idle, packets, rate] = take::<4>(bytes).unwrap_or_default();
        let bit = |bit: u8| flags & (1 << bit) != 0;
        let options = Options {
            idle: Duration::from_secs(u64::from(idle % 32) + 1),
            ends_on_idle: bit(0),
            life: bit(1).then(|| Duration::from_secs(90)),
            limits: Limits {
                max_packets: if bit(2) { u64::from(packets) + 1 } else { u64::MAX },
                max_bytes: if bit(3) { u64::from(packets) * 32 + 1 } else { u64::MAX },
                max_packets_per_sec: if bit(4) { u64::from(rate) + 1 } else { 1_000_000 },
                max_bytes_per_sec: if bit(5) { u64::from(rate) * 16 + 1 } else { 1_000_000_000 },
            },
            token: Token::from_random([0xab; 16]),
            require_token: bit(6),
            allow_private: bit(7),
        };
        let now = Moment(1_000_000);
        let rules = Rules::new(options.clone(), [None; 2], now);
        let (sent, passed) = (HashMap::new(), Vec::new());
        Self { options, rules, now, sent, passed, echoed: [None; 2], asked: 0, left_over: 0 }
    }

    /// What the next bytes stand for; false at their end.
    pub(crate) fn step(&mut self, bytes: &mut &[u8]) -> bool {
        let Some([kind, pick, size]) = take::<3>(bytes) else { return false };
        match kind % 8 {
            0 => self.pass(Duration::from_millis(u64::from(size) * 8)),
            1 => self.pass(Duration::from_secs(u64::from(size) % 40)),
            kind => {
                let side = if pick & 0x80 == 0 { Side::First } else { Side::Second };
                // Mostly the users.
                let pick = usize::from(pick & 0x7f);
                let source = SOURCES[if pick < 96 { pick % 4 } else { pick % SOURCES.len() }];
                let source: SocketAddr = source.parse().expect("written above");
                let (packets, stride) = self.packets(kind, size, bytes);
                self.receive(side, source, &packets, stride);
            }
        }
        true
    }

    /// Packets and their length.
    fn packets(&self, kind: u8, size: u8, bytes: &mut &[u8]) -> (Vec<u8>, usize) {
        let token = self.options.token.as_bytes();
        let size = usize::from(size);
        match kind {
            2 => (token.to_vec(), token.len()),
            3 => {
                let packets = (0..size % 9).flat_map(|at| {
                    if size & (1 << (at % 8)) == 0 { token.to_vec() } else { vec![b'a'; token.len()] }
                });
                (packets.collect(), token.len())
            }
            4 => (vec![1; size % 97], 16),
            5 => (vec![2; size], size),
            _ => {
                let (packets, rest) = bytes.split_at(size.min(bytes.len()));
                *bytes = rest;
                (packets.to_vec(), usize::from(kind) * 5)
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    fn receive(&mut self, side: Side, source: SocketAddr, packets: &[u8], stride: usize) {
        let mut end = 0;
        for span in spans(packets, stride, self.options.token.clone().as_bytes()) {
            assert_eq!(span.at.start, end, "every packet is in one span");
            end = span.at.end;
            for packet in packets[span.at.clone()].chunks(stride.max(1)) {
                assert_eq!(span.is_token, packet == self.options.token.as_bytes());
            }
            let stride = if span.is_token { span.at.len() } else { stride };
            self.take(side, source, Run::new(span.at.len() as u64, stride as u64), span.is_token);
        }
        assert_eq!(end, packets.len());
    }

    fn take(&mut self, side: Side, source: SocketAddr, run: Run, is_token: bool) {
        let was_over = self.rules.end(self.now).is_some();
        let before = Side::BOTH.map(|side| self.rules.pin(side, self.now).copied());
        let own: SocketAddr = OWN.parse().expect("written above");
        let verdict = self.rules.take(side, source, run, is_token, self.now, |source| source == own);
        let source = canonical(source);
        if was_over {
            assert_eq!(verdict, Verdict::Over);
            return;
        }
        self.asked += run.packets;
        let after = Side::BOTH.map(|side| self.rules.pin(side, self.now).copied());
        self.check_pins(side, source, is_token, before, after);
        let is_known = after[side.index()].is_some_and(|pin| pin.source == source);
        assert!(verdict.is_heard() == is_known || verdict == Verdict::Over);
        match verdict {
            Verdict::Forward { packets, to } => {
                assert!(!is_token && packets >= 1 && packets <= run.packets);
                assert_eq!(after[side.index()].map(|pin| pin.source), Some(source), "only of who is known");
                assert_eq!(
                    before[side.other().index()].map(|pin| pin.source),
                    Some(to),
                    "only to who is known"
                );
                let heard = self.sent[&(side.other(), to)];
                assert!(self.now.since(heard) < self.options.idle, "nothing is sent to who is silent");
                self.passed.push((self.now, packets, run.bytes_of(packets)));
                if self.rules.end(self.now) == Some(End::Limit) {
                    self.left_over += run.packets - packets;
                }
            }
            Verdict::Echo | Verdict::Keep => {
                assert!(is_token);
                assert_eq!(after[side.index()].map(|pin| pin.source), Some(source), "only of who is known");
                if verdict == Verdict::Echo {
                    let last = self.echoed[side.index()].replace(self.now);
                    assert!(last.is_none_or(|last| self.now.since(last) >= ECHO_EVERY));
                }
            }
            Verdict::Drop(_) => {}
            Verdict::Over => self.left_over += run.packets,
        }
        self.sent.insert((side, source), self.now);
        self.check_counts();
    }

    fn check_pins(
        &self,
        side: Side,
        source: SocketAddr,
        is_token: bool,
        before: [Option<Pin>; 2],
        after: [Option<Pin>; 2],
    ) {
        let other = side.other().index();
        let address = |pin: Option<Pin>| pin.map(|pin| (pin.source, pin.learned, pin.last_heard));
        assert_eq!(address(before[other]), address(after[other]), "the other side's user is the same");
        let (before, after) = (before[side.index()], after[side.index()]);
        let Some(after) = after else {
            assert_eq!(before, None, "nobody is driven out without another");
            return;
        };
        if before.is_some_and(|before| before.source == after.source) {
            return;
        }
        assert_eq!((after.source, after.learned, after.last_heard), (source, self.now, self.now));
        if let Some(before) = before {
            assert!(!before.is_firm, "a firm source is never replaced while it is heard");
            assert!(self.now.since(before.learned) >= REPLACEABLE_AFTER);
        }
        assert!(is_token || !self.options.require_token, "nobody comes in without the token");
        assert!(source.port() != 0 && !source.ip().is_multicast() && !source.ip().is_unspecified());
        assert_ne!(source, OWN.parse().expect("written above"));
        assert!(self.options.allow_private || !is_private(source.ip()));
    }

    fn check_counts(&self) {
        let counts = Side::BOTH.map(|side| self.rules.count(side));
        let passed: u64 = counts.iter().map(|count| count.packets).sum();
        let bytes: u64 = counts.iter().map(|count| count.bytes).sum();
        let kept: u64 = counts.iter().map(|count| count.keep_alives).sum();
        let dropped: u64 = self.rules.drops().iter().sum();
        assert_eq!(passed + kept + dropped + self.left_over, self.asked, "each packet is counted once");
        assert_eq!(self.rules.drops()[Dropped::Send.index()], 0, "nothing failed");
        assert_eq!(passed, self.passed.iter().map(|(_, packets, _)| packets).sum::<u64>());
        assert_eq!(bytes, self.passed.iter().map(|(_, _, bytes)| bytes).sum::<u64>());
        let limits = &self.options.limits;
        assert!(passed <= limits.max_packets && bytes <= limits.max_bytes);
        let is_used_up = passed == limits.max_packets || bytes == limits.max_bytes;
        assert!(!is_used_up || self.rules.end(self.now) == Some(End::Limit));
        self.check_rate();
    }

    /// In no second goes through more than that second's worth, what a pause may save up, and one packet.
    fn check_rate(&self) {
        let second =
            self.passed.iter().rev().take_while(|(at, ..)| self.now.since(*at) < Duration::from_secs(1));
        let (packets, bytes) =
            second.fold((0, 0), |sum, (_, packets, bytes)| (sum.0 + packets, sum.1 + bytes));
        let limits = &self.options.limits;
        let most = |per_sec: u64| per_sec + (per_sec / 4).max(1);
        assert!(packets <= most(limits.max_packets_per_sec) + 1, "{packets} in a second");
        assert!(bytes <= most(limits.max_bytes_per_sec) + LONGEST, "{bytes} bytes in a second");
    }

    /// What must hold in the end: the relay is over when both were silent, or its life is over, and at its deadline.
    pub(crate) fn finish(mut self) {
        if self.rules.end(self.now).is_some() {
            return;
        }
        let Some(deadline) = self.rules.deadline() else {
            self.pass(Duration::from_secs(1_000_000));
            assert_eq!(self.rules.end(self.now), None, "nothing ends it");
            return;
        };
        assert!(deadline > self.now);
        assert_eq!(self.rules.end(Moment(deadline.0 - 1)), None);
        let end = self.rules.end(deadline).expect("it ends at its deadline");
        if end == End::Idle {
            assert!(Side::BOTH.into_iter().all(|side| self.rules.pin(side, deadline).is_none()));
        }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
