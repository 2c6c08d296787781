//! How a relay is to be, out of a request.

use std::ops::RangeInclusive;
use std::time::Duration;

use imp_core::relay::Limits;

use super::SocketOptions;
use crate::error::Error;

/// Longest label, in bytes.
const MAX_LABEL_BYTES: usize = 64;

/// Seconds that a side may be silent.
const IDLE_SECS: RangeInclusive<u64> = 1..=86_400;

/// Seconds that a relay may last: a year.
const LIFE_SECS: RangeInclusive<u64> = 1..=31_536_000;

/// Packets and bytes, in all and in a second: sums of two do not overflow.
const AMOUNTS: RangeInclusive<u64> = 1..=1_000_000_000_000_000_000;

/// A relay that a caller wants, as the caller wrote it. 0 stands for what the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartRelay {
    /// What it is for.
    pub label: String,
    /// Seconds without a packet after which a side is forgotten.
    pub idle_secs: i64,
    /// Seconds after which it ends.
    pub life_secs: i64,
    /// Packets after which it ends.
    pub max_packets: i64,
    /// Bytes after which it ends.
    pub max_bytes: i64,
    /// Packets that pass in a second.
    pub max_packets_per_sec: i64,
    /// Bytes that pass in a second.
    pub max_bytes_per_sec: i64,
    /// Only a source that begins with the token is let in.
    pub require_token: bool,
}

/// A relay that can be started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) is_default: bool,
    pub(super) label: String,
    pub(super) idle: Duration,
    /// Nothing for no end of its own.
    pub(super) life: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) require_token: bool,
}

impl Wish {
    /// The relay of StartSocket: it goes on until it is stopped, or its limits are used up.
    pub(super) fn default_relay(options: &SocketOptions) -> Self {
        Self {
            is_default: true,
            label: String::new(),
            idle: options.idle,
            life: None,
            limits: options.limits,
            require_token: false,
        }
    }
}

impl StartRelay {
    pub(super) fn check(self, options: &SocketOptions) -> Result<Wish, Error> {
        if self.label.len() > MAX_LABEL_BYTES {
            let problem = format!("has {} bytes: at most {MAX_LABEL_BYTES} are kept", self.label.len());
            return Err(Error::invalid("label", problem));
        }
        if self.label.chars().any(char::is_control) {
            return Err(Error::invalid("label", "holds control characters: write plain text"));
        }
        let secs = |field, value, range, default: Duration| {
            number(field, value, range, default.as_secs()).map(Duration::from_secs)
        };
        let Limits { max_packets, max_bytes, max_packets_per_sec, max_bytes_per_sec } = options.limits;
        Ok(Wish {
            is_default: false,
            idle: secs("idle_secs", self.idle_secs, &IDLE_SECS, options.idle)?,
            life: Some(secs("life_secs", self.life_secs, &LIFE_SECS, options.life)?),
            limits: Limits {
                max_packets: number("max_packets", self.max_packets, &AMOUNTS, max_packets)?,
                max_bytes: number("max_bytes", self.max_bytes, &AMOUNTS, max_bytes)?,
                max_packets_per_sec: number(
                    "max_packets_per_sec",
                    self.max_packets_per_sec,
                    &AMOUNTS,
                    max_packets_per_sec,
                )?,
                max_bytes_per_sec: number(
                    "max_bytes_per_sec",
                    self.max_bytes_per_sec,
                    &AMOUNTS,
                    max_bytes_per_sec,
                )?,
            },
            label: self.label,
            require_token: self.require_token,
        })
    }
}

fn number(field: &'static str, value: i64, range: &RangeInclusive<u64>, default: u64) -> Result<u64, Error> {
    if value == 0 {
        return Ok(default);
    }
    u64::try_from(value).ok().filter(|value| range.contains(value)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        let problem =
            format!("{value} is not from {least} to {most}: leave it out for the configured {default}");
        Error::invalid(field, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_configured() {
        let options = SocketOptions { idle: Duration::from_secs(7), ..SocketOptions::default() };
        let wish = StartRelay { max_bytes: 5, ..StartRelay::default() }.check(&options).unwrap();
        assert_eq!((wish.idle, wish.life), (options.idle, Some(options.life)));
        assert_eq!(wish.limits, Limits { max_bytes: 5, ..options.limits });
        assert!(!wish.is_default && !wish.require_token);
    }

    #[test]
    fn fields_are_checked_by_name_and_the_error_says_what_can_be_done() {
        let options = SocketOptions::default();
        let none = StartRelay::default();
        let bad = [
            ("label", StartRelay { label: "x".repeat(65), ..none.clone() }, "at most 64"),
            ("label", StartRelay { label: "a\nb".to_owned(), ..none.clone() }, "plain text"),
            ("idle_secs", StartRelay { idle_secs: -1, ..none.clone() }, "from 1 to 86400"),
            ("idle_secs", StartRelay { idle_secs: 86_401, ..none.clone() }, "configured 120"),
            ("life_secs", StartRelay { life_secs: 31_536_001, ..none.clone() }, "from 1 to 31536000"),
            ("max_packets", StartRelay { max_packets: -1, ..none.clone() }, "leave it out"),
            ("max_bytes", StartRelay { max_bytes: i64::MAX, ..none.clone() }, "leave it out"),
            ("max_packets_per_sec", StartRelay { max_packets_per_sec: -5, ..none.clone() }, "-5 is not"),
            ("max_bytes_per_sec", StartRelay { max_bytes_per_sec: i64::MIN, ..none.clone() }, "is not"),
        ];
        for (field, request, part) in bad {
            let error = request.check(&options).unwrap_err();
            assert_eq!(error.code(), imp_api::error::Code::InvalidArgument);
            let text = error.to_string();
            assert!(text.starts_with(&format!("{field}: ")) && text.contains(part), "{text}");
        }
        let longest = StartRelay { label: "é".repeat(32), life_secs: 31_536_000, ..none };
        assert!(longest.check(&options).is_ok());
    }
}
