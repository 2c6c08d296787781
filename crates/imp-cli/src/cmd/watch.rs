//! `imp watch`.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use imp_api::client::{Client, ClientError, Events};
use imp_api::error::Code;
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};

use crate::args::Watch;
use crate::failure::{Failure, note};
use crate::output::{Output, one_line};

/// The waits between tries to get the node back: 1, 2, 4, 8, 15, 15 .. s.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

pub(crate) async fn run(addr: &str, output: Output, args: Watch) -> Result<ExitCode, Failure> {
    tokio::select! {
        result = watch(addr, output, args) => result.map(|never| match never {}),
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

async fn watch(addr: &str, output: Output, args: Watch) -> Result<std::convert::Infallible, Failure> {
    let with_cursor = args.cursor || args.after.is_some();
    let mut events = subscribe(addr, args.after).await?;
    let mut position = events.position().or(args.after);
    loop {
        let end = loop {
            match events.next().await {
                Ok(Some(mut event)) => {
                    if !with_cursor {
                        event.cursor = None;
                    }
                    output.print(&event, text)?;
                    position = events.position().or(position);
                }
                Ok(None) => break "the node ended the stream".to_owned(),
                Err(error) if is_passing(&error) => break error.to_string(),
                Err(error) => return Err(error.into()),
            }
        };
        events = resume(addr, position, end).await?;
        position = events.position().or(position);
    }
}

/// A subscription that shows its cursors, so that it can be resumed.
async fn subscribe(addr: &str, after: Option<i64>) -> Result<Events, ClientError> {
    let request = SubscribeRequest { after, cursor: Some(true), ..Default::default() };
    Client::connect(addr).await?.subscribe(request).await
}

/// Subscribes again and again until the node is back.
async fn resume(addr: &str, position: Option<i64>, mut why: String) -> Result<Events, Failure> {
    let mut wait = FIRST_WAIT;
    loop {
        note(&format!("{why}; trying again in {} s", wait.as_secs()));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        match subscribe(addr, position).await {
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

/// An event for people: who sent what with how much, and below it the text, indented.
fn text(event: &SubscribeResponse) -> String {
    let mut text = format!("{} from {}, {} sat", event.service_type, event.from_pubkey, event.amount);
    text = one_line(&text);
    write!(text, "\n  id {}", one_line(&event.id)).expect("writing to memory cannot fail");
    if !event.reply_to_id.is_empty() {
        write!(text, ", reply to {}", one_line(&event.reply_to_id)).expect("writing to memory cannot fail");
    }
    if let Some(cursor) = event.cursor {
        write!(text, ", cursor {cursor}").expect("writing to memory cannot fail");
    }
    for line in event.data.lines() {
        write!(text, "\n    {}", one_line(line)).expect("writing to memory cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_with_its_text_indented() {
        let event = SubscribeResponse {
            id: "i".into(),
            reply_to_id: "r".into(),
            from_pubkey: "02ab".into(),
            data: "one\ntwo\x1b[2J".into(),
            service_type: "message".into(),
            amount: 3,
            cursor: Some(7),
        };
        let expected = "message from 02ab, 3 sat\n  id i, reply to r, cursor 7\n    one\n    two\\u{1b}[2J";
        assert_eq!(text(&event), expected);
    }
}
