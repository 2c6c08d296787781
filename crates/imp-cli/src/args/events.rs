//! What can be typed of events.

use clap::Subcommand;

use super::options::LARGEST_PAGE;

/// Which events.
#[derive(Debug, clap::Args)]
pub(crate) struct Filter {
    /// Only those of these services, separated by commas [default: all of the API of 2021].
    #[arg(long, value_delimiter = ',', value_parser = ["federate", "message", "socket", "vpn", "lightning"])]
    pub(crate) service: Vec<String>,
    /// Also those of these services, which the API of 2021 did not have.
    #[arg(long, value_delimiter = ',', value_parser = ["lightning"])]
    pub(crate) include: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// First show what came after this cursor; 0 for everything that is kept.
    #[arg(long, value_name = "CURSOR", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) after: Option<i64>,
    /// Show each event's cursor. Always on with --after.
    #[arg(long)]
    pub(crate) cursor: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Lists events, oldest first.
    List(ListEvents),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListEvents {
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Those after this cursor [default: from the oldest that is kept].
    #[arg(long, value_name = "CURSOR", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) after: Option<i64>,
    /// How many at most [default: 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=LARGEST_PAGE))]
    pub(crate) limit: Option<i64>,
    /// All there are.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}
