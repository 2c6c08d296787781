//! WireGuard interfaces of this machine, behind one port: [`DeviceMaker`] makes a [`TunnelDevice`], whose peers are put,
//! removed and looked at.
//!
//! ```text
//!  DeviceMaker ─┬─ Host ─┬─ kernel      rtnetlink makes the link, generic netlink ("wireguard") holds the peers
//!               │        └─ userspace   a TUN interface, gotatun, threads "wireguard-<name>", a socket for `wg`
//!               └─ fake::FakeDevices    a table, for tests
//! ```
//!
//! What a device has is what it says it has: peers that somebody adds or removes with `wg` are seen by
//! [`TunnelDevice::peers`], so that whoever wants a certain set of peers compares and repairs.

pub mod fake;
mod host;
mod kernel;
mod link;
mod port;
mod rights;
mod userspace;

pub use host::{DeviceChoice, Host};
pub use port::{DeviceError, DeviceMaker, DevicePeer, DeviceSpec, PeerStatus, TunnelDevice};
