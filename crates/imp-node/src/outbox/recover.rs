//! What earlier runs of the daemon left.

use std::sync::Arc;
use std::time::Duration;

use imp_core::attempt::{Attempt as AttemptRules, AttemptState};
use imp_core::delivery::{Delivery, MessageState, PartState};
use imp_core::retry::TRY_DEADLINE;

use super::plan::Plan;
use super::run::{Sending, keysend, look_up};
use super::turns::Barrier;
use super::{Ended, Inner};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::outbox::OpenMessage;

/// What a message that was never attempted ends with.
const NEVER_SENT: &str = "send failed: the daemon stopped before anything was sent";

pub(super) async fn recover(inner: &Arc<Inner>) -> Result<(), StoreError> {
    for open in inner.store.open_messages().await? {
        if open.attempts.is_empty() {
            let (id, now) = (open.message.id, inner.clock.now());
            inner.store.end_message(id, MessageState::Failed, NEVER_SENT.to_owned(), now).await?;
            continue;
        }
        let barrier = open
            .number
            .map(|number| inner.turns.take_up(open.message.recipient, open.message.service, number));
        let inner = Arc::clone(inner);
        let id = open.message.id;
        let run = follow_up(Arc::clone(&inner), open, barrier);
        // Nobody waits for it: the row says what became of it.
        drop(inner.spawn(async move {
            match run.await {
                Ok(()) => tracing::info!(message = %id, "a message of an earlier run is settled"),
                Err(error) => tracing::warn!(message = %id, "a message of an earlier run: {error}"),
            }
        }));
    }
    Ok(())
}

/// Follows a message to its end: the attempts that are open, then the parts that were not attempted.
async fn follow_up(inner: Arc<Inner>, open: OpenMessage, barrier: Option<Barrier>) -> Result<(), Error> {
    let begun = open.attempts.iter().map(|attempt| attempt.begun).max().unwrap_or_default();
    let age = inner.clock.now().since(begun);
    let following = follow_parts(inner, open);
    tokio::pin!(following);
    tokio::select! {
        ended = &mut following => ended,
        // The numbers of this run do not wait for one whose recipient waits no longer.
        () = tokio::time::sleep(TRY_DEADLINE.saturating_sub(age).max(Duration::from_millis(1))) => {
            drop(barrier);
            following.await
        }
    }
}

async fn follow_parts(inner: Arc<Inner>, open: OpenMessage) -> Result<(), Error> {
    let OpenMessage { message, number, attempts } = open;
    let mut parts = vec![PartState::Waiting; message.parts.into()];
    let mut looked_up = Vec::new();
    for attempt in attempts {
        let part = usize::from(attempt.part);
        let state = match attempt.state {
            AttemptState::Settled => PartState::Settled,
            AttemptState::Failed => continue,
            AttemptState::Ready | AttemptState::Sent | AttemptState::Unknown => {
                let ended = inner.follow(attempt.hash, AttemptRules::restore(attempt.state));
                look_up(&inner, keysend(&inner, &message, &attempt)).await?;
                looked_up.push((part, ended));
                PartState::InFlight
            }
        };
        if parts[part] != PartState::Settled {
            parts[part] = state;
        }
    }
    for (part, ended) in looked_up {
        let ended = ended.await.map_err(|_| Error::internal("the outbox lost track of a payment"))?;
        parts[part] = match ended {
            Ended::Settled => PartState::Settled,
            Ended::Failed { .. } => PartState::Waiting,
            Ended::Unknown { .. } => PartState::Unknown,
        };
    }
    // Where there is no room the backend is asked all the same: its refusal is what the message ends with.
    let room = inner.room(&message.recipient).await.map(|room| (room.max_in_flight, room.direct));
    let (limit, direct) = room.unwrap_or((1, false));
    inner.turns.set_limit(message.recipient, limit, direct);
    let plan = Plan::of_message(&message)?;
    Sending::new(inner, message, plan, number).send(Delivery::restore(parts), None).await
}
