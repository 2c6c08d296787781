//! `websocket.Websocket`: the stream of events, for all edges.

use std::pin::Pin;

use futures_util::{Stream, stream};
use imp_api::client::CURSOR_METADATA;
use imp_api::proto::websocket::websocket_server::Websocket;
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};
use tonic::{Request, Response, Status};

use super::Calls;
use crate::events::{Subscription, filter};
use crate::store::journal::JournalEvent;

#[tonic::async_trait]
impl Websocket for Calls {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let SubscribeRequest { after, cursor, service, include } = request.into_inner();
        let services = filter::wanted(service.as_deref(), include.as_deref())?;
        let subscription = self.events.subscribe(after, services).await?;
        let position = subscription.position();
        let with_cursor = after.is_some() || cursor.unwrap_or(false);
        let events = stream::unfold(Some(subscription), move |subscription| next(subscription, with_cursor));
        // The stream ends with the node, not with its clients.
        let stopped = self.shutdown.clone().cancelled_owned();
        let mut response: Response<Self::SubscribeStream> =
            Response::new(Box::pin(stream::StreamExt::take_until(events, stopped)));
        response.metadata_mut().insert(CURSOR_METADATA, position.into());
        Ok(response)
    }
}

type Item = Result<SubscribeResponse, Status>;

/// The next event; an error is the last item.
async fn next(subscription: Option<Subscription>, with_cursor: bool) -> Option<(Item, Option<Subscription>)> {
    let mut subscription = subscription?;
    match subscription.next().await {
        Ok(event) => Some((Ok(response(&event, with_cursor)), Some(subscription))),
        Err(error) => Some((Err(error.into()), None)),
    }
}

fn response(JournalEvent { cursor, event }: &JournalEvent, with_cursor: bool) -> SubscribeResponse {
    SubscribeResponse {
        id: event.id.clone(),
        reply_to_id: event.reply_to.clone(),
        from_pubkey: event.from.to_string(),
        data: event.data.clone(),
        service_type: event.service.name().to_owned(),
        amount: i64::try_from(event.amount_sat).unwrap_or(i64::MAX),
        cursor: with_cursor.then_some(*cursor),
    }
}
