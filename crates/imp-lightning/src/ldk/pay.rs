//! Invoices: made, paid, looked up.

use std::time::{Duration, SystemTime};

use imp_core::amount::Msat;
use imp_core::id::PaymentHash;
use ldk_node::lightning::routing::router::RouteParametersConfig;
use ldk_node::payment::{PaymentDirection, PaymentKind, PaymentStatus};
use ldk_node::{Node, NodeError};

use crate::invoice::{Payable, Terms};
use crate::ldk::Shared;
use crate::ldk::names::payment_id;
use crate::ldk::outlook::{Outlook, Split};
use crate::port::{InvoiceFault, InvoiceState, LightningError, SendError};

/// Time since the Unix epoch.
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Shared {
    pub(super) fn make_invoice(&self, node: &Node, terms: &Terms) -> Result<String, LightningError> {
        let made = node.bolt11_payment().receive(terms.amount.0, &terms.description, terms.expiry_secs);
        match made {
            Ok(invoice) => Ok(invoice.to_string()),
            Err(NodeError::NotRunning) => Err(LightningError::Unavailable("it was stopped".to_owned())),
            Err(other) => Err(LightningError::Failed(format!("no invoice was made: {other}"))),
        }
    }

    pub(super) fn begin_invoice(
        &self,
        node: &Node,
        payable: &Payable,
        fee_limit: Msat,
    ) -> Result<PaymentHash, SendError> {
        let hash = payable.hash;
        match node.payment(&payment_id(&hash)).map(|record| record.status) {
            None | Some(PaymentStatus::Failed) => {}
            Some(PaymentStatus::Succeeded) => return Err(InvoiceFault::Paid.into()),
            Some(PaymentStatus::Pending) => return Err(SendError::Known),
        }
        payable.check_time(now())?;
        if !self.in_flight.begin(hash) {
            return Err(SendError::Known);
        }
        let begun = self.pay_off(node, payable, fee_limit);
        if !matches!(begun, Ok(()) | Err(SendError::Known)) {
            self.in_flight.cancel(&hash);
        }
        begun.map(|()| hash)
    }

    fn pay_off(&self, node: &Node, payable: &Payable, fee_limit: Msat) -> Result<(), SendError> {
        let hinted = !payable.invoice.route_hints().is_empty();
        let outlook = Outlook::of(node, &payable.payee, hinted);
        outlook.check(payable.amount, Split::Parts, self.others_in_flight(node))?;
        let failed_before = node.payment(&payment_id(&payable.hash)).is_some();
        let route = RouteParametersConfig {
            max_total_routing_fee_msat: Some(fee_limit.0),
            ..RouteParametersConfig::default()
        };
        match node.bolt11_payment().send(&payable.invoice, Some(route)) {
            Ok(_) => Ok(()),
            Err(NodeError::DuplicatePayment) => Err(SendError::Known),
            Err(NodeError::NotRunning) => Err(SendError::Unavailable("it was stopped".to_owned())),
            Err(NodeError::PaymentSendingFailed) => {
                if !failed_before {
                    self.forget_refused(node, &payable.hash);
                }
                Err(self.refusal(node, payable.payee, payable.amount, fee_limit, Split::Parts))
            }
            Err(NodeError::PersistenceFailed) => {
                Err(SendError::Unknown("the payment's record could not be stored".to_owned()))
            }
            Err(other) => Err(SendError::Invalid(other.to_string())),
        }
    }

    pub(super) fn invoice_state(&self, node: &Node, hash: &PaymentHash) -> Option<InvoiceState> {
        let record = node.payment(&payment_id(hash))?;
        let is_invoice = matches!(record.kind, PaymentKind::Bolt11 { .. });
        if record.direction != PaymentDirection::Inbound || !is_invoice {
            return None;
        }
        Some(match record.status {
            PaymentStatus::Succeeded => InvoiceState::Paid,
            PaymentStatus::Pending | PaymentStatus::Failed => InvoiceState::Open,
        })
    }
}
