//! What can be typed of VPN.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};

use super::options::{Key, LARGEST_PAGE, Part};
use super::value::{Node, least_sat, nonce, sat, secs};

/// The states of a contract, of both sides.
const STATES: [&str; 9] =
    ["active", "configuring", "expired", "failed", "paid", "paying", "refund_due", "refunded", "unanswered"];

#[derive(Debug, Subcommand)]
pub(crate) enum VpnCommand {
    /// Asks a node for its price, and waits for the answer.
    Quote(AskQuote),
    /// Buys access: asks for the price, pays it, and waits for the tunnel's configuration.
    Buy(Buy),
    /// Accepts a quote and pays for it. The tunnel's configuration arrives as an event.
    Contract(Accept),
    /// Pays for more time on a contract that this node bought.
    Refresh(Refresh),
    /// Lists contracts, bought and sold, newest first.
    List(ListContracts),
    /// Shows a contract.
    Show(Named),
    /// Prints the configuration of a contract that this node bought, for `wg-quick`. It holds the private key.
    Config {
        #[command(flatten)]
        contract: Named,
        /// Write it into this file, which only you can read.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Shows the configuration as a QR code, for the WireGuard app of a telephone. It holds the private key.
    Qr {
        #[command(flatten)]
        contract: Named,
        /// Write it into this file, which only you can read: NAME.png or NAME.svg.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        out: Option<PathBuf>,
    },
    /// Has the node bring up the tunnel of a contract: interface, routes and DNS of its machine.
    Up {
        #[command(flatten)]
        contract: Named,
        #[command(flatten)]
        tunnel: TunnelOptions,
    },
    /// Has the node take the tunnel down, and give back routes and DNS.
    Down(Named),
    /// Has a contract refreshed by itself shortly before it ends, up to a limit.
    AutoRefresh {
        #[command(flatten)]
        contract: Named,
        /// What that may cost in all, in satoshis; 0 ends it.
        #[arg(value_name = "SAT", value_parser = least_sat)]
        limit: i64,
    },
    /// Lists quotes that this node was given and can still accept, newest first.
    Quotes {
        /// Only those of this node: its Lightning public key, or its local name.
        #[arg(long, value_name = "NODE")]
        from: Option<Node>,
    },
    /// Lists what buyers paid to this node, and what became of it, newest first.
    Payments(ListPayments),
    /// Shows whether this node sells, and if not, what is missing.
    Seller,
}

#[derive(Debug, clap::Args)]
pub(crate) struct AskQuote {
    /// The seller: its Lightning public key, or its local name.
    pub(crate) node: Node,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// For how long a command waits.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Wait {
    /// How long to wait for each answer of the seller: 90s, 10m.
    #[arg(long = "wait", value_name = "DURATION", value_parser = secs, default_value = "1m")]
    pub(crate) secs: i64,
}

/// What a command that pays a price may pay.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Price {
    /// Pay without a question where an hour costs no more than so many satoshis. What is sold for less than an hour is asked
    /// about all the same. Without it every price is asked about, at a terminal.
    #[arg(long = "max-price", value_name = "SAT", value_parser = sat)]
    pub(crate) max_sat: Option<i64>,
    /// Do not ask about less than an hour either. It agrees to no price: --max-price does that.
    #[arg(long, short, requires = "max_sat")]
    pub(crate) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Buy {
    /// The seller: its Lightning public key, or its local name.
    pub(crate) node: Node,
    #[command(flatten)]
    pub(crate) price: Price,
    /// Bring up the tunnel too, as `imp vpn up` does.
    #[arg(long)]
    pub(crate) up: bool,
    #[command(flatten)]
    pub(crate) tunnel: TunnelOptions,
    /// Have it refreshed by itself, as long as that costs no more than so many satoshis in all.
    #[arg(long, value_name = "SAT", value_parser = sat)]
    pub(crate) auto_refresh: Option<i64>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// How a tunnel is to stand.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct TunnelOptions {
    /// Also route private, link-local and shared addresses into it, if the seller names them.
    #[arg(long)]
    pub(crate) allow_private: bool,
    /// Leave the machine's DNS servers as they are.
    #[arg(long)]
    pub(crate) keep_dns: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Accept {
    /// The seller: its Lightning public key, or its local name.
    pub(crate) node: Node,
    /// The nonce of the quote.
    #[arg(value_parser = nonce)]
    pub(crate) nonce: String,
    /// The price in satoshis.
    #[arg(value_name = "SAT", value_parser = sat)]
    pub(crate) price: i64,
    #[command(flatten)]
    pub(crate) key: Key,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Refresh {
    #[command(flatten)]
    pub(crate) contract: Named,
    #[command(flatten)]
    pub(crate) price: Price,
    #[command(flatten)]
    pub(crate) key: Key,
}

/// A contract, as people name it.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The contract's nonce, or as much of its beginning as no other has.
    #[arg(value_parser = nonce)]
    pub(crate) nonce: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListContracts {
    /// Only those that were bought, or sold.
    #[arg(long, value_parser = ["bought", "sold"])]
    pub(crate) role: Option<String>,
    /// Only those in these states, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = STATES)]
    pub(crate) state: Vec<String>,
    /// Only those with this node: its Lightning public key, or its local name.
    #[arg(long, value_name = "NODE")]
    pub(crate) with: Option<Node>,
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

#[derive(Debug, clap::Args)]
pub(crate) struct ListPayments {
    /// Only those that stand so, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = ["served", "refund_due", "refunded", "kept"])]
    pub(crate) state: Vec<String>,
    /// Only those for the contract with this nonce.
    #[arg(long, value_name = "NONCE", value_parser = nonce)]
    pub(crate) contract: Option<String>,
    #[command(flatten)]
    pub(crate) part: Part,
}
