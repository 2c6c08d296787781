//! What a relay's task and its handle share: numbers that the task alone writes, its pins and its end.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use imp_core::relay::{Dropped, End, Moment, Pin, Rules, Side};
use tokio::sync::watch;

use super::super::engine::Time;
use super::{SavedPin, SideSnapshot, Snapshot};

/// What stands for "never" among moments.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ports: [u16; 2],
    pub(super) end: watch::Sender<Option<End>>,
    /// Goes up with the pins.
    pub(super) revision: watch::Sender<u64>,
    idle: Duration,
    sides: [SideNumbers; 2],
    drops: [AtomicU64; Dropped::ALL.len()],
    /// Written when a pin changes.
    pins: Mutex<[Option<Known>; 2]>,
}

/// A pin and the address to which its packets came.
#[derive(Clone, Copy, Debug)]
struct Known {
    pin: Pin,
    reached: Option<IpAddr>,
}

#[derive(Debug)]
struct SideNumbers {
    packets: AtomicU64,
    bytes: AtomicU64,
    keep_alives: AtomicU64,
    last_heard: AtomicU64,
}

impl SideNumbers {
    fn new() -> Self {
        Self {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            keep_alives: AtomicU64::new(0),
            last_heard: AtomicU64::new(NEVER),
        }
    }

    fn last_heard(&self) -> Option<Moment> {
        let heard = self.last_heard.load(Ordering::Relaxed);
        (heard != NEVER).then_some(Moment(heard))
    }
}

impl Shared {
    pub(super) fn new(ports: [u16; 2], idle: Duration) -> Self {
        Self {
            ports,
            end: watch::Sender::new(None),
            revision: watch::Sender::new(0),
            idle,
            sides: [SideNumbers::new(), SideNumbers::new()],
            drops: std::array::from_fn(|_| AtomicU64::new(0)),
            pins: Mutex::default(),
        }
    }

    /// Shows the numbers of the rules. Called by the task, after a batch.
    pub(super) fn show_numbers(&self, rules: &Rules) {
        for (side, numbers) in Side::BOTH.into_iter().zip(&self.sides) {
            let count = rules.count(side);
            numbers.packets.store(count.packets, Ordering::Relaxed);
            numbers.bytes.store(count.bytes, Ordering::Relaxed);
            numbers.keep_alives.store(count.keep_alives, Ordering::Relaxed);
            let heard = rules.last_heard(side).map_or(NEVER, |heard| heard.0);
            numbers.last_heard.store(heard, Ordering::Relaxed);
        }
        for (shown, dropped) in self.drops.iter().zip(rules.drops()) {
            shown.store(*dropped, Ordering::Relaxed);
        }
    }

    /// Shows the pins of the rules. Called by the task, when they have changed.
    pub(super) fn show_pins(&self, rules: &Rules, reached: [Option<IpAddr>; 2], now: Moment) {
        let pins = Side::BOTH.map(|side| {
            let reached = reached[side.index()];
            rules.pin(side, now).map(|pin| Known { pin: *pin, reached })
        });
        *self.pins.lock().unwrap_or_else(PoisonError::into_inner) = pins;
        self.revision.send_replace(rules.revision());
    }

    /// Who is known on each side, with the time of its last packet as it is now.
    fn known(&self) -> [Option<Known>; 2] {
        let mut pins = *self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        for (known, numbers) in pins.iter_mut().zip(&self.sides) {
            if let (Some(known), Some(heard)) = (known.as_mut(), numbers.last_heard()) {
                known.pin.last_heard = known.pin.last_heard.max(heard);
            }
        }
        pins
    }

    pub(super) fn saved_pins(&self, time: &Time) -> [Option<SavedPin>; 2] {
        self.known().map(|known| {
            known.map(|Known { pin, reached }| SavedPin {
                source: pin.source,
                is_firm: pin.is_firm,
                learned: time.at(pin.learned),
                last_heard: time.at(pin.last_heard),
                reached,
            })
        })
    }

    pub(super) fn snapshot(&self, time: &Time) -> Snapshot {
        let (known, now) = (self.known(), time.now());
        let sides = Side::BOTH.map(|side| {
            let numbers = &self.sides[side.index()];
            let pin = known[side.index()].map(|known| known.pin);
            let pin = pin.filter(|pin| now.since(pin.last_heard) < self.idle);
            SideSnapshot {
                source: pin.map(|pin| pin.source),
                is_firm: pin.is_some_and(|pin| pin.is_firm),
                learned: pin.map(|pin| time.at(pin.learned)),
                last_heard: numbers.last_heard().map(|heard| time.at(heard)),
                packets: numbers.packets.load(Ordering::Relaxed),
                bytes: numbers.bytes.load(Ordering::Relaxed),
                keep_alives: numbers.keep_alives.load(Ordering::Relaxed),
            }
        });
        let drops = std::array::from_fn(|reason| self.drops[reason].load(Ordering::Relaxed));
        Snapshot { sides, drops }
    }
}
