//! What this node sends: messages, and the attempts to pay for their parts.

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId, PaymentHash, Preimage};
use imp_core::record::{RecordType, Service};
use imp_core::time::UnixMillis;

use super::StoreError;
use super::idempotency::NewKey;

/// A message as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Its name, here and at the recipient.
    pub id: MessageId,
    /// What it belongs to.
    pub service: Service,
    /// The record that carries it.
    pub record_type: RecordType,
    /// Who gets it.
    pub recipient: NodeId,
    /// The text.
    pub body: Vec<u8>,
    /// The id of the message that this one answers, or nothing.
    pub reply_to: String,
    /// Satoshis over all parts.
    pub amount_sat: u64,
    /// Number of parts; 1 for a single payment.
    pub parts: u16,
    /// Sent outside of the order of messages.
    pub unordered: bool,
    /// When it was accepted.
    pub accepted: UnixMillis,
}

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

/// The name of an attempt's state in the database.
pub const fn attempt_state_name(state: AttemptState) -> &'static str {
    match state {
        AttemptState::Ready => "ready",
        AttemptState::Sent => "sent",
        AttemptState::Settled => "settled",
        AttemptState::Failed => "failed",
        AttemptState::Unknown => "unknown",
    }
}

/// One payment for one part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The payment.
    pub hash: PaymentHash,
    /// The message.
    pub message: MessageId,
    /// The part, from 0.
    pub part: u16,
    /// Settles the payment.
    pub preimage: Preimage,
    /// The record's bytes: sent again, if at all, exactly like this.
    pub envelope: Vec<u8>,
    /// What the recipient gets.
    pub amount: Msat,
    /// When it was begun.
    pub begun: UnixMillis,
    /// How it stands.
    pub state: AttemptState,
}

/// A message's place in the order of its sender's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The run of the daemon that gave the number.
    pub stream: u32,
    /// The number within the run.
    pub seq: u32,
}

/// A message that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenMessage {
    /// The message.
    pub message: OutboxMessage,
    /// Its number, once it was dispatched.
    pub number: Option<Number>,
    /// Every attempt so far.
    pub attempts: Vec<Attempt>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Paid; `fee` went to forwarding nodes.
    Settled {
        /// The fee, where the backend knows it.
        fee: Option<Msat>,
    },
    /// Definitely not paid.
    Failed {
        /// Why.
        reason: String,
    },
    /// A channel closed under it.
    Unknown {
        /// What is known.
        reason: String,
    },
}

/// The outbox as a store keeps it.
#[async_trait]
pub trait OutboxStore: Send + Sync + 'static {
    /// Takes a message in, as queued, and with it the key of the call that brought it.
    async fn accept_message(&self, message: OutboxMessage, key: Option<NewKey>) -> Result<(), StoreError>;

    /// Notes an attempt before the backend is called, and the message's number with its first one. The message is
    /// `sending` from here on.
    async fn begin_attempt(&self, attempt: Attempt, number: Option<Number>) -> Result<(), StoreError>;

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

    /// Notes that a message failed or is unknown. A settled one stays settled.
    async fn end_message(
        &self,
        id: MessageId,
        state: MessageState,
        error: String,
        now: UnixMillis,
    ) -> Result<(), StoreError>;

    /// The attempt that a payment belongs to, if it is one of ours.
    async fn attempt(&self, hash: PaymentHash) -> Result<Option<Attempt>, StoreError>;

    /// Messages that have not ended, in the order of acceptance.
    async fn open_messages(&self) -> Result<Vec<OpenMessage>, StoreError>;

    /// Every message that is kept, in the order of acceptance, and how it stands.
    async fn all_messages(&self) -> Result<Vec<(MessageId, MessageState)>, StoreError>;

    /// How a message stands, and the error it ended with; nothing where this node never took it in.
    async fn message_state(
        &self,
        id: MessageId,
    ) -> Result<Option<(MessageState, Option<String>)>, StoreError>;

    /// Numbers this run of the daemon: one more than the last run, and at least `now_secs`.
    async fn next_stream(&self, now_secs: u32) -> Result<u32, StoreError>;

    /// Notes that a channel closed: failures of payments begun before are not definite.
    async fn note_channel_closed(&self, now: UnixMillis) -> Result<(), StoreError>;

    /// When a channel last closed.
    async fn last_channel_closed(&self) -> Result<Option<UnixMillis>, StoreError>;
}
