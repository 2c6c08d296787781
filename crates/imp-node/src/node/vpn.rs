//! The `vpn` section of the configuration as settings of the service, on this machine.

use std::path::Path;
use std::sync::Arc;

use imp_core::record::Service;

use crate::config::{self, Config};
use crate::exit::LinuxExit;
use crate::tunnel::LinuxTunnels;
use crate::vpn::{Hosts, SellerOptions, VpnOptions};
use crate::wireguard::{DeviceChoice, DeviceMaker, Host};

/// Where it is noted what is changed of this machine's network, in the data directory.
const NOTES: &str = "network";

/// How this node sells and buys.
pub(super) fn options(config: &Config, dir: &Path) -> VpnOptions {
    let vpn = &config.vpn;
    let notes = dir.join(NOTES);
    let devices: Arc<dyn DeviceMaker> = Arc::new(Host::new(match vpn.device {
        config::DeviceChoice::Auto => DeviceChoice::Auto,
        config::DeviceChoice::Kernel => DeviceChoice::Kernel,
        config::DeviceChoice::Userspace => DeviceChoice::Userspace,
    }));
    VpnOptions {
        active: config.services.is_active(Service::Vpn),
        seller: SellerOptions {
            sell: vpn.sell,
            price_sat: vpn.price_sat,
            duration: vpn.duration,
            rest: vpn.rest,
            max_left: vpn.max_left,
            data_limit_bytes: vpn.data_limit_bytes,
            bytes_per_sec: vpn.bytes_per_sec,
            server_ip: vpn.server_ip,
            server_port: vpn.server_port,
            server_pub_key: vpn.server_pub_key.clone(),
            subnet: vpn.subnet,
            allowed: vpn.allowed_ips.clone(),
            dns: vpn.dns,
            interface: vpn.interface.clone(),
            mtu: vpn.mtu,
        },
        hosts: Hosts {
            exit: Arc::new(LinuxExit::new(&notes)),
            tunnels: Arc::new(LinuxTunnels::new(Arc::clone(&devices), &notes, &vpn.resolv_conf)),
            devices,
        },
    }
}
