//! This machine as the way out of buyers of VPN contracts: what they reach, and that nothing else is reached through it.
//!
//! ```text
//!  ExitHost ─┬─ LinuxExit         checks ─> table `inet imp_<interface>` ─> forwarding
//!            └─ fake::FakeExit    notes what it is asked for, for tests
//! ```
//!
//! All rules are in one nftables table for each interface, put there and replaced in one transaction, and name the
//! interface: several sellers on one machine do not meet in it. A table has a mark, which is in the note of whoever has put
//! it: that of another is left alone, unless its interface is gone. The table stays when the daemon dies, so that an
//! interface that outlives it stays closed; [`ExitHost::remove`] takes it away. Settings of the kernel are noted in a file
//! before they are changed, and put back by the run that finds the note, unless somebody has changed them meanwhile.

pub mod fake;
mod forwarding;
mod generation;
mod linux;
mod nft;
mod overlap;
mod rules;

use std::fmt::Debug;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use async_trait::async_trait;
use ipnet::{IpNet, Ipv4Net};

pub use linux::LinuxExit;

/// What buyers of one interface may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitSpec {
    /// The WireGuard interface that they come in by.
    pub interface: String,
    /// Their addresses, of which the first host is this machine, which answers pings and nothing else. Packets from others
    /// are dropped.
    pub subnet: Ipv4Net,
    /// Networks with addresses of those who came when the subnet was another one, likewise.
    pub earlier: Vec<Ipv4Net>,
    /// What they may reach, by the rules of [`imp_core::vpn::reach`].
    pub allowed: Vec<IpNet>,
    /// Bytes a second for each buyer and way; nothing for no limit.
    pub bytes_per_sec: Option<u64>,
}

impl ExitSpec {
    /// All networks of buyers.
    fn networks(&self) -> impl Iterator<Item = Ipv4Net> {
        std::iter::once(self.subnet).chain(self.earlier.iter().copied())
    }
}

/// This machine's address in a network of buyers.
pub(crate) fn server_in(network: Ipv4Net) -> Ipv4Addr {
    network.hosts().next().unwrap_or(network.addr())
}

/// A machine that can be made an exit.
///
/// All futures may be dropped at any point: what is done so far is closed rather than open, and the same call again, also
/// by a later run, goes on from there.
#[async_trait]
pub trait ExitHost: Send + Sync + Debug {
    /// Checks that this machine can be the exit, and puts its rules, or replaces those that stand. To be called before the
    /// interface is made: it stands closed when the first packet comes.
    async fn prepare(&self, spec: &ExitSpec) -> Result<(), ExitError>;

    /// Lets packets be forwarded between the interface, which must be there, and those that lead out. To be called
    /// each time that the interface was made, after [`Self::prepare`]; at any other time it repairs what others changed.
    async fn open(&self, spec: &ExitSpec) -> Result<(), ExitError>;

    /// Whether the rules stand as [`Self::prepare`] and [`Self::open`] of this run have put them. Costs little where nobody has
    /// changed any rule of the machine since the last call.
    async fn stands(&self, spec: &ExitSpec) -> Result<bool, ExitError>;

    /// Takes away the rules of the interface, if they are this node's, and puts back what was changed for it, also by an earlier run. To be called
    /// when the interface is gone: without rules nothing of it is held back. Where nothing is left, nothing happens.
    async fn remove(&self, interface: &str) -> Result<(), ExitError>;
}

/// Why this machine is no exit, or does not stop to be one.
#[derive(Debug, thiserror::Error)]
pub enum ExitError {
    /// The program is missing.
    #[error("there is no program `nft`: install the package nftables")]
    NoNft,
    /// The right is missing.
    #[error(
        "this process may not change the network: it needs CAP_NET_ADMIN (systemd: AmbientCapabilities=CAP_NET_ADMIN; \
         a container: --cap-add NET_ADMIN)"
    )]
    NotPermitted,
    /// `nft` may not do what this process may.
    #[error(
        "`nft` may not change the network, though this process may: rights of a file do not reach the programs that it \
         starts; give CAP_NET_ADMIN to the service instead (systemd: AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NftNotPermitted,
    /// Buyers' addresses are somebody else's already.
    #[error(
        "vpn.subnet {subnet} overlaps the route {route} of this machine: choose a network that nothing else uses, for \
         example 10.213.0.0/24"
    )]
    Overlap {
        /// Buyers' addresses.
        subnet: Ipv4Net,
        /// The route, as `ip route` shows it.
        route: String,
    },
    /// Somebody else has made it an exit.
    #[error(
        "the interface {interface} has rules of another seller: choose another vpn.interface, or delete the table \
         inet imp_{interface} of nftables"
    )]
    OthersRules {
        /// Its name.
        interface: String,
    },
    /// So are those of buyers who have paid.
    #[error(
        "contracts that stand have addresses in {subnet}, which vpn.subnet was before, and it overlaps the route \
         {route} of this machine: delete that route until they have ended"
    )]
    OverlapsEarlier {
        /// Their addresses.
        subnet: Ipv4Net,
        /// The route, as `ip route` shows it.
        route: String,
    },
    /// Nothing with this name can have rules.
    #[error("there is no interface {interface}: it has to be made first")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// `nft` refused the rules.
    #[error("nft refuses the rules of {interface}: {message}")]
    Rules {
        /// Whose rules.
        interface: String,
        /// What it says, or why it could not be run.
        message: String,
    },
    /// The routes of this machine cannot be read.
    #[error("cannot read the routes of this machine: {0}")]
    Routes(String),
    /// A setting of the kernel cannot be read or changed.
    #[error("cannot change {}: {source}", path.display())]
    Setting {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The note on what was changed cannot be read or written. Without it nothing is changed.
    #[error("cannot keep {}: {source}", path.display())]
    Note {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
