//! Telling other nodes of a relay.

use std::sync::Arc;
use std::time::Duration;

use imp_core::id::MessageId;
use imp_core::record::Service;

use super::Sockets;
use super::run::Running;
use crate::error::Error;
use crate::idempotency::{CallKey, KeyUse};
use crate::outbox::Draft;
use crate::service::pubkey;

impl Sockets {
    /// Sends the address of the relay of StartSocket, which is started where it does not run, and answers once the message
    /// is paid. To this node itself it goes at once, and is not paid.
    ///
    /// A call with a key that was used before sends nothing twice and starts nothing: see
    /// [`crate::outbox::Outbox::repeat`]. Every error holds the word "failed".
    pub async fn send_default(&self, recipient: &str, key: Option<CallKey>) -> Result<MessageId, Error> {
        self.send_offer(recipient, key, async || self.default().await).await
    }

    /// Sends the address of a relay that runs, likewise.
    ///
    /// # Errors
    ///
    /// As [`Self::get`] where it does not run.
    pub async fn send(&self, id: &str, recipient: &str, key: Option<CallKey>) -> Result<MessageId, Error> {
        self.send_offer(recipient, key, async || self.find(id)).await
    }

    async fn send_offer(
        &self,
        recipient: &str,
        key: Option<CallKey>,
        relay: impl AsyncFnOnce() -> Result<Arc<Running>, Error>,
    ) -> Result<MessageId, Error> {
        let recipient = pubkey(recipient).map_err(Error::of_send)?;
        let ports = &self.inner.ports;
        let claim = match key {
            None => None,
            Some(key) => match ports.keys.claim(key).await? {
                KeyUse::Fresh(claim) => Some(claim),
                KeyUse::Used(stored) => {
                    let id = stored.subject.try_into().map(MessageId::from_bytes);
                    let id = id.map_err(|_| Error::internal("failed: a key that names no message"))?;
                    return Ok(ports.outbox.repeat(id, false).await?.id);
                }
            },
        };
        let relay = relay().await.map_err(Error::of_send)?;
        let draft = Draft {
            service: Service::Socket,
            recipient,
            body: relay.view().offer().to_json().into_bytes(),
            reply_to: String::new(),
            amount_sat: 0,
            unordered: false,
            keep: Duration::ZERO,
            answer: None,
            fee_limit: None,
        };
        let sent = if recipient == ports.own {
            ports.outbox.publish_own(draft, claim).await
        } else {
            ports.outbox.send(draft, claim).await
        };
        Ok(sent?.id)
    }
}
