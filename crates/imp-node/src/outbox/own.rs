//! Messages of this node to itself: published at once, and not paid.

use imp_core::delivery::MessageState;
use imp_core::id::MessageId;

use super::plan::Plan;
use super::{Draft, Outbox, Sent, random};
use crate::error::Error;
use crate::idempotency::Claim;
use crate::store::journal::NewEvent;
use crate::store::outbox::OutboxMessage;

impl Outbox {
    /// Publishes a message of this node to itself. What makes it unfit for another node makes it unfit here. The key of a
    /// `claim` is stored with it.
    ///
    /// Dropping the future does not take it back. Every error holds the word "failed".
    pub async fn publish_own(&self, draft: Draft, claim: Option<Claim>) -> Result<Sent, Error> {
        self.publish(draft, claim).await.map_err(Error::of_send)
    }

    async fn publish(&self, draft: Draft, claim: Option<Claim>) -> Result<Sent, Error> {
        Plan::new(&draft)?;
        let (inner, now) = (&self.inner, self.inner.clock.now());
        let id = MessageId::from_random(random()?);
        let message = OutboxMessage {
            id,
            service: draft.service,
            record_type: inner.options.records.record_type(draft.service),
            recipient: draft.recipient,
            body_bytes: draft.body.len() as u64,
            reply_to: draft.reply_to.clone(),
            amount_sat: 0,
            parts: 0,
            unordered: draft.unordered,
            accepted: now,
            keep_until: None,
            answer: None,
            fee_limit: None,
        };
        let event = NewEvent {
            at: now,
            id: id.to_string(),
            reply_to: draft.reply_to,
            from: draft.recipient,
            service: draft.service.into(),
            data: String::from_utf8(draft.body).map_err(|_| Error::invalid("msg", "is not UTF-8"))?,
            amount_sat: 0,
            late: false,
        };
        let key = claim.as_ref().map(|claim| claim.key(id.as_bytes(), now));
        let store = std::sync::Arc::clone(&inner.store);
        // Whoever waits for the claim must find the key, also when this caller goes away.
        let published = inner.spawn("message", async move {
            let published = store.publish_own(message, event, key).await;
            drop(claim);
            published
        });
        match published.await {
            Ok(Some(Ok(()))) => Ok(Sent { id, state: MessageState::Settled }),
            Ok(Some(Err(error))) => Err(error.into()),
            Ok(None) => Err(self.dropped(id)),
            Err(error) => Err(Error::internal(error.to_string())),
        }
    }
}
