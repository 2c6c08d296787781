//! What can be typed of federation.

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::options::{Key, LARGEST_PAGE, Part};
use super::value::{Node, least_sat};

/// The states of a peer.
const STATES: [&str; 7] = ["none", "requested", "pending", "federated", "left", "rejected", "expired"];

#[derive(Debug, Subcommand)]
pub(crate) enum FederateCommand {
    /// Asks a node to federate. Its answer arrives as an event.
    Request(Told),
    /// Ends the federation with a node.
    Leave(Told),
    /// Lists nodes that this one remembers.
    List(ListPeers),
    /// Shows what this node remembers of another, and what that one may do here.
    Show(Peer),
    /// Accepts a request that waits for a decision (`federate list --state pending`).
    Accept(Peer),
    /// Rejects a request that waits for a decision.
    Reject(Peer),
    /// Sets what a node may do here, whether it is federated or not.
    Rights {
        #[command(flatten)]
        peer: Peer,
        #[command(flatten)]
        rights: NewRights,
    },
    /// Gives a node a local name, which `imp` takes wherever it takes a public key.
    Name {
        #[command(flatten)]
        peer: Peer,
        /// The name: up to 64 bytes.
        #[arg(required_unless_present = "none", conflicts_with = "none")]
        name: Option<String>,
        /// Take its name from it.
        #[arg(long)]
        none: bool,
    },
    /// Blocks a node: nothing that it sends is published or answered.
    Block(Peer),
    /// Ends a block.
    Unblock(Peer),
    /// Lists messages that came in and were not published, newest first.
    Withheld {
        /// Only those of this node: its Lightning public key, or its local name.
        #[arg(long, value_name = "NODE")]
        from: Option<Node>,
        #[command(flatten)]
        part: Part,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    /// The node: its Lightning public key, or its local name.
    pub(crate) node: Node,
}

/// A node that is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Told {
    #[command(flatten)]
    pub(crate) peer: Peer,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListPeers {
    /// Only those in these states, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = STATES)]
    pub(crate) state: Vec<String>,
    /// Only those that are blocked.
    #[arg(long)]
    pub(crate) blocked: bool,
    /// How many at most [default: 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=LARGEST_PAGE))]
    pub(crate) limit: Option<i64>,
    /// Those that come after, as the list before named it.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// All there are.
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// What a node may do. What is not given stays as it is.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct NewRights {
    /// Whether its messages are published.
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), conflicts_with = "reset")]
    pub(crate) messages: Option<bool>,
    /// Whether its UDP relays are published as events.
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), conflicts_with = "reset")]
    pub(crate) sockets: Option<bool>,
    /// Whether its requests for VPN quotes are answered.
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no(), conflicts_with = "reset")]
    pub(crate) vpn_quotes: Option<bool>,
    /// The least satoshis of a message, over all its parts; what brings less is withheld.
    #[arg(long, value_name = "SAT", value_parser = least_sat, conflicts_with = "reset")]
    pub(crate) min_sat: Option<i64>,
    /// Back to what its standing gives it.
    #[arg(long)]
    pub(crate) reset: bool,
}

fn yes_or_no() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["yes", "no"]).map(|word| word == "yes")
}
