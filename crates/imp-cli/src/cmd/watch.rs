//! `imp watch`.

use std::convert::Infallible;
use std::time::Duration;

use imp_api::client::{Client, ClientError, Events};
use imp_api::error::Code;
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};

use super::events::Shown;
use crate::args::events::Watch;
use crate::failure::{Failure, note};
use crate::session::Session;

/// The waits between tries to get the node back: 1, 2, 4, 8, 15, 15 .. s.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(crate) async fn run(session: &Session, args: Watch) -> Result<(), Failure> {
    tokio::select! {
        result = watch(session, &args) => result.map(|never| match never {}),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn watch(session: &Session, args: &Watch) -> Result<Infallible, Failure> {
    let with_cursor = args.cursor || args.after.is_some();
    let mut events = subscribe(session, args, args.after).await?;
    let mut position = events.position().or(args.after);
    loop {
        let end = loop {
            match events.next().await {
                Ok(Some(mut event)) => {
                    if !with_cursor {
                        event.cursor = None;
                    }
                    session.print(&event, text)?;
                    position = events.position().or(position);
                }
                Ok(None) => break "the node ended the stream".to_owned(),
                Err(error) if is_passing(&error) => break error.to_string(),
                Err(error) => return Err(error.into()),
            }
        };
        events = resume(session, args, position, end).await?;
        position = events.position().or(position);
    }
}

/// A subscription that shows its cursors, so that it can be resumed.
async fn subscribe(session: &Session, args: &Watch, after: Option<i64>) -> Result<Events, ClientError> {
    let list = |services: &[String]| (!services.is_empty()).then(|| services.join(","));
    let request = SubscribeRequest {
        after,
        cursor: Some(true),
        service: list(&args.filter.service),
        include: list(&args.filter.include),
    };
    Client::connect(&session.addr).await?.subscribe(request).await
}

/// Subscribes again and again until the node is back.
async fn resume(
    session: &Session,
    args: &Watch,
    position: Option<i64>,
    mut why: String,
) -> Result<Events, Failure> {
    let mut wait = FIRST_WAIT;
    loop {
        note(&format!("{why}; trying again in {} s", wait.as_secs()));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        match subscribe(session, args, position).await {
            Ok(events) => {
                note(&match position {
                    Some(cursor) => format!("connected again, going on after cursor {cursor}"),
                    None => "connected again; what came meanwhile is not shown".to_owned(),
                });
                return Ok(events);
            }
            Err(error) if is_passing(&error) => why = error.to_string(),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether waiting can help: the node stops, starts, or is out of reach.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::NotReachable { .. } | ClientError::Lost { .. } => true,
        ClientError::Refused(body) => matches!(body.code, Code::Unavailable | Code::Canceled),
        _ => false,
    }
}

fn text(event: &SubscribeResponse) -> String {
    let shown = Shown {
        service: &event.service_type,
        from: &event.from_pubkey,
        amount_sat: event.amount,
        id: &event.id,
        reply_to: &event.reply_to_id,
        text: &event.data,
        cursor: event.cursor,
        ..Shown::default()
    };
    shown.text()
}
