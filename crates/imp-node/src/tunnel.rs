//! Tunnels of this machine to sellers of VPN contracts: the interface, what goes through it, and the system's DNS.
//!
//! ```text
//!  TunnelHost ─┬─ LinuxTunnels        note ─> walls ─> interface impt<N> ─> peer ─> routes and rules ─> DNS
//!              └─ fake::FakeTunnels   notes what it is asked for, for tests
//! ```
//!
//! What a seller names is not trusted: the interface has one address and no network, networks that this machine reaches
//! itself are left out, and so is the way to the seller (see `plan`). Everything that is going to be changed is noted in a file
//! before the first change, so that a later run takes it away after a crash at any point.

mod dns;
pub mod fake;
mod linux;
mod note;
mod plan;
mod routing;
mod walls;

use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use imp_core::vpn::{Config, PrivateKey};
use ipnet::IpNet;

pub use linux::LinuxTunnels;

use crate::wireguard::{DeviceError, TunnelDevice};

/// A tunnel to bring up.
#[derive(Debug)]
pub struct TunnelSpec {
    /// What the seller sent.
    pub config: Config,
    /// This end's key.
    pub private_key: PrivateKey,
    /// Let private networks, and those that this machine is in, go through the tunnel, where the seller names them.
    pub allow_private: bool,
    /// Have the system use the seller's DNS server, if it is reached through the tunnel.
    pub set_dns: bool,
}

/// A tunnel that is up.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// The name of the interface.
    pub interface: String,
    /// What goes through it.
    pub routes: Vec<IpNet>,
    /// What the seller names and does not go through it: private networks, networks of this machine, the seller's own
    /// address, and IPv6, for which tunnels have no address.
    pub left_out: Vec<IpNet>,
    /// The DNS server that the system uses meanwhile; nothing where that was left as it was.
    pub dns: Option<IpAddr>,
    /// The interface, to look at its traffic and to hear of its end.
    pub device: Arc<dyn TunnelDevice>,
}

/// What was taken down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenDown {
    /// The name of the interface.
    pub interface: String,
    /// Why the system's DNS was not put back, where somebody else has changed it meanwhile.
    pub dns_left: Option<String>,
}

/// A machine that can have tunnels.
///
/// A future that is dropped leaves a tunnel half up or half down; [`Self::down`] and [`Self::clean_up`] take it away.
#[async_trait]
pub trait TunnelHost: Send + Sync + Debug {
    /// Brings a tunnel up: returns once interface, routes and DNS stand. After an error nothing of it is left.
    async fn up(&self, spec: TunnelSpec) -> Result<Tunnel, TunnelError>;

    /// Takes a tunnel down and puts back what was. Nothing if there is none. After an error it can be called again, and what
    /// could be taken away is gone.
    async fn down(&self, interface: &str) -> Result<Option<TakenDown>, TunnelError>;

    /// Takes away what earlier runs have left, and returns it. To be called once at start, before [`Self::up`]; after an
    /// error, which concerns one of several tunnels, again.
    async fn clean_up(&self) -> Result<Vec<TakenDown>, TunnelError>;

    /// What this process lacks to bring tunnels up, and how to give it; nothing if it lacks nothing.
    fn missing(&self) -> Option<String>;
}

/// Why a tunnel does not come up or go down.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The interface cannot be made.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The right is missing.
    #[error("{0}")]
    Missing(String),
    /// All names are taken.
    #[error("there are {0} tunnels already: take one down")]
    TooMany(u32),
    /// There is one way out only.
    #[error("the tunnel {interface} carries all traffic of this machine already: take it down first")]
    AllTrafficTaken {
        /// The tunnel that has it.
        interface: String,
    },
    /// There is one DNS setting only.
    #[error(
        "the tunnel {interface} has set the DNS of this machine already: take it down first, or leave DNS as it is"
    )]
    DnsTaken {
        /// The tunnel that has it.
        interface: String,
    },
    /// Nothing would go through it.
    #[error(
        "nothing would go through the tunnel: the seller names only private networks, which need `allow_private`, or \
         none that this machine does not reach without it"
    )]
    NoRoutes,
    /// Somebody else has this route.
    #[error(
        "this machine has a route to {route} already, so the tunnel cannot have it: delete that route first"
    )]
    RouteTaken {
        /// The network.
        route: IpNet,
    },
    /// The system refuses a route or a rule.
    #[error("cannot {what}: {message}")]
    Routing {
        /// What was tried, as a verb with its object.
        what: String,
        /// What the system says.
        message: String,
    },
    /// The system refuses what keeps the seller out.
    #[error("cannot {what}: {message}")]
    Rules {
        /// What was tried, as a verb with its object.
        what: String,
        /// What the program says.
        message: String,
    },
    /// The system's DNS cannot be set or put back.
    #[error("cannot {what}: {message}")]
    Dns {
        /// What was tried, as a verb with its object.
        what: String,
        /// What the system or the program says.
        message: String,
    },
    /// The note on what is changed cannot be read or written. Without it nothing is changed.
    #[error("cannot keep {}: {source}", path.display())]
    Note {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
