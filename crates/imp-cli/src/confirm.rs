//! A question before what cannot be taken back.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;
use crate::output::one_line;

/// Goes on only after a yes: given beforehand, or typed now.
///
/// # Errors
/// [`Failure::NobodyToAsk`] where there is no terminal, [`Failure::Declined`] for any answer but yes.
pub(crate) fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let question = one_line(question);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::NobodyToAsk { question });
    }
    // A question that cannot be shown is not answered with yes.
    write!(io::stderr().lock(), "{question} [y/N] ").map_err(|_| Failure::Declined)?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| Failure::Input { name: "standard input".to_owned(), source })?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Declined),
    }
}
