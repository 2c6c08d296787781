//! Federation: the nodes that this one remembers, in memory and in the store.
//!
//! ```text
//! message ── inbox ── reception ─┐
//! call ── service ── request,    ├── lock ── imp_core::federation ── commit ── memory ── unlock ── send
//!                    decision ───┤
//! clock ── times ────────────────┘
//! ```
//!
//! What is in memory is what is committed: each change is computed on a copy, stored with the messages that it sends and
//! the events that it publishes, and then put in place. All of it happens under one lock, which is never held while a
//! payment is made.

mod decision;
mod peers;
mod reception;
mod request;
mod times;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use imp_core::federation::{Payload, Peer, Rights, Rules, State};
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::error::Error;
use crate::outbox::under_way::UnderWay;
use crate::outbox::{AnswerTo, Draft, Outbox, Prepared, random};
use crate::runtime::clock::Clock;
use crate::runtime::tasks::Tasks;
use crate::store::federate::{FederateChange, PeerRow};
use crate::store::journal::NewEvent;
use crate::store::{Store, StoreError};

pub use decision::{Left, RightsChange};
pub use reception::Front;

use peers::Peers;

/// How long a LEAVE and a REJECT are tried again where the peer cannot be reached.
const KEEP_ANSWER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many peers are remembered of kinds that strangers can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Federated by `federate.accept: auto`; the one that was silent for longest goes.
    pub auto: usize,
    /// Requests that wait for the owner; beyond it they are rejected.
    pub pending: usize,
    /// With which nothing is alive and of which the owner said nothing; the oldest go.
    pub ended: usize,
}

impl Default for Capacity {
    /// 10,000 of each.
    fn default() -> Self {
        Self { auto: 10_000, pending: 10_000, ended: 10_000 }
    }
}

/// Settings of federation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationOptions {
    /// The service is switched on. Else nothing is asked, answered or renewed; rights and blocks hold all the same.
    pub active: bool,
    /// What the owner decided.
    pub rules: Rules,
    /// How many peers are remembered.
    pub capacity: Capacity,
}

impl Default for FederationOptions {
    /// As with an empty configuration.
    fn default() -> Self {
        Self { active: true, rules: Rules::default(), capacity: Capacity::default() }
    }
}

/// What federation stands on.
pub struct FederationPorts {
    /// Where peers are kept.
    pub store: Arc<dyn Store>,
    /// What sends.
    pub outbox: Outbox,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its work runs.
    pub tasks: Tasks,
}

impl fmt::Debug for FederationPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FederationPorts")
    }
}

/// The nodes that this one remembers. Cheap to clone.
#[derive(Clone)]
pub struct Federation {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    own: NodeId,
    active: bool,
    rules: Rules,
    capacity: Capacity,
    peers: Arc<AsyncMutex<Peers>>,
    /// Times changed.
    changed: Notify,
    /// Messages that somebody is at work on.
    under_way: UnderWay,
}

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Federation").field("rules", &self.inner.rules).finish_non_exhaustive()
    }
}

/// A peer as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// The node.
    pub node: NodeId,
    /// What is remembered of it.
    pub peer: Peer,
    /// What it may do now.
    pub rights: Rights,
}

/// Which peers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerQuery {
    /// Only those after this one, by key.
    pub after: Option<NodeId>,
    /// How many at most.
    pub limit: usize,
    /// Only those in one of these states; every state where there is none.
    pub states: Vec<State>,
    /// Only the one with this name.
    pub name: Option<String>,
    /// Only those that are blocked.
    pub blocked: bool,
}

/// Some peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerPage {
    /// By key.
    pub peers: Vec<PeerView>,
    /// Where to go on; nothing where there are no more.
    pub next: Option<NodeId>,
    /// How many are federated, in all.
    pub federated: usize,
    /// How many requests wait for the owner, in all.
    pub pending: usize,
}

impl Federation {
    /// Reads what an earlier run left. [`Self::start`] sets the times going.
    pub async fn open(
        ports: FederationPorts,
        own: NodeId,
        options: FederationOptions,
    ) -> Result<Self, StoreError> {
        let FederationOptions { active, rules, capacity } = options;
        let FederationPorts { store, outbox, clock, tasks } = ports;
        let peers = Arc::new(AsyncMutex::new(Peers::new(store.peers().await?)));
        let inner = Inner {
            store,
            outbox,
            clock,
            tasks,
            own,
            active,
            rules,
            capacity,
            peers,
            changed: Notify::new(),
            under_way: UnderWay::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Renews, expires and gives up from here on, also what fell into a time when the node was off. To be called once the
    /// outbox has taken up what an earlier run left.
    pub fn start(&self) {
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn_service("federation", move || {
            let inner = Arc::clone(&inner);
            async move {
                let stopped = inner.tasks.token();
                stopped.run_until_cancelled(times::keep(&inner)).await;
            }
        });
    }

    /// What hands the inbox's messages to the services, by the rights of their senders. `vpn` is told of every commit that
    /// keeps one for the VPN.
    pub fn front(&self, vpn: Arc<Notify>) -> Front {
        Front::new(Arc::clone(&self.inner), vpn)
    }

    /// One peer; nothing where nothing is remembered of it.
    pub async fn peer(&self, node: NodeId) -> Option<PeerView> {
        let peers = self.inner.peers.lock().await;
        peers.get(&node).map(|peer| self.inner.view(node, peer.clone()))
    }

    /// Whose part of the allowance for answers a message to a node takes.
    pub async fn answer_to(&self, node: NodeId) -> AnswerTo {
        let peers = self.inner.peers.lock().await;
        let is_chosen = peers.get(&node).is_some_and(reception::is_chosen);
        if is_chosen { AnswerTo::Peer } else { AnswerTo::Stranger }
    }

    /// Some peers, by key.
    pub async fn list(&self, query: &PeerQuery) -> PeerPage {
        let peers = self.inner.peers.lock().await;
        let is_wanted = |peer: &Peer| {
            (query.states.is_empty() || query.states.contains(&peer.state))
                && query.name.as_ref().is_none_or(|name| *name == peer.name)
                && (!query.blocked || peer.blocked)
        };
        let mut wanted = peers.after(query.after).filter(|(_, peer)| is_wanted(peer));
        let page: Vec<_> = wanted.by_ref().take(query.limit).collect();
        let next = wanted.next().and(page.last().map(|(node, _)| **node));
        PeerPage {
            peers: page.into_iter().map(|(node, peer)| self.inner.view(*node, peer.clone())).collect(),
            next,
            federated: peers.count(State::Federated),
            pending: peers.count(State::Pending),
        }
    }

    /// Makes a change that goes on when its caller is gone: what is in the store and in memory must stay the same.
    async fn detached<F, T>(&self, work: F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let done = self.inner.tasks.run_detached("federation", work).await;
        done.map_err(|error| Error::internal(error.to_string()))?
    }
}

impl Inner {
    fn view(&self, node: NodeId, mut peer: Peer) -> PeerView {
        peer.keep_within(self.clock.now());
        PeerView { node, rights: peer.rights(&self.rules), peer }
    }

    /// Commits a change, puts it in place and sends what it sends. `peers` is the locked memory.
    async fn commit(&self, peers: &mut Peers, change: FederateChange) -> Result<(), StoreError> {
        let (rows, gone, answers) = (change.peers.clone(), change.forget.clone(), change.answers.clone());
        self.store.commit_federation(change).await?;
        for PeerRow { node, peer } in rows {
            peers.put(node, peer);
        }
        for node in gone {
            peers.forget(&node);
        }
        self.outbox.take_up(answers);
        self.changed.notify_one();
        Ok(())
    }

    /// A change of one peer, which is forgotten where nothing is left to remember.
    fn change_of(node: NodeId, peer: Peer) -> FederateChange {
        if peer.is_blank() {
            FederateChange { forget: vec![node], ..FederateChange::default() }
        } else {
            FederateChange { peers: vec![PeerRow { node, peer }], ..FederateChange::default() }
        }
    }

    /// The row of a message to a peer. Nothing where it is an answer and the allowance is used up.
    async fn prepare(
        &self,
        node: NodeId,
        payload: &Payload,
        reply_to: Option<MessageId>,
        manner: Manner,
    ) -> Result<Option<Prepared>, Error> {
        let draft = Draft {
            service: Service::Federate,
            recipient: node,
            body: payload.to_json().into_bytes(),
            reply_to: reply_to.map(|id| id.to_string()).unwrap_or_default(),
            amount_sat: 0,
            unordered: manner.unordered,
            keep: manner.keep,
            answer: manner.answer,
            fee_limit: None,
        };
        self.outbox.prepare(draft).await
    }

    /// The event about a message of this node to a peer.
    fn own_event(
        &self,
        id: MessageId,
        reply_to: Option<MessageId>,
        peer: &NodeId,
        payload: &Payload,
    ) -> NewEvent {
        NewEvent {
            at: self.clock.now(),
            id: id.to_string(),
            reply_to: reply_to.map(|id| id.to_string()).unwrap_or_default(),
            from: self.own,
            service: Service::Federate.into(),
            data: payload.to_json_about(peer),
            amount_sat: 0,
            late: false,
        }
    }

    /// The event about the end of a federation's or a request's time.
    fn expired_event(&self, peer: NodeId) -> Result<NewEvent, Error> {
        Ok(NewEvent {
            at: self.clock.now(),
            id: MessageId::from_random(random()?).to_string(),
            reply_to: String::new(),
            from: peer,
            service: Service::Federate.into(),
            data: Payload::Expired.to_json_about(&peer),
            amount_sat: 0,
            late: false,
        })
    }

    /// What a REQUEST of this node says.
    fn request_payload(&self) -> Payload {
        Payload::Request { imp_id: self.rules.imp_id.clone(), ttl_secs: self.rules.ttl_secs }
    }
}

/// How a message of federation travels.
#[derive(Clone, Copy, Debug)]
struct Manner {
    unordered: bool,
    keep: Duration,
    /// For whom, where it comes out of the allowance for answers.
    answer: Option<AnswerTo>,
}

/// Anything.
fn dice() -> Result<u64, Error> {
    Ok(u64::from_le_bytes(random()?))
}

/// How long from now until then.
fn until(then: Option<UnixMillis>, now: UnixMillis) -> Duration {
    then.map_or(Duration::ZERO, |then| then.since(now))
}
