//! The texts of the service `federate`, between nodes and as the `data` of an event.
//!
//! ```json
//! {"recordId":"FEDERATE","type":"REQUEST","impId":"alice","ttl":31560000}
//! ```
//!
//! A text from another node is read into a [`Payload`], and what is published is written from that: nothing of it but
//! checked values reaches programs.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Rights;
use crate::id::NodeId;

/// The `recordId` of every text of this service.
const RECORD_ID: &str = "FEDERATE";

/// Longest text that is read, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 4096;

/// Longest name that a node gives to itself, in bytes.
pub const MAX_IMP_ID_BYTES: usize = 64;

/// Longest reason of a rejection, in bytes.
pub const MAX_REASON_BYTES: usize = 256;

/// How long a federation may last, in seconds: up to a hundred years, so that no arithmetic on times comes near its
/// limits.
pub const TTL_SECS: RangeInclusive<u64> = 1..=3_155_760_000;

/// The most satoshis that a minimum may name: all bitcoin there will be.
const MAX_SAT: u64 = 21_000_000 * 100_000_000;

/// What one node tells another about federation, or what a node's programs learn of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Its sender wants to federate.
    Request {
        /// What the sender calls itself, or nothing.
        imp_id: String,
        /// How long it wants to, in seconds.
        ttl_secs: u64,
    },
    /// Its sender agrees to a REQUEST or to a RENEW.
    Accept {
        /// What the sender calls itself, or nothing.
        imp_id: String,
        /// What is agreed, in seconds from now.
        ttl_secs: u64,
        /// What the recipient may do at the sender.
        terms: Rights,
    },
    /// Its sender does not agree.
    Reject {
        /// Why, in a few words.
        reason: String,
    },
    /// Its sender ends the federation.
    Leave,
    /// Its sender wants the federation to last longer.
    Renew {
        /// What the sender calls itself, or nothing.
        imp_id: String,
        /// How long from now, in seconds.
        ttl_secs: u64,
    },
    /// The time of a federation or of a request is up. A node tells its own programs; it is never sent.
    Expired,
}

/// Why a text is no payload. Nothing of the text is repeated: it is another node's choice.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// Longer than [`MAX_PAYLOAD_BYTES`].
    #[error("is longer than {MAX_PAYLOAD_BYTES} bytes")]
    TooLong,
    /// No JSON object, a key twice, or a value of another type.
    #[error("is no JSON object with values of the expected types")]
    Malformed,
    /// `recordId` is not "FEDERATE".
    #[error("recordId is not \"FEDERATE\"")]
    RecordId,
    /// A type that this version does not know, or that is never sent.
    #[error("is of a type that this version does not know")]
    UnknownType,
    /// `impId` is too long or holds control characters.
    #[error("impId is longer than {MAX_IMP_ID_BYTES} bytes or holds control characters")]
    ImpId,
    /// `reason` is too long or holds control characters.
    #[error("reason is longer than {MAX_REASON_BYTES} bytes or holds control characters")]
    Reason,
    /// `ttl` is missing or out of [`TTL_SECS`].
    #[error("ttl is not from 1 to 3155760000")]
    Ttl,
    /// A right is missing or `minMessageSat` is more than there is.
    #[error("the terms are incomplete or out of range")]
    Terms,
}

/// The text as it is read. Keys that are not here are skipped; one that comes twice is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read<'t> {
    #[serde(borrow, default)]
    record_id: Cow<'t, str>,
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'t, str>,
    #[serde(borrow, default)]
    imp_id: Cow<'t, str>,
    ttl: Option<u64>,
    #[serde(borrow, default)]
    reason: Cow<'t, str>,
    messages: Option<bool>,
    sockets: Option<bool>,
    vpn_quotes: Option<bool>,
    min_message_sat: Option<u64>,
}

/// The text as it is written. The order of the fields is that of the keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'p> {
    record_id: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    imp_id: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpn_quotes: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_message_sat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pubkey: Option<String>,
}

impl Payload {
    /// Reads what another node sent.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadError::TooLong);
        }
        // A list of values in the right order would be read, too.
        if !text.trim_start().starts_with('{') {
            return Err(PayloadError::Malformed);
        }
        let read: Read<'_> = serde_json::from_str(text).map_err(|_| PayloadError::Malformed)?;
        if read.record_id != RECORD_ID {
            return Err(PayloadError::RecordId);
        }
        match &*read.kind {
            "REQUEST" => Ok(Self::Request { imp_id: read.imp_id()?, ttl_secs: read.ttl()? }),
            "ACCEPT" => {
                Ok(Self::Accept { imp_id: read.imp_id()?, ttl_secs: read.ttl()?, terms: read.terms()? })
            }
            "REJECT" if is_short(&read.reason, MAX_REASON_BYTES) => {
                Ok(Self::Reject { reason: read.reason.into_owned() })
            }
            "REJECT" => Err(PayloadError::Reason),
            "LEAVE" => Ok(Self::Leave),
            "RENEW" => Ok(Self::Renew { imp_id: read.imp_id()?, ttl_secs: read.ttl()? }),
            _ => Err(PayloadError::UnknownType),
        }
    }

    /// The text for the other node, and of the event about what another node sent.
    pub fn to_json(&self) -> String {
        self.write(None)
    }

    /// The text of the event about what this node did, which names the other node.
    pub fn to_json_about(&self, peer: &NodeId) -> String {
        self.write(Some(peer))
    }

    /// The `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Request { .. } => "REQUEST",
            Self::Accept { .. } => "ACCEPT",
            Self::Reject { .. } => "REJECT",
            Self::Leave => "LEAVE",
            Self::Renew { .. } => "RENEW",
            Self::Expired => "EXPIRED",
        }
    }

    fn write(&self, peer: Option<&NodeId>) -> String {
        let (imp_id, ttl, terms, reason) = match self {
            Self::Request { imp_id, ttl_secs } | Self::Renew { imp_id, ttl_secs } => {
                (Some(imp_id), Some(*ttl_secs), None, None)
            }
            Self::Accept { imp_id, ttl_secs, terms } => (Some(imp_id), Some(*ttl_secs), Some(terms), None),
            Self::Reject { reason } => (None, None, None, Some(reason)),
            Self::Leave | Self::Expired => (None, None, None, None),
        };
        let written = Written {
            record_id: RECORD_ID,
            kind: self.kind(),
            imp_id: imp_id.map(String::as_str),
            ttl,
            messages: terms.map(|terms| terms.messages),
            sockets: terms.map(|terms| terms.sockets),
            vpn_quotes: terms.map(|terms| terms.vpn_quotes),
            min_message_sat: terms.map(|terms| terms.min_message_sat),
            reason: reason.map(String::as_str),
            pubkey: peer.map(NodeId::to_string),
        };
        serde_json::to_string(&written).expect("texts, numbers and bools can always be written")
    }
}

impl Read<'_> {
    fn imp_id(&self) -> Result<String, PayloadError> {
        if is_short(&self.imp_id, MAX_IMP_ID_BYTES) {
            Ok(self.imp_id.clone().into_owned())
        } else {
            Err(PayloadError::ImpId)
        }
    }

    fn ttl(&self) -> Result<u64, PayloadError> {
        self.ttl.filter(|secs| TTL_SECS.contains(secs)).ok_or(PayloadError::Ttl)
    }

    fn terms(&self) -> Result<Rights, PayloadError> {
        let terms = || {
            Some(Rights {
                messages: self.messages?,
                sockets: self.sockets?,
                vpn_quotes: self.vpn_quotes?,
                min_message_sat: self.min_message_sat.filter(|sat| *sat <= MAX_SAT)?,
            })
        };
        terms().ok_or(PayloadError::Terms)
    }
}

/// Whether a text of another node may be shown to people.
fn is_short(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
