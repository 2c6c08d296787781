//! What became of a message, for a call that is repeated; and another try of one that failed.

use std::sync::Arc;

use imp_api::error::Code;
use imp_core::delivery::{Delivery, MessageState, PartState};
use imp_core::id::MessageId;
use imp_core::record::Service;
use imp_core::retry::{Try, may_try_again};

use super::plan::Plan;
use super::run::Sending;
use super::running::{Running, Stage};
use super::text::Text;
use super::turns::Ticket;
use super::{Inner, News, Open, Outbox, Sent, failure, kept, unconfirmed};
use crate::error::Error;
use crate::store::outbox::{FullMessage, StoredMessage};

/// A message that is to be sent once more.
struct Again {
    open: Open,
    text: Text,
    delivery: Delivery,
    ticket: Ticket,
}

impl Outbox {
    /// What became of a message whose call is repeated. One that failed is completed, as by [`Self::retry`]; where that
    /// cannot be done, the error is that of the first call. Of a message that `is_kept` a wait is an answer.
    ///
    /// Every error holds the word "failed".
    pub async fn repeat(&self, id: MessageId, is_kept: bool) -> Result<Sent, Error> {
        self.complete(id, is_kept, |stored| {
            stored.failure.as_ref().map_or_else(|| not_again(stored), failure::of_earlier)
        })
        .await
        .map_err(Error::of_send)
    }

    /// Waits for what comes of a message, like [`Self::repeat`] of one that is not kept, and never sends it: for whoever noted
    /// that it is sent once.
    ///
    /// Every error holds the word "failed".
    pub async fn wait(&self, id: MessageId) -> Result<Sent, Error> {
        self.end_of(id).await.map_err(Error::of_send)
    }

    async fn end_of(&self, id: MessageId) -> Result<Sent, Error> {
        let settled = Sent { id, state: MessageState::Settled };
        if let Some(stage) = self.inner.running.watch(id) {
            match self.outcome(stage).await {
                News::Settled => return Ok(settled),
                News::Ended(error) => return Err(error.of_message(id)),
                News::Waits | News::Open => return Err(still_in_flight(id)),
                // Its end may be stored all the same.
                News::Dropped => {}
            }
        }
        let stored = self.inner.store.message(id).await?.ok_or_else(|| unknown(id))?;
        match stored.state {
            MessageState::Settled => Ok(settled),
            MessageState::Queued | MessageState::Sending => Err(self.dropped(id)),
            MessageState::Failed | MessageState::Unknown => {
                let error = stored.failure.as_ref().map_or_else(|| not_again(&stored), failure::of_earlier);
                Err(error.of_message(id))
            }
        }
    }

    /// Sends what is missing of a message that failed, and waits for it like [`Self::send`]: at most a day after it
    /// failed, and eight days after it was accepted. One that is settled is not sent again, one that is under way is waited
    /// for.
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`]; `NOT_FOUND` for a message that this node never took in, or has let go;
    /// `FAILED_PRECONDITION` for one that may have arrived, one that is too old, one that waits to be sent by itself, and one
    /// of federation or the VPN.
    /// Every one holds the word "failed".
    pub async fn retry(&self, id: MessageId) -> Result<Sent, Error> {
        let stored = self.inner.store.message(id).await.map_err(|error| Error::from(error).of_send())?;
        let unsettled = stored.filter(|stored| stored.state != MessageState::Settled);
        if let Some(instead) = unsettled.and_then(|stored| instead_of_retry(stored.message.service)) {
            return Err(refused(instead).of_message(id));
        }
        let sent = self.complete(id, true, not_again).await;
        let sent = sent.and_then(|sent| match sent.state {
            MessageState::Queued => Err(refused("it is queued, and will be sent by itself").of_message(id)),
            MessageState::Sending => Err(still_in_flight(id)),
            _ => Ok(sent),
        });
        sent.map_err(Error::of_send)
    }

    /// `refuse` is the error of a message that is not to be sent again.
    async fn complete(
        &self,
        id: MessageId,
        is_kept: bool,
        refuse: impl Fn(&StoredMessage) -> Error,
    ) -> Result<Sent, Error> {
        loop {
            let stage = match self.inner.running.take_up(id) {
                Err(stage) => stage,
                Ok(running) => match self.take_up_again(id, running, &refuse).await? {
                    Some(stage) => stage,
                    None => return Ok(Sent { id, state: MessageState::Settled }),
                },
            };
            return match self.outcome(stage).await {
                News::Settled => Ok(Sent { id, state: MessageState::Settled }),
                News::Waits if is_kept => Ok(Sent { id, state: MessageState::Queued }),
                News::Open if is_kept => Ok(Sent { id, state: MessageState::Sending }),
                News::Waits | News::Open => Err(still_in_flight(id)),
                News::Ended(error) => Err(error.of_message(id)),
                // Another caller who was about to send it went away first.
                News::Dropped if !self.inner.tasks.token().is_cancelled() => continue,
                News::Dropped => Err(self.dropped(id)),
            };
        }
    }

    /// Begins another try of a message that nobody works on, where it failed and may be tried; nothing where it is settled.
    async fn take_up_again(
        &self,
        id: MessageId,
        running: Running,
        refuse: impl Fn(&StoredMessage) -> Error,
    ) -> Result<Option<tokio::sync::watch::Receiver<Stage>>, Error> {
        let inner = &self.inner;
        let Some(full) = inner.store.full_message(id).await? else {
            return Err(unknown(id));
        };
        let stored = &full.stored;
        let delivery = kept::delivery(stored.message.parts, &full.attempts);
        match stored.state {
            MessageState::Settled => return Ok(None),
            // Nobody works on it though it is open: whoever did broke off, and the next run of the node goes on.
            MessageState::Queued | MessageState::Sending => return Err(self.dropped(id)),
            MessageState::Failed if delivery.count(PartState::Unknown) == 0 => {}
            MessageState::Failed | MessageState::Unknown => return Err(refuse(stored).of_message(id)),
        }
        let (accepted, ended) = (stored.message.accepted, stored.ended.unwrap_or_default());
        if !may_try_again(accepted, ended, inner.clock.now()) {
            return Err(refuse(stored).of_message(id));
        }
        let stage = running.watch();
        match self.make_ready(full, delivery, running).await {
            Ok(again) => drop(inner.spawn("message", send_again(Arc::clone(inner), again))),
            Err((running, error)) => {
                // Whoever joined in the meantime gets the same answer.
                running.is(Stage::Ended(Err(error)));
            }
        }
        Ok(Some(stage))
    }

    async fn make_ready(
        &self,
        full: FullMessage,
        delivery: Delivery,
        running: Running,
    ) -> Result<Again, (Running, Error)> {
        let inner = &self.inner;
        let FullMessage { stored, body, .. } = full;
        let message = stored.message;
        let ticket = inner.enter_again(&message);
        let ready = async {
            let permit = inner.permit(false)?;
            let plan = Plan::of_message(&message, &body)?;
            inner.check_room(&message.recipient, &plan, &delivery).await?;
            Ok((permit, plan))
        };
        match ready.await {
            Ok((permit, plan)) => {
                let open = Open { place: stored.place, message, running, _permit: Some(permit) };
                Ok(Again { open, text: inner.texts.keep(body.into(), plan), delivery, ticket })
            }
            Err(error) => Err((running, error)),
        }
    }
}

async fn send_again(inner: Arc<Inner>, again: Again) {
    let Again { open, text, delivery, ticket } = again;
    let opened = inner.store.reopen_message(open.message.id).await;
    let sent = match opened {
        Ok(true) => {
            let slot = ticket.granted().await;
            match Sending::at_turn(&inner, open.message.clone(), text, slot, Try::new).await {
                Ok(sending) => sending.send(delivery).await,
                Err(error) => Err(error),
            }
        }
        Ok(false) => Err(Error::internal("failed: the message changed while it was taken up again")),
        Err(error) => Err(error.into()),
    };
    inner.conclude(open, sent);
}

/// Of services that note what became of their messages, and send them anew: what to do. What they noted would not know of
/// another try: its answer finds that nothing was asked, or a refund is paid twice.
const fn instead_of_retry(service: Service) -> Option<&'static str> {
    match service {
        Service::Federate => Some("it is one of federation: call RequestFederate or LeaveFederation"),
        Service::Vpn => Some(
            "it is one of the VPN: call RequestQuote, AcceptContract or RefreshContract; what is owed is sent by itself",
        ),
        Service::Message | Service::Socket | Service::Sign => None,
    }
}

fn unknown(id: MessageId) -> Error {
    Error::new(Code::NotFound, "MESSAGE_NOT_FOUND", format!("failed: there is no message {id}"))
}

fn not_again(stored: &StoredMessage) -> Error {
    match stored.state {
        MessageState::Failed
            if stored.failure.as_ref().is_none_or(|failure| failure.reason != failure::OUTCOME_UNKNOWN) =>
        {
            refused("it failed too long ago to be sent again")
        }
        _ => refused("it may have arrived, and a second payment might bring it twice"),
    }
}

fn refused(why: &str) -> Error {
    Error::new(Code::FailedPrecondition, "NOT_SENT_AGAIN", format!("failed to send the message again: {why}"))
}

fn still_in_flight(id: MessageId) -> Error {
    unconfirmed(id, "failed to confirm within 60 s: still in flight")
}
