//! The relays that run: their start, their end, and the list of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use imp_api::error::Code;
use imp_core::id::MessageId;
use imp_core::record::Service;
use imp_core::relay::{End, Limits, Options, is_private};
use imp_core::socket::{Ended, RelayId, Token};
use imp_core::time::UnixMillis;
use tokio::sync::OwnedSemaphorePermit;

use super::keeper::Saved;
use super::wish::Wish;
use super::{Inner, LOCAL_OWNER, RelayView};
use crate::error::Error;
use crate::outbox::random;
use crate::store::journal::NewEvent;
use crate::store::socket::{RelayUse, StoredPin, StoredRelay};
use crate::telemetry::metrics::RelayTotals;
use crate::udp::{OpenError, Ports, RelayHandle, RelaySpec, SavedPin};

/// A relay that runs.
pub(super) struct Running {
    /// As it was kept when this run of it began.
    pub(super) relay: StoredRelay,
    pub(super) ip: IpAddr,
    pub(super) handle: RelayHandle,
    pub(super) saved: Mutex<Saved>,
    /// Given back when it leaves the list. Nothing for one of an earlier run that is above a limit lowered since.
    place: Mutex<Option<OwnedSemaphorePermit>>,
    /// Whether its end is being kept: nobody finds it any more, unless that fails.
    is_leaving: AtomicBool,
}

/// The relays that run, in the order of their starts.
#[derive(Default)]
pub(super) struct Table {
    next: u64,
    relays: BTreeMap<u64, Arc<Running>>,
    /// What those came to that have ended.
    ended: RelayTotals,
}

impl Table {
    pub(super) fn relays(&self) -> impl Iterator<Item = Arc<Running>> {
        self.relays.values().filter(|running| !running.is_leaving.load(Ordering::Relaxed)).cloned()
    }

    pub(super) fn default(&self) -> Option<Arc<Running>> {
        self.relays().find(|running| running.relay.is_default)
    }

    pub(super) fn find(&self, id: RelayId) -> Option<Arc<Running>> {
        self.relays().find(|running| running.relay.id == id)
    }

    /// Whether it is here, also while its end is being kept.
    pub(super) fn has(&self, id: RelayId) -> bool {
        self.relays.values().any(|running| running.relay.id == id)
    }

    /// What all relays came to in this run of the node.
    pub(super) fn totals(&self) -> RelayTotals {
        let mut totals = self.ended.clone();
        for running in self.relays.values() {
            running.add_to(&mut totals);
        }
        totals.open = self.relays.len() as u64;
        totals
    }

    fn insert(&mut self, running: Arc<Running>) {
        self.relays.insert(self.next, running);
        self.next += 1;
    }

    fn remove(&mut self, id: RelayId) {
        let place = self.relays.iter().find(|(_, running)| running.relay.id == id).map(|(place, _)| *place);
        if let Some(running) = place.and_then(|place| self.relays.remove(&place)) {
            running.add_to(&mut self.ended);
            running.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

impl Running {
    pub(super) fn new(
        relay: StoredRelay,
        ip: IpAddr,
        handle: RelayHandle,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let saved = Mutex::new(Saved::new(handle.pins_changed(), relay.used));
        Self { relay, ip, handle, saved, place: Mutex::new(place), is_leaving: AtomicBool::new(false) }
    }

    pub(super) fn view(&self) -> RelayView {
        let snapshot = self.handle.snapshot();
        let drops = snapshot.drops().map(|(reason, packets)| (reason.as_str(), packets)).collect();
        RelayView { relay: self.relay.clone(), ip: self.ip, sides: snapshot.sides, drops }
    }

    /// Whether it does not run any more, and nobody has seen to that yet.
    pub(super) fn has_ended(&self) -> bool {
        self.end().is_some()
    }

    /// How it ended, if it did.
    pub(super) fn end(&self) -> Option<End> {
        self.handle.closed().now_or_never()
    }

    /// How far it has come, for the store. Who has been silent for the idle time is known no more.
    pub(super) fn used(&self, now: UnixMillis) -> RelayUse {
        let sides = self.handle.snapshot().sides;
        let sum = |number: fn(&crate::udp::SideSnapshot) -> u64| sides.iter().map(number).sum::<u64>();
        let pins = self.handle.pins().map(|pin| {
            pin.filter(|pin| now.since(pin.last_heard) < self.relay.idle).map(
                |SavedPin { source, is_firm, learned, last_heard, reached }| StoredPin {
                    source,
                    is_firm,
                    learned,
                    last_heard,
                    reached,
                },
            )
        });
        RelayUse {
            packets: self.relay.used.packets.saturating_add(sum(|side| side.packets)),
            bytes: self.relay.used.bytes.saturating_add(sum(|side| side.bytes)),
            pins,
        }
    }

    fn add_to(&self, totals: &mut RelayTotals) {
        let snapshot = self.handle.snapshot();
        for side in snapshot.sides {
            totals.packets += side.packets;
            totals.bytes += side.bytes;
        }
        for (total, dropped) in totals.drops.iter_mut().zip(snapshot.drops) {
            *total += dropped;
        }
    }
}

impl Inner {
    /// Starts a relay: its ports are bound before it is kept, so that there is no row without ports.
    pub(super) async fn start(self: &Arc<Self>, wish: Wish) -> Result<Arc<Running>, Error> {
        if self.ports.tasks.token().is_cancelled() {
            return Err(Error::unavailable("the node is stopping"));
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let text = format!(
                "{} relays run: stop one, or raise socket.max_relays in the configuration",
                self.options.max_relays
            );
            Error::new(Code::ResourceExhausted, "TOO_MANY_RELAYS", text)
        })?;
        let now = self.ports.clock.now();
        let mut relay = StoredRelay {
            id: RelayId::from_random(random()?),
            owner: LOCAL_OWNER.to_owned(),
            label: wish.label,
            is_default: wish.is_default,
            ports: [0; 2],
            token: Token::from_random(random()?),
            require_token: wish.require_token,
            idle: wish.idle,
            limits: wish.limits,
            started: now,
            ends: wish.life.map(|life| now.plus(life)),
            used: RelayUse::default(),
        };
        let ip = self.address.find();
        let handle =
            self.engine.open(self.spec(&relay, Ports::Drawn(self.options.ports.clone()), ip, now))?;
        relay.ports = handle.ports();
        if let Err(error) = self.ports.store.add_relay(relay.clone()).await {
            handle.close().await;
            return Err(error.into());
        }
        tracing::info!(relay = %relay.id, port1 = relay.ports[0], port2 = relay.ports[1], "a relay is started");
        Ok(self.run(Running::new(relay, ip, handle, Some(place))))
    }

    /// What the engine is to open for a relay, with what is left of its life and its limits.
    pub(super) fn spec(&self, relay: &StoredRelay, ports: Ports, ip: IpAddr, now: UnixMillis) -> RelaySpec {
        // Whatever became of the clock, it gets no more than it was started with.
        let life = relay.ends.map(|ends| ends.since(now).min(ends.since(relay.started)));
        let limits = Limits {
            max_packets: relay.limits.max_packets.saturating_sub(relay.used.packets),
            max_bytes: relay.limits.max_bytes.saturating_sub(relay.used.bytes),
            ..relay.limits
        };
        // While the node was off nobody was heard, so that this counts as silence like any other.
        let pins = relay.used.pins.map(|pin| {
            pin.map(|StoredPin { source, is_firm, learned, last_heard, reached }| SavedPin {
                source,
                is_firm,
                learned,
                last_heard,
                reached,
            })
        });
        let options = Options {
            idle: relay.idle,
            ends_on_idle: !relay.is_default,
            life,
            limits,
            token: relay.token.clone(),
            require_token: relay.require_token,
            allow_private: self.options.allow_private || is_private(ip) || ip.is_loopback(),
        };
        RelaySpec { ports, options, pins }
    }

    /// Takes a relay that is kept onto the list, and sees to its end.
    pub(super) fn run(self: &Arc<Self>, running: Running) -> Arc<Running> {
        let running = Arc::new(running);
        self.table().insert(Arc::clone(&running));
        let (inner, watched) = (Arc::clone(self), Arc::clone(&running));
        let stopped = self.ports.tasks.token();
        drop(self.ports.tasks.run_detached("relay", async move {
            let end = stopped.run_until_cancelled(watched.handle.closed()).await;
            // Whoever stopped it sees to the rest; so does the next run of the node, where the engine has stopped.
            if end.is_some_and(|end| end != End::Stopped) {
                inner.see_to_end(&watched).await;
            }
        }));
        running
    }

    /// Ends a relay, unless somebody else did; whether it was this call. Its ports are closed either way.
    pub(super) async fn end(&self, running: &Running) -> Result<bool, Error> {
        let _alone = if running.relay.is_default { Some(self.default.lock().await) } else { None };
        self.end_alone(running).await
    }

    /// Likewise, where the default relay is locked already. Where the end cannot be kept the relay stays on the list, to be
    /// ended later.
    pub(super) async fn end_alone(&self, running: &Running) -> Result<bool, Error> {
        let end = running.handle.close().await;
        if running.is_leaving.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        let kept = self.end_kept(&running.relay, end.as_str()).await;
        if kept.is_ok() {
            self.table().remove(running.relay.id);
        } else {
            running.is_leaving.store(false, Ordering::Relaxed);
        }
        kept
    }

    /// Keeps the end of a relay instead of the relay; whether it was kept.
    pub(super) async fn end_kept(&self, relay: &StoredRelay, reason: &'static str) -> Result<bool, Error> {
        let event = self.ended(relay, reason)?;
        let ended = self.ports.store.end_relays(vec![(relay.id, event)]).await?;
        tracing::info!(relay = %relay.id, reason, "a relay has ended");
        Ok(ended > 0)
    }

    /// Ends the relays that came to their end by themselves where that could not be kept.
    pub(super) async fn end_what_ended(&self) {
        let running: Vec<Arc<Running>> = self.table().relays().collect();
        let has_ended = |running: &Arc<Running>| running.end().is_some_and(|end| end != End::Stopped);
        for running in running.into_iter().filter(has_ended) {
            self.see_to_end(&running).await;
        }
    }

    async fn see_to_end(&self, running: &Running) {
        if let Err(error) = self.end(running).await {
            tracing::error!(relay = %running.relay.id, "the end of a relay cannot be kept: {error}");
        }
    }

    /// The event of a relay's end.
    pub(super) fn ended(&self, relay: &StoredRelay, reason: &'static str) -> Result<NewEvent, Error> {
        let [port1, port2] = relay.ports;
        Ok(NewEvent {
            at: self.ports.clock.now(),
            id: MessageId::from_random(random()?).to_string(),
            reply_to: String::new(),
            from: self.ports.own,
            service: Service::Socket.into(),
            data: Ended { id: relay.id, reason, port1, port2 }.to_json(),
            amount_sat: 0,
            late: false,
        })
    }

    /// Has the metrics ask this service, as long as it is there.
    pub(super) fn count(self: &Arc<Self>) {
        let inner = Arc::downgrade(self);
        self.ports.metrics.count_relays(Box::new(move || {
            let inner = inner.upgrade()?;
            let mut totals = inner.table().totals();
            totals.connections = inner.connections.len() as u64;
            Some(totals)
        }));
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::NoPorts(_) => Self::new(
                Code::ResourceExhausted,
                "NO_FREE_PORTS",
                format!("{error}: socket.port_min and socket.port_max in the configuration"),
            ),
            OpenError::Taken { source, .. } | OpenError::Io(source) => {
                Self::new(Code::ResourceExhausted, "NO_SOCKETS", format!("{error}: {source}"))
            }
        }
    }
}
