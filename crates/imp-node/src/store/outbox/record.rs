//! Messages and attempts as they are kept.

use std::sync::Arc;

use imp_core::amount::Msat;
use imp_core::attempt::AttemptState;
use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId, PaymentHash, Preimage};
use imp_core::record::{RecordType, Service};
use imp_core::time::UnixMillis;

/// A message as it was accepted, without its text.
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
    /// Length of the text.
    pub body_bytes: u64,
    /// The id of the message that this one answers, or nothing.
    pub reply_to: String,
    /// Satoshis over all parts.
    pub amount_sat: u64,
    /// Number of parts, each a payment; 0 for a message to this node itself.
    pub parts: u16,
    /// Sent outside of the order of messages.
    pub unordered: bool,
    /// When it was accepted.
    pub accepted: UnixMillis,
    /// Until when it is tried again; nothing for one try.
    pub keep_until: Option<UnixMillis>,
    /// Of what the node sends by itself: what it may cost at most, fees included.
    pub answer: Option<Msat>,
    /// The most that each of its payments may pay to forwarding nodes; nothing for what the configuration says.
    pub fee_limit: Option<Msat>,
}

/// A message that another change takes in, and its text. Nobody waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message.
    pub message: OutboxMessage,
    /// Its text.
    pub body: Arc<[u8]>,
}

/// Whether an attempt was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It was.
    Yes,
    /// Its message has ended.
    Ended,
    /// Its message is one of federation, of which the last word counts, and a younger one of its line was sent, or is kept.
    Overtaken,
    /// Likewise, and a younger one with a lower number is on its way: what becomes of that decides.
    Behind,
}

/// Messages to give up that are kept: one that waits ends, and one that is on its way is not tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Those to this node,
    pub recipient: NodeId,
    /// of this service,
    pub service: Service,
    /// and only those that have a place in the order.
    pub only_ordered: bool,
    /// What they end with.
    pub failure: SendFailure,
    /// When.
    pub at: UnixMillis,
}

/// A message to give up, by its id: if it waits it ends, and if it is on its way it is not tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiveUp {
    /// The message.
    pub id: MessageId,
    /// What it ends with.
    pub failure: SendFailure,
    /// When.
    pub at: UnixMillis,
}

/// What the node's own messages cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerCost {
    /// Those to everybody.
    pub in_all: Msat,
    /// Those to one recipient.
    pub to_one: Msat,
}

/// A message's place in the order of its sender's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The run of the daemon that gave the number.
    pub stream: u32,
    /// The number within the run.
    pub seq: u32,
}

/// Why a message failed, or is unknown: what its callers get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendFailure {
    /// Number of the gRPC code.
    pub code: u8,
    /// The machine-readable reason.
    pub reason: String,
    /// The text.
    pub text: String,
}

/// How the payments of a message stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Payments that were tried.
    pub attempts: u32,
    /// Parts that are paid.
    pub parts_settled: u16,
    /// What forwarding nodes got for those, as far as the backend knew.
    pub fee: Msat,
}

/// A message as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the order of acceptance.
    pub place: u64,
    /// What was accepted.
    pub message: OutboxMessage,
    /// How it stands.
    pub state: MessageState,
    /// The number of its try, once it was dispatched.
    pub number: Option<Number>,
    /// The call that brought it had a key.
    pub has_key: bool,
    /// Why it failed or is unknown; of one that is queued again, why its last try failed.
    pub failure: Option<SendFailure>,
    /// When it ended.
    pub ended: Option<UnixMillis>,
    /// How its payments stand.
    pub tally: Tally,
}

/// A message with all that is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullMessage {
    /// The message.
    pub stored: StoredMessage,
    /// Its text; nothing for a message to this node itself, which is in the journal.
    pub body: Vec<u8>,
    /// Every attempt so far, oldest first.
    pub attempts: Vec<StoredAttempt>,
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

/// An attempt, and what is known of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// Why it failed, or is unknown.
    pub reason: Option<String>,
    /// What forwarding nodes got, where the backend knew it.
    pub fee: Option<Msat>,
    /// When it ended.
    pub ended: Option<UnixMillis>,
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

/// Which messages to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageQuery {
    /// Only what was accepted before this place; nothing for the newest.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: usize,
    /// Only messages in one of these states; every state where there is none.
    pub states: Vec<MessageState>,
    /// Only messages to this recipient.
    pub recipient: Option<NodeId>,
    /// Only messages of these services; every one where there is none.
    pub services: Vec<Service>,
}

/// Some messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagePage {
    /// Newest first.
    pub messages: Vec<StoredMessage>,
    /// Where to go on; nothing where there are no more. A page may be cut short of its limit where few of the messages
    /// that were looked at are wanted.
    pub next: Option<u64>,
}
