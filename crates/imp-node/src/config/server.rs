//! Listeners and who may call them.

use std::net::SocketAddr;

use super::address;
use super::fault::Source;
use super::settings::Settings;

/// The `server` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Open listeners at all.
    pub enabled: bool,
    /// Where gRPC listens; port 0 lets the system choose.
    pub grpc_addr: SocketAddr,
    /// Where REST and websocket listen; port 0 lets the system choose.
    pub http_addr: SocketAddr,
    /// Addresses off loopback are allowed although callers show no credentials.
    pub insecure: bool,
    /// Host names, in lower case and without port, that pass the guard against DNS rebinding.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may call, as browsers write them.
    pub allowed_origins: Vec<String>,
    /// Largest request in bytes.
    pub max_body_bytes: usize,
    /// Listen on a unix socket in the data directory too.
    pub unix_socket: bool,
}

const ADDRESS_REMEDY: &str = "Write an IP address and a port, for example 127.0.0.1:8882";

pub(super) fn build(settings: &mut Settings) -> ServerConfig {
    let config = ServerConfig {
        enabled: settings.bool("server.enabled"),
        grpc_addr: settings.required("server.grpc_addr", ADDRESS_REMEDY, address::listen),
        http_addr: settings.required("server.http_addr", ADDRESS_REMEDY, address::listen),
        insecure: settings.bool("server.insecure"),
        allowed_hosts: settings.list(
            "server.allowed_hosts",
            "Write names without scheme and port, for example node.example.com",
            address::host_name,
        ),
        allowed_origins: settings.list(
            "server.allowed_origins",
            "Name each origin as browsers do, for example https://app.example.com:8443",
            address::origin,
        ),
        // The range makes the conversion exact.
        max_body_bytes: settings.number("server.max_body_bytes", 1024..=1 << 30) as usize,
        unix_socket: settings.bool("server.unix_socket"),
    };
    if config.enabled {
        check_addresses(settings, &config);
    }
    config
}

fn check_addresses(settings: &mut Settings, config: &ServerConfig) {
    for (key, addr) in [("server.grpc_addr", config.grpc_addr), ("server.http_addr", config.http_addr)] {
        // An IPv4 address in IPv6 clothes is what it wears them over.
        if addr.ip().to_canonical().is_loopback() || config.insecure {
            continue;
        }
        settings.fault(
            settings.source(key),
            key,
            Some(&addr.to_string()),
            "this address is reachable from other machines, and whoever reaches it can spend this node's money, \
             because callers need no credentials",
            "Use a loopback address such as 127.0.0.1:8882, or accept the risk with `insecure: true` below `server:`, \
             with IMP_SERVER_INSECURE=true in the environment or with the flag --server-insecure",
        );
    }
    if config.grpc_addr == config.http_addr && config.grpc_addr.port() != 0 {
        settings.fault(
            Source::Nowhere,
            "server.grpc_addr",
            Some(&config.grpc_addr.to_string()),
            "server.http_addr is the same address",
            "Give each its own port",
        );
    }
}
