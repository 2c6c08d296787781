//! One message on its way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use imp_api::error::Code;
use imp_core::attempt::{Attempt as AttemptRules, AttemptEvent, AttemptState, FailureCause};
use imp_core::delivery::{Delivery, MessageState, PartState};
use imp_core::id::{PaymentHash, Preimage};
use imp_core::retry::Try;
use imp_core::wire::envelope::{Binding, CarrierBinding, Envelope, Header, PartOf};
use imp_lightning::{Keysend, PaymentState, SendError};
use tokio::sync::oneshot;

use super::plan::{Plan, unavailable};
use super::turns::{Slot, Ticket};
use super::{Ended, Inner, random};
use crate::error::Error;
use crate::store::outbox::{Attempt, Number, OutboxMessage};

/// How long a payment that found no slot at the backend waits before it looks again.
const SLOT_POLL: Duration = Duration::from_millis(250);

/// How long a payment whose begin is in doubt is looked for.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(45);

/// A message on its way.
pub(super) struct Sending {
    pub(super) inner: Arc<Inner>,
    pub(super) message: OutboxMessage,
    plan: Plan,
    number: Option<Number>,
    attempt_until: Mutex<Try>,
    /// A part is lost for good: no further attempt is begun.
    stopped: AtomicBool,
}

/// Why a part was not paid.
enum PartError {
    /// Definitely not.
    Failed { cause: FailureCause, text: String },
    /// It may have been.
    Unknown { doubt: String },
    /// It was not tried, since another part is lost.
    Stopped,
    /// This node cannot go on; the row stays open for the next run.
    Broken(Error),
}

impl<E: Into<Error>> From<E> for PartError {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Takes a message in and sends it.
pub(super) async fn send_new(
    inner: Arc<Inner>,
    message: OutboxMessage,
    plan: Plan,
    ticket: Ticket,
) -> Result<(), Error> {
    inner.store.accept_message(message.clone(), None).await?;
    let mut slot = ticket.granted().await;
    let number = slot.take_number();
    let delivery = Delivery::new(message.parts);
    Sending::new(inner, message, plan, number).send(delivery, Some(slot)).await
}

impl Sending {
    pub(super) fn new(inner: Arc<Inner>, message: OutboxMessage, plan: Plan, number: Option<Number>) -> Self {
        let attempt_until = Mutex::new(Try::new(inner.clock.now()));
        Self { inner, message, plan, number, attempt_until, stopped: AtomicBool::new(false) }
    }

    /// Pays for the parts that are waiting, and ends the message. `slot` is for the first of them.
    pub(super) async fn send(&self, delivery: Delivery, slot: Option<Slot>) -> Result<(), Error> {
        let paying = self.pay(delivery, slot);
        tokio::pin!(paying);
        let (delivery, lost) = tokio::select! {
            paid = &mut paying => paid?,
            // The try is over: the recipient need not wait for this number any longer, whatever comes of it.
            () = self.try_is_over() => {
                self.resolve();
                paying.await?
            }
        };
        let ended = self.end(&delivery, lost).await;
        self.resolve();
        ended
    }

    async fn pay(
        &self,
        mut delivery: Delivery,
        mut slot: Option<Slot>,
    ) -> Result<(Delivery, Option<PartError>), Error> {
        let mut under_way = FuturesUnordered::new();
        let mut lost = None;
        loop {
            while let Some(part) = delivery.next_part() {
                set(&mut delivery, part, PartState::InFlight)?;
                let slot = slot.take();
                under_way.push(async move { (part, self.pay_part(part, slot).await) });
            }
            let Some((part, paid)) = under_way.next().await else { return Ok((delivery, lost)) };
            let state = match &paid {
                Ok(()) => PartState::Settled,
                Err(PartError::Failed { .. }) => PartState::Failed,
                Err(PartError::Unknown { .. }) => PartState::Unknown,
                Err(PartError::Stopped) => PartState::Waiting,
                Err(PartError::Broken(error)) => return Err(error.clone()),
            };
            set(&mut delivery, part, state)?;
            match paid {
                Ok(()) => self.attempt_until().progress(self.inner.clock.now()),
                Err(error) => {
                    self.stopped.store(true, Ordering::Relaxed);
                    lost.get_or_insert(error);
                }
            }
        }
    }

    /// Pays for one part, in as many attempts as it takes.
    async fn pay_part(&self, part: u16, mut slot: Option<Slot>) -> Result<(), PartError> {
        let mut failures = 0;
        loop {
            let slot = match slot.take() {
                Some(slot) => slot,
                None => self.inner.turns.again(self.message.recipient).granted().await,
            };
            if self.stopped.load(Ordering::Relaxed) {
                return Err(PartError::Stopped);
            }
            if self.inner.clock.now() >= self.attempt_until().deadline() {
                let text = "no payment slot was free in time".to_owned();
                return Err(PartError::Failed { cause: FailureCause::TimedOut, text });
            }
            let (cause, text) = match self.attempt(part, slot).await? {
                Ended::Settled => return Ok(()),
                Ended::Unknown { doubt } => return Err(PartError::Unknown { doubt }),
                Ended::Failed { cause, text } => (cause, text),
            };
            failures += 1;
            let now = self.inner.clock.now();
            let Some(again) = self.attempt_until().retry_at(cause, failures, now) else {
                return Err(PartError::Failed { cause, text });
            };
            tokio::time::sleep(again.since(now)).await;
        }
    }

    /// One attempt, committed before the backend hears of it.
    async fn attempt(&self, part: u16, slot: Slot) -> Result<Ended, PartError> {
        let attempt = self.seal(part).await?;
        let keysend = keysend(&self.inner, &self.message, &attempt);
        let ended = self.inner.follow(attempt.hash, AttemptRules::new());
        self.inner.store.begin_attempt(attempt, self.number).await?;
        self.submit(keysend, ended, slot).await
    }

    async fn seal(&self, part: u16) -> Result<Attempt, PartError> {
        let Self { inner, message, plan, number, .. } = self;
        let preimage = Preimage(random()?);
        let floor_back =
            number.map_or(0, |number| inner.turns.floor_back(message.recipient, message.service, number));
        let header = Header {
            id: message.id,
            stream: number.map_or(0, |number| number.stream),
            seq: number.map_or(0, |number| number.seq),
            floor_back,
            part: (message.parts > 1).then_some(PartOf { index: part, count: message.parts }),
            reply_to: plan.reply_to.clone().filter(|_| part == 0),
            unordered: message.unordered,
        };
        let binding = Binding {
            genesis_hash: inner.node.network().genesis_hash(),
            recipient: message.recipient,
            record_type: message.record_type,
            carrier: CarrierBinding::keysend(&preimage),
        };
        let chunk = &message.body[plan.chunk(part)];
        let signature = inner.node.sign(&header.signing_bytes(&binding, chunk)).await.map_err(unavailable)?;
        let envelope = Envelope::seal(header, chunk, signature, &inner.node.id())
            .map_err(|error| Error::internal(format!("the envelope cannot be made: {error}")))?;
        Ok(Attempt {
            hash: preimage.payment_hash(),
            message: message.id,
            part,
            preimage,
            envelope: envelope.encode(),
            amount: plan.amount_of(part),
            begun: inner.clock.now(),
            state: AttemptState::Ready,
        })
    }

    /// Hands an attempt to the backend and waits for its end.
    async fn submit(
        &self,
        keysend: Keysend,
        ended: oneshot::Receiver<Ended>,
        slot: Slot,
    ) -> Result<Ended, PartError> {
        let hash = keysend.preimage.payment_hash();
        let mut slot = Some(slot);
        loop {
            let freed = self.inner.freed.notified();
            match self.inner.node.send_keysend(keysend.clone()).await {
                Ok(()) | Err(SendError::Known) => {
                    self.inner.note_in_flight(hash);
                    break;
                }
                Err(SendError::Unknown(_)) => {
                    look_up(&self.inner, keysend).await?;
                    break;
                }
                Err(SendError::Busy) if self.inner.clock.now() < self.attempt_until().deadline() => {
                    drop(slot.take());
                    // Either way it looks again: slots also free without a payment of ours ending.
                    let _ = tokio::time::timeout(SLOT_POLL, freed).await;
                    slot = Some(self.inner.turns.again(self.message.recipient).granted().await);
                }
                Err(error) => {
                    let cause = refusal(&error);
                    let event = AttemptEvent::Refused(cause);
                    self.inner.take_failure(hash, event, cause, error.to_string()).await?;
                    break;
                }
            }
        }
        let ended = ended.await.map_err(|_| Error::internal("the outbox lost track of a payment"))?;
        drop(slot);
        Ok(ended)
    }

    /// Notes how the message ended, and says it as the caller's error.
    async fn end(&self, delivery: &Delivery, lost: Option<PartError>) -> Result<(), Error> {
        let state = delivery.state();
        let error = match (state, lost) {
            (MessageState::Settled, _) => return Ok(()),
            (_, Some(PartError::Failed { cause, text })) => {
                let paid = delivery.count(PartState::Settled);
                Error::new(
                    failure_code(cause),
                    failure_reason(cause),
                    format!("send failed: {text}{}", self.paid(paid)),
                )
            }
            (_, lost) => {
                let doubt = match lost {
                    Some(PartError::Unknown { doubt }) => doubt,
                    _ => "a payment of an earlier run of the daemon has no known end".to_owned(),
                };
                let rest = match state {
                    MessageState::Unknown => "the message may have arrived",
                    _ => "the parts after it were not sent",
                };
                let text = format!("failed to learn what became of a payment: {doubt}; {rest}");
                Error::new(Code::Unknown, "OUTCOME_UNKNOWN", text)
            }
        };
        let now = self.inner.clock.now();
        self.inner.store.end_message(self.message.id, state, error.to_string(), now).await?;
        Err(error)
    }

    fn paid(&self, parts: usize) -> String {
        if self.message.parts == 1 {
            return String::new();
        }
        // Part 0 is paid first, and all others are paid the same.
        let sat: u64 = (0..parts as u16).map(|part| self.plan.amount_of(part).to_sat_floor()).sum();
        format!("; {parts} of {} parts were paid before, {sat} sat", self.message.parts)
    }

    fn resolve(&self) {
        if let Some(number) = self.number {
            self.inner.turns.resolve(self.message.recipient, self.message.service, number);
        }
    }

    fn attempt_until(&self) -> MutexGuard<'_, Try> {
        self.attempt_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_is_over(&self) {
        loop {
            let left = self.attempt_until().deadline().since(self.inner.clock.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

impl Inner {
    fn note_in_flight(&self, hash: PaymentHash) {
        if let Some(live) = self.live().get_mut(&hash) {
            // The end may have overtaken the answer to the call: then there is nothing to note.
            let _ = live.attempt.apply(AttemptEvent::InFlight);
        }
        self.store.attempt_sent(hash);
    }

    fn note_outcome_lost(&self, hash: PaymentHash) {
        if let Some(live) = self.live().get_mut(&hash) {
            let _ = live.attempt.apply(AttemptEvent::OutcomeLost);
        }
    }
}

/// Finds out about an attempt whose begin is in doubt. Afterwards it has ended, or its end will come as an event.
pub(super) async fn look_up(inner: &Inner, keysend: Keysend) -> Result<(), Error> {
    let hash = keysend.preimage.payment_hash();
    inner.note_outcome_lost(hash);
    match inner.node.resume_keysend(keysend, LOOK_UP_PATIENCE).await {
        Ok(PaymentState::InFlight) => inner.note_in_flight(hash),
        Ok(PaymentState::Settled { fee, .. }) => inner.settled(hash, fee).await?,
        Ok(PaymentState::Failed(reason)) => inner.failed(hash, &reason).await?,
        Err(error) => {
            let cause = refusal(&error);
            let event = AttemptEvent::Refused(cause);
            inner.take_failure(hash, event, cause, error.to_string()).await?;
        }
    }
    Ok(())
}

/// The payment of an attempt.
pub(super) fn keysend(inner: &Inner, message: &OutboxMessage, attempt: &Attempt) -> Keysend {
    Keysend {
        recipient: message.recipient,
        preimage: attempt.preimage,
        amount: attempt.amount,
        fee_limit: inner.fee_limit(attempt.amount),
        record: Some((message.record_type, attempt.envelope.clone())),
    }
}

/// What a refusal to begin a payment means for the next step.
const fn refusal(error: &SendError) -> FailureCause {
    match error {
        SendError::Busy => FailureCause::RetriesExhausted,
        SendError::NoRoute(_) => FailureCause::NoRoute,
        SendError::InsufficientBalance { .. } => FailureCause::InsufficientBalance,
        SendError::Invalid(_) => FailureCause::Invalid,
        SendError::Unavailable(_) => FailureCause::Unavailable,
        _ => FailureCause::Other,
    }
}

const fn failure_code(cause: FailureCause) -> Code {
    match cause {
        FailureCause::Invalid => Code::InvalidArgument,
        FailureCause::InsufficientBalance | FailureCause::RecipientRejected => Code::FailedPrecondition,
        _ => Code::Unavailable,
    }
}

const fn failure_reason(cause: FailureCause) -> &'static str {
    match cause {
        FailureCause::NoRoute => "NO_ROUTE",
        FailureCause::RecipientRejected => "RECIPIENT_REJECTED",
        FailureCause::RetriesExhausted => "RETRIES_EXHAUSTED",
        FailureCause::TimedOut => "TIMED_OUT",
        FailureCause::InsufficientBalance => "INSUFFICIENT_BALANCE",
        FailureCause::Unavailable => "BACKEND_UNAVAILABLE",
        FailureCause::Invalid => "INVALID_PAYMENT",
        _ => "PAYMENT_FAILED",
    }
}

fn set(delivery: &mut Delivery, part: u16, state: PartState) -> Result<(), Error> {
    delivery.set(part, state).map_err(|error| Error::internal(error.to_string()))
}
