//! What was measured, round by round, and how it is told.

/// The middle one, the lowest and the highest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self { median: *sorted.get(sorted.len() / 2)?, low: *sorted.first()?, high: *sorted.last()? })
    }

    pub(crate) fn text(self, places: usize) -> String {
        let Self { median, low, high } = self;
        format!("{median:.places$} ({low:.places$}-{high:.places$})")
    }
}

/// The geometric mean of ratios within rounds, since a half and a double cancel out, and its standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    pub(crate) mean: f64,
    pub(crate) error: f64,
}

impl Ratio {
    pub(crate) fn of(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let logs: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| (ours / theirs).ln()).collect();
        if logs.is_empty() {
            return None;
        }
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        Some(Self { mean: mean.exp(), error: mean.exp() * (variance / count).sqrt() })
    }

    /// What lies within two standard errors of its target says neither.
    pub(crate) fn at_least(self, least: f64) -> &'static str {
        match self.mean >= least {
            true => "met",
            false if self.mean + 2.0 * self.error >= least => "within noise",
            false => "MISSED",
        }
    }
}

pub(crate) fn verdict(target: &str, word: &str, figure: &str) {
    println!("target: {target:62} {word}: {figure}");
}
