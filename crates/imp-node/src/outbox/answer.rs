//! Messages whose rows another change brings: what the node answers by itself, in the transaction of what it answers to.
//!
//! ```text
//! prepare ── row in the caller's change (commit) ── take up ── turn ── ... as any message
//!                                                     └── a crash before it: recovered like any kept message
//! ```

use std::sync::Arc;

use imp_core::attempt::FailureCause;
use imp_core::delivery::{Delivery, MessageState};
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;
use imp_core::retry::Try;

use super::allowance::Allowed;
use super::plan::Plan;
use super::run::{Outcome, Sending};
use super::running::{Running, Stage};
use super::turns::Ticket;
use super::{Draft, Inner, MAX_KEPT_FOR_ONE, Open, Outbox, failure, full, random};
use crate::error::Error;
use crate::store::outbox::{Answer, GiveUp, OutboxMessage, SendFailure, Withdrawal};

/// A message for another change to take in.
#[derive(Debug)]
pub struct Prepared {
    /// Its row.
    pub answer: Answer,
    /// Its share of the allowance, of a draft that is an answer: to be kept until the row is committed.
    pub allowed: Option<Allowed>,
}

impl Outbox {
    /// An id for [`Self::send_as`].
    ///
    /// # Errors
    ///
    /// `INTERNAL` where the system has no random bytes.
    pub fn new_id() -> Result<MessageId, Error> {
        Ok(MessageId::from_random(random()?))
    }

    /// Makes the row of a message, which the caller stores with a change of its own and then hands to [`Self::take_up`];
    /// nothing where the draft is an answer and the allowance for answers is used up. Nothing is stored or paid here.
    ///
    /// A message that is kept is found by the next run of the daemon if this one ends before it is taken up; one that is
    /// not is given up then.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what can never be sent, `UNAVAILABLE` where the store cannot be read.
    pub async fn prepare(&self, draft: Draft) -> Result<Option<Prepared>, Error> {
        self.prepare_as(Self::new_id()?, draft).await
    }

    /// Like [`Self::prepare`], with an id that the caller drew before ([`Self::new_id`]) and may name in its change.
    ///
    /// # Errors
    ///
    /// Those of [`Self::prepare`].
    pub async fn prepare_as(&self, id: MessageId, draft: Draft) -> Result<Option<Prepared>, Error> {
        let inner = &self.inner;
        let plan = Plan::new(&draft)?;
        let allowed = if let Some(to) = draft.answer {
            let Some(allowed) = inner.allow(&draft.recipient, &plan, to).await? else { return Ok(None) };
            Some(allowed)
        } else {
            None
        };
        let (message, body) = inner.message(id, draft, &plan, allowed.as_ref());
        Ok(Some(Prepared { answer: Answer { message, body }, allowed }))
    }

    /// What gives up the messages of a service that are kept for a node, or those of them that have a place in the order. The
    /// caller makes it part of a change of its own; from that commit on, none of them is tried that is not on its way.
    pub fn withdrawal(&self, recipient: NodeId, service: Service, only_ordered: bool) -> Withdrawal {
        let failure = SendFailure::from(&failure::withdrawn());
        Withdrawal { recipient, service, only_ordered, failure, at: self.inner.clock.now() }
    }

    /// Whether a node can be paid over a channel with it, without fees.
    pub async fn is_direct(&self, node: &NodeId) -> bool {
        self.inner.is_direct(node).await
    }

    /// What gives up a message, by its id; to be made part of a change like [`Self::withdrawal`].
    pub fn giving_up(&self, id: MessageId) -> GiveUp {
        GiveUp { id, failure: SendFailure::from(&failure::withdrawn()), at: self.inner.clock.now() }
    }

    /// Sends messages whose rows are committed. Their places in the queues are taken when this returns; nobody is told what
    /// becomes of them. One that is under way already stays so.
    pub fn take_up(&self, answers: Vec<Answer>) {
        for answer in answers {
            let Ok(running) = self.inner.running.take_up(answer.message.id) else { continue };
            let ticket = self.inner.enter_again(&answer.message);
            let sending = send(Arc::clone(&self.inner), answer, running, ticket);
            drop(self.inner.spawn("message", sending));
        }
    }
}

impl Inner {
    /// The row of a message that is accepted now, and its text.
    pub(super) fn message(
        &self,
        id: MessageId,
        draft: Draft,
        plan: &Plan,
        allowed: Option<&Allowed>,
    ) -> (OutboxMessage, Arc<[u8]>) {
        let now = self.clock.now();
        let message = OutboxMessage {
            id,
            service: draft.service,
            record_type: self.options.records.record_type(draft.service),
            recipient: draft.recipient,
            body_bytes: draft.body.len() as u64,
            reply_to: draft.reply_to,
            amount_sat: plan.amount_sat(),
            parts: plan.parts(),
            unordered: draft.unordered,
            accepted: now,
            keep_until: (!draft.keep.is_zero()).then(|| now.plus(draft.keep)),
            answer: allowed.map(Allowed::most),
            fee_limit: draft.fee_limit,
        };
        (message, draft.body.into())
    }

    /// Ends a message that failed and would be kept: others cause what the node itself sends, as many as they like.
    async fn not_kept(&self, message: &OutboxMessage) -> Result<Outcome, Error> {
        let error = full(MAX_KEPT_FOR_ONE, "are kept for this recipient, or as many as there may be for all")
            .of_send();
        let (failure, now) = (SendFailure::from(&error), self.clock.now());
        self.store.end_message(message.id, MessageState::Failed, failure, now).await?;
        Ok(Outcome::Ended(error))
    }

    /// Notes that nothing can be paid for a message now.
    async fn put_off(&self, message: &OutboxMessage, error: Error) -> Result<Outcome, Error> {
        let error = error.of_send();
        let (failure, now) = (SendFailure::from(&error), self.clock.now());
        if message.keep_until.is_some_and(|until| now < until)
            && self.store.requeue_message(message.id, failure.clone()).await?
        {
            return Ok(Outcome::Waits { cause: FailureCause::Unavailable });
        }
        self.store.end_message(message.id, MessageState::Failed, failure, now).await?;
        Ok(Outcome::Ended(error))
    }
}

async fn send(inner: Arc<Inner>, answer: Answer, running: Running, ticket: Ticket) {
    let id = answer.message.id;
    let place = match inner.store.message(id).await {
        Ok(Some(stored)) => stored.place,
        Ok(None) => return running.is(Stage::Ended(Err(Error::internal("failed: there is no such row")))),
        Err(error) => return running.is(Stage::Ended(Err(error.into()))),
    };
    let Answer { message, body } = answer;
    let is_kept = message.keep_until.is_some();
    let permit = if is_kept { inner.permit_of_own() } else { inner.permit(false).ok() };
    let may_wait = permit.is_some();
    let open = Open { place, message, running, _permit: permit };
    let mut sent = try_first(&inner, &open, body, ticket).await;
    if matches!(sent, Ok(Outcome::Waits { .. })) {
        let others = inner.lines.waiting(&open.message.recipient);
        if !may_wait || others >= MAX_KEPT_FOR_ONE {
            sent = inner.not_kept(&open.message).await;
        }
    }
    if let Ok(Outcome::Ended(error)) | Err(error) = &sent {
        tracing::warn!(message = %id, "a message of the node itself: {error}");
    }
    inner.conclude(open, sent);
}

async fn try_first(
    inner: &Arc<Inner>,
    open: &Open,
    body: Arc<[u8]>,
    ticket: Ticket,
) -> Result<Outcome, Error> {
    let message = &open.message;
    let plan = Plan::of_message(message, &body)?;
    let delivery = Delivery::new(message.parts);
    if let Err(error) = inner.check_room(&message.recipient, &plan, &delivery).await {
        return inner.put_off(message, error).await;
    }
    let text = inner.texts.keep(body, plan);
    let slot = ticket.granted().await;
    let sending = Sending::at_turn(inner, message.clone(), text, slot, Try::new).await?;
    sending.send(delivery).await
}
