//! What becomes of whole messages: by the rights of their senders, and by the services' own texts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use imp_core::federation::{Denial, Incoming, Payload, PayloadError, Peer, Received, Standing, State};
use imp_core::id::NodeId;
use imp_core::record::Service;
use imp_core::socket::Offer;
use imp_core::time::UnixMillis;
use imp_core::vpn::Request;
use imp_core::vpn::payload::MAX_PAYLOAD_BYTES;
use tokio::sync::{Notify, OwnedMutexGuard};

use super::peers::Peers;
use super::{Inner, KEEP_ANSWER, Manner, dice, until};
use crate::error::Error;
use crate::inbox::reception::{Receipt, Reception, Whole};
use crate::outbox::{ANSWERS_REFUSED, Allowed, AnswerTo};
use crate::store::StoreError;
use crate::store::federate::PeerRow;
use crate::store::inbox::Withheld;
use crate::store::journal::NewEvent;
use crate::store::outbox::Answer;
use crate::store::vpn::VpnInbound;

/// How old the time in the store may be at which something last came of a peer.
const SEEN_WITHIN: Duration = Duration::from_secs(1);

/// The reception of every service.
pub struct Front {
    inner: Arc<Inner>,
    held: Option<Held>,
    /// Told of every commit that kept something for the VPN.
    vpn: Arc<Notify>,
    /// The change that is being made keeps something for the VPN.
    vpn_has_more: bool,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}

/// The peers, from the first message of a change until it is durable.
struct Held {
    peers: OwnedMutexGuard<Peers>,
    /// What was in place of what is not durable, the newest last.
    undo: Vec<(NodeId, Option<Peer>)>,
    answers: Vec<Answer>,
    /// Their shares of the allowance, until their rows count.
    allowed: Vec<Allowed>,
}

impl Held {
    fn put(&mut self, node: NodeId, peer: Peer) {
        let before = self.peers.put(node, peer);
        self.undo.push((node, before));
    }
}

impl Drop for Held {
    /// Takes back what did not become durable: what is in memory is what is committed.
    fn drop(&mut self) {
        for (node, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            match before {
                Some(peer) => {
                    self.peers.put(node, peer);
                }
                None => {
                    self.peers.forget(&node);
                }
            }
        }
    }
}

#[async_trait]
impl Reception for Front {
    async fn receive(&mut self, whole: Whole) -> Result<Receipt, StoreError> {
        let inner = Arc::clone(&self.inner);
        let held = self.hold().await;
        let known = held.peers.get(&whole.sender).cloned();
        let (rights, blocked) = match &known {
            Some(peer) => (peer.rights(&inner.rules), peer.blocked),
            None => (inner.rules.stranger_rights, false),
        };
        let denial =
            if blocked { Some(Denial::Blocked) } else { rights.deny(whole.service, whole.amount_sat()) };
        // What was paid for is given back, and what was bought comes, whoever sent it: who may ask decides over questions.
        let denial = denial.filter(|_| whole.service != Service::Vpn || is_quote(&whole.text));
        let mut receipt = Receipt::default();
        if let Some(mut peer) = known.clone() {
            see(&mut peer, &whole, &mut receipt);
            held.put(whole.sender, peer);
        }
        if let Some(denial) = denial {
            receipt.withheld = Some(withhold(&whole, denial));
            return Ok(receipt);
        }
        match whole.service {
            Service::Message => receipt.publish.push(whole.into()),
            Service::Socket => match Offer::parse(&whole.text) {
                Ok(offer) => receipt.publish.push(NewEvent { data: offer.to_json(), ..whole.into() }),
                Err(error) => {
                    tracing::debug!(message = %whole.id, from = %whole.sender, "an offer of a relay {error}");
                    receipt.count.push("socket_malformed");
                }
            },
            Service::Federate if !inner.active => receipt.count.push("federate_inactive"),
            Service::Federate => inner.federate(held, whole, &mut receipt).await?,
            Service::Vpn => self.keep_for_vpn(whole, false, &mut receipt),
            Service::Sign => receipt.count.push("inbox_unread"),
        }
        Ok(receipt)
    }

    async fn repeated(&mut self, whole: Whole) -> Result<Receipt, StoreError> {
        let mut receipt = Receipt::default();
        if whole.service == Service::Vpn && !is_quote(&whole.text) {
            self.keep_for_vpn(whole, true, &mut receipt);
        }
        Ok(receipt)
    }

    async fn committed(&mut self) {
        if std::mem::take(&mut self.vpn_has_more) {
            self.vpn.notify_one();
        }
        let Some(mut held) = self.held.take() else { return };
        let has_changed = !held.undo.is_empty();
        held.undo.clear();
        self.inner.outbox.take_up(std::mem::take(&mut held.answers));
        drop(held);
        if has_changed {
            self.inner.changed.notify_one();
        }
    }
}

impl Front {
    pub(super) fn new(inner: Arc<Inner>, vpn: Arc<Notify>) -> Self {
        Self { inner, held: None, vpn, vpn_has_more: false }
    }

    /// Keeps a message for the VPN, which takes it after the commit, or in the next run of the node.
    fn keep_for_vpn(&mut self, whole: Whole, repeated: bool, receipt: &mut Receipt) {
        let amount = whole.amount;
        let Whole { sender, id, reply_to, mut text, payment, at, .. } = whole;
        let Some(hash) = payment else {
            tracing::error!(message = %id, from = %sender, "a message of the VPN has no payment in the store");
            return receipt.count.push("inbox_broken");
        };
        // What is longer than any text of this service is read as too long when it is cut, too.
        text.truncate(text.ceil_char_boundary(MAX_PAYLOAD_BYTES + 1));
        receipt.vpn = Some(VpnInbound { hash, sender, id, reply_to, text, amount, at, repeated });
        self.vpn_has_more = true;
    }

    async fn hold(&mut self) -> &mut Held {
        let held = match self.held.take() {
            Some(held) => held,
            None => Held {
                peers: Arc::clone(&self.inner.peers).lock_owned().await,
                undo: Vec::new(),
                answers: Vec::new(),
                allowed: Vec::new(),
            },
        };
        self.held.insert(held)
    }
}

impl Inner {
    /// What another node says of federation.
    async fn federate(&self, held: &mut Held, whole: Whole, receipt: &mut Receipt) -> Result<(), StoreError> {
        let payload = match Payload::parse(&whole.text) {
            Ok(payload) => payload,
            Err(error) => {
                tracing::debug!(message = %whole.id, from = %whole.sender, "a text of federation {error}");
                let is_unknown = error == PayloadError::UnknownType;
                receipt.count.push(if is_unknown { "federate_unknown" } else { "federate_malformed" });
                return Ok(());
            }
        };
        let (node, now) = (whole.sender, self.clock.now());
        let before = held.peers.get(&node).cloned().unwrap_or_default();
        let mut peer = before.clone();
        let incoming = Incoming {
            node,
            id: whole.id,
            reply_to: &whole.reply_to,
            payload: &payload,
            late: whole.late,
            now,
            random: dice().map_err(failed)?,
            room_for_pending: held.peers.count(State::Pending) < self.capacity.pending,
        };
        let received = peer.receive(&incoming, &self.rules);
        let Received { expired, told, publish, ignored, reply } = received;
        if expired {
            receipt.publish.push(self.expired_event(node).map_err(failed)?);
        }
        for id in told {
            self.under_way.told(id);
            receipt.publish.push(self.own_event(id, None, &node, &self.request_payload()));
        }
        receipt.count.extend(ignored);
        let request = whole.id;
        if publish {
            receipt.publish.push(NewEvent { data: payload.to_json(), ..whole.into() });
        }
        if let Some(reply) = reply {
            let to = if is_chosen(&peer) { AnswerTo::Peer } else { AnswerTo::Stranger };
            let manner = Manner { unordered: true, keep: keep_of(&reply, &peer, now), answer: Some(to) };
            match self.prepare(node, &reply, Some(request), manner).await.map_err(failed)? {
                Some(prepared) => {
                    let id = prepared.answer.message.id;
                    receipt.publish.push(self.own_event(id, Some(request), &node, &reply));
                    receipt.answers.push(prepared.answer.clone());
                    held.answers.push(prepared.answer);
                    held.allowed.extend(prepared.allowed);
                }
                None => {
                    // Without a word to it, it must not stand otherwise here than there.
                    peer = before.clone();
                    if expired {
                        peer.expire(now);
                    }
                    receipt.count.push(ANSWERS_REFUSED);
                }
            }
        }
        if peer == before {
            return Ok(());
        }
        if peer.state == State::Federated && before.state != State::Federated {
            receipt.withdraw.push(self.withdraw_leaves(node));
        }
        if is_auto(&peer) && !is_auto(&before) && held.peers.autos() >= self.capacity.auto {
            self.make_room(held, now, receipt);
        }
        peer.last_seen = Some(now);
        tracing::info!(peer = %node, said = payload.kind(), state = peer.state.name(), "a peer spoke of federation");
        receipt.peers.push(PeerRow { node, peer: peer.clone() });
        held.put(node, peer);
        Ok(())
    }

    /// Leaves the one that was accepted like everybody and was silent for longest.
    fn make_room(&self, held: &mut Held, now: UnixMillis, receipt: &mut Receipt) {
        let Some(idle) = held.peers.most_idle() else { return };
        let Some(mut peer) = held.peers.get(&idle).cloned() else { return };
        peer.leave(now);
        receipt.peers.push(PeerRow { node: idle, peer: peer.clone() });
        receipt.count.push("federate_evicted");
        held.put(idle, peer);
    }
}

fn is_auto(peer: &Peer) -> bool {
    peer.state == State::Federated && peer.standing == Some(Standing::Auto)
}

/// Whether it is federated because somebody at this node wants it to be.
pub(super) fn is_chosen(peer: &Peer) -> bool {
    peer.state == State::Federated && peer.standing != Some(Standing::Auto)
}

/// Notes that something of a peer came in; in the store, only where that is old.
fn see(peer: &mut Peer, whole: &Whole, receipt: &mut Receipt) {
    let is_old = peer.last_seen.is_none_or(|seen| whole.at.since(seen) >= SEEN_WITHIN || seen > whole.at);
    if is_old {
        peer.last_seen = Some(whole.at);
        receipt.peers.push(PeerRow { node: whole.sender, peer: peer.clone() });
    }
}

/// For how long an answer is worth sending.
fn keep_of(reply: &Payload, peer: &Peer, now: UnixMillis) -> Duration {
    match reply {
        Payload::Accept { .. } => KEEP_ANSWER.min(until(peer.until, now)),
        _ => KEEP_ANSWER,
    }
}

/// Whether somebody asks what a contract of the VPN costs.
fn is_quote(text: &str) -> bool {
    matches!(Request::parse(text), Ok(Request::Quote))
}

fn withhold(whole: &Whole, reason: Denial) -> Withheld {
    Withheld {
        sender: whole.sender,
        id: whole.id,
        service: whole.service,
        amount_sat: whole.amount_sat(),
        bytes: whole.text.len() as u64,
        reason,
        at: whole.at,
    }
}

/// The inbox knows errors of the store only.
fn failed(error: Error) -> StoreError {
    StoreError::Database(error.to_string())
}
