//! What the owner and his programs decide: to leave, to accept, who may do what.

use std::sync::Arc;
use std::time::Duration;

use imp_api::error::Code;
use imp_core::delivery::MessageState;
use imp_core::federation::{Payload, Peer, Rights};
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;

use super::{Federation, Inner, KEEP_ANSWER, Manner, PeerView, dice};
use crate::error::Error;
use crate::idempotency::Claim;
use crate::outbox::{Draft, Outbox, Sent};
use crate::store::StoreError;
use crate::store::federate::FederateChange;
use crate::store::outbox::Withdrawal;

/// A LEAVE whose row is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The message.
    pub id: MessageId,
    /// It is tried for days where the peer cannot be reached.
    pub is_kept: bool,
}

/// What to change of a peer's rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RightsChange {
    /// Whether its messages are published.
    pub messages: Option<bool>,
    /// Whether its relays are published.
    pub sockets: Option<bool>,
    /// Whether its requests for quotes are answered.
    pub vpn_quotes: Option<bool>,
    /// The least of its messages.
    pub min_message_sat: Option<u64>,
}

impl RightsChange {
    fn of(self, rights: Rights) -> Rights {
        Rights {
            messages: self.messages.unwrap_or(rights.messages),
            sockets: self.sockets.unwrap_or(rights.sockets),
            vpn_quotes: self.vpn_quotes.unwrap_or(rights.vpn_quotes),
            min_message_sat: self.min_message_sat.unwrap_or(rights.min_message_sat),
        }
    }
}

impl Federation {
    /// Ends what there is with a node, here at once; the LEAVE is sent in the background, its call's key stored with it. Where
    /// nothing is alive, there is nothing to remember before it is sent: then this waits for that, like [`Outbox::send`].
    ///
    /// # Errors
    ///
    /// Those of [`Outbox::send`] where nothing is alive.
    pub async fn leave(&self, node: NodeId, claim: Option<Claim>) -> Result<Left, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut peers = inner.peers.lock().await;
            let now = inner.clock.now();
            let mut peer = peers.get(&node).cloned().unwrap_or_default();
            if !peer.is_alive() {
                drop(peers);
                return inner.take_leave(node, claim).await;
            }
            let manner = Manner { unordered: false, keep: KEEP_ANSWER, answer: None };
            let prepared =
                inner.prepare(node, &Payload::Leave, None, manner).await?.ok_or_else(not_allowed)?;
            let id = prepared.answer.message.id;
            peer.leave(now);
            let change = FederateChange {
                publish: vec![inner.own_event(id, None, &node, &Payload::Leave)],
                answers: vec![prepared.answer],
                key: claim.as_ref().map(|claim| claim.key(id.as_bytes(), now)),
                ..Inner::change_of(node, peer)
            };
            inner.commit(&mut peers, change).await?;
            Ok(Left { id, is_kept: true })
        })
        .await
    }

    /// What became of a LEAVE whose call is repeated: one that failed is sent once more, if it may be.
    pub async fn repeat_leave(&self, node: NodeId, id: MessageId) -> Result<Sent, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let _hold = inner.under_way.take(id).await;
            let before = inner.store.message(id).await?;
            // Whether it is kept is not known to the caller any more: a wait is an answer.
            let sent = inner.outbox.repeat(id, true).await?;
            let is_untold = before.is_some_and(|before| {
                before.message.keep_until.is_none() && before.state != MessageState::Settled
            });
            if is_untold && sent.state == MessageState::Settled {
                inner.left(node, id).await?;
            }
            Ok(sent)
        })
        .await
    }

    /// Accepts a request that waits. Returns the id of the ACCEPT, which is sent in the background.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` where none waits.
    pub async fn accept(&self, node: NodeId) -> Result<MessageId, Error> {
        self.decide(node, true).await
    }

    /// Rejects a request that waits, likewise.
    pub async fn reject(&self, node: NodeId) -> Result<MessageId, Error> {
        self.decide(node, false).await
    }

    async fn decide(&self, node: NodeId, accept: bool) -> Result<MessageId, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut peers = inner.peers.lock().await;
            let now = inner.clock.now();
            let mut peer = peers.get(&node).cloned().unwrap_or_default();
            let (request, payload) = if accept {
                let request = peer.accept(&inner.rules, now, dice()?);
                (request, peer.acceptance(&inner.rules))
            } else {
                (peer.reject(now), Payload::Reject { reason: "refused".to_owned() })
            };
            let request = request.ok_or_else(|| {
                let text = format!("no request of {node} waits for a decision");
                Error::new(Code::FailedPrecondition, "NO_REQUEST", text)
            })?;
            let manner = Manner { unordered: true, keep: KEEP_ANSWER, answer: None };
            let prepared =
                inner.prepare(node, &payload, Some(request), manner).await?.ok_or_else(not_allowed)?;
            let id = prepared.answer.message.id;
            let change = FederateChange {
                publish: vec![inner.own_event(id, Some(request), &node, &payload)],
                withdraw: accept.then(|| inner.withdraw_leaves(node)).into_iter().collect(),
                answers: vec![prepared.answer],
                ..Inner::change_of(node, peer)
            };
            inner.commit(&mut peers, change).await?;
            Ok(id)
        })
        .await
    }

    /// Sets what a node may do here; nothing for the rights of its standing.
    pub async fn set_rights(&self, node: NodeId, change: Option<RightsChange>) -> Result<PeerView, Error> {
        self.change(node, move |peer, inner| {
            // Those that it has now, or would have if it were not blocked.
            let mut open = peer.clone();
            open.blocked = false;
            if change != Some(RightsChange::default()) {
                peer.own_rights = change.map(|change| change.of(open.rights(&inner.rules)));
            }
            Ok(())
        })
        .await
    }

    /// Gives a node a name; nothing takes it away.
    ///
    /// # Errors
    ///
    /// `ALREADY_EXISTS` where another node has it.
    pub async fn set_name(&self, node: NodeId, name: String) -> Result<PeerView, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut peers = inner.peers.lock().await;
            if let Some(other) = peers.named(&name).filter(|other| *other != node) {
                let text = format!("name: {name:?} is the name of {other}");
                return Err(Error::new(Code::AlreadyExists, "NAME_TAKEN", text));
            }
            let mut peer = peers.get(&node).cloned().unwrap_or_default();
            peer.name = name;
            let view = inner.view(node, peer.clone());
            inner.commit(&mut peers, Inner::change_of(node, peer)).await?;
            Ok(view)
        })
        .await
    }

    /// Blocks a node: nothing that it sends is published or answered once this returns, and what is kept for it of
    /// federation is given up.
    pub async fn block(&self, node: NodeId) -> Result<PeerView, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut peers = inner.peers.lock().await;
            let mut peer = peers.get(&node).cloned().unwrap_or_default();
            peer.block(inner.clock.now());
            let view = inner.view(node, peer.clone());
            let withdraw = vec![inner.outbox.withdrawal(node, Service::Federate, false)];
            let change = FederateChange { withdraw, ..Inner::change_of(node, peer) };
            inner.commit(&mut peers, change).await?;
            Ok(view)
        })
        .await
    }

    /// Ends a block.
    pub async fn unblock(&self, node: NodeId) -> Result<PeerView, Error> {
        self.change(node, |peer, _| {
            peer.blocked = false;
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        node: NodeId,
        set: impl FnOnce(&mut Peer, &Inner) -> Result<(), Error> + Send + 'static,
    ) -> Result<PeerView, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut peers = inner.peers.lock().await;
            let mut peer = peers.get(&node).cloned().unwrap_or_default();
            set(&mut peer, &inner)?;
            let view = inner.view(node, peer.clone());
            inner.commit(&mut peers, Inner::change_of(node, peer)).await?;
            Ok(view)
        })
        .await
    }
}

impl Inner {
    /// Sends a LEAVE to a node with which nothing is alive.
    async fn take_leave(&self, node: NodeId, claim: Option<Claim>) -> Result<Left, Error> {
        let hold = self.under_way.take(Outbox::new_id()?).await;
        let draft = Draft {
            service: Service::Federate,
            recipient: node,
            body: Payload::Leave.to_json().into_bytes(),
            reply_to: String::new(),
            amount_sat: 0,
            unordered: false,
            keep: Duration::ZERO,
            answer: None,
            fee_limit: None,
        };
        self.outbox.send_as(hold.id(), draft, claim).await?;
        self.left(node, hold.id()).await?;
        Ok(Left { id: hold.id(), is_kept: false })
    }

    /// A LEAVE was sent to a node with which nothing was alive.
    async fn left(&self, node: NodeId, id: MessageId) -> Result<(), StoreError> {
        let mut peers = self.peers.lock().await;
        let mut peer = peers.get(&node).cloned().unwrap_or_default();
        if !peer.is_alive() {
            peer.leave(self.clock.now());
        }
        let publish = vec![self.own_event(id, None, &node, &Payload::Leave)];
        self.commit(&mut peers, FederateChange { publish, ..Self::change_of(node, peer) }).await
    }

    /// Gives up every LEAVE that is kept for a node with which this one is federated since.
    pub(super) fn withdraw_leaves(&self, node: NodeId) -> Withdrawal {
        // Of what is kept, only a LEAVE has a place in the order.
        self.outbox.withdrawal(node, Service::Federate, true)
    }
}

/// Cannot be: what callers ask for takes no allowance.
pub(super) fn not_allowed() -> Error {
    Error::internal("a message that somebody asked for was counted as an answer")
}
