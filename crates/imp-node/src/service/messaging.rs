//! Messages to other nodes.

use std::time::Duration;

use imp_core::id::{MessageId, NodeId};
use imp_core::kept::LONGEST_KEEP;
use imp_core::record::Service;

use super::pubkey;
use crate::error::Error;
use crate::idempotency::{CallKey, Claim, KeyUse, Keys};
use crate::outbox::{Draft, Outbox, Sent};

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
    /// Seconds for which it is tried again, at most 604,800; 0 for one try.
    pub keep_secs: i64,
    /// The key under which the call may be repeated.
    pub key: Option<CallKey>,
}

/// The messaging service.
#[derive(Clone, Debug)]
pub struct Messaging {
    outbox: Outbox,
    keys: Keys,
    own: NodeId,
}

impl Messaging {
    /// The service of the node `own`.
    pub fn new(outbox: Outbox, keys: Keys, own: NodeId) -> Self {
        Self { outbox, keys, own }
    }

    /// Sends a message, and answers once all of it is paid; one that is kept, also once its try has failed. See
    /// [`Outbox::send`] for what may go wrong.
    ///
    /// A message to this node itself is not paid: it goes to the journal at once, with an amount of 0.
    ///
    /// A call with a key that was used before sends nothing twice: see [`Outbox::repeat`].
    pub async fn send(&self, mut request: SendMessage) -> Result<Sent, Error> {
        let key = request.key.take();
        let draft = Self::draft(request).map_err(Error::of_send)?;
        let claim = match key {
            None => None,
            Some(key) => match self.keys.claim(key).await? {
                KeyUse::Fresh(claim) => Some(claim),
                KeyUse::Used(stored) => {
                    let id = stored.subject.try_into().map(MessageId::from_bytes);
                    let id = id.map_err(|_| Error::internal("failed: a key that names no message"))?;
                    return self.outbox.repeat(id, !draft.keep.is_zero()).await;
                }
            },
        };
        self.begin(draft, claim).await
    }

    async fn begin(&self, draft: Draft, claim: Option<Claim>) -> Result<Sent, Error> {
        if draft.recipient == self.own {
            self.outbox.publish_own(draft, claim).await
        } else {
            self.outbox.send(draft, claim).await
        }
    }

    fn draft(request: SendMessage) -> Result<Draft, Error> {
        let recipient = pubkey(&request.pubkey)?;
        let amount_sat = u64::try_from(request.amount)
            .map_err(|_| Error::invalid("amount", format!("{} sat is less than nothing", request.amount)))?;
        Ok(Draft {
            answer: None,
            fee_limit: None,
            service: Service::Message,
            recipient,
            body: request.msg.into_bytes(),
            reply_to: request.reply_to_id,
            amount_sat,
            unordered: false,
            keep: keep(request.keep_secs)?,
        })
    }
}

fn keep(secs: i64) -> Result<Duration, Error> {
    let keep = u64::try_from(secs).ok().map(Duration::from_secs).filter(|keep| *keep <= LONGEST_KEEP);
    keep.ok_or_else(|| {
        let most = LONGEST_KEEP.as_secs();
        Error::invalid("keep_secs", format!("{secs} is not from 0 to {most} seconds"))
    })
}
