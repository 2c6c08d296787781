//! What was measured, round by round.

use std::collections::BTreeMap;

use crate::contender::Contender;
use crate::load::Sending;

/// What a figure tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Packets of this size that arrive in a second.
    Flood(Sending, usize),
    /// Microseconds, of half the packets and of all but one in a hundred.
    P50,
    P99,
    /// Microseconds of the relay's CPU for a packet of such a flood.
    FloodCpu(Sending, usize),
    /// The same for few packets.
    Cpu,
    /// Packets in a hundred that were lost meanwhile.
    Lost,
}

/// One figure for each round, so that two contenders can be compared within one.
#[derive(Default)]
pub(crate) struct Figures {
    rounds: BTreeMap<(Measure, Contender), Vec<f64>>,
}

/// The middle one of all rounds, the lowest and the highest.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Figures {
    pub(crate) fn add(&mut self, measure: Measure, contender: Contender, figure: f64) {
        self.rounds.entry((measure, contender)).or_default().push(figure);
    }

    pub(crate) fn of(&self, measure: Measure, contender: Contender) -> Option<Spread> {
        Spread::of(self.rounds.get(&(measure, contender))?.iter().copied())
    }

    /// One contender's figures as multiples of another's in the same round.
    pub(crate) fn ratio(&self, measure: Measure, ours: Contender, theirs: Contender) -> Option<Spread> {
        self.compare(measure, ours, theirs, |ours, theirs| ours / theirs)
    }

    /// How much it adds to what there is without a relay.
    pub(crate) fn added(&self, measure: Measure, contender: Contender) -> Option<Spread> {
        self.compare(measure, contender, Contender::Bare, |with, without| with - without)
    }

    fn compare(
        &self,
        measure: Measure,
        one: Contender,
        other: Contender,
        compared: impl Fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let (one, other) = (self.rounds.get(&(measure, one))?, self.rounds.get(&(measure, other))?);
        Spread::of(one.iter().zip(other).map(|(one, other)| compared(*one, *other)))
    }
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Some(Self {
            median: *figures.get(figures.len() / 2)?,
            low: *figures.first()?,
            high: *figures.last()?,
        })
    }
}
