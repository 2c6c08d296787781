//! The answer to a payment: how the buyer builds its end of the tunnel.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::payload::{DURATION_SECS, Fields, Object, PayloadError, RESPONSE_RECORD, Response, TIME_SECS};
use super::reach::canonical;
use super::{Limits, Nonce, PresharedKey, PrivateKey, PublicKey};

/// MTU of a tunnel, in bytes: from what IPv6 needs (RFC 8200, section 5).
pub const MTU_BYTES: RangeInclusive<u16> = 1280..=65_535;

/// Prefix lengths of the network of buyers.
pub const CLIENT_PREFIX: RangeInclusive<u8> = 8..=32;

/// How many networks a seller may name.
pub const ALLOWED_NETWORKS: RangeInclusive<usize> = 1..=64;

/// A seller's CONFIG. One that was read from a text holds what the fields say here; one that is made must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Config {
    /// The buyer's key, of its CONTRACT.
    pub client_key: PublicKey,
    /// Where the seller's WireGuard is reached: the port is not 0, the address that of one host, and IPv4 not in IPv6's
    /// spelling.
    pub server: SocketAddr,
    /// The seller's key: not of low order, and not the buyer's.
    pub server_key: PublicKey,
    /// The buyer's address with its network's prefix length: neither the network's address nor its broadcast address.
    pub client: Ipv4Net,
    /// Networks that the seller carries: 1 to 64, without bits behind the prefix, none twice.
    pub allowed: Vec<IpNet>,
    /// The DNS server: the address of one host.
    pub dns: IpAddr,
    /// The key of both ends.
    pub psk: PresharedKey,
    /// The contract.
    pub nonce: Nonce,
    /// The earliest end, by the seller's clock, in seconds since 1970: time runs from the delivery of this.
    pub expiry_secs: u64,
    /// Seconds that were paid for.
    pub duration_secs: u64,
    /// MTU of the tunnel, in bytes, in [`MTU_BYTES`].
    pub mtu: u16,
    /// What else is limited.
    pub limits: Limits,
}

impl Config {
    /// The text for the buyer. `privkey` is empty: it never leaves the buyer's node.
    pub fn to_json(&self) -> String {
        self.to_json_with(None)
    }

    /// The text of the buyer's event, with the private key of [`Self::client_key`] where it is still known.
    pub fn to_json_with(&self, private_key: Option<&PrivateKey>) -> String {
        self.write(private_key).finish()
    }

    /// The address of the buyer's end by itself. A tunnel needs no more of the network than [`Self::allowed`] says, and with
    /// the seller's prefix the interface would draw to it whatever part of the buyer's own network the seller likes.
    pub fn address(&self) -> Ipv4Net {
        Ipv4Net::from(self.client.addr())
    }

    pub(super) fn read(fields: &Fields) -> Result<Self, PayloadError> {
        if !fields.text("privkey")?.is_empty() {
            return Err(PayloadError::Field { field: "privkey", expected: "empty" });
        }
        let client_key = fields.value("pubkey", "a WireGuard key in base64")?;
        let ip = fields.host("serverIp")?;
        let port = fields.number("serverPort", &(1..=u64::from(u16::MAX))).map(to_u16)?;
        Ok(Self {
            client_key,
            server: SocketAddr::new(ip, port),
            server_key: fields.server_key(&client_key)?,
            client: fields.client()?,
            allowed: fields.allowed()?,
            dns: fields.host("dnsIp")?,
            psk: fields.value("psk", "a WireGuard key in base64")?,
            nonce: fields.nonce()?,
            expiry_secs: fields.number("expiry", &TIME_SECS)?,
            duration_secs: fields.number("duration_secs", &DURATION_SECS)?,
            mtu: fields.mtu()?,
            limits: fields.limits()?,
        })
    }

    pub(super) fn write(&self, private_key: Option<&PrivateKey>) -> Object {
        let allowed: Vec<String> = self.allowed.iter().map(|net| canonical(*net).to_string()).collect();
        Object::new(RESPONSE_RECORD, "CONFIG")
            .text("pubkey", &self.client_key.to_string())
            .text("privkey", private_key.map(PrivateKey::to_base64).as_deref().map_or("", String::as_str))
            .text("serverIp", &self.server.ip().to_string())
            .number("serverPort", self.server.port().into())
            .text("serverPubKey", &self.server_key.to_string())
            .text("clientIp", &self.client.to_string())
            .text("allowedIp", &allowed.join(", "))
            .text("dnsIp", &self.dns.to_string())
            .text("psk", &self.psk.to_base64())
            .text("nonce", self.nonce.as_str())
            .number("expiry", self.expiry_secs)
            .number("duration_secs", self.duration_secs)
            .number("mtu", self.mtu.into())
            .limits(&self.limits)
    }
}

impl From<Config> for String {
    fn from(config: Config) -> Self {
        config.to_json()
    }
}

impl TryFrom<String> for Config {
    type Error = PayloadError;

    fn try_from(text: String) -> Result<Self, PayloadError> {
        match Response::parse(&text)? {
            Response::Config(config) => Ok(*config),
            _ => Err(PayloadError::UnknownType),
        }
    }
}

/// The `data` of an event with its private key: what [`Config::to_json`] wrote, and `key` under `privkey`. Any other text,
/// and the CONFIG of another key, comes back as it is.
pub fn join_private_key(data: &str, key: &PrivateKey) -> String {
    match Response::parse(data) {
        Ok(Response::Config(config)) if config.client_key == key.public() => config.to_json_with(Some(key)),
        _ => data.to_owned(),
    }
}

impl Fields {
    /// The address of one host; IPv4 also where it is spelt as IPv6.
    fn host(&self, field: &'static str) -> Result<IpAddr, PayloadError> {
        let expected = "the IP address of a host";
        let ip = self.value::<IpAddr>(field, expected)?.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(PayloadError::Field { field, expected });
        }
        Ok(ip)
    }

    fn server_key(&self, client_key: &PublicKey) -> Result<PublicKey, PayloadError> {
        let (field, expected) = ("serverPubKey", "a WireGuard key of another node in base64");
        let key: PublicKey = self.value(field, expected)?;
        if key.is_low_order() || key == *client_key {
            return Err(PayloadError::Field { field, expected });
        }
        Ok(key)
    }

    fn client(&self) -> Result<Ipv4Net, PayloadError> {
        let (field, expected) =
            ("clientIp", "the IPv4 address of a host with the length of its network's prefix");
        let client: Ipv4Net = self.value(field, expected)?;
        let (ip, prefix) = (client.addr(), client.prefix_len());
        let unusable = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast();
        // Networks of one and of two addresses have neither of the others (RFC 3021).
        let whole = prefix < 31 && (ip == client.network() || ip == client.broadcast());
        if unusable || whole || !CLIENT_PREFIX.contains(&prefix) {
            return Err(PayloadError::Field { field, expected });
        }
        Ok(client)
    }

    fn allowed(&self) -> Result<Vec<IpNet>, PayloadError> {
        let wrong =
            PayloadError::Field { field: "allowedIp", expected: "1 to 64 networks with commas between them" };
        let mut allowed = Vec::new();
        for (count, text) in self.text("allowedIp")?.split(',').enumerate() {
            if count == *ALLOWED_NETWORKS.end() {
                return Err(wrong);
            }
            let net = canonical(text.trim_matches(' ').parse().map_err(|_| wrong)?);
            if !allowed.contains(&net) {
                allowed.push(net);
            }
        }
        Ok(allowed)
    }

    fn mtu(&self) -> Result<u16, PayloadError> {
        let range = u64::from(*MTU_BYTES.start())..=u64::from(*MTU_BYTES.end());
        self.number("mtu", &range).map(to_u16)
    }
}

/// A number whose range was checked.
fn to_u16(number: u64) -> u16 {
    u16::try_from(number).expect("the range of the field ends with u16")
}

#[cfg(test)]
mod tests;
