//! What every device can do.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use imp_core::vpn::{PresharedKey, PrivateKey, PublicKey};
use ipnet::IpNet;

/// An interface to be made.
#[derive(Debug)]
pub struct DeviceSpec {
    /// What the interface is called: 1 to 15 bytes, without `/` and blanks (Linux).
    pub name: String,
    /// The interface's own key.
    pub private_key: PrivateKey,
    /// UDP port that peers send to; 0 for one that the kernel picks.
    pub listen_port: u16,
    /// The interface's own addresses, each with the network that is reached over it.
    pub addresses: Vec<IpNet>,
    /// Largest packet in the tunnel, in bytes.
    pub mtu: u16,
    /// Mark of the encrypted packets, by which routing rules tell them from those that are to go into the tunnel.
    pub fwmark: Option<u32>,
}

/// A peer that a device is to have.
#[derive(Clone, Debug)]
pub struct DevicePeer {
    /// Who it is.
    pub key: PublicKey,
    /// The secret that both have besides their keys.
    pub psk: PresharedKey,
    /// Networks whose packets go to it and may come from it.
    pub allowed: Vec<IpNet>,
    /// Where it is reached; nothing to wait until it speaks, or to leave what is known.
    pub endpoint: Option<SocketAddr>,
    /// How often a packet is sent though there is nothing to say, in seconds; nothing for never.
    pub keepalive_secs: Option<u16>,
}

/// A peer that a device has, and its traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who it is.
    pub key: PublicKey,
    /// The secret that both have besides their keys, if there is one.
    pub psk: Option<PresharedKey>,
    /// Networks whose packets go to it and may come from it, in order.
    pub allowed: Vec<IpNet>,
    /// Where it was last heard, or was said to be.
    pub endpoint: Option<SocketAddr>,
    /// Bytes that came from it since it was put on the device.
    pub rx_bytes: u64,
    /// Bytes that were sent to it since then.
    pub tx_bytes: u64,
    /// How long ago the two last agreed on keys; nothing if they never did.
    pub last_handshake: Option<Duration>,
}

/// A WireGuard interface that is up. One that is dropped and not closed goes some time later, except for the kernel's, which
/// stays until one of the same name and key is opened.
///
/// All futures are cancel-safe in that a device is never left with half a peer: of several peers, some may have been
/// changed and others not.
#[async_trait]
pub trait TunnelDevice: Send + Sync + Debug {
    /// The name of the interface.
    fn name(&self) -> &str;

    /// Which WireGuard it is: `kernel`, `userspace` or `fake`.
    fn kind(&self) -> &'static str;

    /// The UDP port that peers send to.
    fn listen_port(&self) -> u16;

    /// All peers, also those that somebody else has added; in the order of their keys' bytes.
    async fn peers(&self) -> Result<Vec<PeerStatus>, DeviceError>;

    /// Adds peers, or changes those that are there; a network that another peer had becomes the new one's. A session
    /// that exists goes on.
    async fn put_peers(&self, peers: &[DevicePeer]) -> Result<(), DeviceError>;

    /// Removes peers, which neither get nor send anything once this returns. Those that are not there are no error.
    async fn remove_peers(&self, keys: &[PublicKey]) -> Result<(), DeviceError>;

    /// Waits until the device is of no use any more: its interface was deleted, or its socket has failed. Waits for
    /// ever on a device that is fine.
    async fn failed(&self);

    /// Takes the interface away. It is gone when this returns; what is called after that fails with
    /// [`DeviceError::Gone`]. A second call does nothing.
    async fn close(&self);
}

/// Makes devices.
#[async_trait]
pub trait DeviceMaker: Send + Sync + Debug {
    /// Whether the name of an interface is free, or that of one that a killed run has left, and so whether
    /// [`Self::open`] would take it. Changes nothing. Fails with [`DeviceError::NameInUse`] where it is somebody else's.
    async fn check(&self, spec: &DeviceSpec) -> Result<(), DeviceError>;

    /// Makes an interface, with its addresses and up, without peers. An interface of this name that a killed run left
    /// is replaced.
    async fn open(&self, spec: DeviceSpec) -> Result<Arc<dyn TunnelDevice>, DeviceError>;

    /// What this process lacks to make interfaces, and how to give it; nothing if it lacks nothing.
    fn missing(&self) -> Option<String>;
}

/// Why a device cannot be made, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A right or a file is missing.
    #[error("{0}")]
    Missing(String),
    /// The kernel's WireGuard was asked for.
    #[error("this kernel has no WireGuard: load the module `wireguard`, or set vpn.device to userspace")]
    NoKernelWireGuard,
    /// Something else has an interface of this name.
    #[error(
        "there is an interface {name} already, and it is not this node's: choose another name, or delete it"
    )]
    NameInUse {
        /// The name.
        name: String,
    },
    /// Something else has the UDP port.
    #[error("UDP port {port} is in use by another program: choose another port, or end that program")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// An address was refused by the kernel.
    #[error("the interface {name} cannot have the address {address}: {source}")]
    Address {
        /// The interface.
        name: String,
        /// The address.
        address: IpAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// The device was closed or has failed.
    #[error("the interface {name} is gone")]
    Gone {
        /// The interface.
        name: String,
    },
    /// Anything else that the system refuses.
    #[error("interface {name}: cannot {what}: {source}")]
    System {
        /// The interface.
        name: String,
        /// What was tried, as a verb with its object.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

impl DeviceError {
    pub(super) fn system(name: &str, what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::System { name: name.to_owned(), what, source: source.into() }
    }

    pub(super) fn gone(name: &str) -> Self {
        Self::Gone { name: name.to_owned() }
    }
}
