//! `imp message`.

use std::process::ExitCode;

use imp_api::client::Client;
use imp_api::proto::messaging::SendMessageRequest;

use crate::args::{MessageCommand, Send, text_or_stdin};
use crate::failure::Failure;
use crate::output::{Output, fields};

pub(crate) async fn run(addr: &str, output: Output, command: MessageCommand) -> Result<ExitCode, Failure> {
    let MessageCommand::Send(Send { pubkey, text, amount, reply_to }) = command;
    let request = SendMessageRequest {
        msg: text_or_stdin(text)?,
        pubkey,
        amount: amount.unwrap_or_default(),
        reply_to_id: reply_to.unwrap_or_default(),
        ..Default::default()
    };
    let answer = Client::connect(addr).await?.send_message(request).await?;
    output.print(&answer, |answer| fields(&[("id", &answer.id)]))?;
    Ok(ExitCode::SUCCESS)
}
