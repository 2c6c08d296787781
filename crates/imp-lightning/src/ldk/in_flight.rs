//! The payments of this node that have not ended, as far as this run knows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use imp_core::id::PaymentHash;

use crate::port::PaymentState;

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
    payments: Mutex<Payments>,
}

#[derive(Debug, Default)]
struct Payments {
    open: HashMap<PaymentHash, Since>,
    /// The ends of payments of which the library has no record any more; few, and for this run.
    ended: HashMap<PaymentHash, PaymentState>,
}

impl InFlight {
    pub(super) fn new(of_earlier_runs: impl Iterator<Item = PaymentHash>) -> Self {
        let open = of_earlier_runs.map(|hash| (hash, Since::EarlierRun)).collect();
        Self { payments: Mutex::new(Payments { open, ended: HashMap::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Payments> {
        self.payments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the name for a payment that is about to be sent; false if it is taken.
    pub(super) fn begin(&self, hash: PaymentHash) -> bool {
        match self.lock().open.entry(hash) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(Since::ThisRun);
                true
            }
        }
    }

    /// Gives a name back whose payment was not begun.
    pub(super) fn cancel(&self, hash: &PaymentHash) {
        self.lock().open.remove(hash);
    }

    /// A payment has ended; how, is kept if the library has no record of it.
    pub(super) fn end(&self, hash: &PaymentHash, unrecorded: bool, how: impl FnOnce() -> PaymentState) {
        let mut payments = self.lock();
        payments.open.remove(hash);
        if unrecorded {
            payments.ended.insert(*hash, how());
        }
    }

    /// How a payment stands of which the library has no record, if this run knows.
    pub(super) fn unrecorded(&self, hash: &PaymentHash) -> Option<PaymentState> {
        let payments = self.lock();
        let open = || payments.open.contains_key(hash).then_some(PaymentState::InFlight);
        payments.ended.get(hash).cloned().or_else(open)
    }

    pub(super) fn since(&self, hash: &PaymentHash) -> Option<Since> {
        self.lock().open.get(hash).copied()
    }

    /// How many payments are in flight; those that `has_ended` are forgotten first.
    pub(super) fn count(&self, has_ended: impl Fn(&PaymentHash) -> bool) -> usize {
        let mut payments = self.lock();
        payments.open.retain(|hash, _| !has_ended(hash));
        payments.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::FailureReason;

    #[test]
    fn a_name_is_taken_until_its_payment_ends() {
        let (old, new) = (PaymentHash([1; 32]), PaymentHash([2; 32]));
        let in_flight = InFlight::new([old].into_iter());
        assert!(!in_flight.begin(old));
        assert!(in_flight.begin(new) && !in_flight.begin(new));
        assert_eq!(
            (in_flight.since(&old), in_flight.since(&new)),
            (Some(Since::EarlierRun), Some(Since::ThisRun))
        );
        assert_eq!(in_flight.count(|hash| *hash == old), 1);
        in_flight.cancel(&new);
        assert!(in_flight.begin(new));
    }

    #[test]
    fn only_the_end_of_an_unrecorded_payment_is_kept() {
        let (recorded, unrecorded) = (PaymentHash([1; 32]), PaymentHash([2; 32]));
        let in_flight = InFlight::default();
        let failed = || PaymentState::Failed(FailureReason::NoRoute);
        for (hash, has_no_record) in [(recorded, false), (unrecorded, true)] {
            assert!(in_flight.begin(hash));
            assert_eq!(in_flight.unrecorded(&hash), Some(PaymentState::InFlight));
            in_flight.end(&hash, has_no_record, failed);
        }
        assert_eq!(in_flight.unrecorded(&recorded), None);
        assert_eq!(in_flight.unrecorded(&unrecorded), Some(failed()));
    }
}
