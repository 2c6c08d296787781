//! Keysends: begun once.

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::lightning_types::payment::PaymentPreimage;
use ldk_node::payment::{PaymentDetails, PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{CustomTlvRecord, Node, NodeError};
use tracing::warn;

use crate::ldk::Shared;
use crate::ldk::names::{payment_id, public_key};
use crate::ldk::outlook::{Outlook, Split};
use crate::port::{FailureReason, Keysend, PaymentState, SendError};

/// The largest value of a custom record that a keysend carries.
const MAX_RECORD_BYTES: usize = 1000;

impl Shared {
    /// Begins a payment, or says why not. Blocks on the store.
    pub(super) fn begin_keysend(&self, node: &Node, payment: &Keysend) -> Result<(), SendError> {
        if payment.amount == Msat::ZERO {
            return Err(SendError::Invalid("a payment is of 1 msat at least".to_owned()));
        }
        if let Some((_, value)) = payment.record.as_ref().filter(|(_, value)| value.len() > MAX_RECORD_BYTES)
        {
            return Err(SendError::Invalid(format!(
                "the record has {} bytes, a keysend carries {MAX_RECORD_BYTES}",
                value.len()
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
        let record = payment.record.iter();
        let records =
            record.map(|(number, value)| CustomTlvRecord { type_num: number.number(), value: value.clone() });
        let sent = node.spontaneous_payment().send_with_preimage_and_custom_tlvs(
            payment.amount.0,
            public_key(&payment.recipient),
            records.collect(),
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
}

/// How a payment of this node stands by its record.
pub(super) fn state_of(record: &PaymentDetails) -> PaymentState {
    match record.status {
        PaymentStatus::Pending => PaymentState::InFlight,
        PaymentStatus::Failed => PaymentState::Failed(FailureReason::Unrecorded),
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
