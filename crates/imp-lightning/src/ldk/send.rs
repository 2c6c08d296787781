//! Keysends: begun once, and taken up again after a restart.

use std::time::{Duration, Instant};

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_types::payment::PaymentPreimage;
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{CustomTlvRecord, Node, NodeError};
use tracing::warn;

use crate::ldk::in_flight::Since;
use crate::ldk::names::{payment_id, public_key};
use crate::ldk::outlook::{Outlook, Split};
use crate::ldk::{LdkNode, Shared};
use crate::port::{FailureReason, Keysend, PaymentState, SendError};

/// The largest value of a custom record that a keysend carries.
const MAX_RECORD_BYTES: usize = 1000;

/// How long a payment that an earlier run left pending may take to resolve by itself once the channels are back; a node
/// that has just started looks at incoming payments only after two seconds.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(4);

/// Pause between two looks at a payment.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What is known of a payment whose outcome was lost.
enum Finding {
    State(PaymentState),
    /// Nothing, or a record of an earlier run that says pending.
    Undecided {
        pending: bool,
        /// Whether sending it again would tell.
        readiness: Readiness,
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

impl Shared {
    /// Begins a payment, or says why not. Blocks on the store.
    pub(super) fn begin_keysend(&self, node: &Node, payment: &Keysend) -> Result<(), SendError> {
        if payment.amount == Msat::ZERO {
            return Err(SendError::Invalid("a payment is of 1 msat at least".to_owned()));
        }
        if payment.record.len() > MAX_RECORD_BYTES {
            return Err(SendError::Invalid(format!(
                "the record has {} bytes, a keysend carries {MAX_RECORD_BYTES}",
                payment.record.len()
            )));
        }
        if payment.recipient == self.id {
            return Err(SendError::Invalid("a node cannot pay itself".to_owned()));
        }
        let hash = payment.preimage.payment_hash();
        match node.payment(&payment_id(&hash)) {
            Some(record) if record.direction == PaymentDirection::Outbound => return Err(SendError::Known),
            Some(_) => {
                return Err(SendError::Invalid("this node was paid with the same payment hash".to_owned()));
            }
            None if self.in_flight.unrecorded(&hash).is_some() => return Err(SendError::Known),
            None => {}
        }
        if !self.in_flight.begin(hash) {
            return Err(SendError::Known);
        }
        let begun = self.send_off(node, payment, &hash);
        if !matches!(begun, Ok(()) | Err(SendError::Known)) {
            self.in_flight.cancel(&hash);
        }
        begun
    }

    /// Hands a payment to the library. The caller has put it among those in flight.
    fn send_off(&self, node: &Node, payment: &Keysend, hash: &PaymentHash) -> Result<(), SendError> {
        let outlook = Outlook::of(node, &payment.recipient, false);
        outlook.check(payment.amount, Split::Whole, self.others_in_flight(node))?;
        let route = RouteParametersConfig {
            max_total_routing_fee_msat: Some(payment.fee_limit.0),
            // The library would split a larger one, and the recipient of parts misses a payment secret.
            max_path_count: 1,
            ..RouteParametersConfig::default()
        };
        let record =
            CustomTlvRecord { type_num: payment.record_type.number(), value: payment.record.clone() };
        let sent = node.spontaneous_payment().send_with_preimage_and_custom_tlvs(
            payment.amount.0,
            public_key(&payment.recipient),
            vec![record],
            PaymentPreimage(payment.preimage.0),
            Some(route),
        );
        match sent {
            Ok(_) => Ok(()),
            Err(NodeError::DuplicatePayment) => Err(SendError::Known),
            Err(NodeError::NotRunning) => Err(SendError::Unavailable("it was stopped".to_owned())),
            Err(NodeError::PaymentSendingFailed) => {
                self.forget_refused(node, hash);
                Err(self.refusal(node, payment.recipient, payment.amount, payment.fee_limit, Split::Whole))
            }
            // The payment is on its way; only its record could not be written.
            Err(NodeError::PersistenceFailed) => {
                Err(SendError::Unknown("the payment's record could not be stored".to_owned()))
            }
            Err(other) => Err(SendError::Invalid(other.to_string())),
        }
    }

    /// Why the library did not begin a payment that nothing seemed to speak against.
    pub(super) fn refusal(
        &self,
        node: &Node,
        recipient: imp_core::id::NodeId,
        amount: Msat,
        fee_limit: Msat,
        split: Split,
    ) -> SendError {
        let outlook = Outlook::of(node, &recipient, true);
        let others = self.others_in_flight(node);
        if let Err(visible) = outlook.check(amount, split, others) {
            return visible;
        }
        // A slot was taken between look and call; or, at a hop further on, nobody can see.
        let crowded = if outlook.is_direct() { others > 0 } else { others * 10 >= outlook.slots() * 9 };
        if crowded { SendError::Busy } else { outlook.no_route(amount, Some(fee_limit)) }
    }

    /// The library keeps a record "failed" of a payment that it has not begun; left there, it would say that this hash
    /// is used up.
    pub(super) fn forget_refused(&self, node: &Node, hash: &PaymentHash) {
        if let Err(fault) = node.remove_payment(&payment_id(hash)) {
            warn!(%hash, %fault, "the record of a payment that was not begun stays");
        }
    }

    /// How many payments of this node have not ended, apart from the one that is being sent.
    pub(super) fn others_in_flight(&self, node: &Node) -> usize {
        let has_ended = |hash: &PaymentHash| {
            node.payment(&payment_id(hash)).is_some_and(|record| record.status != PaymentStatus::Pending)
        };
        self.in_flight.count(has_ended).saturating_sub(1)
    }

    /// Looks for a payment in the records of the library and of this run.
    fn find(&self, node: &Node, payment: &Keysend) -> Finding {
        let hash = payment.preimage.payment_hash();
        let record =
            node.payment(&payment_id(&hash)).filter(|record| record.direction == PaymentDirection::Outbound);
        let pending = record.is_some();
        let known = match record.map(|record| state_of(&record)) {
            Some(PaymentState::InFlight) => {
                let in_flight = self.in_flight.since(&hash) == Some(Since::ThisRun);
                in_flight.then_some(PaymentState::InFlight)
            }
            None => self.in_flight.unrecorded(&hash),
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
        Finding::Undecided { pending, readiness }
    }

    /// Sends a payment that may have been sent before, with the same hash: the library refuses it if it knows it.
    ///
    /// It looks for a path before it looks whether it knows the payment, so that any other refusal decides nothing.
    fn send_again(&self, node: &Node, payment: &Keysend) -> Result<PaymentState, SendError> {
        let hash = payment.preimage.payment_hash();
        let id = payment_id(&hash);
        let has_record =
            node.payment(&id).is_some_and(|record| record.direction == PaymentDirection::Outbound);
        if has_record && let Err(fault) = node.remove_payment(&id) {
            return Err(SendError::Unknown(format!("its record cannot be renewed: {fault}")));
        }
        self.in_flight.cancel(&hash);
        match self.begin_keysend(node, payment) {
            // Of a known payment this run has no record any more; its end comes as an event all the same.
            Ok(()) | Err(SendError::Known) => Ok(PaymentState::InFlight),
            Err(invalid @ SendError::Invalid(_)) => Err(invalid),
            Err(other) => Err(SendError::Unknown(other.to_string())),
        }
    }
}

impl LdkNode {
    pub(super) async fn resume(
        &self,
        payment: Keysend,
        patience: Duration,
    ) -> Result<PaymentState, SendError> {
        let end = Instant::now() + patience;
        let mut back_since: Option<Instant> = None;
        loop {
            let sought = payment.clone();
            let finding = self.run(move |shared, node| shared.find(node, &sought)).await?;
            let (pending, readiness) = match finding {
                Finding::State(state) => return Ok(state),
                Finding::Undecided { pending, readiness } => (pending, readiness),
            };
            let now = Instant::now();
            let is_late = now >= end;
            back_since = (readiness == Readiness::All).then(|| back_since.unwrap_or(now));
            let grace = if pending { RESOLVE_PATIENCE } else { Duration::ZERO };
            let decided = back_since.is_some_and(|since| now >= since + grace)
                || (is_late && readiness != Readiness::No);
            if decided {
                return self.run(move |shared, node| shared.send_again(node, &payment)).await?;
            }
            if is_late {
                return Err(SendError::Unknown(
                    "the channels are not back yet, or events wait to be taken".to_owned(),
                ));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// How a payment of this node stands by its record.
pub(super) fn state_of(record: &PaymentDetails) -> PaymentState {
    match record.status {
        PaymentStatus::Pending => PaymentState::InFlight,
        PaymentStatus::Failed => PaymentState::Failed(FailureReason::Other("the payment failed".to_owned())),
        PaymentStatus::Succeeded => match preimage_of(record) {
            Some(preimage) => PaymentState::Settled { preimage, fee: record.fee_paid_msat.map(Msat) },
            // Records of Lightning payments have it from the moment they succeed.
            None => PaymentState::InFlight,
        },
    }
}

/// The preimage in a payment's record.
pub(super) fn preimage_of(record: &PaymentDetails) -> Option<imp_core::id::Preimage> {
    match &record.kind {
        PaymentKind::Spontaneous { preimage, .. }
        | PaymentKind::Bolt11 { preimage, .. }
        | PaymentKind::Bolt11Jit { preimage, .. } => {
            preimage.map(|preimage| imp_core::id::Preimage(preimage.0))
        }
        _ => None,
    }
}
