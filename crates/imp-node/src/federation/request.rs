//! Requests of this node, from before they are sent until it is known what became of them.

use std::sync::Arc;
use std::time::Duration;

use imp_api::error::Code;
use imp_core::delivery::MessageState;
use imp_core::federation::{AskKind, Peer};
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;

use super::decision::not_allowed;
use super::{Federation, Inner, KEEP_ANSWER, Manner, dice, until};
use crate::error::Error;
use crate::idempotency::Claim;
use crate::outbox::under_way::Hold;
use crate::outbox::{Draft, Outbox, Sent};
use crate::store::StoreError;
use crate::store::federate::FederateChange;

impl Federation {
    /// Asks a node to federate, and waits until that is paid for, like [`Outbox::send`]. A request that cannot be sent
    /// leaves no trace; one of the node that waits is accepted by this.
    ///
    /// Dropping the future takes nothing back.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` for a node that is blocked; those of [`Outbox::send`].
    pub async fn request(&self, node: NodeId, claim: Option<Claim>) -> Result<Sent, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let hold = inner.under_way.take(Outbox::new_id()?).await;
            inner.note(node, hold.id()).await?;
            let draft = Draft {
                service: Service::Federate,
                recipient: node,
                body: inner.request_payload().to_json().into_bytes(),
                reply_to: String::new(),
                amount_sat: 0,
                unordered: false,
                keep: Duration::ZERO,
                answer: None,
                fee_limit: None,
            };
            let sent = inner.outbox.send_as(hold.id(), draft, claim).await;
            inner.conclude_now(node, &hold, true).await?;
            sent
        })
        .await
    }

    /// What became of a request whose call is repeated: one that failed is sent once more, if it may be. Waits for whoever
    /// is sending it.
    pub async fn repeat_request(&self, node: NodeId, id: MessageId) -> Result<Sent, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            // While it is held, nobody else takes back what was noted of it.
            let hold = inner.under_way.take(id).await;
            let state = inner.store.message(id).await?.map(|stored| stored.state);
            let is_noted = state == Some(MessageState::Failed);
            if is_noted {
                inner.note(node, id).await?;
            }
            let sent = inner.outbox.repeat(id, false).await;
            inner.conclude_now(node, &hold, is_noted).await?;
            sent
        })
        .await
    }
}

impl Inner {
    /// Notes that a node is asked by the message `id`, before that is sent: its answer must not find a stranger.
    async fn note(&self, node: NodeId, id: MessageId) -> Result<(), Error> {
        let mut peers = self.peers.lock().await;
        let now = self.clock.now();
        let mut peer = peers.get(&node).cloned().unwrap_or_default();
        if peer.blocked {
            let text = format!("{node} is blocked here: unblock it first");
            return Err(Error::new(Code::FailedPrecondition, "PEER_BLOCKED", text));
        }
        let accepted = peer.request(id, &self.rules, now, dice()?);
        let mut change = FederateChange::default();
        if let Some(request) = accepted {
            let payload = peer.acceptance(&self.rules);
            let keep = KEEP_ANSWER.min(until(peer.until, now));
            let manner = Manner { unordered: true, keep, answer: None };
            let prepared =
                self.prepare(node, &payload, Some(request), manner).await?.ok_or_else(not_allowed)?;
            let answer = prepared.answer;
            change.publish.push(self.own_event(answer.message.id, Some(request), &node, &payload));
            change.withdraw.push(self.withdraw_leaves(node));
            change.answers.push(answer);
        }
        change.peers = Self::change_of(node, peer).peers;
        Ok(self.commit(&mut peers, change).await?)
    }

    /// Like [`Self::conclude`], unless the node stops: then the work on the message may have broken off anywhere, and the
    /// next run finds out.
    async fn conclude_now(&self, node: NodeId, hold: &Hold, is_noted: bool) -> Result<(), StoreError> {
        if self.tasks.token().is_cancelled() {
            return Ok(());
        }
        self.conclude(node, hold, is_noted).await
    }

    /// Notes what became of a request, if that is known: programs are told of one that was sent, and one that was not is
    /// taken back. One that was noted under this hold is told also where nothing is left of the note, since what was with the
    /// peer ended meanwhile.
    async fn conclude(&self, node: NodeId, hold: &Hold, is_noted: bool) -> Result<(), StoreError> {
        let id = hold.id();
        let state = self.store.message(id).await?.map(|stored| stored.state);
        let mut peers = self.peers.lock().await;
        let before = peers.get(&node).cloned().unwrap_or_default();
        let mut peer = before.clone();
        let change = match state {
            Some(MessageState::Settled) => {
                let is_open = peer.request_sent(id);
                if !is_open && (!is_noted || hold.is_told()) {
                    return Ok(());
                }
                let publish = vec![self.own_event(id, None, &node, &self.request_payload())];
                FederateChange { publish, ..Self::change_of(node, peer) }
            }
            None | Some(MessageState::Failed) => {
                peer.request_failed(id);
                if peer == before {
                    return Ok(());
                }
                Self::change_of(node, peer)
            }
            _ => return Ok(()),
        };
        self.commit(&mut peers, change).await
    }

    /// Concludes requests that nobody waits for: their calls are gone, or were made in an earlier run.
    pub(super) async fn conclude_all(&self) -> Result<(), StoreError> {
        let open: Vec<_> = {
            let peers = self.peers.lock().await;
            let asks = |node: NodeId, peer: &Peer| -> Vec<_> {
                let open = peer.asks.iter().filter(|ask| ask.kind == AskKind::Request && !ask.told);
                open.map(|ask| (node, ask.id)).collect()
            };
            let untold = peers.untold().into_iter();
            untold.filter_map(|node| Some(asks(node, peers.get(&node)?))).flatten().collect()
        };
        for (node, id) in open {
            if let Some(hold) = self.under_way.try_take(id) {
                self.conclude(node, &hold, false).await?;
            }
        }
        Ok(())
    }
}
