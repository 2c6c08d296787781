//! The texts of the service `socket`: a relay that is offered to another node, and a relay that ended.
//!
//! ```json
//! {"recordId":"SOCKET","protocol":"udp","ip":"203.0.113.5","port1":":20000","port2":":20001","id":"..","token":".."}
//! ```
//!
//! Nodes of 2021 know the keys up to `port2` (2021 API). A text from another node is read into an [`Offer`], and what is
//! published is written from that: nothing of it but checked values reaches programs.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::{Builder, Uuid};

use crate::relay::Side;

/// The `recordId` of every text of this service (2021 API).
pub const RECORD_ID: &str = "SOCKET";

/// The only protocol of relays (2021 API).
pub const PROTOCOL: &str = "udp";

/// Lengths that a token may have, in bytes.
pub const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// The name of a relay: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId([u8; 16]);

impl RelayId {
    /// A version 4 UUID made of 16 random bytes.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(Builder::from_random_bytes(random).into_uuid().into_bytes())
    }

    /// The id with these bytes, as a store kept them.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id of a UUID with hyphens, in any case; nothing for other texts.
    pub fn parse(text: &str) -> Option<Self> {
        // The other spellings of a UUID are of other lengths.
        (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(|id| Self(id.into_bytes()))
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0).hyphenated(), f)
    }
}

impl fmt::Debug for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a keep-alive to a relay consists of: 16 to 64 printable ASCII characters without spaces. Not printed: it lets
/// its holder into a relay that demands it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// 32 lower-case hexadecimal digits of 16 random bytes: what this node gives to its relays.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(hex::encode(random))
    }

    /// The token with this text; nothing where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = TOKEN_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The payload of the packet that consists of it.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// A relay as another node is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where the relay is reached. Of an offer that came from elsewhere, this is any address that its sender chose.
    pub ip: IpAddr,
    /// The port of who started the relay; never 0.
    pub port1: u16,
    /// The port of the far end; never 0.
    pub port2: u16,
    /// The relay's name; nodes of 2021 give none.
    pub id: Option<RelayId>,
    /// What keeps a side alive, and lets it in where the relay demands it; nodes of 2021 give none.
    pub token: Option<Token>,
}

/// Why a text is no offer. Nothing of the text is repeated: it is another node's choice.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OfferError {
    /// No JSON object, a key twice, or a value of another type.
    #[error("is no JSON object with texts as values")]
    Malformed,
    /// `recordId` is not "SOCKET".
    #[error("recordId is not \"SOCKET\"")]
    RecordId,
    /// It has a `type`, which offers do not have.
    #[error("is of a type that is no offer")]
    Type,
    /// `protocol` is not "udp".
    #[error("protocol is not \"udp\"")]
    Protocol,
    /// `ip` is missing or no IP address.
    #[error("ip is no IP address")]
    Ip,
    /// A port is missing or not written as expected.
    #[error("{0} is not a colon and a number from 1 to 65535")]
    Port(&'static str),
    /// `id` is no UUID.
    #[error("id is no UUID")]
    Id,
    /// `token` is not 16 to 64 printable characters.
    #[error("token is not 16 to 64 printable ASCII characters")]
    Token,
}

/// The text as it is read. Keys that are not here are skipped; one that comes twice is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'t> {
    #[serde(borrow, default)]
    record_id: Cow<'t, str>,
    #[serde(borrow, default)]
    r#type: Option<Cow<'t, str>>,
    #[serde(borrow, default)]
    protocol: Cow<'t, str>,
    #[serde(borrow, default)]
    ip: Cow<'t, str>,
    #[serde(borrow, default)]
    port1: Cow<'t, str>,
    #[serde(borrow, default)]
    port2: Cow<'t, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'t, str>>,
    #[serde(borrow, default)]
    token: Option<Cow<'t, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenOffer<'t> {
    record_id: &'t str,
    protocol: &'t str,
    ip: String,
    port1: String,
    port2: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'t str>,
}

impl Offer {
    /// Reads what another node sent. Keys that are not known are left out; an IPv4 address in IPv6 spelling becomes IPv4.
    pub fn parse(text: &str) -> Result<Self, OfferError> {
        // serde takes an array of values in order for an object, too.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(OfferError::Malformed);
        }
        let read: Read<'_> = serde_json::from_str(text).map_err(|_| OfferError::Malformed)?;
        if read.record_id != RECORD_ID {
            return Err(OfferError::RecordId);
        }
        if read.r#type.is_some() {
            return Err(OfferError::Type);
        }
        if read.protocol != PROTOCOL {
            return Err(OfferError::Protocol);
        }
        let ip: IpAddr = read.ip.parse().map_err(|_| OfferError::Ip)?;
        Ok(Self {
            ip: ip.to_canonical(),
            port1: parse_port(&read.port1).ok_or(OfferError::Port("port1"))?,
            port2: parse_port(&read.port2).ok_or(OfferError::Port("port2"))?,
            id: read.id.map(|id| RelayId::parse(&id).ok_or(OfferError::Id)).transpose()?,
            token: read.token.map(|token| Token::parse(&token).ok_or(OfferError::Token)).transpose()?,
        })
    }

    /// The one text of this offer, which [`Self::parse`] reads back.
    pub fn to_json(&self) -> String {
        to_text(&WrittenOffer {
            record_id: RECORD_ID,
            protocol: PROTOCOL,
            ip: self.ip.to_string(),
            port1: port_text(self.port1),
            port2: port_text(self.port2),
            id: self.id.map(|id| id.to_string()),
            token: self.token.as_ref().map(Token::as_str),
        })
    }

    /// Where a side is reached.
    pub fn address(&self, side: Side) -> SocketAddr {
        SocketAddr::new(
            self.ip,
            match side {
                Side::First => self.port1,
                Side::Second => self.port2,
            },
        )
    }
}

/// A port with a leading colon (2021 API).
pub fn port_text(port: u16) -> String {
    format!(":{port}")
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    // Neither a sign nor zeros in front: one spelling of each port.
    let port = digits.parse::<u16>().ok().filter(|port| *port != 0)?;
    (digits == port.to_string()).then_some(port)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEnd<'t> {
    record_id: &'t str,
    r#type: &'t str,
    id: String,
    reason: &'t str,
    port1: String,
    port2: String,
}

/// A relay of this node that ended, as its event tells it. Never sent to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The relay.
    pub id: RelayId,
    /// Why it ended: "stopped", "idle", "life", "limit" or "port_taken".
    pub reason: &'static str,
    /// The ports that it had.
    pub port1: u16,
    /// The port of the far end.
    pub port2: u16,
}

impl Ended {
    /// The text of the event.
    pub fn to_json(&self) -> String {
        to_text(&WrittenEnd {
            record_id: RECORD_ID,
            r#type: "ENDED",
            id: self.id.to_string(),
            reason: self.reason,
            port1: port_text(self.port1),
            port2: port_text(self.port2),
        })
    }
}

fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts under fixed keys can be written")
}

#[cfg(test)]
mod tests;
