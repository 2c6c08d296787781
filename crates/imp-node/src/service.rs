//! The services: rules of the interface, without knowing how a call came in.

pub mod federate;
pub mod lightning;
pub mod messages;
pub mod messaging;
pub mod node;
pub mod signing;
pub mod socket;
pub mod vpn;

use imp_core::id::NodeId;
use imp_lightning::{InvoiceFault, LightningError, SendError};

use crate::error::Error;
use imp_api::error::Code;

/// A public key out of a request.
fn pubkey(text: &str) -> Result<NodeId, Error> {
    text.parse().map_err(|error| Error::invalid("pubkey", error))
}

impl From<LightningError> for Error {
    fn from(error: LightningError) -> Self {
        match error {
            LightningError::Invalid(text) => Self::new(Code::InvalidArgument, "INVALID_ARGUMENT", text),
            LightningError::NotFound(text) => Self::new(Code::NotFound, "NOT_FOUND", text),
            LightningError::InsufficientFunds { .. } => {
                Self::new(Code::FailedPrecondition, "INSUFFICIENT_BALANCE", error.to_string())
            }
            LightningError::Unknown(text) => Self::new(Code::Unknown, "OUTCOME_UNKNOWN", text),
            LightningError::Unavailable(_) => Self::unavailable(error.to_string()),
            LightningError::Failed(text) => Self::new(Code::FailedPrecondition, "LIGHTNING_REFUSED", text),
            error => Self::internal(error.to_string()),
        }
    }
}

impl From<InvoiceFault> for Error {
    fn from(fault: InvoiceFault) -> Self {
        SendError::InvalidInvoice(fault).into()
    }
}

/// The machine-readable reason why an invoice is not paid.
const fn invoice_reason(fault: &InvoiceFault) -> &'static str {
    match fault {
        InvoiceFault::Malformed(_) | InvoiceFault::OtherKind(_) => "INVOICE_MALFORMED",
        InvoiceFault::UnknownFeatures { .. } => "INVOICE_UNKNOWN_FEATURES",
        InvoiceFault::OtherNetwork { .. } => "INVOICE_OTHER_NETWORK",
        InvoiceFault::NoAmount => "INVOICE_NO_AMOUNT",
        InvoiceFault::Expired { .. } => "INVOICE_EXPIRED",
        InvoiceFault::Own => "INVOICE_OWN",
        InvoiceFault::Paid => "INVOICE_PAID",
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        let (code, reason) = match &error {
            SendError::Busy => (Code::ResourceExhausted, "NO_PAYMENT_SLOT"),
            SendError::NoRoute(_) => (Code::Unavailable, "NO_ROUTE"),
            SendError::InsufficientBalance { .. } => (Code::FailedPrecondition, "INSUFFICIENT_BALANCE"),
            SendError::Known => (Code::AlreadyExists, "PAYMENT_KNOWN"),
            SendError::Invalid(_) => (Code::InvalidArgument, "INVALID_PAYMENT"),
            SendError::InvalidInvoice(fault) => (Code::InvalidArgument, invoice_reason(fault)),
            SendError::Unavailable(_) => (Code::Unavailable, "BACKEND_UNAVAILABLE"),
            _ => (Code::Unknown, "OUTCOME_UNKNOWN"),
        };
        Self::new(code, reason, error.to_string())
    }
}
