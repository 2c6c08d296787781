//! `imp payment` and `imp keysend`.

use imp_api::proto::imp::lightning::v1::{
    ListPaymentsRequest, ListPaymentsResponse, Payment, SendKeysendRequest, SendKeysendResponse,
};

use super::ASKING;
use crate::args::lightning::{Keysend, PaymentCommand};
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, sat_of_msat, table};
use crate::pages::{fetch, note_more};
use crate::session::Session;
use crate::time::{iso, span};

pub(crate) async fn keysend(session: &Session, args: Keysend) -> Result<(), Failure> {
    let pubkey = session.pubkey(args.node).await?;
    let request = SendKeysendRequest { pubkey, amount: args.amount, idempotency_key: args.key.key };
    let answer = session.call("paying", async move |node| node.send_keysend(request).await).await?;
    session.print(&answer, |SendKeysendResponse { payment_hash, preimage, fee_msat }| {
        let mut lines = vec![("payment hash", payment_hash.clone()), ("preimage", preimage.clone())];
        lines.extend(fee_msat.map(|fee_msat| ("fee", format!("{} sat", sat_of_msat(fee_msat)))));
        fields(&lines)
    })
}

pub(crate) async fn run(session: &Session, command: PaymentCommand) -> Result<(), Failure> {
    let PaymentCommand::List { state, part } = command;
    let request = ListPaymentsRequest { limit: part.page(), cursor: 0, state: state.join(",") };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(part.all, part.cursor, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_payments(ListPaymentsRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, payments)?;
    note_more(session.output, &answer, "--cursor");
    Ok(())
}

fn payments(answer: &ListPaymentsResponse) -> String {
    if answer.payments.is_empty() {
        return "no payments".to_owned();
    }
    let row = |payment: &Payment| {
        let took = payment.ended_ms.map(|ended_ms| span(payment.begun_ms, ended_ms));
        [
            iso(payment.begun_ms),
            or_dash(&took.unwrap_or_default()),
            payment.state.clone(),
            payment.kind.clone(),
            payment.pubkey.clone(),
            sat_of_msat(payment.amount_msat),
            or_dash(&payment.fee_msat.map(sat_of_msat).unwrap_or_default()),
            payment.payment_hash.clone(),
            payment.error.clone(),
        ]
    };
    let columns = [
        Text("BEGUN"),
        Number("TOOK"),
        Text("STATE"),
        Text("KIND"),
        Text("TO"),
        Number("SAT"),
        Number("FEE"),
        Text("PAYMENT HASH"),
        Text("ERROR"),
    ];
    table(columns, &answer.payments.iter().map(row).collect::<Vec<_>>())
}
