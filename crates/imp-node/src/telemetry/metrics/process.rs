//! What the system says of this process, under the names that Prometheus' own clients use. What a system does not tell is
//! left out.

use std::fmt;
use std::fs;

use imp_core::time::UnixMillis;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Asks when it is read.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) started: UnixMillis,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut add = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let started = self.started.0 as f64 / 1000.0;
        add("process_start_time_seconds", "When the process began, since 1970.", &ConstGauge::new(started))?;
        add("process_cpu_seconds", "What it used of processors.", &ConstCounter::new(cpu_secs()))?;
        if let Some(bytes) = resident_bytes() {
            add("process_resident_memory_bytes", "Memory that it takes.", &ConstGauge::new(bytes))?;
        }
        if let Some(open) = open_files() {
            add("process_open_fds", "File descriptors that are open.", &ConstGauge::new(open))?;
        }
        if let Some(max) = getrlimit(Resource::Nofile).current.and_then(|max| i64::try_from(max).ok()) {
            add("process_max_fds", "File descriptors that may be open.", &ConstGauge::new(max))?;
        }
        Ok(())
    }
}

fn cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn open_files() -> Option<i64> {
    // The directory itself is open while it is read.
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)?).ok()
}
