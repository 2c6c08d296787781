//! Other nodes: who is federated, who may do what, and how they are called here.

use async_trait::async_trait;
use imp_core::federation::Peer;
use imp_core::id::NodeId;

use super::StoreError;
use super::idempotency::NewKey;
use super::journal::NewEvent;
use super::outbox::{Answer, Withdrawal};

/// A node, and what is remembered of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// The node.
    pub node: NodeId,
    /// What is remembered.
    pub peer: Peer,
}

/// What is decided about peers other than by a message of theirs: one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FederateChange {
    /// Peers as they are from now on.
    pub peers: Vec<PeerRow>,
    /// Peers to forget.
    pub forget: Vec<NodeId>,
    /// Events to append, in order.
    pub publish: Vec<NewEvent>,
    /// Messages to give up, before others are taken in.
    pub withdraw: Vec<Withdrawal>,
    /// Messages to send, as queued.
    pub answers: Vec<Answer>,
    /// The key of the call that caused this.
    pub key: Option<NewKey>,
    /// Things to count.
    pub count: Vec<&'static str>,
}

/// The peers as a store keeps them. What a message of theirs changes is part of [`super::inbox::InboxChange`].
#[async_trait]
pub trait FederateStore: Send + Sync + 'static {
    /// All that are remembered.
    async fn peers(&self) -> Result<Vec<PeerRow>, StoreError>;

    /// Makes a change, whole or not at all. The events are in the journal's tail when this returns.
    async fn commit_federation(&self, change: FederateChange) -> Result<(), StoreError>;
}
