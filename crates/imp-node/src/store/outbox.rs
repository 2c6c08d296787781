//! What this node sends: messages, and the attempts to pay for their parts.

mod record;

use std::sync::Arc;

use async_trait::async_trait;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::time::UnixMillis;
use tokio::sync::broadcast;

use super::StoreError;
use super::idempotency::NewKey;
use super::journal::NewEvent;

pub use record::{
    Answer, AnswerCost, Attempt, AttemptEnd, Begun, FullMessage, GiveUp, MessagePage, MessageQuery, Number,
    OutboxMessage, SendFailure, StoredAttempt, StoredMessage, Tally, Withdrawal,
};

/// The name of a message's state in the database and in answers.
pub const fn message_state_name(state: MessageState) -> &'static str {
    match state {
        MessageState::Queued => "queued",
        MessageState::Sending => "sending",
        MessageState::Settled => "settled",
        MessageState::Failed => "failed",
        MessageState::Unknown => "unknown",
    }
}

/// The state that has this name.
pub fn message_state(name: &str) -> Option<MessageState> {
    use MessageState::{Failed, Queued, Sending, Settled, Unknown};
    [Queued, Sending, Settled, Failed, Unknown].into_iter().find(|state| message_state_name(*state) == name)
}

/// The name of an attempt's state in the database and in answers.
pub const fn attempt_state_name(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Ready => "ready",
        AttemptState::Sent => "sent",
        AttemptState::Settled => "settled",
        AttemptState::Failed => "failed",
        AttemptState::Unknown => "unknown",
    }
}

/// Ends of messages that a receiver of [`OutboxStore::ends`] may leave untaken before it misses some.
pub const ENDS_KEPT: usize = 4_096;

/// The outbox as a store keeps it.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// Messages that ended from now on, in the order of the commits and after them: settled, failed or unknown. One that is
    /// tried again, or settles late, or whose end is told again by the backend, comes again. Whoever leaves more than
    /// [`ENDS_KEPT`] untaken misses the oldest, is told so, and has to look at the rows.
    fn ends(&self) -> broadcast::Receiver<MessageId>;

    /// Takes a message in, as queued, and with it the key of the call that brought it. Returns its place in the order of
    /// acceptance.
    async fn accept_message(
        &self,
        message: OutboxMessage,
        body: Arc<[u8]>,
        key: Option<NewKey>,
    ) -> Result<u64, StoreError>;

    /// Takes in a message of this node to itself, as settled, publishes it, and stores the key of the call that brought
    /// it. The event is in the journal's tail when this returns.
    async fn publish_own(
        &self,
        message: OutboxMessage,
        event: NewEvent,
        key: Option<NewKey>,
    ) -> Result<(), StoreError>;

    /// Notes an attempt before the backend is called, and the number of the message's try. The message is `sending` from
    /// here on. Nothing is noted of one that is not to be sent, or not now.
    async fn begin_attempt(&self, attempt: Attempt, number: Option<Number>) -> Result<Begun, StoreError>;

    /// Notes that the backend took an attempt. Durable some time later: nothing depends on it.
    fn attempt_sent(&self, hash: PaymentHash);

    /// Notes how an attempt ended, and that its message is settled if this was the last of its parts. Returns the
    /// message; nothing where this node never made the attempt. Settled stays settled.
    async fn end_attempt(
        &self,
        hash: PaymentHash,
        end: AttemptEnd,
        now: UnixMillis,
    ) -> Result<Option<MessageId>, StoreError>;

    /// Notes that the try of a message failed and that it waits for another: it is `queued` again and has no number. One
    /// that has ended, or is not kept any more, stays as it is. Says whether it waits.
    async fn requeue_message(&self, id: MessageId, failure: SendFailure) -> Result<bool, StoreError>;

    /// Opens a message that failed for another try: it is `queued` and has no number. Says whether it was `failed`.
    async fn reopen_message(&self, id: MessageId) -> Result<bool, StoreError>;

    /// Notes that a message failed or is unknown. A settled one stays settled.
    async fn end_message(
        &self,
        id: MessageId,
        state: MessageState,
        failure: SendFailure,
        now: UnixMillis,
    ) -> Result<(), StoreError>;

    /// The attempt that a payment belongs to, if it is one of ours.
    async fn attempt(&self, hash: PaymentHash) -> Result<Option<Attempt>, StoreError>;

    /// Messages that have not ended, in the order of acceptance.
    async fn open_messages(&self) -> Result<Vec<StoredMessage>, StoreError>;

    /// A message; nothing where this node never took it in, or has let it go.
    async fn message(&self, id: MessageId) -> Result<Option<StoredMessage>, StoreError>;

    /// A message with its text and its attempts, oldest first.
    async fn full_message(&self, id: MessageId) -> Result<Option<FullMessage>, StoreError>;

    /// The text of a message; nothing where it is not kept.
    async fn message_body(&self, id: MessageId) -> Result<Option<Vec<u8>>, StoreError>;

    /// The attempts of a message, oldest first.
    async fn attempts(&self, id: MessageId) -> Result<Vec<StoredAttempt>, StoreError>;

    /// What the node's own messages cost that were accepted or ended since a time, and those to one recipient that are open,
    /// whenever they were accepted: what they may cost at most, or what was paid where that is known.
    async fn answers_since(&self, time: UnixMillis, recipient: NodeId) -> Result<AnswerCost, StoreError>;

    /// Some messages, newest first.
    async fn list_messages(&self, query: MessageQuery) -> Result<MessagePage, StoreError>;

    /// Lets messages go that ended before a time, with their attempts, some in each transaction. Returns how many.
    async fn forget_messages_before(&self, before: UnixMillis) -> Result<usize, StoreError>;

    /// Numbers this run of the daemon: one more than the last run, and at least `now_secs`.
    async fn next_stream(&self, now_secs: u32) -> Result<u32, StoreError>;

    /// Notes that a channel closed: failures of payments begun before are not definite.
    async fn note_channel_closed(&self) -> Result<(), StoreError>;

    /// Whether a channel closed since an attempt was stored, whatever the clock says; nothing where it is none of ours.
    async fn closed_since_attempt(&self, hash: PaymentHash) -> Result<Option<bool>, StoreError>;
}
