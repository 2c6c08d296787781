//! What can go wrong, as a line, an exit code and a hint.

use std::io;
use std::process::ExitCode;

use imp_api::client::ClientError;
use imp_api::error::Code;
use thiserror::Error;

use crate::exit;
use crate::hint::{self, Effect};
use crate::output::{Output, one_line};

/// Why the command ended without success.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The node did not answer as hoped for.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The node did not tell who has a local name, so that it was not asked for anything yet.
    #[error(transparent)]
    Lookup(Box<Failure>),
    /// What is to be a node is neither a public key nor the local name of one.
    #[error("no node is called {name:?} here, and it is no public key of 66 hexadecimal digits")]
    NoSuchName { name: String },
    /// The command line contradicts itself in a way that its grammar does not tell.
    #[error("{0}")]
    Usage(String),
    /// A text cannot be read.
    #[error("{name} cannot be read: {source}")]
    Input {
        name: String,
        #[source]
        source: io::Error,
    },
    /// What is to be a text is none.
    #[error("{name} is no UTF-8 text")]
    NotText { name: String },
    /// Another node does not do what it was asked for, and says why.
    #[error("the seller refuses: {reason}")]
    Denied { reason: String },
    /// What is for sale costs more than was allowed.
    #[error("an hour of it costs {hourly_sat} sat, and --max-price is {max_sat}: not bought")]
    TooDear { hourly_sat: i64, max_sat: i64 },
    /// What was paid for was not given.
    #[error("contract {nonce} is {state}: {why}")]
    NotServed { nonce: String, state: String, why: String },
    /// Another node did not answer for as long as was waited. It may do so later.
    #[error("{what} did not come within {secs} s")]
    NotInTime { what: &'static str, secs: i64, later: String },
    /// Standard output broke.
    #[error("standard output cannot be written: {0}")]
    Output(#[from] io::Error),
    /// A file has no place.
    #[error("{path} cannot be written: {source}")]
    File {
        path: String,
        #[source]
        source: io::Error,
    },
    /// What cannot be taken back needs a yes.
    #[error("not done: {question:?} is asked at a terminal only")]
    NobodyToAsk { question: String },
    /// The answer was not yes.
    #[error("not done")]
    Declined,
    /// Ctrl-C while the node worked.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// The exit code, after a command with an effect.
    fn exit_code(&self, effect: &Effect) -> u8 {
        let matters = matches!(effect, Effect::Matters { .. });
        match self {
            Self::Lookup(failure) => failure.exit_code(&Effect::Harmless),
            Self::Client(ClientError::Lost { .. }) if matters => exit::NOT_KNOWN,
            Self::Client(ClientError::NotReachable { .. } | ClientError::Lost { .. }) => exit::UNREACHABLE,
            Self::Client(ClientError::Refused(body)) => match body.code {
                Code::DeadlineExceeded => exit::NOT_KNOWN,
                Code::Unknown if matters => exit::NOT_KNOWN,
                _ => exit::REFUSED,
            },
            Self::Client(ClientError::Address { .. })
            | Self::Usage(_)
            | Self::NoSuchName { .. }
            | Self::NotText { .. }
            | Self::NobodyToAsk { .. } => exit::USAGE,
            Self::NotInTime { .. } => exit::NOT_KNOWN,
            Self::Client(_)
            | Self::Denied { .. }
            | Self::TooDear { .. }
            | Self::NotServed { .. }
            | Self::Input { .. }
            | Self::Output(_)
            | Self::File { .. }
            | Self::Declined => exit::REFUSED,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// Tells the user. A reader of standard output that has seen enough is no failure.
    pub(crate) fn report(&self, output: Output, effect: &Effect) -> ExitCode {
        if let Self::Lookup(failure) = self {
            return failure.report(output, &Effect::Harmless);
        }
        if is_broken_pipe(self) {
            return ExitCode::SUCCESS;
        }
        if let Self::Client(ClientError::Refused(body)) = self
            && !matches!(effect, Effect::Stream)
        {
            // The exit code and standard error tell the same.
            let _ = output.print_refusal(body);
        }
        note(&self.to_string());
        if let Some(hint) = hint::of(self, effect) {
            write_line(&format!("hint: {hint}"));
        }
        ExitCode::from(self.exit_code(effect))
    }
}

fn is_broken_pipe(failure: &Failure) -> bool {
    matches!(failure, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
}

/// One line on standard error.
pub(crate) fn note(text: &str) {
    write_line(&format!("imp: {text}"));
}

/// If standard error cannot be written there is nobody to tell.
fn write_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr().lock(), "{}", one_line(text));
}
