//! Options that several commands take.

/// Makes a call that pays safe to repeat.
#[derive(Debug, clap::Args)]
pub(crate) struct Key {
    /// Make the command safe to repeat: with the same key nothing is paid twice, for 7 days.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}

/// Which part of a list, newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Part {
    /// How many at most [default: 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1000))]
    pub(crate) limit: Option<i64>,
    /// Those that are older, as the list before named it.
    #[arg(long, value_name = "CURSOR", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) cursor: Option<i64>,
    /// All there are.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// The largest page that a node gives.
pub(crate) const LARGEST_PAGE: i64 = 1000;

impl Part {
    /// How many to ask for at once; 0 leaves it to the node.
    pub(crate) const fn page(&self) -> i64 {
        match self.limit {
            Some(limit) => limit,
            None if self.all => LARGEST_PAGE,
            None => 0,
        }
    }
}

/// An answer given beforehand.
#[derive(Debug, clap::Args)]
pub(crate) struct Yes {
    /// Do not ask before doing it.
    #[arg(long, short)]
    pub(crate) yes: bool,
}
