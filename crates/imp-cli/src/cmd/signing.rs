//! `imp sign` and `imp verify`.

use std::process::ExitCode;

use imp_api::client::Client;
use imp_api::proto::signing::{SignRequest, VerifyRequest};

use super::{word, yes_or_no};
use crate::args::{Sign, Verify, text_or_stdin};
use crate::failure::Failure;
use crate::output::{Output, fields};

pub(crate) async fn sign(addr: &str, output: Output, args: Sign) -> Result<ExitCode, Failure> {
    let msg = text_or_stdin(args.text)?;
    let answer = Client::connect(addr).await?.sign_message(SignRequest { msg }).await?;
    output.print(&answer, |answer| fields(&[("signature", &answer.signature)]))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn verify(addr: &str, output: Output, args: Verify) -> Result<ExitCode, Failure> {
    let request = VerifyRequest { msg: text_or_stdin(args.text)?, signature: args.signature, pubkey: None };
    let answer = Client::connect(addr).await?.verify_signature(request).await?;
    output.print(&answer, |answer| fields(&[("valid", word(answer.result))]))?;
    Ok(yes_or_no(answer.result))
}
