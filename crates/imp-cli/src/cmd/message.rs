//! `imp message`.

use imp_api::proto::imp::messaging::v1::{
    Attempt, GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse,
    RetryMessageRequest,
};
use imp_api::proto::messaging::{SendMessageRequest, SendMessageResponse};

use super::ASKING;
use crate::args::messaging::{ListMessages, MessageCommand, Send};
use crate::failure::Failure;
use crate::output::Column::{Number, Text};
use crate::output::{fields, or_dash, sat_of_msat, table};
use crate::pages::{fetch, note_more};
use crate::session::Session;
use crate::time::{iso, iso_and_distance, span};

pub(crate) async fn run(session: &Session, command: MessageCommand) -> Result<(), Failure> {
    match command {
        MessageCommand::Send(args) => send(session, args).await,
        MessageCommand::Show { id } => {
            let request = GetMessageRequest { id };
            let answer = session.call(ASKING, async move |node| node.get_message(request).await).await?;
            session.print(&answer, message)
        }
        MessageCommand::List(args) => list(session, args).await,
        MessageCommand::Retry { id } => {
            let request = RetryMessageRequest { id };
            let answer = session.call("sending", async move |node| node.retry_message(request).await).await?;
            session.print(&answer, |answer| fields(&[("id", &answer.id)]))
        }
    }
}

async fn send(session: &Session, args: Send) -> Result<(), Failure> {
    let request = SendMessageRequest {
        msg: args.text.read()?,
        pubkey: session.pubkey(args.node).await?,
        amount: args.amount.unwrap_or_default(),
        reply_to_id: args.reply_to.unwrap_or_default(),
        keep_secs: args.keep,
        idempotency_key: args.key.key,
    };
    let answer = session.call("sending", async move |node| node.send_message(request).await).await?;
    session.print(&answer, |SendMessageResponse { id, state }| {
        let mut lines = vec![("id", id)];
        lines.extend(state.as_ref().map(|state| ("state", state)));
        fields(&lines)
    })
}

async fn list(session: &Session, args: ListMessages) -> Result<(), Failure> {
    let pubkey = match args.to {
        Some(node) => session.pubkey(node).await?,
        None => String::new(),
    };
    let request = ListMessagesRequest {
        limit: args.part.page(),
        cursor: 0,
        state: args.state.join(","),
        pubkey,
        service: args.service.join(","),
    };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(args.part.all, args.part.cursor, async |cursor| {
                let cursor = cursor.unwrap_or_default();
                node.list_messages(ListMessagesRequest { cursor, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, messages)?;
    note_more(session.output, &answer, "--cursor");
    Ok(())
}

fn messages(answer: &ListMessagesResponse) -> String {
    if answer.messages.is_empty() {
        return "no messages".to_owned();
    }
    let rows: Vec<_> = answer
        .messages
        .iter()
        .map(|message| {
            [
                iso(message.accepted_ms),
                message.state.clone(),
                message.service_type.clone(),
                message.pubkey.clone(),
                message.amount.to_string(),
                sat_of_msat(message.fee_msat),
                format!("{}/{}", message.parts_settled, message.parts),
                message.id.clone(),
                message.error.clone(),
            ]
        })
        .collect();
    let columns = [
        Text("ACCEPTED"),
        Text("STATE"),
        Text("SERVICE"),
        Text("TO"),
        Number("SAT"),
        Number("FEE"),
        Number("PARTS"),
        Text("ID"),
        Text("ERROR"),
    ];
    table(columns, &rows)
}

/// One message: how it stands, and below it the payments for it.
fn message(answer: &GetMessageResponse) -> String {
    let mut text = standing(answer);
    if !answer.attempts.is_empty() {
        let rows: Vec<_> = answer.attempts.iter().map(attempt).collect();
        let columns = [
            Number("PART"),
            Text("STATE"),
            Number("SAT"),
            Number("FEE"),
            Text("BEGUN"),
            Number("TOOK"),
            Text("PAYMENT HASH"),
            Text("ERROR"),
        ];
        text.push('\n');
        text.push_str(&table(columns, &rows));
    }
    text
}

fn standing(message: &GetMessageResponse) -> String {
    let mut lines = vec![("id", message.id.clone()), ("state", message.state.clone())];
    if !message.error.is_empty() {
        lines.push(("error", message.error.clone()));
    }
    lines.push(("service", message.service_type.clone()));
    lines.push(("to", message.pubkey.clone()));
    if !message.reply_to_id.is_empty() {
        lines.push(("reply to", message.reply_to_id.clone()));
    }
    lines.push(("amount", format!("{} sat", message.amount)));
    lines.push(("fee", format!("{} sat", sat_of_msat(message.fee_msat))));
    let parts = format!("{} of {} parts settled", message.parts_settled, message.parts);
    lines.push((
        "text",
        format!("{} bytes, {parts}, {} payments tried", message.bytes, message.attempt_count),
    ));
    lines.push(("accepted", iso_and_distance(message.accepted_ms)));
    if let Some(until_ms) = message.keep_until_ms {
        lines.push(("tried until", iso_and_distance(until_ms)));
    }
    if let Some(ended_ms) = message.ended_ms {
        let took = span(message.accepted_ms, ended_ms);
        lines.push(("ended", format!("{}, after {took}", iso(ended_ms))));
    }
    fields(&lines)
}

fn attempt(attempt: &Attempt) -> [String; 8] {
    [
        attempt.part.to_string(),
        attempt.state.clone(),
        sat_of_msat(attempt.amount_msat),
        or_dash(&attempt.fee_msat.map(sat_of_msat).unwrap_or_default()),
        iso(attempt.begun_ms),
        or_dash(&attempt.ended_ms.map(|ended_ms| span(attempt.begun_ms, ended_ms)).unwrap_or_default()),
        attempt.payment_hash.clone(),
        attempt.error.clone(),
    ]
}
