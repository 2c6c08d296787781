//! How this node sells and buys.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::{IpNet, Ipv4Net};

use crate::exit::{ExitError, ExitHost, ExitSpec, server_in};
use crate::tunnel::{TakenDown, Tunnel, TunnelError, TunnelHost, TunnelSpec};
use crate::wireguard::{DeviceError, DeviceMaker, DeviceSpec, TunnelDevice};

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct VpnOptions {
    /// The service is switched on. Else nothing is sold or bought, and nobody is quoted a price; contracts that stand are
    /// carried, and what is paid for others is given back.
    pub active: bool,
    /// How this node sells.
    pub seller: SellerOptions,
    /// The machine that it runs on.
    pub hosts: Hosts,
}

impl Default for VpnOptions {
    /// A node that buys and does not sell, on a machine that allows neither interfaces nor tunnels.
    fn default() -> Self {
        Self { active: true, seller: SellerOptions::default(), hosts: Hosts::default() }
    }
}

/// How this node sells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SellerOptions {
    /// Sell at all.
    pub sell: bool,
    /// Price of [`Self::duration`] in satoshis.
    pub price_sat: u64,
    /// What one payment buys; whole seconds.
    pub duration: Duration,
    /// How long after its end a contract can be refreshed; whole seconds.
    pub rest: Duration,
    /// The most that a contract can have left after a refresh; whole seconds.
    pub max_left: Duration,
    /// Bytes that one payment buys, both ways together; nothing for no limit.
    pub data_limit_bytes: Option<u64>,
    /// Bytes a second for each client and way; nothing for no limit.
    pub bytes_per_sec: Option<u64>,
    /// The server's address as clients see it; nothing for that of the default route.
    pub server_ip: Option<IpAddr>,
    /// The server's UDP port.
    pub server_port: u16,
    /// Key of a WireGuard server made by hand, in base64: not used, and said so.
    pub server_pub_key: Option<String>,
    /// Addresses of clients; the first host is the server.
    pub subnet: Ipv4Net,
    /// Networks that clients may reach.
    pub allowed: Vec<IpNet>,
    /// DNS server that clients are told.
    pub dns: IpAddr,
    /// Name of the interface that clients come in by.
    pub interface: String,
    /// Largest packet in a tunnel, in bytes.
    pub mtu: u16,
}

impl Default for SellerOptions {
    /// As with an empty configuration: nothing is sold.
    fn default() -> Self {
        Self {
            sell: false,
            price_sat: 100,
            duration: Duration::from_secs(3600),
            rest: Duration::from_secs(3600),
            max_left: Duration::from_secs(168 * 3600),
            data_limit_bytes: None,
            bytes_per_sec: None,
            server_ip: None,
            server_port: 51_820,
            server_pub_key: None,
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 24),
            allowed: vec![IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0))],
            dns: IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
            interface: "imp0".to_owned(),
            mtu: 1420,
        }
    }
}

impl SellerOptions {
    /// The server's address inside the tunnel.
    pub fn tunnel_ip(&self) -> Ipv4Addr {
        server_in(self.subnet)
    }
}

/// What a machine lets this node do with its network.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// Makes WireGuard interfaces of sellers.
    pub devices: Arc<dyn DeviceMaker>,
    /// Makes it the exit of buyers.
    pub exit: Arc<dyn ExitHost>,
    /// Brings tunnels up.
    pub tunnels: Arc<dyn TunnelHost>,
}

impl Default for Hosts {
    /// A machine on which nothing can be made.
    fn default() -> Self {
        Self { devices: Arc::new(Nothing), exit: Arc::new(Nothing), tunnels: Arc::new(Nothing) }
    }
}

/// A machine on which nothing can be made.
#[derive(Clone, Copy, Debug)]
struct Nothing;

const NOTHING: &str = "this node was started without the means to make network interfaces";

#[async_trait]
impl DeviceMaker for Nothing {
    async fn check(&self, _: &DeviceSpec) -> Result<(), DeviceError> {
        Err(DeviceError::Missing(NOTHING.to_owned()))
    }

    async fn open(&self, _: DeviceSpec) -> Result<Arc<dyn TunnelDevice>, DeviceError> {
        Err(DeviceError::Missing(NOTHING.to_owned()))
    }

    fn missing(&self) -> Option<String> {
        Some(NOTHING.to_owned())
    }
}

#[async_trait]
impl ExitHost for Nothing {
    async fn prepare(&self, _: &ExitSpec) -> Result<(), ExitError> {
        Err(ExitError::NotPermitted)
    }

    async fn open(&self, _: &ExitSpec) -> Result<(), ExitError> {
        Err(ExitError::NotPermitted)
    }

    async fn stands(&self, _: &ExitSpec) -> Result<bool, ExitError> {
        Ok(false)
    }

    async fn remove(&self, _: &str) -> Result<(), ExitError> {
        Ok(())
    }
}

#[async_trait]
impl TunnelHost for Nothing {
    async fn up(&self, _: TunnelSpec) -> Result<Tunnel, TunnelError> {
        Err(TunnelError::Missing(NOTHING.to_owned()))
    }

    async fn down(&self, _: &str) -> Result<Option<TakenDown>, TunnelError> {
        Ok(None)
    }

    async fn clean_up(&self) -> Result<Vec<TakenDown>, TunnelError> {
        Ok(Vec::new())
    }

    fn missing(&self) -> Option<String> {
        Some(NOTHING.to_owned())
    }
}
