use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use imp_api::client::CURSOR_METADATA;
use imp_api::error::{Code, StatusBody};
use imp_api::proto::imp::events::v1::events_server::Events;
use imp_api::proto::imp::events::v1::*;
use imp_api::proto::websocket::websocket_server::Websocket;
use imp_api::proto::websocket::*;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

use super::{Echo, vpn};

/// The cursor that a new subscription stands at.
pub(crate) const CURSOR_AT_START: i64 = 41;

#[tonic::async_trait]
impl Websocket for Echo {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let events = BroadcastStream::new(self.0.events.subscribe());
        let mut position = CURSOR_AT_START;
        let answer = |request: SubscribeRequest| {
            if request.after == Some(5) {
                return Err(StatusBody::new(Code::OutOfRange, "the oldest cursor to ask for is 6"));
            }
            position = request.after.unwrap_or(position);
            Ok(events.map(|event| Ok(event.expect("the test does not lag"))).boxed() as Self::SubscribeStream)
        };
        let mut response = self.answer(request, answer).await?;
        response.metadata_mut().insert(CURSOR_METADATA, position.into());
        Ok(response)
    }
}

/// What the journal holds: events 1 to this.
const NEWEST: i64 = 5;

fn event(cursor: i64) -> Event {
    Event {
        id: format!("e{cursor}"),
        from_pubkey: "02ab".into(),
        data: format!("text {cursor}"),
        service_type: "message".into(),
        amount: cursor,
        cursor,
        published_ms: 1_700_000_000_000 + cursor * 1000,
        late: cursor == 3,
        ..Event::default()
    }
}

#[tonic::async_trait]
impl Events for Echo {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        self.answer(request, |request| {
            let after = request.after.unwrap_or_default();
            if request.service == "vpn" {
                return Ok(vpn::answers_of_sellers(after, NEWEST));
            }
            let limit = if request.limit == 0 { 100 } else { request.limit };
            // A page is never larger than two events here, so that few make several pages.
            let last = NEWEST.min(after + limit.min(2));
            Ok(ListEventsResponse {
                events: (after + 1..=last).map(event).collect(),
                next_after: last,
                more: last < NEWEST,
                oldest_cursor: 1,
                newest_cursor: NEWEST,
                let_go: 0,
            })
        })
        .await
    }
}
