//! What a seller looks at: `imp vpn seller` and `payments`.

use imp_api::proto::imp::vpn::v1::{
    GetVpnSellerRequest, ListVpnPaymentsRequest, ListVpnPaymentsResponse, Seller, VpnPayment,
};

use crate::args::vpn::ListPayments;
use crate::cmd::{ASKING, word};
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, sat_of_msat, table};
use crate::pages::{fetch, note_more};
use crate::session::Session;
use crate::time::{iso, length};

pub(super) async fn seller(session: &Session) -> Result<(), Failure> {
    let request = GetVpnSellerRequest {};
    let answer = session.call(ASKING, async move |node| node.get_vpn_seller(request).await).await?;
    session.print(&answer, standing)
}

fn standing(seller: &Seller) -> String {
    let mut lines =
        vec![("enabled", word(seller.enabled).to_owned()), ("selling", word(seller.selling).to_owned())];
    if !seller.problem.is_empty() {
        lines.push(("problem", seller.problem.clone()));
    }
    if !seller.enabled {
        lines.push(("to sell", "set vpn.sell to true in the node's configuration".to_owned()));
    }
    lines.extend([
        ("price", format!("{} sat for {}", seller.price_sat, length(seller.duration_secs))),
        ("interface", or_dash(&seller.interface)),
        ("device", or_dash(&seller.device)),
        ("endpoint", or_dash(&seller.endpoint)),
        ("public key", or_dash(&seller.public_key)),
        ("subnet", or_dash(&seller.subnet)),
        ("free addresses", seller.free_addresses.to_string()),
        ("contracts", seller.contracts.to_string()),
        ("refunds due", seller.refunds_due.to_string()),
    ]);
    fields(&lines)
}

pub(super) async fn payments(session: &Session, args: ListPayments) -> Result<(), Failure> {
    let ListPayments { state, contract, part } = args;
    let request = ListVpnPaymentsRequest {
        state: state.join(","),
        nonce: contract.unwrap_or_default(),
        limit: part.page(),
        cursor: 0,
    };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(part.all, part.cursor, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_vpn_payments(ListVpnPaymentsRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, payment_table)?;
    note_more(session.output, &answer, "--cursor");
    Ok(())
}

fn payment_table(answer: &ListVpnPaymentsResponse) -> String {
    if answer.payments.is_empty() {
        return "no payments".to_owned();
    }
    let row = |payment: &VpnPayment| {
        // One that waits for its refund is told why it still waits.
        let remark = match payment.error.is_empty() {
            true => payment.reason.clone(),
            false => format!("{}; the refund: {}", payment.reason, payment.error),
        };
        [
            iso(payment.received_ms),
            payment.kind.clone(),
            payment.nonce.clone(),
            sat_of_msat(payment.received_msat),
            payment.state.clone(),
            payment.refund_sat.to_string(),
            payment.pubkey.clone(),
            or_dash(&payment.answer_id),
            or_dash(&remark),
        ]
    };
    let columns = [
        Text("CAME"),
        Text("FOR"),
        Text("NONCE"),
        Number("SAT"),
        Text("STATE"),
        Number("REFUND"),
        Text("FROM"),
        Text("ANSWER"),
        Text("REMARK"),
    ];
    table(columns, &answer.payments.iter().map(row).collect::<Vec<_>>())
}
