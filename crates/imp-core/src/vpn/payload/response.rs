//! What a seller sends to a buyer, and what either node tells its own programs.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::{Fields, Object};
use super::{
    DURATION_SECS, LEFT_SECS, LIMIT_BYTES, MAX_REASON_BYTES, MAX_SAT, PRICE_SAT, PayloadError,
    RESPONSE_RECORD, TIME_SECS, VALID_SECS,
};
use crate::id::NodeId;
use crate::vpn::{Config, Nonce};

/// What one payment buys besides time. Absent: without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes through the tunnel, both ways together.
    pub data_bytes: Option<u64>,
    /// Bytes per second, each way.
    pub bytes_per_sec: Option<u64>,
}

/// What a contract costs and brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Its name, to accept it by.
    pub nonce: Nonce,
    /// Satoshis for each [`Self::duration_secs`].
    pub price_sat: u64,
    /// How long it is valid, in seconds from its making.
    pub valid_secs: u64,
    /// The end of that by the seller's clock, in seconds since 1970.
    pub expiry_secs: u64,
    /// Seconds that one payment buys.
    pub duration_secs: u64,
    /// The most seconds that a contract can have left after a refresh.
    pub max_secs: u64,
    /// What else is limited.
    pub limits: Limits,
}

/// Why a contract ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// Its time is up.
    Time,
    /// Its data is used up.
    Data,
}

impl EndReason {
    /// Its word: "time" or "data".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Data => "data",
        }
    }
}

impl FromStr for EndReason {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Time, Self::Data].into_iter().find(|reason| reason.as_str() == text).ok_or(())
    }
}

/// What a seller sends to a buyer, and what either node tells its own programs of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Answer to a QUOTE request: what a contract costs.
    Quote(Quote),
    /// Answer to CONTRACT: how to build the tunnel.
    Config(Box<Config>),
    /// Answer to REFRESH: the contract lasts longer.
    Refreshed {
        /// The contract.
        nonce: Nonce,
        /// Seconds that were added.
        duration_secs: u64,
        /// Seconds that are left now.
        remaining_secs: u64,
        /// When it ends by the seller's clock, in seconds since 1970.
        expiry_secs: u64,
    },
    /// Answer to CONTRACT or REFRESH: the payment was not served and goes back.
    Refund {
        /// What was paid for.
        nonce: Nonce,
        /// Satoshis given back with the payment that carries this; 0: too little for a refund.
        amount_sat: u64,
        /// Satoshis that had come.
        received_sat: u64,
        /// Why, in a few words.
        reason: String,
    },
    /// Answer to a QUOTE request: none is given.
    Refused {
        /// Why, in a few words.
        reason: String,
    },
    /// A contract ends soon. A node tells its own programs; it is never sent.
    Expiring {
        /// The contract.
        nonce: Nonce,
        /// Seconds that are left.
        remaining_secs: u64,
    },
    /// A contract has ended. A seller sends it where no data is left, which its buyer may not see; else a node tells its own
    /// programs.
    Expired {
        /// The contract.
        nonce: Nonce,
        /// Why.
        reason: EndReason,
    },
    /// The seller took the money and said nothing. Never sent.
    Unanswered {
        /// What was paid for.
        nonce: Nonce,
    },
}

impl Response {
    /// Reads what another node sent.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        let fields = Fields::parse(text)?;
        if fields.get("recordId") != Some(RESPONSE_RECORD) {
            return Err(PayloadError::RecordId);
        }
        Self::read(&fields)
    }

    pub(super) fn read(fields: &Fields) -> Result<Self, PayloadError> {
        match fields.get("type") {
            Some("QUOTE") => Ok(Self::Quote(Quote {
                nonce: fields.nonce()?,
                price_sat: fields.number("price", &PRICE_SAT)?,
                valid_secs: fields.number("valid_secs", &VALID_SECS)?,
                expiry_secs: fields.number("expiry", &TIME_SECS)?,
                duration_secs: fields.number("duration_secs", &DURATION_SECS)?,
                max_secs: fields.number("max_secs", &LEFT_SECS)?,
                limits: fields.limits()?,
            })),
            Some("CONFIG") => Config::read(fields).map(|config| Self::Config(Box::new(config))),
            Some("REFRESHED") => Ok(Self::Refreshed {
                nonce: fields.nonce()?,
                duration_secs: fields.number("duration_secs", &DURATION_SECS)?,
                remaining_secs: fields.number("remaining_secs", &LEFT_SECS)?,
                expiry_secs: fields.number("expiry", &TIME_SECS)?,
            }),
            Some("REFUND") => Ok(Self::Refund {
                nonce: fields.nonce()?,
                amount_sat: fields.number("amount", &(0..=MAX_SAT))?,
                received_sat: fields.number("received", &(0..=MAX_SAT))?,
                reason: fields.reason()?,
            }),
            Some("EXPIRED") => Ok(Self::Expired {
                nonce: fields.nonce()?,
                reason: fields.value("reason", "\"time\" or \"data\"")?,
            }),
            Some("REFUSED") => Ok(Self::Refused { reason: fields.reason()? }),
            _ => Err(PayloadError::UnknownType),
        }
    }

    /// The text for the other node, and of the event about what another node sent.
    pub fn to_json(&self) -> String {
        self.write().finish()
    }

    /// The text of an event about what this node did or found, which names the other node under the last key, `node`.
    pub fn to_json_about(&self, node: &NodeId) -> String {
        self.write().text("node", &node.to_string()).finish()
    }

    /// The `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Quote(_) => "QUOTE",
            Self::Config(_) => "CONFIG",
            Self::Refreshed { .. } => "REFRESHED",
            Self::Refund { .. } => "REFUND",
            Self::Refused { .. } => "REFUSED",
            Self::Expiring { .. } => "EXPIRING",
            Self::Expired { .. } => "EXPIRED",
            Self::Unanswered { .. } => "UNANSWERED",
        }
    }

    /// The quote or contract that it names.
    pub const fn nonce(&self) -> Option<&Nonce> {
        match self {
            Self::Quote(quote) => Some(&quote.nonce),
            Self::Config(config) => Some(&config.nonce),
            Self::Refreshed { nonce, .. }
            | Self::Refund { nonce, .. }
            | Self::Expiring { nonce, .. }
            | Self::Expired { nonce, .. }
            | Self::Unanswered { nonce } => Some(nonce),
            Self::Refused { .. } => None,
        }
    }

    fn write(&self) -> Object {
        let object = Object::new(RESPONSE_RECORD, self.kind());
        match self {
            Self::Quote(quote) => object
                .text("nonce", quote.nonce.as_str())
                .number("price", quote.price_sat)
                .number("valid_secs", quote.valid_secs)
                .number("expiry", quote.expiry_secs)
                .number("duration_secs", quote.duration_secs)
                .number("max_secs", quote.max_secs)
                .limits(&quote.limits),
            Self::Config(config) => config.write(None),
            Self::Refreshed { nonce, duration_secs, remaining_secs, expiry_secs } => object
                .text("nonce", nonce.as_str())
                .number("duration_secs", *duration_secs)
                .number("remaining_secs", *remaining_secs)
                .number("expiry", *expiry_secs),
            Self::Refund { nonce, amount_sat, received_sat, reason } => object
                .text("nonce", nonce.as_str())
                .number("amount", *amount_sat)
                .number("received", *received_sat)
                .text("reason", reason),
            Self::Refused { reason } => object.text("reason", reason),
            Self::Expiring { nonce, remaining_secs } => {
                object.text("nonce", nonce.as_str()).number("remaining_secs", *remaining_secs)
            }
            Self::Expired { nonce, reason } => {
                object.text("nonce", nonce.as_str()).text("reason", reason.as_str())
            }
            Self::Unanswered { nonce } => object.text("nonce", nonce.as_str()),
        }
    }
}

impl Fields {
    pub(in crate::vpn) fn nonce(&self) -> Result<Nonce, PayloadError> {
        self.value("nonce", "1 to 64 letters, digits, hyphens or underscores")
    }

    pub(in crate::vpn) fn limits(&self) -> Result<Limits, PayloadError> {
        Ok(Limits {
            data_bytes: self.optional_number("data_bytes", &LIMIT_BYTES)?,
            bytes_per_sec: self.optional_number("bytes_per_sec", &LIMIT_BYTES)?,
        })
    }

    /// A text of another node that is shown to people.
    fn reason(&self) -> Result<String, PayloadError> {
        let reason = self.text("reason")?;
        if reason.len() <= MAX_REASON_BYTES && !reason.chars().any(char::is_control) {
            Ok(reason.to_owned())
        } else {
            Err(PayloadError::Field { field: "reason", expected: "a text of at most 256 bytes on one line" })
        }
    }
}

impl Object {
    pub(in crate::vpn) fn limits(self, limits: &Limits) -> Self {
        self.optional_number("data_bytes", limits.data_bytes)
            .optional_number("bytes_per_sec", limits.bytes_per_sec)
    }
}
