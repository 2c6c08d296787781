//! The buyer's configuration as the file that `wg-quick` reads.

use std::fmt::Write;

use zeroize::Zeroizing;

use super::{Config, PrivateKey};

/// Seconds between packets that keep the way through the buyer's NAT open: under the 30 s after which the shortest ones
/// close it.
pub const KEEPALIVE_SECS: u16 = 25;

/// Enough for everything but the networks, and for each of those, so that writing never leaves a copy of the keys behind.
const FIXED_BYTES: usize = 512;
const NETWORK_BYTES: usize = 48;

impl Config {
    /// The text of a file for `wg-quick`, with the private key of [`Config::client_key`]. `wg-quick` runs what stands behind
    /// `PostUp`: there is nothing here but keys, numbers and addresses, each written by its type.
    pub fn to_wg_quick(&self, private_key: &PrivateKey) -> Zeroizing<String> {
        let room = FIXED_BYTES + NETWORK_BYTES * self.allowed.len();
        let mut text = Zeroizing::new(String::with_capacity(room));
        let (key, psk) = (private_key.to_base64(), self.psk.to_base64());
        let mut write = || {
            writeln!(text, "[Interface]")?;
            writeln!(text, "PrivateKey = {}", *key)?;
            writeln!(text, "Address = {}", self.address())?;
            writeln!(text, "DNS = {}", self.dns)?;
            writeln!(text, "MTU = {}", self.mtu)?;
            writeln!(text, "\n[Peer]")?;
            writeln!(text, "PublicKey = {}", self.server_key)?;
            writeln!(text, "PresharedKey = {}", *psk)?;
            writeln!(text, "Endpoint = {}", self.server)?;
            write!(text, "AllowedIPs = ")?;
            for (index, net) in self.allowed.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                write!(text, "{comma}{net}")?;
            }
            writeln!(text, "\nPersistentKeepalive = {KEEPALIVE_SECS}")
        };
        write().expect("a String takes all that is written to it");
        text
    }
}

#[cfg(test)]
mod tests;
