//! Times, for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that can be written with four digits for the year.
const YEAR_9999_END_SECS: u64 = 253_402_300_799;

/// Milliseconds since 1970 as `2026-03-01T12:00:00Z`; what lies outside of four-digit years as the number itself.
pub(crate) fn iso(ms: i64) -> String {
    match u64::try_from(ms) {
        Ok(since) if since / 1000 <= YEAR_9999_END_SECS => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(since)).to_string()
        }
        _ => format!("{ms} ms"),
    }
}

/// A time with how far it is from now.
pub(crate) fn iso_and_distance(ms: i64) -> String {
    format!("{} ({})", iso(ms), distance(ms, now_ms()))
}

/// How far it is to a time, in its largest unit; nothing once it is over.
pub(crate) fn left(ms: i64) -> Option<String> {
    let now_ms = now_ms();
    (ms > now_ms).then(|| distance(ms, now_ms).trim_start_matches("in ").to_owned())
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// A length of time in units: 1h, 1day, 1m 30s.
pub(crate) fn length(secs: i64) -> String {
    humantime::format_duration(Duration::from_secs(secs.try_into().unwrap_or_default())).to_string()
}

/// How far a time is from now, in its largest unit.
fn distance(ms: i64, now_ms: i64) -> String {
    let secs = now_ms.abs_diff(ms) / 1000;
    let (number, unit) = match secs {
        0 => return "now".to_owned(),
        1..60 => (secs, "s"),
        60..3600 => (secs / 60, "min"),
        3600..86_400 => (secs / 3600, "h"),
        86_400..172_800 => (1, "day"),
        _ => (secs / 86_400, "days"),
    };
    if ms < now_ms { format!("{number} {unit} ago") } else { format!("in {number} {unit}") }
}

/// How long something took.
pub(crate) fn span(from_ms: i64, to_ms: i64) -> String {
    let ms = to_ms.saturating_sub(from_ms).max(0);
    format!("{}.{:03} s", ms / 1000, ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_utc() {
        assert_eq!(iso(1_700_000_000_999), "2023-11-14T22:13:20Z");
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(253_402_300_799_999), "9999-12-31T23:59:59Z");
        for ms in [-1, 253_402_300_800_000, i64::MIN, i64::MAX] {
            assert_eq!(iso(ms), format!("{ms} ms"));
        }
    }

    #[test]
    fn distances_are_in_their_largest_unit() {
        let now_ms = 1_700_000_000_000;
        for (ago_ms, expected) in [
            (0, "now"),
            (999, "now"),
            (59_999, "59 s ago"),
            (60_000, "1 min ago"),
            (7_199_000, "1 h ago"),
            (86_400_000, "1 day ago"),
            (259_199_000, "2 days ago"),
            (-61_000, "in 1 min"),
        ] {
            assert_eq!(distance(now_ms - ago_ms, now_ms), expected);
        }
        assert!(distance(i64::MAX, i64::MIN).starts_with("in "));
    }

    #[test]
    fn lengths_have_units() {
        for (secs, expected) in [(0, "0s"), (-1, "0s"), (90, "1m 30s"), (3600, "1h"), (86_400, "1day")] {
            assert_eq!(length(secs), expected);
        }
        assert_eq!(left(1), None);
        assert_eq!(left(now_ms() + 125_500).as_deref(), Some("2 min"));
    }

    #[test]
    fn a_span_is_never_negative() {
        assert_eq!(span(1000, 2250), "1.250 s");
        assert_eq!(span(2, 1), "0.000 s");
        assert_eq!(span(i64::MIN, i64::MAX), "9223372036854775.807 s");
    }
}
