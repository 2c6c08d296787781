//! `websocket.Websocket`: the stream of events, for all edges.
//!
//! What a client does not take, HTTP/2 keeps from being sent, and then nothing asks the stream for more; so a subscription
//! runs in a task of its own, which sees how long that lasts. A client that takes nothing for as long as a websocket may
//! ends its subscription: it is told so once it reads again, and can resume.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use imp_api::client::CURSOR_METADATA;
use imp_api::proto::websocket::websocket_server::Websocket;
use imp_api::proto::websocket::{SubscribeRequest, SubscribeResponse};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Calls;
use crate::api::WRITE_STALL;
use crate::error::Error;
use crate::events::{Subscription, filter};
use crate::store::journal::JournalEvent;

/// Events of one subscriber that are ready to be sent.
const READY_EVENTS: usize = 4;

#[tonic::async_trait]
impl Websocket for Calls {
    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<SubscribeResponse, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let events = self.events_for(&request);
        let SubscribeRequest { after, cursor, service, include } = request.into_inner();
        let services = filter::wanted(service.as_deref(), include.as_deref())?;
        let subscription = events.subscribe(after, services).await?;
        let position = subscription.position();
        let with_cursor = after.is_some() || cursor.unwrap_or(false);
        let (events, ready) = mpsc::channel(READY_EVENTS);
        let (end, ended) = oneshot::channel();
        let stopped = self.shutdown.clone();
        let run = async move {
            // The stream ends with the node, not with its clients.
            if let Some(Some(error)) =
                stopped.run_until_cancelled(feed(subscription, with_cursor, &events)).await
            {
                // A client that is gone needs no error.
                let _ = end.send(Status::from(error));
            }
        };
        // Its end is the stream's; a panic is logged.
        drop(self.tasks.run_detached("subscription", run));
        let last = stream::once(ended).filter_map(async |end| end.ok().map(Err));
        let mut response: Response<Self::SubscribeStream> =
            Response::new(Box::pin(ReceiverStream::new(ready).map(Ok).chain(last)));
        response.metadata_mut().insert(CURSOR_METADATA, position.into());
        Ok(response)
    }
}

/// Hands events on until the client is gone, takes nothing for too long, or there are no more; then says why, if the
/// client should know.
async fn feed(
    mut subscription: Subscription,
    with_cursor: bool,
    events: &mpsc::Sender<SubscribeResponse>,
) -> Option<Error> {
    loop {
        let next = tokio::select! {
            next = subscription.next() => next,
            () = events.closed() => return None,
        };
        let event = match next {
            Ok(event) => response(&event, with_cursor),
            Err(error) => return Some(error),
        };
        match events.send_timeout(event, WRITE_STALL).await {
            Ok(()) => {}
            Err(SendTimeoutError::Closed(_)) => return None,
            Err(SendTimeoutError::Timeout(_)) => {
                let secs = WRITE_STALL.as_secs();
                let message =
                    format!("nothing was read for {secs} s; subscribe again with the last cursor as `after`");
                return Some(Error::unavailable(message));
            }
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use imp_core::record::Service;
    use imp_core::time::UnixMillis;
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::*;
    use crate::events::Events;
    use crate::runtime::tasks::Tasks;
    use crate::store::journal::NewEvent;
    use crate::store::sqlite::SqliteOptions;
    use crate::store::{JournalStore, SqliteStore};

    fn event(n: usize) -> NewEvent {
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        NewEvent {
            at: UnixMillis(1),
            id: n.to_string(),
            reply_to: String::new(),
            from: key.parse().unwrap(),
            service: Service::Message.into(),
            data: String::new(),
            amount_sat: 1,
            late: false,
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_loses_its_subscription_and_is_told_when_it_reads_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let tasks = Tasks::new();
        let calls = Calls {
            events: Events::new(Arc::new(store.clone()), Arc::new(crate::events::AsStored)),
            services: watch::channel(None).1,
            inactive: Vec::new(),
            shutdown: tasks.token(),
            tasks: tasks.clone(),
        };
        let answer = calls.subscribe(Request::new(SubscribeRequest::default())).await.unwrap();
        store.append((0..100).map(event).collect()).await.unwrap();
        tokio::time::pause();
        let started = Instant::now();
        while !tasks.running().is_empty() {
            tokio::time::sleep(WRITE_STALL / 60).await;
            assert!(started.elapsed() <= WRITE_STALL * 2, "the subscription still runs");
        }
        assert!(started.elapsed() >= WRITE_STALL);
        let told: Vec<_> = answer.into_inner().collect().await;
        let (end, events) = told.split_last().unwrap();
        assert_eq!(events.len(), READY_EVENTS);
        assert_eq!(events[0].as_ref().unwrap().id, "0");
        let end = end.as_ref().unwrap_err();
        assert_eq!(end.code(), tonic::Code::Unavailable);
        assert!(end.message().contains("nothing was read for 60 s"), "{end}");
    }

    #[tokio::test]
    async fn a_subscription_ends_with_its_client_and_with_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&SqliteOptions::in_dir(dir.path())).unwrap();
        let tasks = Tasks::new();
        let calls = Calls {
            events: Events::new(Arc::new(store), Arc::new(crate::events::AsStored)),
            services: watch::channel(None).1,
            inactive: Vec::new(),
            shutdown: tasks.token(),
            tasks: tasks.clone(),
        };
        let one = calls.subscribe(Request::new(SubscribeRequest::default())).await.unwrap();
        let two = calls.subscribe(Request::new(SubscribeRequest::default())).await.unwrap();
        assert_eq!(tasks.running().len(), 2);
        drop(one);
        tokio::time::timeout(std::time::Duration::from_secs(20), async {
            while tasks.running().len() > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("one ends");
        tasks.drain(std::time::Duration::from_secs(20)).await.unwrap();
        assert!(two.into_inner().collect::<Vec<_>>().await.is_empty());
    }
}
