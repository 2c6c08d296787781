//! Messages that wait for another try, a line for each recipient.
//!
//! The order and the pauses are [`imp_core::kept::Line`]'s. A line has a task of its own as long as anybody waits in it;
//! it holds no texts, they are read when their turn comes. What ends a wait early: a payment to the recipient settles, or
//! a channel can be used that could not before.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use imp_api::error::Code;
use imp_core::attempt::{AttemptState, FailureCause};
use imp_core::delivery::{Delivery, MessageState, PartState};
use imp_core::id::NodeId;
use imp_core::kept::{Line, Place, Step, TryEnd};
use imp_core::record::Service;
use imp_core::retry::Try;
use imp_core::time::UnixMillis;
use tokio::sync::Notify;

use super::plan::Plan;
use super::run::{Outcome, Sending};
use super::running::Stage;
use super::turns::Ticket;
use super::{Inner, Open, failure};
use crate::error::Error;
use crate::store::outbox::{FullMessage, SendFailure, StoredAttempt};

/// How often it is looked whether more channels can be used, while anybody waits.
const CHANNEL_POLL: Duration = Duration::from_secs(2);

/// The longest that a line sleeps: its times follow a clock that may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Mutex<HashMap<NodeId, Waiting>>,
    /// A line began.
    begun: Notify,
}

/// Those who wait for one recipient.
#[derive(Debug, Default)]
struct Waiting {
    line: Line,
    /// Those who are not under way.
    members: HashMap<Place, Open>,
    changed: Arc<Notify>,
}

/// What a line's task does next.
enum Next {
    Send(Open),
    GiveUp(Open),
    Wait(Option<UnixMillis>),
    /// Nobody waits any more: the line is gone.
    Done,
}

impl Lines {
    /// Says that a recipient may be reached now.
    pub(super) fn wake(&self, recipient: &NodeId, now: UnixMillis) {
        if let Some(waiting) = self.lock().get_mut(recipient) {
            waiting.wake(now);
        }
    }

    /// Says so of all.
    pub(super) fn wake_all(&self, now: UnixMillis) {
        for waiting in self.lock().values_mut() {
            waiting.wake(now);
        }
    }

    /// How many wait for a recipient, without those under way.
    pub(super) fn waiting(&self, recipient: &NodeId) -> usize {
        self.lock().get(recipient).map_or(0, |waiting| waiting.members.len())
    }

    fn next(&self, recipient: &NodeId, now: UnixMillis) -> Next {
        let mut lines = self.lock();
        let Some(waiting) = lines.get_mut(recipient) else { return Next::Done };
        let (place, is_over) = match waiting.line.next(now) {
            Step::Send(place) => (place, false),
            Step::GiveUp(place) => (place, true),
            Step::Wait(_) if waiting.line.is_empty() => {
                lines.remove(recipient);
                return Next::Done;
            }
            Step::Wait(until) => return Next::Wait(until),
        };
        let open = waiting.members.remove(&place).expect("whoever waits in a line is a member");
        if is_over { Next::GiveUp(open) } else { Next::Send(open) }
    }

    fn ended(&self, open: Open, end: TryEnd) {
        let mut lines = self.lock();
        let Some(waiting) = lines.get_mut(&open.message.recipient) else { return };
        waiting.line.ended(open.place, end);
        if !matches!(end, TryEnd::Settled | TryEnd::Over) {
            waiting.members.insert(open.place, open);
        }
    }

    fn are_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Single steps that cannot leave line and members apart.
    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Waiting>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn wake(&mut self, now: UnixMillis) {
        self.line.wake(now);
        self.changed.notify_one();
    }
}

impl Inner {
    /// Puts a message into the line of its recipient.
    pub(super) fn wait_in_line(self: &Arc<Self>, open: Open) {
        let recipient = open.message.recipient;
        let until = open.message.keep_until.unwrap_or_default();
        let mut lines = self.lines.lock();
        let waiting = lines.entry(recipient).or_default();
        let is_new = waiting.line.is_empty();
        waiting.line.join(open.place, open.message.amount_sat, until, self.clock.now());
        waiting.changed.notify_one();
        open.running.is(Stage::Waiting);
        waiting.members.insert(open.place, open);
        if is_new {
            let changed = Arc::clone(&waiting.changed);
            drop(self.spawn("kept messages", work_off(Arc::clone(self), recipient, changed)));
            self.lines.begun.notify_one();
        }
    }
}

/// Works on a line until nobody waits in it.
async fn work_off(inner: Arc<Inner>, recipient: NodeId, changed: Arc<Notify>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        let now = inner.clock.now();
        let until = match inner.lines.next(&recipient, now) {
            Next::Done => return,
            Next::GiveUp(open) => {
                give_up(&inner, open).await;
                continue;
            }
            Next::Send(open) => {
                // The place in the queue is taken here: the line's order is the order of the numbers.
                let ticket = inner.enter_again(&open.message);
                under_way.push(try_again(&inner, open, ticket));
                continue;
            }
            Next::Wait(until) => until,
        };
        let pause = until.map_or(LONGEST_SLEEP, |until| until.since(now).min(LONGEST_SLEEP));
        tokio::select! {
            Some((open, end)) = under_way.next() => inner.lines.ended(open, end),
            () = changed.notified() => {}
            () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
        }
    }
}

/// Another try of a message.
async fn try_again(inner: &Arc<Inner>, open: Open, ticket: Ticket) -> (Open, TryEnd) {
    open.running.is(Stage::Trying);
    let id = open.message.id;
    let (stage, end) = match try_once(inner, &open, ticket).await {
        Ok(Tried::Sent(Outcome::Settled)) => {
            tracing::info!(message = %id, "a message that was kept is settled");
            (Stage::Ended(Ok(())), TryEnd::Settled)
        }
        Ok(Tried::Sent(Outcome::Ended(error))) => {
            tracing::warn!(message = %id, "a message that was kept: {error}");
            (Stage::Ended(Err(error)), TryEnd::Over)
        }
        Ok(Tried::Sent(Outcome::Waits { cause })) => (Stage::Waiting, after(cause)),
        Ok(Tried::NoRoom(end)) => (Stage::Waiting, end),
        Err(error) => {
            tracing::warn!(message = %id, "a message that is kept cannot be tried now: {error}");
            (Stage::Waiting, TryEnd::Unreachable)
        }
    };
    open.running.is(stage);
    (open, end)
}

enum Tried {
    Sent(Outcome),
    /// Nothing was paid: there is no channel to pay with, or too little in them, or something else is said first.
    NoRoom(TryEnd),
}

async fn try_once(inner: &Arc<Inner>, open: &Open, ticket: Ticket) -> Result<Tried, Error> {
    let id = open.message.id;
    let looking = inner.texts.look_at(&open.message, 2).await;
    let Some(FullMessage { stored, body, attempts }) = inner.store.full_message(id).await? else {
        return Ok(Tried::Sent(Outcome::Ended(Error::internal("failed: the message was let go"))));
    };
    if stored.ended.is_some() {
        return Ok(Tried::Sent(Outcome::Ended(failure::withdrawn())));
    }
    // Until the end of the try, from where on its row counts.
    let _allowed = match inner.allow_old(&stored.message).await? {
        Ok(allowed) => allowed,
        Err(refused) => return Ok(Tried::Sent(Outcome::Ended(refused))),
    };
    let plan = Plan::of_message(&stored.message, &body)?;
    let delivery = delivery(stored.message.parts, &attempts);
    if let Err(error) = inner.check_room(&stored.message.recipient, &plan, &delivery).await {
        let end = if error.code() == Code::Unavailable { TryEnd::Unreachable } else { TryEnd::Failed };
        let failure = SendFailure::from(&error.of_send());
        // The text is for whoever asks; the same one again is no news.
        if stored.failure.as_ref() != Some(&failure) {
            inner.store.requeue_message(id, failure).await?;
        }
        return Ok(Tried::NoRoom(end));
    }
    let text = inner.texts.keep(body.into(), plan);
    drop((attempts, looking));
    let slot = ticket.granted().await;
    let is_federation = stored.message.service == Service::Federate;
    let sending = Sending::at_turn(inner, stored.message, text, slot, Try::another).await?;
    if is_federation && sending.is_behind() {
        // Of federation the last word counts: what becomes of a younger message decides whether this one is sent.
        return Ok(Tried::NoRoom(TryEnd::Unreachable));
    }
    sending.send(delivery).await.map(Tried::Sent)
}

/// What a failed try says of the rest of the line.
const fn after(cause: FailureCause) -> TryEnd {
    match cause {
        FailureCause::Unavailable | FailureCause::RecipientRejected => TryEnd::Unreachable,
        _ => TryEnd::Failed,
    }
}

/// How the parts of a message stand of which no attempt is in flight.
pub(super) fn delivery(parts: u16, attempts: &[StoredAttempt]) -> Delivery {
    let mut states = vec![PartState::Waiting; parts.into()];
    for StoredAttempt { attempt, .. } in attempts {
        let Some(part) = states.get_mut(usize::from(attempt.part)) else { continue };
        match attempt.state {
            AttemptState::Settled => *part = PartState::Settled,
            AttemptState::Failed => {}
            AttemptState::Ready | AttemptState::Sent | AttemptState::Unknown => {
                if *part != PartState::Settled {
                    *part = PartState::Unknown;
                }
            }
        }
    }
    Delivery::restore(states)
}

/// Ends a message whose time is over.
async fn give_up(inner: &Arc<Inner>, open: Open) {
    let error = match inner.store.message(open.message.id).await {
        Ok(Some(stored)) if stored.ended.is_some() => {
            return open.running.is(Stage::Ended(Err(failure::withdrawn())));
        }
        Ok(stored) => over(stored.and_then(|stored| stored.failure)),
        Err(error) => error.into(),
    };
    let (state, now) = (MessageState::Failed, inner.clock.now());
    if let Err(stopping) = inner.store.end_message(open.message.id, state, (&error).into(), now).await {
        // It stays open: the next run gives it up.
        tracing::warn!(message = %open.message.id, "a message cannot be given up: {stopping}");
    }
    tracing::warn!(message = %open.message.id, "a message that was kept: {error}");
    open.running.is(Stage::Ended(Err(error)));
}

fn over(last: Option<SendFailure>) -> Error {
    let last = last.map_or_else(
        || "it could not be tried".to_owned(),
        |failure| format!("the last try: {}", failure.text.trim_start_matches("send failed: ")),
    );
    let text = format!("send failed: the time for which the message was kept is over; {last}");
    Error::new(Code::Unavailable, failure::KEPT_IN_VAIN, text)
}

/// Wakes the lines when a channel can be used that could not before. Ends only where it is dropped.
pub(super) async fn watch_channels(inner: &Arc<Inner>) {
    let mut known: Option<HashSet<NodeId>> = None;
    loop {
        if inner.lines.are_empty() {
            known = None;
            inner.lines.begun.notified().await;
        }
        if let Ok(channels) = inner.node.channels().await {
            let usable =
                channels.iter().filter(|channel| channel.usable).map(|channel| channel.peer).collect();
            if known.is_some_and(|known| !known.is_superset(&usable)) {
                inner.lines.wake_all(inner.clock.now());
            }
            known = Some(usable);
        }
        tokio::time::sleep(CHANNEL_POLL).await;
    }
}
