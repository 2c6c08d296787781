//! Lines as the values of a seller's CONFIG, with any character in them: refused, or a file for `wg-quick` with the lines
//! that it must have and no line more.

#![no_main]

use std::sync::LazyLock;

use imp_core::vpn::{Config, PrivateKey};
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/imp-core/tests/it/vpn/lines.rs"]
mod lines;

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::from_random([1; 32]));

static PUBLIC_KEY: LazyLock<String> = LazyLock::new(|| KEY.public().to_string());

/// What stands between two values, so that a value can hold the end of a line.
const BETWEEN: char = '|';

/// The values that a seller chooses, with one that is right: an empty one in the input stands for it.
const VALUES: [(&str, &str); 13] = [
    ("serverIp", "203.0.113.5"),
    ("serverPort", "51820"),
    ("serverPubKey", "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="),
    ("clientIp", "10.0.0.10/24"),
    ("allowedIp", "0.0.0.0/0, ::/0"),
    ("dnsIp", "8.8.8.8"),
    ("psk", "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ("nonce", "DjPL6L35WGdvxhiRz6PqZU"),
    ("expiry", "1700003600"),
    ("duration_secs", "3600"),
    ("mtu", "1420"),
    ("data_bytes", "1"),
    ("bytes_per_sec", "1"),
];

fuzz_target!(|input: &str| {
    let mut object = serde_json::Map::new();
    object.insert("recordId".to_owned(), "VPN_RESPONSE".into());
    object.insert("type".to_owned(), "CONFIG".into());
    object.insert("pubkey".to_owned(), PUBLIC_KEY.as_str().into());
    object.insert("privkey".to_owned(), "".into());
    let mut chosen = input.split(BETWEEN);
    for (key, right) in VALUES {
        let value = chosen.next().filter(|value| !value.is_empty()).unwrap_or(right);
        object.insert(key.to_owned(), value.into());
    }
    let text = serde_json::Value::Object(object).to_string();
    if let Ok(config) = Config::try_from(text) {
        lines::check(&config, &KEY);
    }
});
