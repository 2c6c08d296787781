//! `imp sign` and `imp verify`.

use std::process::ExitCode;

use imp_api::proto::signing::{SignRequest, VerifyRequest};

use super::{ASKING, word, yes_or_no};
use crate::args::text::{Sign, Verify, text_or_stdin};
use crate::failure::Failure;
use crate::output::fields;
use crate::session::Session;

pub(crate) async fn sign(session: &Session, args: Sign) -> Result<(), Failure> {
    let request = SignRequest { msg: args.text.read()? };
    let answer = session.call(ASKING, async move |node| node.sign_message(request).await).await?;
    session.print(&answer, |answer| fields(&[("signature", &answer.signature)]))
}

pub(crate) async fn verify(session: &Session, args: Verify) -> Result<ExitCode, Failure> {
    let pubkey = match args.pubkey {
        Some(node) => Some(session.pubkey(node).await?),
        None => None,
    };
    let request = VerifyRequest { msg: text_or_stdin(args.text)?, signature: args.signature, pubkey };
    let answer = session.call(ASKING, async move |node| node.verify_signature(request).await).await?;
    session.print(&answer, |answer| fields(&[("valid", word(answer.result))]))?;
    Ok(yes_or_no(answer.result))
}
