//! WireGuard contracts: what this node sells, and how tunnels that it buys stand on this machine.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use imp_core::vpn::config::ALLOWED_NETWORKS;
use ipnet::{IpNet, Ipv4Net};

use super::address;
use super::settings::Settings;

/// Longest name of a network interface (Linux).
const MAX_INTERFACE_BYTES: usize = 15;

/// The `vpn` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpnConfig {
    /// Sell at all.
    pub sell: bool,
    /// Price of [`Self::duration`] in satoshis.
    pub price_sat: u64,
    /// What one payment buys; whole seconds.
    pub duration: Duration,
    /// How long after its end a contract can be refreshed; whole seconds.
    pub rest: Duration,
    /// The most that a contract can have left after a refresh; whole hours.
    pub max_left: Duration,
    /// Bytes that one payment buys, both ways together; nothing for no limit.
    pub data_limit_bytes: Option<u64>,
    /// Bytes a second for each client and way; nothing for no limit.
    pub bytes_per_sec: Option<u64>,
    /// The server's address as clients see it; nothing for that of the default route.
    pub server_ip: Option<IpAddr>,
    /// The server's UDP port.
    pub server_port: u16,
    /// Key of a WireGuard server made by hand, in base64.
    pub server_pub_key: Option<String>,
    /// Addresses of clients; the first host is the server.
    pub subnet: Ipv4Net,
    /// Networks that clients may reach.
    pub allowed_ips: Vec<IpNet>,
    /// DNS server that clients are told.
    pub dns: IpAddr,
    /// Which WireGuard to use.
    pub device: DeviceChoice,
    /// Name of the interface that clients come in by.
    pub interface: String,
    /// Largest packet in a tunnel, in bytes.
    pub mtu: u16,
    /// The file that names this machine's DNS servers.
    pub resolv_conf: PathBuf,
}

/// Which WireGuard carries tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The kernel's where there is one, else the node's own.
    #[default]
    Auto,
    /// The kernel's.
    Kernel,
    /// The node's own.
    Userspace,
}

pub(super) fn build(settings: &mut Settings) -> VpnConfig {
    let secs = |secs| Duration::from_secs(secs);
    VpnConfig {
        sell: settings.bool("vpn.sell"),
        price_sat: settings.number("vpn.price", 1..=100_000_000),
        duration: secs(settings.number("vpn.duration_secs", 10..=31_536_000)),
        rest: secs(settings.number("vpn.rest_secs", 0..=31_536_000)),
        max_left: secs(3600 * settings.number("vpn.max_hours", 1..=87_600)),
        data_limit_bytes: unless_zero(settings.number("vpn.data_limit_mb", 0..=1_000_000_000), 1_000_000),
        bytes_per_sec: unless_zero(settings.number("vpn.speed_limit_kbit", 0..=100_000_000), 125),
        server_ip: settings.lenient("vpn.server_ip", address::public_ip),
        server_port: settings.port("vpn.server_port"),
        server_pub_key: settings.lenient("vpn.server_pub_key", wireguard_key),
        subnet: settings.required("vpn.subnet", "Write a private network, for example 10.0.0.0/24", |text| {
            let net: Ipv4Net = text.parse().map_err(|_| "this is no IPv4 network".to_owned())?;
            // Network, server, one client and broadcast.
            if net.prefix_len() > 30 || net.prefix_len() < 8 {
                return Err("a network of clients has a prefix length from 8 to 30".to_owned());
            }
            Ok(net.trunc())
        }),
        allowed_ips: allowed_ips(settings),
        dns: settings.lenient_or_default("vpn.dns", address::public_ip),
        device: settings.required("vpn.device", "Write auto, kernel or userspace", |text| {
            match text.to_ascii_lowercase().as_str() {
                "auto" => Ok(DeviceChoice::Auto),
                "kernel" => Ok(DeviceChoice::Kernel),
                "userspace" => Ok(DeviceChoice::Userspace),
                _ => Err("there is no such device".to_owned()),
            }
        }),
        interface: settings.required("vpn.interface", "Write a short name, for example imp0", interface),
        mtu: u16::try_from(settings.number("vpn.mtu", 1280..=9000)).unwrap_or(u16::MAX),
        resolv_conf: settings.required("vpn.resolv_conf", "Write the absolute path of a file", |text| {
            let path = PathBuf::from(text);
            if path.is_absolute() { Ok(path) } else { Err("this is no absolute path".to_owned()) }
        }),
    }
}

/// What clients may reach: as many networks as a configuration of theirs can name.
fn allowed_ips(settings: &mut Settings) -> Vec<IpNet> {
    let networks = settings.list("vpn.allowed_ips", "Write networks, for example 0.0.0.0/0", |text| {
        text.parse().map_err(|_| "this is no network".to_owned())
    });
    if networks.len() > *ALLOWED_NETWORKS.end() {
        let why = format!(
            "these are {} networks, and clients can be told {} at most",
            networks.len(),
            ALLOWED_NETWORKS.end()
        );
        let source = settings.source("vpn.allowed_ips");
        settings.fault(source, "vpn.allowed_ips", None, &why, "Write fewer, wider networks");
    }
    networks
}

fn unless_zero(number: u64, unit: u64) -> Option<u64> {
    (number != 0).then_some(number * unit)
}

fn interface(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.is_empty() || text.len() > MAX_INTERFACE_BYTES || !text.bytes().all(is_plain) {
        return Err(format!(
            "an interface has a name of 1 to {MAX_INTERFACE_BYTES} letters, digits, `-` and `_`"
        ));
    }
    Ok(text.to_owned())
}

/// 32 bytes in base64: 43 characters and the padding.
fn wireguard_key(text: &str) -> Result<String, String> {
    let is_key = text.len() == 44
        && text.ends_with('=')
        && text[..43].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if is_key { Ok(text.to_owned()) } else { Err("which is no WireGuard key".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_base64_of_32_bytes_is_a_key() {
        assert!(wireguard_key("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").is_ok());
        for text in ["", "asdf", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &"é".repeat(22)] {
            assert!(wireguard_key(text).is_err(), "{text}");
        }
    }
}
