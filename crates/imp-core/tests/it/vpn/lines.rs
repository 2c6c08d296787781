//! Another reader of the file for `wg-quick`: which lines it has.

use std::net::SocketAddr;

use imp_core::vpn::{Config, PrivateKey};

/// A section's name with its keys and values.
type Section = (String, Vec<(String, String)>);

/// Sections as `wg-quick` takes them: it trims, skips empty lines and comments, and does not heed case. What other readers
/// may take for the end of a line is one here, too.
fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.split(['\n', '\r', '\0']) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            sections.push((line.to_lowercase(), Vec::new()));
        } else if !line.is_empty() {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let section = sections.last_mut().expect("a line stands in a section");
            section.1.push((key.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    sections
}

/// The file of this configuration has the lines that it must have, and no line more.
pub(super) fn check(config: &Config, key: &PrivateKey) {
    let text = config.to_wg_quick(key);
    assert!(text.is_ascii());
    let networks: Vec<_> = config.allowed.iter().map(ToString::to_string).collect();
    let line = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let interface = vec![
        line("privatekey", &key.to_base64()),
        line("address", &format!("{}/32", config.client.addr())),
        line("dns", &config.dns.to_string()),
        line("mtu", &config.mtu.to_string()),
    ];
    let peer = vec![
        line("publickey", &config.server_key.to_string()),
        line("presharedkey", &config.psk.to_base64()),
        line(
            "endpoint",
            &match config.server {
                SocketAddr::V4(server) => format!("{}:{}", server.ip(), server.port()),
                SocketAddr::V6(server) => format!("[{}]:{}", server.ip(), server.port()),
            },
        ),
        line("allowedips", &networks.join(", ")),
        line("persistentkeepalive", "25"),
    ];
    assert_eq!(sections(&text), [("[interface]".to_owned(), interface), ("[peer]".to_owned(), peer)]);
}
