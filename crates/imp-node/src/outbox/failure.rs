//! Why a message failed: as it is kept, and as callers get it.

use imp_api::error::Code;
use imp_core::attempt::FailureCause;
use imp_lightning::{FailureReason, SendError};

use crate::error::Error;
use crate::store::outbox::SendFailure;

/// Nothing more is known than what the text says.
const PAYMENT_FAILED: &str = "PAYMENT_FAILED";

/// It cannot be told whether the message arrived.
pub(super) const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";

/// The message was kept, and its time is over.
pub(super) const KEPT_IN_VAIN: &str = "KEPT_IN_VAIN";

/// The daemon stopped before the message was sent, or for so long that it is too old.
pub(super) const NOT_SENT: &str = "NOT_SENT";

/// It was kept, and what it says does not hold any more.
const WITHDRAWN: &str = "WITHDRAWN";

/// The recipient was told something else since.
const OVERTAKEN: &str = "OVERTAKEN";

/// There is no room for it in the allowance for answers.
pub(super) const NO_ALLOWANCE: &str = "ANSWERS_USED_UP";

/// Every reason that a message can end with.
const REASONS: [&str; 14] = [
    "NO_ROUTE",
    "RECIPIENT_REJECTED",
    "RETRIES_EXHAUSTED",
    "TIMED_OUT",
    "INSUFFICIENT_BALANCE",
    "BACKEND_UNAVAILABLE",
    "INVALID_PAYMENT",
    PAYMENT_FAILED,
    OUTCOME_UNKNOWN,
    KEPT_IN_VAIN,
    NOT_SENT,
    WITHDRAWN,
    OVERTAKEN,
    NO_ALLOWANCE,
];

impl From<&Error> for SendFailure {
    fn from(error: &Error) -> Self {
        Self { code: error.code().number(), reason: error.reason().to_owned(), text: error.to_string() }
    }
}

/// The error that a message ended with earlier.
pub(super) fn of_earlier(failure: &SendFailure) -> Error {
    let reason = REASONS.into_iter().find(|reason| *reason == failure.reason).unwrap_or(PAYMENT_FAILED);
    Error::new(Code::from_number(failure.code.into()), reason, failure.text.clone()).of_send()
}

/// The error of a message whose payment failed, or was refused, for a cause.
pub(super) fn of_payment(cause: FailureCause, text: &str) -> Error {
    Error::new(code(cause), reason(cause), format!("send failed: {text}"))
}

/// The error of a message that was given up.
pub(super) fn withdrawn() -> Error {
    let text = "send failed: the message was given up, since what it says does not hold any more";
    Error::new(Code::FailedPrecondition, WITHDRAWN, text)
}

/// The error of a message after which another was sent that says something else.
pub(super) fn overtaken() -> Error {
    let text = "send failed: the node was told something else since";
    Error::new(Code::FailedPrecondition, OVERTAKEN, text)
}

/// The error of a message that waits for the end of another.
pub(super) fn behind() -> Error {
    let text = "send failed: the node is just being told something else";
    Error::new(Code::Unavailable, OVERTAKEN, text)
}

/// What a backend's reason means for the next step.
pub(crate) const fn cause(reason: &FailureReason) -> FailureCause {
    match reason {
        FailureReason::NoRoute => FailureCause::NoRoute,
        // Where the reason was lost it may have been this one.
        FailureReason::RecipientRejected | FailureReason::Unrecorded => FailureCause::RecipientRejected,
        FailureReason::RetriesExhausted => FailureCause::RetriesExhausted,
        FailureReason::TimedOut => FailureCause::TimedOut,
        _ => FailureCause::Other,
    }
}

/// What a refusal to begin a payment means for the next step.
pub(crate) const fn refusal(error: &SendError) -> FailureCause {
    match error {
        SendError::Busy => FailureCause::RetriesExhausted,
        SendError::NoRoute(_) => FailureCause::NoRoute,
        SendError::InsufficientBalance { .. } => FailureCause::InsufficientBalance,
        SendError::Invalid(_) | SendError::InvalidInvoice(_) => FailureCause::Invalid,
        SendError::Unavailable(_) => FailureCause::Unavailable,
        _ => FailureCause::Other,
    }
}

/// What kind of error a payment that failed is.
pub(crate) const fn code(cause: FailureCause) -> Code {
    match cause {
        FailureCause::Invalid => Code::InvalidArgument,
        FailureCause::InsufficientBalance | FailureCause::RecipientRejected => Code::FailedPrecondition,
        _ => Code::Unavailable,
    }
}

/// The machine-readable reason of a payment that failed.
pub(crate) const fn reason(cause: FailureCause) -> &'static str {
    match cause {
        FailureCause::NoRoute => "NO_ROUTE",
        FailureCause::RecipientRejected => "RECIPIENT_REJECTED",
        FailureCause::RetriesExhausted => "RETRIES_EXHAUSTED",
        FailureCause::TimedOut => "TIMED_OUT",
        FailureCause::InsufficientBalance => "INSUFFICIENT_BALANCE",
        FailureCause::Unavailable => "BACKEND_UNAVAILABLE",
        FailureCause::Invalid => "INVALID_PAYMENT",
        _ => PAYMENT_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_that_a_message_ends_with_is_the_same_when_it_is_told_again() {
        for cause in [
            FailureCause::NoRoute,
            FailureCause::RecipientRejected,
            FailureCause::RetriesExhausted,
            FailureCause::TimedOut,
            FailureCause::InsufficientBalance,
            FailureCause::Unavailable,
            FailureCause::Invalid,
            FailureCause::Other,
        ] {
            let error = of_payment(cause, "why");
            assert_eq!(of_earlier(&SendFailure::from(&error)), error);
        }
    }
}
