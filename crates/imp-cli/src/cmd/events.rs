//! `imp events`.

use std::fmt::Write;

use imp_api::proto::imp::events::v1::{Event, ListEventsRequest, ListEventsResponse};

use super::ASKING;
use crate::args::events::{EventsCommand, ListEvents};
use crate::args::options::LARGEST_PAGE;
use crate::failure::Failure;
use crate::output::one_line;
use crate::pages::{fetch, note_more};
use crate::session::Session;
use crate::time::iso;

pub(crate) async fn run(session: &Session, command: EventsCommand) -> Result<(), Failure> {
    let EventsCommand::List(args) = command;
    let ListEvents { filter, after, limit, all } = args;
    let request = ListEventsRequest {
        after: None,
        limit: limit.unwrap_or(if all { LARGEST_PAGE } else { 0 }),
        service: filter.service.join(","),
        include: filter.include.join(","),
    };
    let answer = session
        .call(ASKING, async move |node| {
            fetch(all, after, async |after| {
                node.list_events(ListEventsRequest { after, ..request.clone() }).await
            })
            .await
        })
        .await?;
    session.print(&answer, events)?;
    note_more(session.output, &answer, "--after");
    Ok(())
}

fn events(answer: &ListEventsResponse) -> String {
    if answer.events.is_empty() {
        return "no events".to_owned();
    }
    answer.events.iter().map(|event| Shown::from(event).text() + "\n").collect()
}

/// An event, as far as people are shown it.
#[derive(Debug, Default)]
pub(crate) struct Shown<'a> {
    pub(crate) service: &'a str,
    pub(crate) from: &'a str,
    pub(crate) amount_sat: i64,
    pub(crate) id: &'a str,
    pub(crate) reply_to: &'a str,
    pub(crate) text: &'a str,
    pub(crate) cursor: Option<i64>,
    pub(crate) published_ms: Option<i64>,
    pub(crate) late: bool,
}

impl<'a> From<&'a Event> for Shown<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            service: &event.service_type,
            from: &event.from_pubkey,
            amount_sat: event.amount,
            id: &event.id,
            reply_to: &event.reply_to_id,
            text: &event.data,
            cursor: Some(event.cursor),
            published_ms: Some(event.published_ms),
            late: event.late,
        }
    }
}

impl Shown<'_> {
    /// Who sent what with how much, and below it the text, indented.
    pub(crate) fn text(&self) -> String {
        let mut head = format!("{} from {}, {} sat", self.service, self.from, self.amount_sat);
        if let Some(published_ms) = self.published_ms {
            head = format!("{} {head}", iso(published_ms));
        }
        if self.late {
            head.push_str(", late");
        }
        let mut place = format!("  id {}", self.id);
        if !self.reply_to.is_empty() {
            place = format!("{place}, reply to {}", self.reply_to);
        }
        if let Some(cursor) = self.cursor {
            place = format!("{place}, cursor {cursor}");
        }
        let mut text = format!("{}\n{}", one_line(&head), one_line(&place));
        for line in self.text.lines() {
            write!(text, "\n    {}", one_line(line)).expect("writing to memory cannot fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_with_its_text_indented() {
        let mut event = Shown {
            service: "message",
            from: "02ab",
            amount_sat: 3,
            id: "i",
            reply_to: "r",
            text: "one\ntwo\x1b[2J",
            cursor: Some(7),
            ..Shown::default()
        };
        let below = "  id i, reply to r, cursor 7\n    one\n    two\\u{1b}[2J";
        assert_eq!(event.text(), format!("message from 02ab, 3 sat\n{below}"));
        event.published_ms = Some(1_700_000_000_000);
        event.late = true;
        assert_eq!(event.text(), format!("2023-11-14T22:13:20Z message from 02ab, 3 sat, late\n{below}"));
    }
}
