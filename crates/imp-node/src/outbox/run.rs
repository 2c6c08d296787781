//! One try of a message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use imp_api::error::Code;
use imp_core::attempt::{Attempt as AttemptRules, AttemptEvent, AttemptState, FailureCause};
use imp_core::delivery::{Delivery, MessageState, PartState};
use imp_core::id::Preimage;
use imp_core::retry::Try;
use imp_core::time::UnixMillis;
use imp_core::wire::envelope::{Binding, CarrierBinding, Envelope, Header, PartOf};
use imp_lightning::{Keysend, SendError};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::outcome::Ended;
use super::plan::{Plan, unavailable};
use super::running::Stage;
use super::text::Text;
use super::turns::{Numbered, Room, Slot};
use super::{Inner, Open, failure, random};
use crate::error::Error;
use crate::runtime::clock::Steady;
use crate::store::outbox::{Attempt, Begun, Number, OutboxMessage, SendFailure};

/// How long a payment that found no slot at the backend waits before it looks again.
const SLOT_POLL: Duration = Duration::from_millis(250);

/// A message on its way.
pub(super) struct Sending {
    inner: Arc<Inner>,
    message: OutboxMessage,
    plan: Plan,
    /// Until it is settled or given up.
    body: Mutex<Option<Body>>,
    /// Likewise.
    number: Mutex<Option<Numbered>>,
    /// For the first part that is paid.
    first_slot: Mutex<Option<Slot>>,
    tries: Mutex<Try>,
    /// The time by which the try goes.
    time: Steady,
    /// A part is lost for good, or the try is over: no further attempt is begun.
    stopped: CancellationToken,
}

/// The text of a message on its way.
struct Body {
    text: Arc<[u8]>,
    /// None where nothing more is to be sent.
    _room: Option<Room>,
}

/// Why a part was not paid.
enum PartError {
    /// Definitely not.
    Failed { cause: FailureCause, text: String },
    /// It may have been.
    Unknown { doubt: String },
    /// It was not tried, since another part is lost or the try is over.
    Stopped,
    /// Definitely not, since this node could not begin to.
    NotBegun(Error),
    /// The message ended meanwhile.
    Withdrawn,
    /// Another message was sent since that says something else.
    Overtaken,
    /// This node could not go on with a payment that it had stored.
    Broken(Error),
}

/// How a try ended, as it is stored.
pub(super) enum Outcome {
    /// Every part is paid.
    Settled,
    /// It failed, and the message waits for another try.
    Waits {
        /// Why it failed.
        cause: FailureCause,
    },
    /// The message failed, or is unknown.
    Ended(Error),
}

impl Inner {
    /// Hands a message on after a try.
    pub(super) fn conclude(self: &Arc<Self>, open: Open, sent: Result<Outcome, Error>) {
        match sent {
            Ok(Outcome::Settled) => open.running.is(Stage::Ended(Ok(()))),
            Ok(Outcome::Waits { .. }) => self.wait_in_line(open),
            Ok(Outcome::Ended(error)) | Err(error) => open.running.is(Stage::Ended(Err(error))),
        }
    }
}

impl Sending {
    /// A try that begins with its turn: with a new number, where the message has a place in the order.
    pub(super) async fn at_turn(
        inner: &Arc<Inner>,
        message: OutboxMessage,
        text: Text,
        slot: Slot,
        begin: impl FnOnce(UnixMillis) -> Try,
    ) -> Result<Self, Error> {
        Self::begin(inner, message, text, Some(slot), None, begin).await
    }

    /// A try that may have a number already; without a slot, of a message of which nothing more is to be sent.
    pub(super) async fn begin(
        inner: &Arc<Inner>,
        message: OutboxMessage,
        text: Text,
        mut slot: Option<Slot>,
        number: Option<Numbered>,
        begin: impl FnOnce(UnixMillis) -> Try,
    ) -> Result<Self, Error> {
        let (text, plan) = inner.text(&message, text).await?;
        let number = number.or_else(|| slot.as_mut()?.take_number());
        let room = slot.as_mut().and_then(Slot::take_room);
        let time = Steady::new(inner.clock.now());
        Ok(Self {
            inner: Arc::clone(inner),
            message,
            plan,
            body: Mutex::new(Some(Body { text, _room: room })),
            number: Mutex::new(number),
            first_slot: Mutex::new(slot),
            tries: Mutex::new(begin(time.now())),
            time,
            stopped: CancellationToken::new(),
        })
    }

    /// Whether an earlier message of its line has its number and is not done.
    pub(super) fn is_behind(&self) -> bool {
        self.number().as_ref().is_some_and(|number| number.floor_back() > 0)
    }

    /// Pays for the parts that are waiting, and notes what comes of the message.
    pub(super) async fn send(&self, delivery: Delivery) -> Result<Outcome, Error> {
        let paying = self.pay(delivery);
        tokio::pin!(paying);
        let (delivery, lost) = tokio::select! {
            paid = &mut paying => paid?,
            // The recipient need not wait for this number any longer, whatever comes of what is in flight: so nothing more
            // goes out under it.
            () = self.try_is_over() => {
                self.stopped.cancel();
                self.resolve();
                paying.await?
            }
        };
        let ended = self.end(&delivery, lost).await;
        self.resolve();
        if let Err(error) = &ended {
            tracing::error!(message = %self.message.id, "what became of a message cannot be stored: {error}");
        }
        ended
    }

    async fn pay(&self, mut delivery: Delivery) -> Result<(Delivery, Option<PartError>), Error> {
        let mut under_way = FuturesUnordered::new();
        let mut lost = None;
        loop {
            while !self.stopped.is_cancelled()
                && let Some(part) = delivery.next_part()
            {
                set(&mut delivery, part, PartState::InFlight)?;
                under_way.push(async move { (part, self.pay_part(part).await) });
            }
            let Some((part, paid)) = under_way.next().await else { return Ok((delivery, lost)) };
            let state = match &paid {
                Ok(()) => PartState::Settled,
                Err(
                    PartError::Failed { .. }
                    | PartError::NotBegun(_)
                    | PartError::Withdrawn
                    | PartError::Overtaken,
                ) => PartState::Failed,
                Err(PartError::Unknown { .. } | PartError::Broken(_)) => PartState::Unknown,
                Err(PartError::Stopped) => PartState::Waiting,
            };
            set(&mut delivery, part, state)?;
            match paid {
                Ok(()) => {
                    if !self.stopped.is_cancelled() {
                        self.tries().progress(self.time.now());
                    }
                    self.inner.lines.wake(&self.message.recipient, self.inner.clock.now());
                }
                Err(error) => {
                    self.stopped.cancel();
                    lost.get_or_insert(error);
                }
            }
        }
    }

    /// Pays for one part, in as many attempts as it takes.
    async fn pay_part(&self, part: u16) -> Result<(), PartError> {
        let mut failures = 0;
        loop {
            let first = self.first_slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            let slot = match first {
                Some(slot) => Some(slot),
                None => self.next_slot().await,
            };
            if self.stopped.is_cancelled() {
                return Err(PartError::Stopped);
            }
            let Some(slot) = slot.filter(|_| self.goes_on()) else {
                let text = "no payment slot was free in time".to_owned();
                return Err(PartError::Failed { cause: FailureCause::TimedOut, text });
            };
            let (cause, text) = match self.attempt(part, slot).await? {
                Ended::Settled => return Ok(()),
                Ended::Unknown { doubt } => return Err(PartError::Unknown { doubt }),
                Ended::Failed { cause, text } => (cause, text),
            };
            failures += 1;
            let now = self.time.now();
            let Some(again) = self.tries().retry_at(cause, failures, now) else {
                return Err(PartError::Failed { cause, text });
            };
            tokio::time::sleep(again.since(now)).await;
        }
    }

    /// Waits for another slot, but no longer than the try goes on.
    async fn next_slot(&self) -> Option<Slot> {
        let ticket = self.inner.turns.again(self.message.recipient);
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => None,
            () = self.try_is_over() => None,
            slot = ticket.granted() => Some(slot),
        }
    }

    /// Whether a payment may still be begun.
    fn goes_on(&self) -> bool {
        !self.stopped.is_cancelled() && self.time.now() < self.tries().deadline()
    }

    /// One attempt, committed before the backend hears of it.
    async fn attempt(&self, part: u16, slot: Slot) -> Result<Ended, PartError> {
        let (attempt, number) = self.seal(part).await.map_err(PartError::NotBegun)?;
        let (hash, keysend) = (attempt.hash, keysend(&self.inner, &self.message, &attempt));
        let begun = self.inner.store.begin_attempt(attempt, number).await;
        match begun.map_err(|error| PartError::NotBegun(error.into()))? {
            Begun::Yes => {}
            Begun::Ended => return Err(PartError::Withdrawn),
            Begun::Overtaken => return Err(PartError::Overtaken),
            Begun::Behind => return Err(PartError::NotBegun(failure::behind())),
        }
        // The backend has not heard of it, so that its end cannot have come before.
        let ended = self.inner.follow(hash, AttemptRules::new());
        self.submit(keysend, ended, slot).await.map_err(|error| {
            self.inner.live().remove(&hash);
            PartError::Broken(error)
        })
    }

    async fn seal(&self, part: u16) -> Result<(Attempt, Option<Number>), Error> {
        let Self { inner, message, plan, .. } = self;
        let body = self.text().ok_or_else(|| Error::internal("failed: the try is over"))?;
        let preimage = Preimage(random()?);
        let (number, floor_back) = {
            let held = self.number();
            (held.as_ref().map(Numbered::number), held.as_ref().map_or(0, Numbered::floor_back))
        };
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
        let chunk = &body[plan.chunk(part)];
        let signature = inner.node.sign(&header.signing_bytes(&binding, chunk)).await.map_err(unavailable)?;
        let envelope = Envelope::seal(header, chunk, signature, &inner.node.id())
            .map_err(|error| Error::internal(format!("the envelope cannot be made: {error}")))?;
        let attempt = Attempt {
            hash: preimage.payment_hash(),
            message: message.id,
            part,
            preimage,
            envelope: envelope.encode(),
            amount: plan.amount_of(part),
            begun: inner.clock.now(),
            state: AttemptState::Ready,
        };
        Ok((attempt, number))
    }

    /// Hands an attempt to the backend and waits for its end.
    async fn submit(
        &self,
        keysend: Keysend,
        ended: oneshot::Receiver<Ended>,
        slot: Slot,
    ) -> Result<Ended, Error> {
        let hash = keysend.preimage.payment_hash();
        let mut slot = Some(slot);
        loop {
            let freed = self.inner.freed.notified();
            let sent = match &slot {
                Some(_) if self.goes_on() => self.inner.node.send_keysend(keysend.clone()).await,
                _ => Err(SendError::Busy),
            };
            match sent {
                Ok(()) | Err(SendError::Known) => {
                    self.inner.note_in_flight(hash);
                    break;
                }
                Err(SendError::Unknown(_)) => {
                    self.inner.look_up(keysend).await?;
                    break;
                }
                Err(SendError::Busy) if self.goes_on() => {
                    drop(slot.take());
                    // Either way it looks again: slots also free without a payment of ours ending.
                    let _ = tokio::time::timeout(SLOT_POLL, freed).await;
                    slot = self.next_slot().await;
                }
                Err(error) => {
                    let cause = failure::refusal(&error);
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

    /// Notes what comes of the message after its try.
    async fn end(&self, delivery: &Delivery, lost: Option<PartError>) -> Result<Outcome, Error> {
        let state = match delivery.state() {
            // The try is over with parts that were not begun in it.
            MessageState::Queued | MessageState::Sending => MessageState::Failed,
            state => state,
        };
        let (error, cause) = match (state, lost) {
            (MessageState::Settled, _) => return Ok(Outcome::Settled),
            (_, Some(PartError::Withdrawn)) => return Ok(Outcome::Ended(failure::withdrawn())),
            (_, Some(PartError::Overtaken)) => (failure::overtaken(), None),
            (_, Some(PartError::Failed { cause, text })) => {
                let paid = delivery.count(PartState::Settled);
                (failure::of_payment(cause, &format!("{text}{}", self.paid(paid))), Some(cause))
            }
            (_, None | Some(PartError::Stopped)) if delivery.count(PartState::Unknown) == 0 => {
                let paid = self.paid(delivery.count(PartState::Settled));
                let text = format!("the time was over before all of it was paid{paid}");
                (failure::of_payment(FailureCause::TimedOut, &text), Some(FailureCause::TimedOut))
            }
            // The store may do again what it did not do now.
            (_, Some(PartError::NotBegun(error))) => (error, Some(FailureCause::Unavailable)),
            (_, lost) => {
                let doubt = match lost {
                    Some(PartError::Unknown { doubt }) => doubt,
                    Some(PartError::Broken(error)) => error.to_string(),
                    _ => "a payment of an earlier run of the daemon has no known end".to_owned(),
                };
                let rest = match state {
                    MessageState::Unknown => "the message may have arrived",
                    _ => "the parts after it were not sent",
                };
                let text = format!("failed to learn what became of a payment: {doubt}; {rest}");
                (Error::new(Code::Unknown, failure::OUTCOME_UNKNOWN, text), None)
            }
        };
        let (id, now) = (self.message.id, self.inner.clock.now());
        let failed = SendFailure::from(&error);
        if let Some(cause) = cause
            && self.is_kept_after(cause, delivery)
            && self.inner.store.requeue_message(id, failed.clone()).await?
        {
            return Ok(Outcome::Waits { cause });
        }
        self.inner.store.end_message(id, state, failed, now).await?;
        Ok(Outcome::Ended(error))
    }

    /// Whether the message waits for another try after one that failed.
    fn is_kept_after(&self, cause: FailureCause, delivery: &Delivery) -> bool {
        let now = self.inner.clock.now();
        cause != FailureCause::Invalid
            && delivery.count(PartState::Unknown) == 0
            && self.message.keep_until.is_some_and(|until| now < until)
    }

    fn paid(&self, parts: usize) -> String {
        if self.message.parts == 1 {
            return String::new();
        }
        // Part 0 is paid first, and all others are paid the same.
        let sat: u64 = (0..parts as u16).map(|part| self.plan.amount_of(part).to_sat_floor()).sum();
        format!("; {parts} of {} parts were paid before, {sat} sat", self.message.parts)
    }

    /// Nothing more is sent: gives the number back, and the text, which may be waited for longer than for anything.
    fn resolve(&self) {
        let resolved = self.number().take();
        drop(resolved);
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(body);
    }

    fn text(&self) -> Option<Arc<[u8]>> {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.as_ref().map(|body| Arc::clone(&body.text))
    }

    fn number(&self) -> MutexGuard<'_, Option<Numbered>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tries(&self) -> MutexGuard<'_, Try> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_is_over(&self) {
        loop {
            let left = self.tries().deadline().since(self.time.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// The payment of an attempt.
pub(super) fn keysend(inner: &Inner, message: &OutboxMessage, attempt: &Attempt) -> Keysend {
    Keysend {
        recipient: message.recipient,
        preimage: attempt.preimage,
        amount: attempt.amount,
        fee_limit: inner.fee_limit(message.fee_limit, attempt.amount),
        record: Some((message.record_type, attempt.envelope.clone())),
    }
}

fn set(delivery: &mut Delivery, part: u16, state: PartState) -> Result<(), Error> {
    delivery.set(part, state).map_err(|error| Error::internal(error.to_string()))
}
