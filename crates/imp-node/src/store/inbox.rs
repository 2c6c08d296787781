//! What other nodes sent: payments with a record of ours, and messages that are not published yet.

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::federation::Denial;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::record::{RecordType, Service};
use imp_core::time::UnixMillis;

use super::StoreError;
use super::federate::PeerRow;
use super::journal::NewEvent;
use super::outbox::{Answer, Withdrawal};
use super::vpn::VpnInbound;

/// What was done with a payment. The names are those in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// Its envelope counts.
    Taken,
    /// Its part of its message had come before.
    Repeated,
    /// Its envelope is damaged, for somebody else, or does not fit the other parts.
    Dropped,
    /// Its envelope is of a later version: kept whole.
    Unread,
}

impl PaymentOutcome {
    /// The name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Repeated => "repeated",
            Self::Dropped => "dropped",
            Self::Unread => "unread",
        }
    }
}

/// A payment that brought a record of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxPayment {
    /// The payment.
    pub hash: PaymentHash,
    /// The record.
    pub record_type: RecordType,
    /// What we got.
    pub amount: Msat,
    /// When.
    pub received: UnixMillis,
    /// What was done with it.
    pub outcome: PaymentOutcome,
    /// Who signed which part of which message, where that is known.
    pub part: Option<PartName>,
    /// The service whose record it is.
    pub service: Service,
    /// The record's bytes, where this version cannot read them.
    pub raw: Option<Vec<u8>>,
}

/// The name of a part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PartName {
    /// Who signed it.
    pub sender: NodeId,
    /// The message.
    pub id: MessageId,
    /// The part, from 0.
    pub part: u16,
}

/// A message that is not published yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxMessage {
    /// The message.
    pub id: MessageId,
    /// How many parts it has.
    pub part_count: u16,
    /// The sender's run.
    pub stream: u32,
    /// The sender's number.
    pub seq: u32,
    /// How far below the sender's lowest unresolved number lay.
    pub floor_back: u16,
    /// Outside of the order.
    pub unordered: bool,
    /// The id of the message that this one answers, or nothing.
    pub reply_to: String,
    /// When its first part came.
    pub begun: UnixMillis,
    /// When it became whole and had to wait for an earlier one; nothing while parts are missing.
    pub held: Option<UnixMillis>,
}

/// A part that is kept until its message is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxChunk {
    /// The part, from 0.
    pub part: u16,
    /// What was paid with it.
    pub amount: Msat,
    /// The payment. Earlier schemas did not have it.
    pub payment: Option<PaymentHash>,
    /// Its piece of the text.
    pub chunk: Vec<u8>,
}

/// Everything that one payment, or one passing deadline, changes: one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxChange {
    /// The payment, where one caused this.
    pub payment: Option<InboxPayment>,
    /// A message to keep, new or changed, and a part of it.
    pub keep: Option<(NodeId, Service, InboxMessage, Option<InboxChunk>)>,
    /// Messages whose rows go: published, or given up.
    pub remove: Vec<(NodeId, MessageId)>,
    /// Events to append, in order.
    pub publish: Vec<NewEvent>,
    /// The state of the order to keep, and when it came to it.
    pub order: Option<(NodeId, Service, String, UnixMillis)>,
    /// Messages that are not published, in order.
    pub withheld: Vec<Withheld>,
    /// Peers as they are from now on; of several rows of one, the last.
    pub peers: Vec<PeerRow>,
    /// Messages to give up, before others are taken in.
    pub withdraw: Vec<Withdrawal>,
    /// What is kept for the VPN to take, in order.
    pub vpn: Vec<VpnInbound>,
    /// Messages to send, as queued.
    pub answers: Vec<Answer>,
    /// Things to count.
    pub count: Vec<&'static str>,
}

/// What is kept of the messages of a sender and service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderRows {
    /// The state of the order, as it was written.
    pub order: Option<String>,
    /// Messages that are not published.
    pub messages: Vec<KeptMessage>,
}

/// A message that is not published, and which of its parts are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    /// The message.
    pub message: InboxMessage,
    /// Its parts, without their text.
    pub parts: Vec<KeptPart>,
}

/// A part that is kept, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPart {
    /// The part, from 0.
    pub part: u16,
    /// What was paid with it.
    pub amount: Msat,
    /// Bytes of its text.
    pub bytes: usize,
}

/// What is known of a message when a part of it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The part was taken before.
    pub part: bool,
    /// The service for which parts of the message were taken.
    pub service: Option<Service>,
}

/// A message that came in and was not published. Its text is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// Who sent it.
    pub sender: NodeId,
    /// The message.
    pub id: MessageId,
    /// What it belongs to.
    pub service: Service,
    /// Satoshis over all parts.
    pub amount_sat: u64,
    /// Length of its text.
    pub bytes: u64,
    /// Why.
    pub reason: Denial,
    /// When it would have been published.
    pub at: UnixMillis,
}

/// Which withheld messages to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WithheldQuery {
    /// Only those before this place; nothing for the newest.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: usize,
    /// Only of this sender.
    pub sender: Option<NodeId>,
}

/// Some withheld messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WithheldPage {
    /// Newest first.
    pub messages: Vec<Withheld>,
    /// Where to go on; nothing where there are no more.
    pub next: Option<u64>,
    /// How many there ever were, of all senders.
    pub total: u64,
}

/// The inbox as a store keeps it.
#[async_trait]
pub trait InboxStore: Send + Sync + 'static {
    /// Whether a payment is known.
    async fn has_payment(&self, hash: PaymentHash) -> Result<bool, StoreError>;

    /// Whether a part was taken before, and of which service its message is.
    async fn seen(&self, part: PartName) -> Result<Seen, StoreError>;

    /// What is kept for a sender and service.
    async fn sender_rows(&self, sender: NodeId, service: Service) -> Result<SenderRows, StoreError>;

    /// Senders and services with messages that are not published.
    async fn waiting_senders(&self) -> Result<Vec<(NodeId, Service)>, StoreError>;

    /// The parts of a message that are kept, in their order.
    async fn chunks(&self, sender: NodeId, id: MessageId) -> Result<Vec<InboxChunk>, StoreError>;

    /// Makes a change, whole or not at all. The events are in the journal's tail when this returns.
    async fn commit_inbox(&self, change: InboxChange) -> Result<(), StoreError>;

    /// Some messages that were withheld. The newest 10,000 are kept.
    async fn list_withheld(&self, query: WithheldQuery) -> Result<WithheldPage, StoreError>;

    /// How many messages of each of these senders were withheld, in their order; also those that are no longer listed. Of
    /// some 100,000 senders it is known.
    async fn withheld_counts(&self, senders: Vec<NodeId>) -> Result<Vec<u64>, StoreError>;

    /// Forgets some payments that came before a time, but not the newest of those that could not be read, the order
    /// of some senders of whom nothing came since, and how many were withheld of some senders where they are too many.
    /// Returns how many rows went; 0 means that none is left to go.
    ///
    /// The parts of these payments could then be taken a second time.
    async fn forget_payments_before(&self, time: UnixMillis) -> Result<usize, StoreError>;

    /// The value of a counter.
    async fn counter(&self, name: &'static str) -> Result<u64, StoreError>;
}
