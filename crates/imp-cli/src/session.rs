//! One run of the program: which node it talks to, and how it prints.

use imp_api::client::{Client, ClientError};
use prost::{Message, Name};

use crate::failure::Failure;
use crate::output::Output;
use crate::progress;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) addr: String,
    pub(crate) output: Output,
}

impl Session {
    /// Connects and calls, and tells a person at a terminal what is `doing` while that takes long.
    pub(crate) async fn call<A>(
        &self,
        doing: &str,
        call: impl AsyncFnOnce(Client) -> Result<A, ClientError>,
    ) -> Result<A, Failure> {
        let answer = async { call(Client::connect(&self.addr).await?).await };
        progress::wait(doing, !self.output.is_json(), answer).await
    }

    /// Prints an answer as JSON in one line, or as `text` says it.
    pub(crate) fn print<M: Message + Name>(
        &self,
        answer: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), Failure> {
        Ok(self.output.print(answer, text)?)
    }
}
