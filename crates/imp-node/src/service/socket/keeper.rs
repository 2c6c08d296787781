//! Keeps what is known of relays while they run, and closes them when the node stops.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use imp_core::socket::RelayId;
use tokio::sync::watch;

use super::Inner;
use super::run::Running;
use crate::store::socket::{RelayUse, StoredPin};

/// How often it is looked whether there is something to save.
const SAVE_PINS_EVERY: Duration = Duration::from_secs(1);

/// After so many looks what has gone through is saved too: what a relay may lose of its count by a crash.
const LOOKS_UNTIL_NUMBERS: u32 = 60;

/// When a source was last heard is saved once that has moved by the idle time divided by this: so much longer it may seem
/// to have been silent after a crash.
const SAVES_OF_HEARD: u32 = 4;

/// Runs until the node stops. Then the relays' ports are closed and they are kept as they are, for the next run.
pub(super) async fn keep(inner: Arc<Inner>) {
    let stopped = inner.ports.tasks.token();
    let mut looks = 0;
    while stopped.run_until_cancelled(tokio::time::sleep(SAVE_PINS_EVERY)).await.is_some() {
        looks = (looks + 1) % LOOKS_UNTIL_NUMBERS;
        inner.save(if looks == 0 { What::Changed } else { What::ChangedPins }).await;
        if looks == 0 {
            inner.end_what_ended().await;
        }
    }
    inner.save(What::All).await;
    inner.engine.shutdown().await;
}

/// What is worth a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    ChangedPins,
    Changed,
    All,
}

/// What of a relay is in the store.
pub(super) struct Saved {
    pins: watch::Receiver<u64>,
    /// Of those pins that are.
    revision: u64,
    used: RelayUse,
}

/// What of a relay is to be saved.
struct News {
    running: Arc<Running>,
    revision: u64,
    used: RelayUse,
}

impl Saved {
    /// Of a relay that begins a run with what is in the store.
    pub(super) fn new(pins: watch::Receiver<u64>, used: RelayUse) -> Self {
        let revision = *pins.borrow();
        Self { pins, revision, used }
    }

    fn differs(&self, revision: u64, used: &RelayUse, idle: Duration, what: What) -> bool {
        let has_moved = |(old, new): (&Option<StoredPin>, &Option<StoredPin>)| {
            let (Some(old), Some(new)) = (old, new) else { return false };
            new.last_heard.since(old.last_heard) >= idle / SAVES_OF_HEARD
        };
        let is_heard = self.used.pins.iter().zip(&used.pins).any(has_moved);
        match what {
            What::ChangedPins => revision != self.revision || is_heard,
            What::Changed => revision != self.revision || is_heard || used.packets != self.used.packets,
            What::All => true,
        }
    }
}

impl News {
    fn of(inner: &Inner, running: Arc<Running>, what: What) -> Option<Self> {
        let saved = lock(&running);
        // Read before the pins, so that one that changes meanwhile is saved by the next look.
        let revision = *saved.pins.borrow();
        let used = running.used(inner.ports.clock.now());
        let is_news = saved.differs(revision, &used, running.relay.idle, what);
        drop(saved);
        is_news.then_some(Self { running, revision, used })
    }
}

impl Inner {
    async fn save(&self, what: What) {
        let running: Vec<Arc<Running>> = self.table().relays().collect();
        let news: Vec<News> =
            running.into_iter().filter_map(|running| News::of(self, running, what)).collect();
        if news.is_empty() {
            return;
        }
        let used: Vec<(RelayId, RelayUse)> =
            news.iter().map(|news| (news.running.relay.id, news.used)).collect();
        if let Err(error) = self.ports.store.save_relays(used).await {
            tracing::warn!("who is known on relays cannot be saved: {error}");
            return;
        }
        for News { running, revision, used } in news {
            let mut saved = lock(&running);
            saved.revision = revision;
            saved.used = used;
        }
    }
}

fn lock(running: &Running) -> MutexGuard<'_, Saved> {
    running.saved.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use imp_core::time::UnixMillis;

    use super::*;

    const IDLE: Duration = Duration::from_secs(120);

    fn heard(secs: u64) -> RelayUse {
        let pin = StoredPin {
            source: ([1, 2, 3, 4], 5).into(),
            is_firm: true,
            learned: UnixMillis(0),
            last_heard: UnixMillis(secs * 1_000),
            reached: None,
        };
        RelayUse { packets: secs, bytes: 0, pins: [None, Some(pin)] }
    }

    #[test]
    fn who_is_known_is_news_until_it_is_saved() {
        let pins = watch::Sender::new(7);
        let mut saved = Saved::new(pins.subscribe(), heard(0));
        assert!(!saved.differs(7, &heard(1), IDLE, What::ChangedPins));
        for _ in 0..2 {
            assert!(saved.differs(8, &heard(1), IDLE, What::ChangedPins), "to look at it does not save it");
        }
        saved.revision = 8;
        assert!(!saved.differs(8, &heard(1), IDLE, What::ChangedPins));
    }

    #[test]
    fn when_a_source_was_heard_is_saved_four_times_in_its_idle_time_and_numbers_more_seldom() {
        let saved = Saved::new(watch::Sender::new(0).subscribe(), heard(100));
        assert!(!saved.differs(0, &heard(129), IDLE, What::ChangedPins));
        assert!(saved.differs(0, &heard(130), IDLE, What::ChangedPins));
        assert!(saved.differs(0, &heard(101), IDLE, What::Changed));
        assert!(!saved.differs(0, &heard(100), IDLE, What::Changed));
        assert!(saved.differs(0, &heard(100), IDLE, What::All));
    }
}
