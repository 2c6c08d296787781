//! The Lightning library's log, written to `tracing` under the target `ldk`.
//!
//! Each level is told one step lower than the library has it: a payment that finds no route or a peer that is away is an
//! error to it, and everyday life to the daemon. Its two most verbose levels, which print whole messages of the peer
//! protocol, are left out. In the others it names preimages here and there; they are struck out.

use std::borrow::Cow;

use ldk_node::logger::{LogLevel, LogRecord, LogWriter};
use tracing::{Level, debug, enabled, info, trace, warn};

#[derive(Debug)]
pub(super) struct LdkLog;

impl LogWriter for LdkLog {
    fn log(&self, record: LogRecord<'_>) {
        let LogRecord { level, args, module_path: module, line } = record;
        let wanted = match level {
            LogLevel::Error => enabled!(target: "ldk", Level::WARN),
            LogLevel::Warn => enabled!(target: "ldk", Level::INFO),
            LogLevel::Info => enabled!(target: "ldk", Level::DEBUG),
            LogLevel::Debug => enabled!(target: "ldk", Level::TRACE),
            LogLevel::Trace | LogLevel::Gossip => false,
        };
        if !wanted {
            return;
        }
        let text = args.to_string();
        let text = without_preimages(&text);
        match level {
            LogLevel::Error => warn!(target: "ldk", module, line, "{text}"),
            LogLevel::Warn => info!(target: "ldk", module, line, "{text}"),
            LogLevel::Info => debug!(target: "ldk", module, line, "{text}"),
            _ => trace!(target: "ldk", module, line, "{text}"),
        }
    }
}

/// Hexadecimal digits of a preimage, and of a key.
const SECRET_DIGITS: usize = 64;

/// The text without the 32-byte values that stand after the word "preimage".
fn without_preimages(text: &str) -> Cow<'_, str> {
    let Some(word) = text.find("preimage") else { return Cow::Borrowed(text) };
    let (before, after) = text.split_at(word);
    let mut cleaned = before.to_owned();
    let mut rest = after;
    while let Some(start) = rest.find(|digit: char| digit.is_ascii_hexdigit()) {
        let run = &rest[start..];
        let length = run.find(|digit: char| !digit.is_ascii_hexdigit()).unwrap_or(run.len());
        cleaned.push_str(&rest[..start]);
        cleaned.push_str(if length < SECRET_DIGITS { &run[..length] } else { "***" });
        rest = &run[length..];
    }
    cleaned.push_str(rest);
    Cow::Owned(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preimages_are_struck_out() {
        let (hash, preimage) = ("ab".repeat(32), "cd".repeat(32));
        let text = format!("Claiming HTLC 0 with hash {hash} with preimage {preimage} on channel 12ef");
        assert_eq!(
            without_preimages(&text),
            format!("Claiming HTLC 0 with hash {hash} with preimage *** on channel 12ef")
        );
        let quoted = format!("payment_preimage=PaymentPreimage({preimage})");
        assert_eq!(without_preimages(&quoted), "payment_preimage=PaymentPreimage(***)");
        assert_eq!(without_preimages(&hash), hash);
        assert_eq!(without_preimages("no preimage é here"), "no preimage é here");
    }
}
