//! One call at a time for each payment: whoever comes while it is under way gets what comes of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_api::error::Code;
use imp_core::id::PaymentHash;
use tokio::sync::oneshot;

use super::Outcome;
use crate::error::Error;

/// Payments that may be under way at once: bounds memory, since the rows themselves are on disk.
const MAX_UNDER_WAY: usize = 10_000;

/// Calls that may wait for one payment.
const MAX_WAITING: usize = 1_000;

/// Who waits for which payment.
type Waiting = HashMap<PaymentHash, Vec<oneshot::Sender<Outcome>>>;

/// The payments that are under way. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Turns {
    waiting: Arc<Mutex<Waiting>>,
}

/// What a call finds.
pub(super) enum Entry {
    /// Nobody is at it: it is this call's.
    Turn(Turn),
    /// Another call is at it, and this brings what comes of it.
    Wait(oneshot::Receiver<Outcome>),
}

/// The right to be the only one who makes or looks at a payment. Dropped, it leaves those who wait without an outcome.
pub(super) struct Turn {
    turns: Turns,
    hash: PaymentHash,
    /// The place in the list is still this one's.
    held: bool,
}

impl Turns {
    /// Takes the turn for a payment, or a place among those who wait for it.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` where too many payments are under way, or too many wait for this one.
    pub(super) fn enter(&self, hash: PaymentHash) -> Result<Entry, Error> {
        let mut waiting = self.lock();
        let under_way = waiting.len();
        match waiting.entry(hash) {
            Place::Vacant(_) if under_way >= MAX_UNDER_WAY => Err(too_many("payments are under way")),
            Place::Vacant(place) => {
                place.insert(Vec::new());
                Ok(Entry::Turn(Turn { turns: self.clone(), hash, held: true }))
            }
            Place::Occupied(mut place) => {
                let waiters = place.get_mut();
                waiters.retain(|waiter| !waiter.is_closed());
                if waiters.len() >= MAX_WAITING {
                    return Err(too_many("calls wait for this payment"));
                }
                let (tell, told) = oneshot::channel();
                waiters.push(tell);
                Ok(Entry::Wait(told))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Ends the turn: all who waited get the outcome.
    pub(super) fn end(mut self, outcome: Outcome) {
        self.held = false;
        let waiters = self.turns.lock().remove(&self.hash).unwrap_or_default();
        for waiter in waiters {
            // A caller that is gone does not want to know.
            let _ = waiter.send(outcome.clone());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.held {
            self.turns.lock().remove(&self.hash);
        }
    }
}

fn too_many(what: &str) -> Error {
    let message = format!("too many {what}: try again later");
    Error::new(Code::ResourceExhausted, "TOO_MANY_PAYMENTS", message)
}
