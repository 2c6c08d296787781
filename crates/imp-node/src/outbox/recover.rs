//! What earlier runs of the daemon left.

use std::sync::Arc;
use std::time::Duration;

use imp_api::error::Code;
use imp_core::attempt::{Attempt as AttemptRules, AttemptState};
use imp_core::delivery::{Delivery, MessageState, PartState};
use imp_core::id::PaymentHash;
use imp_core::record::Service;
use imp_core::retry::{SEND_WITHIN, TRY_DEADLINE, Try};
use imp_core::time::UnixMillis;

use super::outcome::Ended;
use super::run::{Outcome, Sending, keysend};
use super::text::Text;
use super::turns::{Barrier, Numbered, Ticket};
use super::{Inner, Open, failure};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::outbox::{Attempt, OutboxMessage, SendFailure, StoredAttempt, StoredMessage};

/// What a message that was never attempted ends with.
const NEVER_SENT: &str = "send failed: the daemon stopped before anything was sent";

/// What a message ends with that cannot be sent any more.
const TOO_OLD: &str =
    "send failed: the daemon did not run for so long that the message is too old to be sent";

/// The place of a message among those to its recipient.
enum Turn {
    /// It got its number in an earlier run.
    Had { numbered: Numbered, barrier: Barrier },
    /// It has none.
    Waits(Ticket),
}

pub(super) async fn recover(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let mut given_up = Vec::new();
    for stored in inner.store.open_messages().await? {
        let Ok(running) = inner.running.take_up(stored.message.id) else { continue };
        let (is_kept, is_attempted) = (stored.message.keep_until.is_some(), stored.tally.attempts > 0);
        if !is_attempted && !is_kept && !stored.has_key {
            let failure = SendFailure::from(&not_sent(NEVER_SENT));
            let now = inner.clock.now();
            given_up.push(inner.store.end_message(stored.message.id, MessageState::Failed, failure, now));
            continue;
        }
        let StoredMessage { place, message, state, number, .. } = stored;
        let is_own = matches!(message.service, Service::Federate | Service::Vpn);
        let permit = if is_kept && is_own { inner.permit_of_own() } else { inner.permit(is_kept).ok() };
        let open = Open { place, message, running, _permit: permit };
        let (recipient, service) = (open.message.recipient, open.message.service);
        if is_kept && state == MessageState::Queued {
            inner.wait_in_line(open);
            inner.lines.wake(&recipient, inner.clock.now());
            continue;
        }
        let turn = match number.map(|number| inner.turns.take_up(recipient, service, number)) {
            Some((numbered, barrier)) => Turn::Had { numbered, barrier },
            // One that has no number yet takes its place before the messages of this run.
            None => Turn::Waits(inner.enter_again(&open.message)),
        };
        // Nobody waits for it: the row says what became of it.
        drop(inner.spawn("message", follow_up(Arc::clone(inner), open, turn)));
    }
    futures_util::future::try_join_all(given_up).await?;
    Ok(())
}

/// Follows a message to its end: the attempts that are open, then the parts that were not attempted.
async fn follow_up(inner: Arc<Inner>, open: Open, turn: Turn) {
    let sent = follow_while_waited_for(&inner, open.message.clone(), turn).await;
    let id = open.message.id;
    match &sent {
        Ok(Outcome::Settled) => tracing::info!(message = %id, "a message of an earlier run is settled"),
        Ok(Outcome::Waits { cause }) => {
            tracing::info!(message = %id, "a message of an earlier run is kept: {cause:?}");
        }
        Ok(Outcome::Ended(error)) | Err(error) => {
            tracing::warn!(message = %id, "a message of an earlier run: {error}");
        }
    }
    inner.conclude(open, sent);
}

/// Lets the numbers of this run go on once the message's recipient waits for it no longer.
async fn follow_while_waited_for(
    inner: &Arc<Inner>,
    message: OutboxMessage,
    turn: Turn,
) -> Result<Outcome, Error> {
    let (numbered, barrier) = match turn {
        Turn::Had { numbered, barrier } => (numbered, barrier),
        Turn::Waits(ticket) => {
            let attempts = attempts(inner, &message).await?;
            return follow_parts(inner, message, attempts, None, Some(ticket)).await;
        }
    };
    let mut barrier = Some(barrier);
    let reading = attempts(inner, &message);
    tokio::pin!(reading);
    let attempts = tokio::select! {
        attempts = &mut reading => attempts?,
        () = tokio::time::sleep(TRY_DEADLINE) => {
            barrier = None;
            reading.await?
        }
    };
    let begun = attempts.iter().map(|known| known.begun).max().unwrap_or_default();
    let left = TRY_DEADLINE.saturating_sub(inner.clock.now().since(begun)).max(Duration::from_millis(1));
    let following = follow_parts(inner, message.clone(), attempts, Some(numbered), None);
    tokio::pin!(following);
    tokio::select! {
        sent = &mut following => sent,
        () = tokio::time::sleep(left) => {
            drop(barrier);
            following.await
        }
    }
}

/// An attempt, without its envelope.
struct Known {
    hash: PaymentHash,
    part: u16,
    begun: UnixMillis,
    state: AttemptState,
}

impl From<StoredAttempt> for Known {
    fn from(StoredAttempt { attempt, .. }: StoredAttempt) -> Self {
        let Attempt { hash, part, begun, state, .. } = attempt;
        Self { hash, part, begun, state }
    }
}

/// The attempts of a message. While they are read all of its text is in memory, and not for longer: to look one up takes
/// its time.
async fn attempts(inner: &Inner, message: &OutboxMessage) -> Result<Vec<Known>, Error> {
    let _looking = inner.texts.look_at(message, 1).await;
    Ok(inner.store.attempts(message.id).await?.into_iter().map(Known::from).collect())
}

async fn follow_parts(
    inner: &Arc<Inner>,
    message: OutboxMessage,
    attempts: Vec<Known>,
    numbered: Option<Numbered>,
    ticket: Option<Ticket>,
) -> Result<Outcome, Error> {
    let parts = follow_attempts(inner, &message, attempts).await?;
    let delivery = Delivery::restore(parts);
    let now = inner.clock.now();
    if delivery.next_part().is_none() {
        let sending = Sending::begin(inner, message, Text::Stored, None, numbered, Try::new).await?;
        return sending.send(delivery).await;
    }
    if now.since(message.accepted) >= SEND_WITHIN {
        let error = not_sent(TOO_OLD);
        inner.store.end_message(message.id, MessageState::Failed, SendFailure::from(&error), now).await?;
        return Ok(Outcome::Ended(error));
    }
    // Until the end of the try, from where on its row counts.
    let _allowed = match inner.allow_old(&message).await? {
        Ok(allowed) => allowed,
        Err(refused) => return Ok(Outcome::Ended(refused)),
    };
    // One that has its number takes none when its turn comes.
    let ticket = ticket.unwrap_or_else(|| inner.turns.enter(message.recipient, None, message.text_bytes()));
    // Where there is no room the backend is asked all the same: its refusal is what the message ends with.
    let room = inner.room(&message.recipient).await.map(|room| (room.max_in_flight, room.direct));
    let (limit, direct) = room.unwrap_or((1, false));
    inner.turns.set_limit(message.recipient, limit, direct);
    let slot = ticket.granted().await;
    let sending = Sending::begin(inner, message, Text::Stored, Some(slot), numbered, Try::new).await?;
    sending.send(delivery).await
}

/// Finds out about the attempts, and waits for the ends of those that have none.
async fn follow_attempts(
    inner: &Arc<Inner>,
    message: &OutboxMessage,
    attempts: Vec<Known>,
) -> Result<Vec<PartState>, Error> {
    let mut parts = vec![PartState::Waiting; message.parts.into()];
    let mut looked_up = Vec::new();
    for Known { hash, part, state, .. } in attempts {
        let part = usize::from(part);
        let state = match state {
            AttemptState::Settled => PartState::Settled,
            AttemptState::Failed => continue,
            AttemptState::Ready | AttemptState::Sent | AttemptState::Unknown => {
                let Some(attempt) = inner.store.attempt(hash).await? else { continue };
                let ended = inner.follow(hash, AttemptRules::restore(state));
                inner.look_up(keysend(inner, message, &attempt)).await?;
                looked_up.push((part, ended));
                PartState::InFlight
            }
        };
        if parts[part] != PartState::Settled {
            parts[part] = state;
        }
    }
    for (part, ended) in looked_up {
        let ended = ended.await.map_err(|_| Error::internal("the outbox lost track of a payment"))?;
        parts[part] = match ended {
            Ended::Settled => {
                inner.lines.wake(&message.recipient, inner.clock.now());
                PartState::Settled
            }
            Ended::Failed { .. } => PartState::Waiting,
            Ended::Unknown { .. } => PartState::Unknown,
        };
    }
    Ok(parts)
}

fn not_sent(text: &str) -> Error {
    Error::new(Code::Unavailable, failure::NOT_SENT, text)
}
