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

/// The geometric mean of what was found in each round, since a half and a double cancel out, and its standard error.
#[derive(Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) mean: f64,
    pub(crate) error: f64,
}

impl Figures {
    pub(crate) fn add(&mut self, measure: Measure, contender: Contender, figure: f64) {
        self.rounds.entry((measure, contender)).or_default().push(figure);
    }

    pub(crate) fn of(&self, measure: Measure, contender: Contender) -> Option<Spread> {
        Spread::of(self.rounds.get(&(measure, contender))?.iter().copied())
    }

    /// One contender's figures as multiples of another's in the same round.
    pub(crate) fn ratio(&self, measures: &[Measure], ours: Contender, theirs: Contender) -> Option<Ratio> {
        let mut logs = Vec::new();
        for measure in measures {
            let (ours, theirs) = (self.rounds.get(&(*measure, ours))?, self.rounds.get(&(*measure, theirs))?);
            logs.extend(ours.iter().zip(theirs).map(|(ours, theirs)| (ours / theirs).ln()));
        }
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        Some(Ratio { mean: mean.exp(), error: mean.exp() * (variance / count).sqrt() })
    }

    /// How much it adds to what there is without a relay in the same round.
    pub(crate) fn added(&self, measure: Measure, contender: Contender) -> Option<Spread> {
        let with = self.rounds.get(&(measure, contender))?;
        let without = self.rounds.get(&(measure, Contender::Bare))?;
        Spread::of(with.iter().zip(without).map(|(with, without)| with - without))
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
