//! What comes of what a peer says.

use super::peer::Peer;
use super::state::{AskedBy, Standing, State, asked_too};
use super::{Payload, Policy, Rules};
use crate::id::{MessageId, NodeId};
use crate::time::UnixMillis;

/// Something that a peer said, and when.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'m> {
    /// The peer.
    pub node: NodeId,
    /// The message.
    pub id: MessageId,
    /// The id of the message that it answers, or nothing.
    pub reply_to: &'m str,
    /// What it says.
    pub payload: &'m Payload,
    /// It comes after a later one of the same line.
    pub late: bool,
    /// The time.
    pub now: UnixMillis,
    /// Anything: keeps both ends from doing the same at the same time.
    pub random: u64,
    /// Whether another request may wait for the owner.
    pub room_for_pending: bool,
}

/// What comes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Before anything else, the time of what was with the peer was up.
    pub expired: bool,
    /// Messages that this node had sent and programs are to be told of first: the peer has got them.
    pub told: Vec<MessageId>,
    /// Whether programs are to be told.
    pub publish: bool,
    /// What is counted where it changes nothing.
    pub ignored: Option<&'static str>,
    /// What to answer to the message.
    pub reply: Option<Payload>,
}

impl Received {
    fn published() -> Self {
        Self { publish: true, ..Self::default() }
    }

    fn answered(reply: Payload) -> Self {
        Self { reply: Some(reply), ..Self::published() }
    }

    fn ignored() -> Self {
        Self { ignored: Some("federate_ignored"), ..Self::default() }
    }

    fn late() -> Self {
        Self { ignored: Some("federate_late"), ..Self::default() }
    }
}

impl Peer {
    /// Takes in what the peer said, which must not be blocked: what that sends is withheld unread. Where the answer cannot
    /// be sent, the caller drops this change.
    pub fn receive(&mut self, incoming: &Incoming<'_>, rules: &Rules) -> Received {
        let now = incoming.now;
        self.keep_within(now);
        let expired = self.until.is_some_and(|until| until <= now);
        if expired {
            self.expire(now);
        }
        let received = match incoming.payload {
            // The peer has said something else since.
            Payload::Request { .. } | Payload::Leave if incoming.late => Received::late(),
            Payload::Request { imp_id, ttl_secs } => self.asked(incoming, imp_id, *ttl_secs, rules),
            Payload::Accept { imp_id, ttl_secs, terms } => match self.answered(incoming) {
                Some((_, told)) => {
                    self.imp_id.clone_from(imp_id);
                    self.terms = Some(*terms);
                    let lasts_secs = (*ttl_secs).min(rules.ttl_secs);
                    if self.state == State::Federated {
                        self.go_on_for(lasts_secs, now, incoming.random);
                    } else {
                        self.federate(Standing::Request, AskedBy::Us, lasts_secs, now, incoming.random);
                    }
                    Received { told, ..Received::published() }
                }
                None => Received::ignored(),
            },
            Payload::Reject { .. } => match self.answered(incoming) {
                Some((is_last, told)) => {
                    if is_last {
                        self.enter(State::Rejected, now);
                    }
                    Received { told, ..Received::published() }
                }
                None => Received::ignored(),
            },
            Payload::Leave if self.is_alive() => {
                self.enter(State::Left, now);
                Received::published()
            }
            Payload::Renew { imp_id, ttl_secs } if self.state == State::Federated => {
                self.imp_id.clone_from(imp_id);
                self.go_on_for((*ttl_secs).min(rules.ttl_secs), now, incoming.random);
                Received::answered(self.acceptance(rules))
            }
            Payload::Renew { .. } => Received::answered(rejection("not federated")),
            Payload::Leave | Payload::Expired => Received::ignored(),
        };
        Received { expired, ..received }
    }

    fn asked(&mut self, incoming: &Incoming<'_>, imp_id: &str, ttl_secs: u64, rules: &Rules) -> Received {
        let Incoming { now, random, .. } = *incoming;
        let lasts_secs = ttl_secs.min(rules.ttl_secs);
        let is_new = !self.is_alive();
        if is_new && rules.policy == Policy::Manual && !incoming.room_for_pending {
            // Nothing is remembered of it, or those beyond the bound would take room all the same.
            return Received::answered(rejection("full"));
        }
        imp_id.clone_into(&mut self.imp_id);
        match (self.state, rules.policy) {
            (State::Requested, _) => {
                self.cross();
                self.federate(Standing::Request, AskedBy::Both, lasts_secs, now, random);
            }
            (State::Federated, _) => {
                self.cross();
                self.asked_by = asked_too(self.asked_by, AskedBy::Them);
                self.go_on_for(lasts_secs, now, random);
            }
            (_, Policy::Auto) => self.federate(Standing::Auto, AskedBy::Them, lasts_secs, now, random),
            (_, Policy::Allowlist) if rules.allowlist.contains(&incoming.node) => {
                self.federate(Standing::Allowlist, AskedBy::Them, lasts_secs, now, random);
            }
            (_, Policy::Allowlist) => {
                self.enter(State::Rejected, now);
                self.asked_by = Some(AskedBy::Them);
                return Received::answered(rejection("refused"));
            }
            (_, Policy::Manual) => {
                self.wait_for_owner(incoming.id, ttl_secs, now);
                return Received::published();
            }
        }
        Received::answered(self.acceptance(rules))
    }

    /// The peer asks itself, so that it has not answered no to what it was asked: no such answer counts any more.
    fn cross(&mut self) {
        self.asks.iter_mut().for_each(|ask| ask.crossed = true);
    }

    /// Takes away the question that this answers, and says whether it was the last one asked and what programs do not
    /// know yet. Nothing where it answers no open question. Older questions cannot be denied any more.
    fn answered(&mut self, incoming: &Incoming<'_>) -> Option<(bool, Vec<MessageId>)> {
        if !matches!(self.state, State::Requested | State::Federated) {
            return None;
        }
        let at = self.open_ask(incoming.reply_to)?;
        if self.asks[at].crossed && matches!(incoming.payload, Payload::Reject { .. }) {
            return None;
        }
        let ask = self.asks.remove(at);
        self.asks[..at].iter_mut().for_each(|older| older.crossed = true);
        let told = (!ask.told).then_some(ask.id).into_iter().collect();
        Some((at == self.asks.len(), told))
    }
}

/// A REJECT.
fn rejection(reason: &str) -> Payload {
    Payload::Reject { reason: reason.to_owned() }
}
