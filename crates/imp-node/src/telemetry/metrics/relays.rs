//! What relays have come to. Their numbers are the engine's, which writes them packet by packet; they are asked for when
//! the metrics are read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use imp_core::relay::Dropped;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What all relays of this run of the node came to, also those that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayTotals {
    /// Relays that run.
    pub open: u64,
    /// Local ends of other nodes' relays that are open.
    pub connections: u64,
    /// Packets that went through relays.
    pub packets: u64,
    /// Their payload in bytes.
    pub bytes: u64,
    /// Packets that relays dropped, by [`Dropped::index`].
    pub drops: [u64; Dropped::ALL.len()],
}

/// Who is asked; nothing where the service is gone.
pub type RelaySource = Box<dyn Fn() -> Option<RelayTotals> + Send + Sync>;

/// Asks when it is read. Clones ask the same.
#[derive(Clone, Default)]
pub(super) struct Relays {
    source: Arc<Mutex<Option<RelaySource>>>,
}

impl Relays {
    pub(super) fn ask(&self, source: RelaySource) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    fn totals(&self) -> RelayTotals {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.as_ref().and_then(|source| source()).unwrap_or_default()
    }
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relays")
    }
}

impl Collector for Relays {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.totals();
        let mut add = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        add("imp_relays", "UDP relays that run.", &ConstGauge::new(int(totals.open)))?;
        add(
            "imp_relay_connections",
            "Local ends of other nodes' relays that are open.",
            &ConstGauge::new(int(totals.connections)),
        )?;
        add("imp_relay_packets", "Packets that went through relays.", &ConstCounter::new(totals.packets))?;
        add("imp_relay_bytes", "Bytes that went through relays.", &ConstCounter::new(totals.bytes))?;
        let mut drops = encoder.encode_descriptor(
            "imp_relay_drops",
            "Packets that relays dropped, by the reason.",
            None,
            MetricType::Counter,
        )?;
        for (reason, dropped) in Dropped::ALL.into_iter().zip(totals.drops) {
            let series = [("reason", reason.as_str())];
            ConstCounter::new(dropped).encode(drops.encode_family(&series)?)?;
        }
        Ok(())
    }
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
