//! Prometheus' text format, version 0.0.4, which everything that reads metrics knows.
//!
//! The library writes OpenMetrics. The samples are the same in both, but a counter's comments name the samples here, and
//! there the family, whose name lacks `_total`.

use std::collections::HashSet;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

/// The format's media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics.
pub(super) fn of(registry: &Registry) -> String {
    let mut open_metrics = String::new();
    encode_registry(&mut open_metrics, registry).expect("writing to memory cannot fail");
    let counters: HashSet<&str> = open_metrics.lines().filter_map(counter_of).collect();
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 8);
    for line in open_metrics.lines() {
        match name_in_comment(line).filter(|name| counters.contains(name)) {
            Some(name) => text.push_str(&line.replacen(name, &format!("{name}_total"), 1)),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// The counter whose type a line tells.
fn counter_of(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}

fn name_in_comment(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("# TYPE ").or_else(|| line.strip_prefix("# HELP "))?;
    rest.split(' ').next()
}
