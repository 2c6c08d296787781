//! `imp invoice`.

use std::process::ExitCode;

use imp_api::client::Client;
use imp_api::proto::lightning::{CheckInvoiceRequest, GenerateInvoiceRequest, PayInvoiceRequest};

use super::{word, yes_or_no};
use crate::args::InvoiceCommand;
use crate::failure::Failure;
use crate::output::{Output, fields};

pub(crate) async fn run(addr: &str, output: Output, command: InvoiceCommand) -> Result<ExitCode, Failure> {
    let client = Client::connect(addr).await?;
    match command {
        InvoiceCommand::New { amount, memo } => {
            let answer = client
                .generate_invoice(GenerateInvoiceRequest { amount, memo, ..Default::default() })
                .await?;
            output.print(&answer, |answer| fields(&[("invoice", &answer.invoice)]))?;
        }
        InvoiceCommand::Pay { bolt11 } => {
            let answer =
                client.pay_invoice(PayInvoiceRequest { invoice: bolt11, ..Default::default() }).await?;
            output.print(&answer, |answer| fields(&[("preimage", &answer.preimage)]))?;
        }
        InvoiceCommand::Check { bolt11 } => {
            let answer = client.check_invoice(CheckInvoiceRequest { invoice: bolt11 }).await?;
            output.print(&answer, |answer| fields(&[("paid", word(answer.paid))]))?;
            return Ok(yes_or_no(answer.paid));
        }
    }
    Ok(ExitCode::SUCCESS)
}
