//! The texts of the service `vpn`, between nodes and as the `data` of an event.
//!
//! ```json
//! {"recordId":"VPN_REQUEST","type":"REFRESH","nonce":"DjPL6L35WGdvxhiRz6PqZU","price":"100"}
//! ```
//!
//! All values are JSON strings, numbers too, as in the CONFIG of 2021 (2021 API); a number has one spelling, without sign
//! and without zeros in front. Times are seconds since 1970. Keys that are not known are left out.

mod request;
mod response;
mod text;

use std::ops::RangeInclusive;

use thiserror::Error;

pub use request::Request;
pub use response::{EndReason, Limits, Quote, Response};
pub(super) use text::{Fields, Object};

/// `recordId` of what buyers send.
pub const REQUEST_RECORD: &str = "VPN_REQUEST";

/// `recordId` of what sellers send (2021 API).
pub const RESPONSE_RECORD: &str = "VPN_RESPONSE";

/// Longest text that is read, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 4096;

/// Longest reason of a refusal or a refund, in bytes.
pub const MAX_REASON_BYTES: usize = 256;

/// The most satoshis that a text may name: all bitcoin there will be.
pub const MAX_SAT: u64 = 21_000_000 * 100_000_000;

/// Prices, in satoshis.
pub const PRICE_SAT: RangeInclusive<u64> = 1..=MAX_SAT;

/// How long a quote may be valid, in seconds: up to a day.
pub const VALID_SECS: RangeInclusive<u64> = 1..=86_400;

/// What one payment may buy, in seconds: up to a year.
pub const DURATION_SECS: RangeInclusive<u64> = 1..=31_536_000;

/// What a contract may have left, in seconds: up to ten years.
pub const LEFT_SECS: RangeInclusive<u64> = 0..=315_360_000;

/// Points in time, in seconds since 1970: up to the end of the year 9999, so that no arithmetic on them comes near its
/// limits.
pub const TIME_SECS: RangeInclusive<u64> = 0..=253_402_300_799;

/// Bytes that a payment may buy, and bytes per second: what the API can tell.
pub const LIMIT_BYTES: RangeInclusive<u64> = 1..=i64::MAX as u64;

/// Why a text is no payload. Nothing of the text is repeated: it is another node's choice.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// Longer than [`MAX_PAYLOAD_BYTES`].
    #[error("is longer than {MAX_PAYLOAD_BYTES} bytes")]
    TooLong,
    /// No JSON object, a known key twice, or a known key whose value is no text.
    #[error("is no JSON object with texts as values")]
    Malformed,
    /// `recordId` is neither that of a request nor that of a response.
    #[error("recordId is not the expected one")]
    RecordId,
    /// A type that this version does not know, or that is never sent.
    #[error("is of a type that this version does not know")]
    UnknownType,
    /// A key is missing.
    #[error("{field} is missing")]
    Missing {
        /// The key.
        field: &'static str,
    },
    /// A value is no number of its range, or is spelt with a sign or with zeros in front.
    #[error("{field} is not a decimal number from {from} to {to}")]
    Number {
        /// The key.
        field: &'static str,
        /// The smallest number that it can be.
        from: u64,
        /// The largest.
        to: u64,
    },
    /// A value is not what it must be.
    #[error("{field} is not {expected}")]
    Field {
        /// The key.
        field: &'static str,
        /// What the value must be.
        expected: &'static str,
    },
}

impl PayloadError {
    /// The key at fault, where it is one.
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Missing { field } | Self::Number { field, .. } | Self::Field { field, .. } => Some(field),
            _ => None,
        }
    }
}

/// Any text of this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// What a buyer sends.
    Request(Request),
    /// What a seller sends.
    Response(Response),
}

impl Payload {
    /// Reads what another node sent.
    pub fn parse(text: &str) -> Result<Self, PayloadError> {
        let fields = Fields::parse(text)?;
        match fields.get("recordId") {
            Some(REQUEST_RECORD) => Request::read(&fields).map(Self::Request),
            Some(RESPONSE_RECORD) => Response::read(&fields).map(Self::Response),
            _ => Err(PayloadError::RecordId),
        }
    }
}

/// The price in satoshis that this text names as the texts between nodes do; nothing for other texts.
pub fn price_from_text(text: &str) -> Option<u64> {
    text::number(text).filter(|price_sat| PRICE_SAT.contains(price_sat))
}

#[cfg(test)]
mod tests;
