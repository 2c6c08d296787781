//! The payments of this node that have not ended, as far as this run knows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use imp_core::id::PaymentHash;

/// Since when a payment is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// It was begun in this run, or this run has seen that it is in flight.
    ThisRun,
    /// A record of an earlier run says so; it may never have gone.
    EarlierRun,
}

#[derive(Debug, Default)]
pub(super) struct InFlight {
    payments: Mutex<HashMap<PaymentHash, Since>>,
}

impl InFlight {
    pub(super) fn new(of_earlier_runs: impl Iterator<Item = PaymentHash>) -> Self {
        let payments = of_earlier_runs.map(|hash| (hash, Since::EarlierRun)).collect();
        Self { payments: Mutex::new(payments) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaymentHash, Since>> {
        self.payments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the name for a payment that is about to be sent; false if it is taken.
    pub(super) fn begin(&self, hash: PaymentHash) -> bool {
        match self.lock().entry(hash) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(Since::ThisRun);
                true
            }
        }
    }

    pub(super) fn end(&self, hash: &PaymentHash) {
        self.lock().remove(hash);
    }

    pub(super) fn since(&self, hash: &PaymentHash) -> Option<Since> {
        self.lock().get(hash).copied()
    }

    /// How many payments are in flight; those that `has_ended` are forgotten first.
    pub(super) fn count(&self, has_ended: impl Fn(&PaymentHash) -> bool) -> usize {
        let mut payments = self.lock();
        payments.retain(|hash, _| !has_ended(hash));
        payments.len()
    }
}
