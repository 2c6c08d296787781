//! Messages to other nodes.

use std::sync::Arc;

use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;

use super::pubkey;
use crate::error::Error;
use crate::outbox::{Draft, Outbox};
use crate::runtime::clock::Clock;
use crate::store::JournalStore;
use crate::store::journal::NewEvent;

/// What a caller wants to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendMessage {
    /// The text.
    pub msg: String,
    /// The recipient's public key, as the caller wrote it.
    pub pubkey: String,
    /// Satoshis; 0 for the least that the text takes.
    pub amount: i64,
    /// The id of the message that this one answers, or nothing.
    pub reply_to_id: String,
}

/// The messaging service.
#[derive(Clone)]
pub struct Messaging {
    outbox: Outbox,
    journal: Arc<dyn JournalStore>,
    clock: Arc<dyn Clock>,
    own: NodeId,
}

impl std::fmt::Debug for Messaging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Messaging")
    }
}

impl Messaging {
    /// The service of the node `own`.
    pub fn new(outbox: Outbox, journal: Arc<dyn JournalStore>, clock: Arc<dyn Clock>, own: NodeId) -> Self {
        Self { outbox, journal, clock, own }
    }

    /// Sends a message; returns its id once all of it is paid. See [`Outbox::send`] for what may go wrong.
    ///
    /// A message to this node itself is not paid: it goes to the journal at once, with an amount of 0.
    pub async fn send(&self, request: SendMessage) -> Result<MessageId, Error> {
        let draft = Self::draft(request).map_err(Error::of_send)?;
        if draft.recipient == self.own { self.loop_back(draft).await } else { self.outbox.send(draft).await }
    }

    fn draft(request: SendMessage) -> Result<Draft, Error> {
        let recipient = pubkey(&request.pubkey)?;
        let amount_sat = u64::try_from(request.amount)
            .map_err(|_| Error::invalid("amount", format!("{} sat is less than nothing", request.amount)))?;
        Ok(Draft {
            service: Service::Message,
            recipient,
            body: request.msg.into_bytes(),
            reply_to: request.reply_to_id,
            amount_sat,
            unordered: false,
        })
    }

    async fn loop_back(&self, draft: Draft) -> Result<MessageId, Error> {
        draft.check().map_err(Error::of_send)?;
        let id = MessageId::from_random(crate::outbox::random()?);
        let data = String::from_utf8(draft.body).map_err(|_| Error::invalid("msg", "is not UTF-8"))?;
        let event = NewEvent {
            at: self.clock.now(),
            id: id.to_string(),
            reply_to: draft.reply_to,
            from: self.own,
            service: draft.service.into(),
            data,
            amount_sat: 0,
            late: false,
        };
        self.journal.append(vec![event]).await.map_err(|error| Error::from(error).of_send())?;
        Ok(id)
    }
}
