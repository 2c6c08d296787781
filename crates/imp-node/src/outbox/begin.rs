//! The way of a message into the outbox, up to its first try.

use std::sync::Arc;

use imp_api::error::Code;
use imp_core::delivery::{Delivery, MessageState};
use imp_core::id::MessageId;
use imp_core::retry::Try;
use tokio::sync::OwnedSemaphorePermit;

use super::allowance::Allowed;
use super::plan::Plan;
use super::run::Sending;
use super::running::{Running, Stage};
use super::turns::Ticket;
use super::{Draft, Inner, MAX_KEPT_FOR_ONE, News, Open, Outbox, Sent, full, unconfirmed};
use crate::error::Error;
use crate::idempotency::Claim;
use crate::store::outbox::OutboxMessage;

/// A message that is not accepted yet.
struct New {
    message: OutboxMessage,
    body: Arc<[u8]>,
    plan: Plan,
    running: Running,
    permit: OwnedSemaphorePermit,
    claim: Option<Claim>,
    allowed: Option<Allowed>,
}

impl Outbox {
    /// Takes a message in, and waits for what comes of it.
    pub(super) async fn begin(
        &self,
        id: MessageId,
        draft: Draft,
        claim: Option<Claim>,
    ) -> Result<Sent, Error> {
        let inner = &self.inner;
        let is_kept = !draft.keep.is_zero();
        let permit = inner.permit(is_kept)?;
        if is_kept && inner.lines.waiting(&draft.recipient) >= MAX_KEPT_FOR_ONE {
            return Err(full(MAX_KEPT_FOR_ONE, "are kept for this recipient"));
        }
        let plan = Plan::new(&draft)?;
        // The place in the queue is taken before anything is waited for: calls that follow each other stay in order.
        let ticket = inner.enter(&draft.recipient, draft.service, draft.unordered, draft.body.len());
        let room = inner.check_room(&draft.recipient, &plan, &Delivery::new(plan.parts())).await;
        let ticket = match room {
            Ok(()) => Some(ticket),
            // Whoever is away now is what messages are kept for.
            Err(error) if is_kept && error.code() == Code::Unavailable => None,
            Err(error) => return Err(error),
        };
        let allowed = if let Some(to) = draft.answer {
            let allowed = inner.allow(&draft.recipient, &plan, to).await?;
            Some(allowed.ok_or_else(|| inner.allowance.used_up())?)
        } else {
            None
        };
        let (message, body) = inner.message(id, draft, &plan, allowed.as_ref());
        let running = inner.running.take_up(id).map_err(|_| Error::internal("an id came twice"))?;
        let stage = running.watch();
        let new = New { message, body, plan, running, permit, claim, allowed };
        drop(inner.spawn("message", send_new(Arc::clone(inner), new, ticket)));
        match self.outcome(stage).await {
            News::Settled => Ok(Sent { id, state: MessageState::Settled }),
            News::Waits => Ok(Sent { id, state: MessageState::Queued }),
            News::Open if is_kept => Ok(Sent { id, state: MessageState::Sending }),
            News::Open => Err(unconfirmed(id, "failed to confirm within 60 s: still in flight")),
            News::Dropped => Err(self.dropped(id)),
            News::Ended(error) => Err(error.of_message(id)),
        }
    }
}

/// Takes a message in and sends it; without a ticket it is kept without a try.
async fn send_new(inner: Arc<Inner>, new: New, ticket: Option<Ticket>) {
    let New { message, body, plan, running, permit, claim, allowed } = new;
    let key = claim.as_ref().map(|claim| claim.key(message.id.as_bytes(), message.accepted));
    let accepted = inner.store.accept_message(message.clone(), Arc::clone(&body), key).await;
    drop((claim, allowed));
    let place = match accepted {
        Ok(place) => place,
        Err(error) => return running.is(Stage::Ended(Err(error.into()))),
    };
    let open = Open { place, message: message.clone(), running, _permit: Some(permit) };
    let Some(ticket) = ticket else { return inner.wait_in_line(open) };
    let text = inner.texts.keep(body, plan);
    let slot = ticket.granted().await;
    let delivery = Delivery::new(message.parts);
    let sent = match Sending::at_turn(&inner, message, text, slot, Try::new).await {
        Ok(sending) => sending.send(delivery).await,
        Err(error) => Err(error),
    };
    inner.conclude(open, sent);
}
