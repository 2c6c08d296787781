//! What can go wrong, as one line and an exit code.

use std::io;
use std::process::ExitCode;

use imp_api::client::ClientError;
use imp_api::error::Code;
use thiserror::Error;

/// Why the command ended without success.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The node did not answer as hoped for.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard input broke.
    #[error("standard input cannot be read: {0}")]
    Input(#[source] io::Error),
    /// Standard input holds something else than text.
    #[error("standard input is no UTF-8 text")]
    NotText,
    /// Standard output broke.
    #[error("standard output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::NotReachable { .. } | ClientError::Lost { .. }) => 3,
            Self::Client(ClientError::Address { .. }) | Self::NotText => 2,
            Self::Client(_) | Self::Input(_) | Self::Output(_) => 1,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Client(ClientError::NotReachable { .. }) => Some("--addr or IMP_ADDR name another address"),
            Self::Client(ClientError::Lost { .. }) => {
                Some("what was asked for may have been done: look before you ask again")
            }
            Self::Client(ClientError::Refused(body)) if body.code == Code::Unimplemented => {
                Some("the node's version may be older than this program's")
            }
            _ => None,
        }
    }

    /// Tells the user. A reader of standard output that has seen enough is no failure.
    pub(crate) fn report(&self) -> ExitCode {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        match self.hint() {
            Some(hint) => note(&format!("{self} ({hint})")),
            None => note(&self.to_string()),
        }
        ExitCode::from(self.exit_code())
    }
}

/// One line on standard error. If that cannot be written there is nobody to tell.
pub(crate) fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr().lock(), "imp: {}", crate::output::one_line(text));
}
