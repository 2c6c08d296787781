//! `imp invoice`.

use std::process::ExitCode;

use imp_api::proto::imp::lightning::v1::{Invoice, ListInvoicesRequest, ListInvoicesResponse};
use imp_api::proto::lightning::{CheckInvoiceRequest, GenerateInvoiceRequest, PayInvoiceRequest};

use super::{ASKING, word, yes_or_no};
use crate::args::lightning::InvoiceCommand;
use crate::args::options::Part;
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, table};
use crate::pages::{fetch, note_more};
use crate::session::Session;
use crate::time::iso;

pub(crate) async fn run(session: &Session, command: InvoiceCommand) -> Result<ExitCode, Failure> {
    match command {
        InvoiceCommand::New { amount, memo, expiry } => {
            let request = GenerateInvoiceRequest { amount, memo, expiry_secs: expiry };
            let answer = session.call(ASKING, async move |node| node.generate_invoice(request).await).await?;
            session.print(&answer, |answer| fields(&[("invoice", &answer.invoice)]))?;
        }
        InvoiceCommand::Pay { bolt11, key } => {
            let request = PayInvoiceRequest { invoice: bolt11, idempotency_key: key.key };
            let answer = session.call("paying", async move |node| node.pay_invoice(request).await).await?;
            session.print(&answer, |answer| fields(&[("preimage", &answer.preimage)]))?;
        }
        InvoiceCommand::Check { bolt11 } => {
            let request = CheckInvoiceRequest { invoice: bolt11 };
            let answer = session.call(ASKING, async move |node| node.check_invoice(request).await).await?;
            session.print(&answer, |answer| fields(&[("paid", word(answer.paid))]))?;
            return Ok(yes_or_no(answer.paid));
        }
        InvoiceCommand::List { state, part } => list(session, &state, part).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(session: &Session, state: &[String], part: Part) -> Result<(), Failure> {
    let request = ListInvoicesRequest { limit: part.page(), cursor: 0, state: state.join(",") };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(part.all, part.cursor, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_invoices(ListInvoicesRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, invoices)?;
    note_more(session.output, &answer, "--cursor");
    Ok(())
}

fn invoices(answer: &ListInvoicesResponse) -> String {
    if answer.invoices.is_empty() {
        return "no invoices".to_owned();
    }
    let row = |invoice: &Invoice| {
        [
            iso(invoice.created_ms),
            invoice.state.clone(),
            invoice.amount.to_string(),
            iso(invoice.expires_ms),
            or_dash(&invoice.paid_ms.map(iso).unwrap_or_default()),
            or_dash(&invoice.memo),
            invoice.payment_hash.clone(),
            invoice.invoice.clone(),
        ]
    };
    let columns = [
        Text("CREATED"),
        Text("STATE"),
        Number("SAT"),
        Text("EXPIRES"),
        Text("PAID"),
        Text("MEMO"),
        Text("PAYMENT HASH"),
        Text("INVOICE"),
    ];
    table(columns, &answer.invoices.iter().map(row).collect::<Vec<_>>())
}
