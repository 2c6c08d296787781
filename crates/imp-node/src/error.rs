//! What a call of the API can fail with, before it knows how it came in.

use std::fmt;

use imp_api::error::Code;
use imp_core::id::MessageId;

use crate::store::StoreError;

/// Why a call failed: a code that programs branch on, a text for people, and details for both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
    reason: &'static str,
    details: Vec<(&'static str, String)>,
}

impl Error {
    /// An error with a machine-readable `reason` in capitals.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reason, details: Vec::new() }
    }

    /// A field of the request cannot be used; `problem` reads on after the field's name.
    pub fn invalid(field: &'static str, problem: impl fmt::Display) -> Self {
        Self::new(Code::InvalidArgument, "INVALID_FIELD", format!("{field}: {problem}")).with("field", field)
    }

    /// A position outside of what is kept.
    pub fn out_of_range(message: impl Into<String>) -> Self {
        Self::new(Code::OutOfRange, "CURSOR_OUT_OF_RANGE", message)
    }

    /// The node, or what it stands on, is not there now; the same call may work later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, "UNAVAILABLE", message)
    }

    /// A fault of this node. The text is for its operator.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, "INTERNAL", message)
    }

    /// Adds a detail. Never one with the key `id`: clients take a body with that key for a message that was sent.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.details.push((key, value.into()));
        self
    }

    /// Names the message that the call would have sent.
    #[must_use]
    pub fn of_message(self, id: MessageId) -> Self {
        self.with("messageId", id.to_string())
    }

    /// Makes the text one of a call that sends: clients look for the word "failed" in it.
    #[must_use]
    pub fn of_send(self) -> Self {
        self.of("send")
    }

    /// Makes the text one of a call that pays, likewise.
    #[must_use]
    pub fn of_payment(self) -> Self {
        self.of("payment")
    }

    fn of(mut self, what: &str) -> Self {
        if !self.message.contains("failed") {
            self.message = format!("{what} failed: {}", self.message);
        }
        self
    }

    /// The gRPC code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The machine-readable reason.
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// Keys and values for programs.
    pub fn details(&self) -> &[(&'static str, String)] {
        &self.details
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::unavailable("the node is stopping"),
            error => Self::internal(error.to_string()),
        }
    }
}
