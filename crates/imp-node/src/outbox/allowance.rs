//! What the node spends on messages that nobody at it asked for: so much a day, and so much of it for one recipient.
//!
//! What was spent is read from the rows, where a message that is open counts with what it may cost at most. Of all, it counts
//! for a day from its acceptance and for a day from its end, so that whoever asks and cannot be reached does not use the
//! allowance up for as long as messages are kept; of one recipient, it counts all the time. Between the look at the rows and
//! the commit of a new one, its share is held here. One that is open for more than a day has to ask again before it is tried.
//!
//! A part is kept for peers: strangers are as many as somebody makes keys, and must not use up what renewals take.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::delivery::MessageState;
use imp_core::id::NodeId;
use tokio::sync::Mutex as AsyncMutex;

use super::plan::Plan;
use super::{Inner, failure};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::outbox::OutboxMessage;

/// The name of the counter of messages that were not sent, since the allowance was used up.
pub const ANSWERS_REFUSED: &str = "answers_refused";

/// The most for one recipient within [`PERIOD`].
const MAX_FOR_ONE: Msat = Msat::from_sat(20);

/// One part of so many is for peers alone.
const PART_OF_PEERS: u64 = 4;

/// For how long what was spent counts.
const PERIOD: Duration = Duration::from_secs(24 * 3600);

/// Whom a message of the node itself is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerTo {
    /// Anybody, who may have made the key to ask with: three quarters of the allowance are for all of them.
    Stranger,
    /// A node that somebody here chose.
    Peer,
}

/// The allowance.
#[derive(Debug)]
pub(super) struct Allowance {
    in_all: Msat,
    /// One looks at a time.
    looking: AsyncMutex<()>,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    shares: HashMap<u64, (NodeId, Msat)>,
}

/// A share of the allowance for a message that is not stored yet. It is given back when this is dropped: keep it until the
/// message's row is committed, from where on the row counts, or until it is certain that there will be none.
pub struct Allowed {
    most: Msat,
    share: u64,
    held: Arc<Mutex<Held>>,
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowed").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Allowed {
    /// What the message may cost at most, fees included.
    pub const fn most(&self) -> Msat {
        self.most
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        lock(&self.held).shares.remove(&self.share);
    }
}

impl Allowance {
    /// So much within 24 hours.
    pub(super) fn new(in_all: Msat) -> Self {
        Self { in_all, looking: AsyncMutex::default(), held: Arc::default() }
    }

    /// The error of a message for which there is no room.
    pub(super) fn used_up(&self) -> Error {
        let text = format!(
            "failed: the allowance for answers is used up: {} sat a day, {} sat of it for one node",
            self.in_all.to_sat_floor(),
            MAX_FOR_ONE.to_sat_floor()
        );
        Error::new(Code::ResourceExhausted, failure::NO_ALLOWANCE, text)
    }

    /// The most that may be spent in all, before something is refused to these.
    fn most(&self, to: AnswerTo) -> Msat {
        match to {
            AnswerTo::Peer => self.in_all,
            AnswerTo::Stranger => {
                self.in_all.saturating_sub(Msat::from_sat(self.in_all.to_sat_floor() / PART_OF_PEERS))
            }
        }
    }
}

impl Inner {
    /// A share for a message of the node itself; nothing where the allowance is used up.
    pub(super) async fn allow(
        &self,
        recipient: &NodeId,
        plan: &Plan,
        to: AnswerTo,
    ) -> Result<Option<Allowed>, StoreError> {
        let Allowance { looking, held, .. } = &self.allowance;
        let _looking = looking.lock().await;
        // A direct channel forwards nothing.
        let direct = self.is_direct(recipient).await;
        let fees = if direct { Msat::default() } else { self.fees(plan.fee_limit(), plan.amounts()) };
        let most = plan.amounts().iter().copied().sum::<Msat>().saturating_add(fees);
        // Before the rows: what is stored in between counts twice, and never not at all.
        let (mut all, mut one) = lock(held).sums(recipient);
        let spent = self.store.answers_since(self.clock.now().minus(PERIOD), *recipient).await?;
        all = all.saturating_add(spent.in_all).saturating_add(most);
        one = one.saturating_add(spent.to_one).saturating_add(most);
        if all > self.allowance.most(to) || one > MAX_FOR_ONE {
            return Ok(None);
        }
        let share = lock(held).add(*recipient, most);
        Ok(Some(Allowed { most, share, held: Arc::clone(held) }))
    }

    /// Whether a node can be paid over a channel with it.
    pub(super) async fn is_direct(&self, node: &NodeId) -> bool {
        self.node.send_room(node).await.is_ok_and(|room| room.direct && room.max_in_flight > 0)
    }

    /// Another share for a message that has been open for longer than it counts for all; nothing for any other. Whom it was
    /// for is not known any more, so it is a stranger's. Of its recipient's part it has its share all the time. Where the
    /// allowance is used up the message fails, with the error that is returned.
    pub(super) async fn allow_old(
        &self,
        message: &OutboxMessage,
    ) -> Result<Result<Option<Allowed>, Error>, StoreError> {
        let now = self.clock.now();
        let Some(most) = message.answer.filter(|_| now.since(message.accepted) >= PERIOD) else {
            return Ok(Ok(None));
        };
        let Allowance { looking, held, .. } = &self.allowance;
        let _looking = looking.lock().await;
        let (all, _) = lock(held).sums(&message.recipient);
        let spent = self.store.answers_since(now.minus(PERIOD), message.recipient).await?;
        if all.saturating_add(spent.in_all).saturating_add(most) > self.allowance.most(AnswerTo::Stranger) {
            let refused = self.allowance.used_up().of_send();
            self.store.end_message(message.id, MessageState::Failed, (&refused).into(), now).await?;
            return Ok(Err(refused));
        }
        let share = lock(held).add(message.recipient, most);
        Ok(Ok(Some(Allowed { most, share, held: Arc::clone(held) })))
    }
}

impl Held {
    /// What is held for all, and for one of them.
    fn sums(&self, recipient: &NodeId) -> (Msat, Msat) {
        let all = self.shares.values().map(|(_, most)| *most).sum();
        let one = self.shares.values().filter(|(to, _)| to == recipient).map(|(_, most)| *most).sum();
        (all, one)
    }

    fn add(&mut self, recipient: NodeId, most: Msat) -> u64 {
        let share = self.next;
        self.next += 1;
        self.shares.insert(share, (recipient, most));
        share
    }
}

/// Single steps, which leave nothing half done.
fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
