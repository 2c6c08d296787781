//! `imp.events.v1.Events`: the history of events.

use imp_api::proto::imp::events::v1::events_server::Events;
use imp_api::proto::imp::events::v1::{Event, ListEventsRequest, ListEventsResponse};
use tonic::{Request, Response, Status};

use super::Calls;
use super::owner::require_owner;
use crate::events::filter;
use crate::events::history::Query;
use crate::store::journal::JournalEvent;

impl Calls {
    /// The events as whoever asks may have them. What completes them are keys, which go to nobody on the network, whatever the
    /// configuration lets in.
    pub(super) fn events_for<T>(&self, request: &Request<T>) -> crate::events::Events {
        if require_owner(request).is_ok() { self.events.clone() } else { self.events.as_stored() }
    }
}

#[tonic::async_trait]
impl Events for Calls {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let events = self.events_for(&request);
        let ListEventsRequest { after, limit, service, include } = request.into_inner();
        let services = filter::wanted(Some(&service), Some(&include))?;
        let page = events.list(Query { after, limit, services }).await?;
        Ok(Response::new(ListEventsResponse {
            let_go: page.let_go(),
            next_after: page.next_after,
            more: page.more,
            oldest_cursor: page.oldest.unwrap_or(0),
            newest_cursor: page.newest,
            events: page.events.into_iter().map(event).collect(),
        }))
    }
}

fn event(JournalEvent { cursor, event }: JournalEvent) -> Event {
    Event {
        id: event.id,
        reply_to_id: event.reply_to,
        from_pubkey: event.from.to_string(),
        data: event.data,
        service_type: event.service.name().to_owned(),
        amount: i64::try_from(event.amount_sat).unwrap_or(i64::MAX),
        cursor,
        published_ms: i64::try_from(event.at.0).unwrap_or(i64::MAX),
        late: event.late,
    }
}
