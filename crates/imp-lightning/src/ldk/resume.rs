//! Payments whose outcome was lost with an earlier run: found out about, and sent if they had never gone.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use ldk_node::payment::{PaymentDirection, PaymentStatus};
use ldk_node::{LightningBalance, Node};
use tracing::warn;

use crate::invoice::Payable;
use crate::ldk::in_flight::Since;
use crate::ldk::names::payment_id;
use crate::ldk::{LdkNode, Shared, pay, send};
use crate::port::{InvoiceFault, Keysend, PaymentState, SendError};

/// How long a payment that an earlier run left pending may take to resolve by itself once the channels are back; a node
/// that has just started looks at incoming payments only after two seconds.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(4);

/// How long the channels must be back until they show what is in flight, where nothing else tells: their ends first tell
/// each other again what they had not agreed on.
const SHOW_PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two looks at a payment.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A payment whose outcome was lost.
#[derive(Clone, Debug)]
pub(super) enum Lost {
    Keysend(Keysend),
    Invoice { payable: Payable, fee_limit: Msat },
}

/// What is known of it.
enum Finding {
    State(PaymentState),
    /// Nothing, or a record of an earlier run that says pending, or one of a failure whose event may wait.
    Undecided {
        /// There is a record.
        pending: bool,
        /// Whether sending it again would tell.
        readiness: Readiness,
        /// How long all channels have been back.
        back_for: Option<Duration>,
    },
}

/// How much of the node is back after a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// No channel is usable, or events of an earlier run wait to be taken, of which one may be this payment's end.
    No,
    /// Some channels are usable.
    Some,
    /// All are.
    All,
}

/// What the channels tell of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trace {
    /// It is in flight.
    Seen,
    /// It is not.
    Nothing,
    /// Payments are in flight whose hashes are not told.
    Unclear,
}

impl Lost {
    fn hash(&self) -> PaymentHash {
        match self {
            Self::Keysend(payment) => payment.preimage.payment_hash(),
            Self::Invoice { payable, .. } => payable.hash,
        }
    }

    /// Whether it may still be sent.
    fn check_time(&self) -> Result<(), InvoiceFault> {
        match self {
            Self::Keysend(_) => Ok(()),
            Self::Invoice { payable, .. } => payable.check_time(pay::now()),
        }
    }
}

impl Shared {
    /// Looks for a payment in the records of the library and of this run.
    fn find(&self, node: &Node, hash: &PaymentHash) -> Finding {
        let record =
            node.payment(&payment_id(hash)).filter(|record| record.direction == PaymentDirection::Outbound);
        let pending = record.is_some();
        // The record of a failure does not say why, and its event does.
        let has_failed = record.as_ref().is_some_and(|record| record.status == PaymentStatus::Failed);
        if has_failed && node.next_event().is_some() {
            return Finding::Undecided { pending, readiness: Readiness::No, back_for: None };
        }
        let known = match record.map(|record| send::state_of(&record)) {
            Some(PaymentState::InFlight) => {
                let in_flight = self.in_flight.since(hash) == Some(Since::ThisRun);
                in_flight.then_some(PaymentState::InFlight)
            }
            None => self.in_flight.unrecorded(hash),
            ended => ended,
        };
        if let Some(state) = known {
            return Finding::State(state);
        }
        let mut channels = node.list_channels();
        channels.retain(|channel| channel.is_channel_ready);
        let usable = channels.iter().filter(|channel| channel.is_usable).count();
        let readiness = if usable == 0 || !self.events.is_drained(node) {
            Readiness::No
        } else if usable < channels.len() {
            Readiness::Some
        } else {
            Readiness::All
        };
        let mut back_since = self.back_since.lock().unwrap_or_else(PoisonError::into_inner);
        *back_since = (readiness == Readiness::All).then(|| back_since.unwrap_or_else(Instant::now));
        Finding::Undecided { pending, readiness, back_for: back_since.map(|since| since.elapsed()) }
    }

    /// Sends a payment that may have been sent before, with the same hash: the library refuses it if it knows it.
    ///
    /// It looks for a path before it looks whether it knows the payment, so that any other refusal decides nothing.
    fn send_again(&self, node: &Node, lost: &Lost) -> Result<PaymentState, SendError> {
        let hash = lost.hash();
        self.forget_pending(node, &hash)?;
        let begun = match lost {
            Lost::Keysend(payment) => self.begin_keysend(node, payment),
            Lost::Invoice { payable, fee_limit } => self.begin_invoice(node, payable, *fee_limit).map(|_| ()),
        };
        match begun {
            // Of a known payment this run has no record any more; its end comes as an event all the same.
            Ok(()) | Err(SendError::Known) => Ok(PaymentState::InFlight),
            Err(invalid @ SendError::Invalid(_)) => Err(invalid),
            Err(other) => Err(SendError::Unknown(other.to_string())),
        }
    }

    /// Decides about a payment that must not be sent any more, for `reason`.
    fn give_up(&self, node: &Node, lost: &Lost, reason: InvoiceFault) -> Result<PaymentState, SendError> {
        let hash = lost.hash();
        match trace(node, &hash) {
            Trace::Seen => {
                // Noted, so that it counts as in flight where the library has no record of it.
                self.in_flight.begin(hash);
                Ok(PaymentState::InFlight)
            }
            Trace::Nothing => {
                self.forget_pending(node, &hash)?;
                Err(reason.into())
            }
            Trace::Unclear => Err(SendError::Unknown(format!(
                "{reason}; other payments are in flight, which hide whether this one is"
            ))),
        }
    }

    /// Takes back what says that a payment is pending.
    fn forget_pending(&self, node: &Node, hash: &PaymentHash) -> Result<(), SendError> {
        let id = payment_id(hash);
        let is_pending = node.payment(&id).is_some_and(|record| {
            record.direction == PaymentDirection::Outbound && record.status == PaymentStatus::Pending
        });
        if is_pending && let Err(fault) = node.remove_payment(&id) {
            warn!(%hash, %fault, "the record of a payment cannot be renewed");
            return Err(SendError::Unknown(format!("its record cannot be renewed: {fault}")));
        }
        self.in_flight.cancel(hash);
        Ok(())
    }
}

/// Looks for a payment of this node in what its channels hold.
fn trace(node: &Node, hash: &PaymentHash) -> Trace {
    let mut unclear = false;
    for balance in node.list_balances().lightning_balances {
        match balance {
            LightningBalance::MaybeTimeoutClaimableHTLC { payment_hash, outbound_payment: true, .. }
                if payment_hash.0 == hash.0 =>
            {
                return Trace::Seen;
            }
            // Of amounts too small for an output on the chain only the sum is told.
            LightningBalance::ClaimableOnChannelClose { outbound_payment_htlc_rounded_msat: 1.., .. } => {
                unclear = true;
            }
            _ => {}
        }
    }
    if unclear { Trace::Unclear } else { Trace::Nothing }
}

impl LdkNode {
    pub(super) async fn resume(&self, lost: Lost, patience: Duration) -> Result<PaymentState, SendError> {
        let end = Instant::now() + patience;
        let hash = lost.hash();
        loop {
            let finding = self.run(move |shared, node| shared.find(node, &hash)).await?;
            let (pending, readiness, back_for) = match finding {
                Finding::State(state) => return Ok(state),
                Finding::Undecided { pending, readiness, back_for } => (pending, readiness, back_for),
            };
            let too_late_to_send = lost.check_time().err();
            let is_late = Instant::now() >= end;
            // Sending it again tells whether it is under way; where that cannot be done, there is nothing but to wait.
            let (grace, hurries) = match too_late_to_send {
                Some(_) => (SHOW_PATIENCE, false),
                None if pending => (RESOLVE_PATIENCE, is_late && readiness != Readiness::No),
                None => (Duration::ZERO, is_late && readiness != Readiness::No),
            };
            let decided = hurries || back_for.is_some_and(|duration| duration >= grace);
            if decided {
                let decide = move |shared: &Shared, node: &Node| match too_late_to_send {
                    Some(reason) => shared.give_up(node, &lost, reason),
                    None => shared.send_again(node, &lost),
                };
                return self.run(decide).await?;
            }
            if is_late {
                let cause = match back_for {
                    None => "the channels are not back yet, or events wait to be taken",
                    Some(_) => "the channels are back too shortly to show what is in flight",
                };
                return Err(SendError::Unknown(cause.to_owned()));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
