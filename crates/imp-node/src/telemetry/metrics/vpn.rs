//! What contracts of the VPN have come to. They are asked for when the metrics are read.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use imp_core::vpn::seller::{ContractState, PaymentState};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// What contracts came to, and how they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpnTotals {
    /// There is a device that buyers come in by.
    pub is_open: bool,
    /// Contracts sold that are remembered, by the place of their state in [`ContractState::ALL`].
    pub sold: [u64; ContractState::ALL.len()],
    /// Contracts bought that have time left.
    pub bought: u64,
    /// Payments of buyers whose refund is due.
    pub refunds_due: u64,
    /// Payments of buyers that came to a state in this run, by the state's place in [`PaymentState::ALL`].
    pub payments: [u64; PaymentState::ALL.len()],
    /// Bytes from buyers in this run.
    pub received_bytes: u64,
    /// Bytes to buyers in this run.
    pub sent_bytes: u64,
}

impl VpnTotals {
    /// A payment came to this state.
    pub fn count(&mut self, state: PaymentState) {
        let place = PaymentState::ALL.iter().position(|known| *known == state);
        if let Some(count) = place.and_then(|place| self.payments.get_mut(place)) {
            *count += 1;
        }
    }
}

/// Who is asked; nothing where the service is gone.
pub type VpnSource = Box<dyn Fn() -> Option<VpnTotals> + Send + Sync>;

/// Asks when it is read. Clones ask the same.
#[derive(Clone, Default)]
pub(super) struct Vpn {
    source: Arc<Mutex<Option<VpnSource>>>,
}

impl Vpn {
    pub(super) fn ask(&self, source: VpnSource) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    fn totals(&self) -> VpnTotals {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.as_ref().and_then(|source| source()).unwrap_or_default()
    }
}

impl fmt::Debug for Vpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vpn")
    }
}

impl Collector for Vpn {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.totals();
        let mut add = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        add(
            "imp_vpn_device_open",
            "1 while there is a device that buyers of the VPN come in by.",
            &ConstGauge::new(i64::from(totals.is_open)),
        )?;
        add(
            "imp_vpn_contracts_bought",
            "Contracts bought that have time left.",
            &ConstGauge::new(int(totals.bought)),
        )?;
        add(
            "imp_vpn_refunds_due",
            "Payments of buyers whose refund is due.",
            &ConstGauge::new(int(totals.refunds_due)),
        )?;
        add(
            "imp_vpn_received_bytes",
            "Bytes that came from buyers through tunnels.",
            &ConstCounter::new(totals.received_bytes),
        )?;
        add(
            "imp_vpn_sent_bytes",
            "Bytes that went to buyers through tunnels.",
            &ConstCounter::new(totals.sent_bytes),
        )?;
        let mut contracts = encoder.encode_descriptor(
            "imp_vpn_contracts",
            "Contracts sold that are not forgotten, by state.",
            None,
            MetricType::Gauge,
        )?;
        for (state, count) in ContractState::ALL.into_iter().zip(totals.sold) {
            ConstGauge::new(int(count)).encode(contracts.encode_family(&[("state", state.name())])?)?;
        }
        let mut payments = encoder.encode_descriptor(
            "imp_vpn_payments",
            "Payments of buyers that came to a state, by state.",
            None,
            MetricType::Counter,
        )?;
        for (state, count) in PaymentState::ALL.into_iter().zip(totals.payments) {
            ConstCounter::new(count).encode(payments.encode_family(&[("state", state.name())])?)?;
        }
        Ok(())
    }
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
