//! What the daemon counts, for Prometheus.
//!
//! The parts get a handle and count where a thing is certain: what is stored, after its commit. Labels are words that this
//! program chooses, such as names of RPCs and states; never what a caller or another node sent, and never keys or ids.
//! So there are a few hundred series at most, and whoever reads them does not learn who talks to whom.

mod process;
mod relays;
mod text;
mod vpn;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use imp_core::time::UnixMillis;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use tokio::time::Instant;

use process::Process;
use relays::Relays;
use vpn::Vpn;

pub use relays::{RelaySource, RelayTotals};
pub use text::CONTENT_TYPE;
pub use vpn::{VpnSource, VpnTotals};

/// Upper bounds of what calls take, in seconds: from a signature to a payment that is given up.
const CALL_SECONDS: [f64; 11] = [0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0];

/// Upper bounds of what writes take, in seconds: an fsync takes some milliseconds.
const WRITE_SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0];

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Gauges = Family<Labels<1>, Gauge>;

/// The handle. Cheap to clone; clones count into the same metrics.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    calls: Counters<2>,
    call_seconds: Family<Labels<1>, Histogram>,
    refusals: Counters<1>,
    connections: Gauges,
    subscribers: Gauge,
    state: Gauges,
    events: Counters<1>,
    newest_cursor: Gauge,
    oldest_cursor: Gauge,
    messages: Counters<1>,
    attempts: Counters<1>,
    inbox_payments: Counters<1>,
    noted: Counters<1>,
    writes_waiting: Gauge,
    write_seconds: Histogram,
    relays: Relays,
    vpn: Vpn,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    /// Metrics of a process that began in 1970, for where nobody reads them.
    fn default() -> Self {
        Self::new(UnixMillis(0))
    }
}

impl Metrics {
    /// The metrics of a process that began at this time.
    pub fn new(started: UnixMillis) -> Self {
        let mut registry = Registry::default();
        let all = &mut registry;
        let build: Gauges = add(all, "imp_build_info", "Always 1; the version of this daemon is a label");
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        all.register_collector(Box::new(Process { started }));
        let relays = Relays::default();
        all.register_collector(Box::new(relays.clone()));
        let vpn = Vpn::default();
        all.register_collector(Box::new(vpn.clone()));
        let call_seconds = Family::new_with_constructor(call_histogram as fn() -> Histogram);
        all.register(
            "imp_call_seconds",
            "What calls of the API took, until the answer or the begin of a stream",
            call_seconds.clone(),
        );
        let write_seconds = Histogram::new(WRITE_SECONDS);
        all.register(
            "imp_store_write_seconds",
            "What writes to the database took, from the queue to the common commit",
            write_seconds.clone(),
        );
        let inner = Inner {
            calls: add(all, "imp_calls", "Calls of the API that ended, over gRPC and REST, by gRPC code"),
            call_seconds,
            refusals: add(all, "imp_refusals", "Requests that may not come in, by the rule"),
            connections: add(all, "imp_connections", "Open connections by listener"),
            subscribers: add(all, "imp_subscribers", "Open subscriptions to events"),
            state: add(all, "imp_state", "1 for the state that the node is in, as on /ready"),
            events: add(all, "imp_events_published", "Events added to the journal, by service"),
            newest_cursor: add(all, "imp_journal_newest_cursor", "The newest event's place in the journal"),
            oldest_cursor: add(
                all,
                "imp_journal_oldest_cursor",
                "The place of the oldest event that is kept",
            ),
            messages: add(all, "imp_messages_ended", "Messages of this node that came to an end, by state"),
            attempts: add(all, "imp_attempts_ended", "Payments for messages that ended, by state"),
            inbox_payments: add(all, "imp_inbox_payments", "Payments with a record of ours, by outcome"),
            noted: add(
                all,
                "imp_noted",
                "What other nodes' messages led to that nobody is told of, by what it was",
            ),
            writes_waiting: add(
                all,
                "imp_store_writes_waiting",
                "Writes to the database that are not committed",
            ),
            write_seconds,
            relays,
            vpn,
            registry,
        };
        // From the start, so that the first failure is seen as a change.
        for state in ["settled", "failed", "unknown"] {
            inner.messages.get_or_create(&[("state", state)]).inc_by(0);
            inner.attempts.get_or_create(&[("state", state)]).inc_by(0);
        }
        for outcome in ["taken", "repeated", "dropped", "unread"] {
            inner.inbox_payments.get_or_create(&[("outcome", outcome)]).inc_by(0);
        }
        Self { inner: Arc::new(inner) }
    }

    /// All metrics in Prometheus' text format, of the media type [`CONTENT_TYPE`].
    pub fn text(&self) -> String {
        text::of(&self.inner.registry)
    }

    /// A call of the API ended. `rpc` and `code` are names that this program has.
    pub fn call_ended(&self, rpc: &'static str, code: &'static str, took: Duration) {
        self.inner.calls.get_or_create(&[("rpc", rpc), ("code", code)]).inc();
        self.inner.call_seconds.get_or_create(&[("rpc", rpc)]).observe(took.as_secs_f64());
    }

    /// A request was not let in.
    pub fn refused(&self, reason: &'static str) {
        self.inner.refusals.get_or_create(&[("reason", reason)]).inc();
    }

    /// A connection to a listener, counted until the guard is dropped.
    pub fn connection(&self, listener: &'static str) -> Open {
        Open::new(self.inner.connections.get_or_create_owned(&[("listener", listener)]))
    }

    /// A subscription to events, counted until the guard is dropped.
    pub fn subscription(&self) -> Open {
        Open::new(self.inner.subscribers.clone())
    }

    /// Which of the states that there are the node is in.
    pub fn set_state(&self, state: &'static str, all: &[&'static str]) {
        for other in all {
            self.inner.state.get_or_create(&[("state", other)]).set(i64::from(*other == state));
        }
    }

    /// An event is in the journal.
    pub fn event_published(&self, service: &'static str, cursor: i64) {
        self.inner.events.get_or_create(&[("service", service)]).inc();
        self.inner.newest_cursor.set(cursor);
    }

    /// The ends of the journal; 0 where there is none.
    pub fn set_cursors(&self, oldest: i64, newest: i64) {
        self.inner.oldest_cursor.set(oldest);
        self.inner.newest_cursor.set(newest);
    }

    /// A message of this node came to an end. One that was unknown and settles after all comes to two.
    pub fn message_ended(&self, state: &'static str) {
        self.inner.messages.get_or_create(&[("state", state)]).inc();
    }

    /// A payment for a part of a message ended.
    pub fn attempt_ended(&self, state: &'static str) {
        self.inner.attempts.get_or_create(&[("state", state)]).inc();
    }

    /// A payment that brought a record of ours was taken in.
    pub fn inbox_payment(&self, outcome: &'static str) {
        self.inner.inbox_payments.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Something was noted in the store's counter of this name.
    pub fn noted(&self, what: &'static str) {
        self.inner.noted.get_or_create(&[("what", what)]).inc();
    }

    /// Asks for what relays came to whenever the metrics are read.
    pub fn count_relays(&self, source: RelaySource) {
        self.inner.relays.ask(source);
    }

    /// Asks for what contracts of the VPN came to, likewise.
    pub fn count_vpn(&self, source: VpnSource) {
        self.inner.vpn.ask(source);
    }

    /// A write was queued; it is committed, or given up, when the guard is dropped.
    pub fn write_queued(&self) -> Write {
        let waiting = Open::new(self.inner.writes_waiting.clone());
        Write { seconds: self.inner.write_seconds.clone(), queued: Instant::now(), _waiting: waiting }
    }
}

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn call_histogram() -> Histogram {
    Histogram::new(CALL_SECONDS)
}

/// Something that is open, counted until this is dropped.
#[derive(Debug)]
pub struct Open {
    gauge: Gauge,
}

impl Open {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self { gauge }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// A write on its way.
#[derive(Debug)]
pub struct Write {
    seconds: Histogram,
    queued: Instant,
    _waiting: Open,
}

impl Drop for Write {
    fn drop(&mut self) {
        self.seconds.observe(self.queued.elapsed().as_secs_f64());
    }
}
