//! Selling VPN connections.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::address;
use super::settings::Settings;

/// The `vpn` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpnConfig {
    /// Sell at all.
    pub sell: bool,
    /// Price of an hour in satoshis.
    pub price_sat_per_hour: u64,
    /// The server's address as clients see it; always there when [`Self::sell`] is.
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
}

pub(super) fn build(settings: &mut Settings) -> VpnConfig {
    let config = VpnConfig {
        sell: settings.bool("vpn.sell"),
        price_sat_per_hour: settings.number("vpn.price", 1..=100_000_000),
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
        allowed_ips: settings.list("vpn.allowed_ips", "Write networks, for example 0.0.0.0/0", |text| {
            text.parse().map_err(|_| "this is no network".to_owned())
        }),
        dns: settings.lenient_or_default("vpn.dns", address::public_ip),
    };
    if config.sell && config.server_ip.is_none() {
        settings.fault(
            settings.source("vpn.sell"),
            "vpn.sell",
            Some("true"),
            "clients could not find the server, because vpn.server_ip names no address",
            "Set vpn.server_ip to this machine's public IP address",
        );
    }
    config
}

/// 32 bytes in base64: 43 characters and the padding.
fn wireguard_key(text: &str) -> Result<String, String> {
    let is_key = text.len() == 44
        && text.ends_with('=')
        && text[..43].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/');
    if is_key { Ok(text.to_owned()) } else { Err("which is no WireGuard key".to_owned()) }
}

impl VpnConfig {
    /// The server's address inside the tunnel.
    pub fn server_tunnel_ip(&self) -> IpAddr {
        IpAddr::V4(self.subnet.hosts().next().unwrap_or(self.subnet.addr()))
    }
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
