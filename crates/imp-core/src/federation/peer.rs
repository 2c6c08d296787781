//! How this node stands to another.

use std::time::Duration;

use super::ask::{Ask, MAX_ASKS};
use super::state::{AskedBy, Standing, State, asked_too};
use super::{Payload, Rights, Rules};
use crate::id::MessageId;
use crate::time::UnixMillis;

/// How long a request waits, for an answer at its sender and for a decision at its recipient.
pub const REQUEST_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);

/// The least time before its end at which a federation is renewed, where half of it is not less.
const LEAST_LEAD: Duration = Duration::from_secs(60);

/// What to go back to where a request could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// The state.
    pub state: State,
    /// Who had asked.
    pub asked_by: Option<AskedBy>,
    /// Since when.
    pub since: UnixMillis,
}

/// What time brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The federation is to be renewed: [`Peer::renew`].
    Renew,
    /// Its time is up: [`Peer::expire`].
    Expire,
}

/// What a node remembers of another, but its key. `Default` is what it remembers of a stranger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its name on this node, or nothing.
    pub name: String,
    /// What it calls itself, or nothing.
    pub imp_id: String,
    /// How this node stands to it.
    pub state: State,
    /// Who asked; nothing where nobody did.
    pub asked_by: Option<AskedBy>,
    /// Why it has its rights, while federated.
    pub standing: Option<Standing>,
    /// When it came to its state.
    pub since: UnixMillis,
    /// When the federation or the request ends.
    pub until: Option<UnixMillis>,
    /// How long the federation or the request lasts at most from any moment, in seconds.
    pub lasts_secs: u64,
    /// When the federation is to be renewed by this node.
    pub renew_at: Option<UnixMillis>,
    /// What was set for it in place of the rights of its standing.
    pub own_rights: Option<Rights>,
    /// Nothing that it sends counts.
    pub blocked: bool,
    /// When something of it last came in.
    pub last_seen: Option<UnixMillis>,
    /// What it lets this node do, as it said.
    pub terms: Option<Rights>,
    /// What this node asked and it has not answered, oldest first.
    pub asks: Vec<Ask>,
    /// Its request that waits for the owner.
    pub to_decide: Option<MessageId>,
    /// How long that request wants to federate, in seconds.
    pub wished_secs: u64,
    /// What was before this node asked.
    pub before: Option<Before>,
}

impl Peer {
    /// What it may do now.
    pub fn rights(&self, rules: &Rules) -> Rights {
        if self.blocked {
            return Rights::NONE;
        }
        self.own_rights.unwrap_or(match (self.state, self.standing) {
            (State::Federated, Some(Standing::Request | Standing::Manual | Standing::Allowlist)) => {
                rules.peer_rights
            }
            _ => rules.stranger_rights,
        })
    }

    /// Whether the owner said something about it that outlives every federation.
    pub const fn is_marked(&self) -> bool {
        !self.name.is_empty() || self.own_rights.is_some() || self.blocked
    }

    /// Whether a federation or a request is alive.
    pub const fn is_alive(&self) -> bool {
        matches!(self.state, State::Requested | State::Pending | State::Federated)
    }

    /// Whether nothing is lost by forgetting it.
    pub fn is_blank(&self) -> bool {
        matches!(self.state, State::None) && !self.is_marked()
    }

    /// When [`Self::due`] has something; nothing where time changes nothing.
    pub fn next_due(&self) -> Option<UnixMillis> {
        let renew = self.renew_at.filter(|_| self.state == State::Federated);
        self.until.into_iter().chain(renew).min()
    }

    /// What time brings now.
    pub fn due(&self, now: UnixMillis) -> Option<Due> {
        if self.until.is_some_and(|until| until <= now) {
            return Some(Due::Expire);
        }
        let renew = self.state == State::Federated && self.renew_at.is_some_and(|at| at <= now);
        renew.then_some(Due::Renew)
    }

    /// Keeps the times within what was agreed, after a step back of the clock: nothing lasts longer from now than it
    /// could from any moment. Says whether something changed.
    pub fn keep_within(&mut self, now: UnixMillis) -> bool {
        let Some(until) = self.until else { return false };
        let latest = now.plus(Duration::from_secs(self.lasts_secs));
        if until <= latest {
            return false;
        }
        let too_late = until.since(latest);
        self.until = Some(latest);
        self.renew_at = self.renew_at.map(|at| at.minus(too_late));
        self.since = self.since.min(now);
        true
    }

    /// This node asks by the message `id`. Returns the REQUEST that waits and is thereby accepted, to be answered by
    /// [`Self::acceptance`].
    pub fn request(
        &mut self,
        id: MessageId,
        rules: &Rules,
        now: UnixMillis,
        random: u64,
    ) -> Option<MessageId> {
        let accepted = match self.state {
            State::Federated => {
                self.asked_by = asked_too(self.asked_by, AskedBy::Us);
                if self.standing == Some(Standing::Auto) {
                    self.standing = Some(Standing::Request);
                    self.plan_renewal(random);
                }
                None
            }
            State::Pending => {
                let accepted = self.to_decide;
                self.federate(
                    Standing::Request,
                    AskedBy::Both,
                    self.wished_secs.min(rules.ttl_secs),
                    now,
                    random,
                );
                accepted
            }
            State::Requested => {
                self.until = Some(now.plus(REQUEST_LASTS));
                None
            }
            State::None | State::Left | State::Rejected | State::Expired => {
                let before = Before { state: self.state, asked_by: self.asked_by, since: self.since };
                self.enter(State::Requested, now);
                self.before = Some(before);
                self.asked_by = Some(AskedBy::Us);
                self.last_for(REQUEST_LASTS.as_secs(), now);
                None
            }
        };
        self.ask(Ask::request(id));
        accepted
    }

    /// The REQUEST `id` could not be sent, for good: as if this node had not asked.
    pub fn request_failed(&mut self, id: MessageId) {
        self.asks.retain(|ask| ask.id != id);
        if self.state != State::Requested || !self.asks.is_empty() {
            return;
        }
        let before =
            self.before.take().unwrap_or(Before { state: State::None, asked_by: None, since: self.since });
        self.enter(before.state, before.since);
        self.asked_by = before.asked_by;
    }

    /// The message `id` was sent: says whether programs are still to be told of it.
    pub fn request_sent(&mut self, id: MessageId) -> bool {
        let ask = self.asks.iter_mut().find(|ask| ask.id == id && !ask.told);
        ask.map(|ask| ask.told = true).is_some()
    }

    /// This node leaves, whatever was.
    pub fn leave(&mut self, now: UnixMillis) {
        if self.state != State::Left {
            self.enter(State::Left, now);
        }
    }

    /// The owner accepts the request that waits, which is returned; nothing where none does.
    pub fn accept(&mut self, rules: &Rules, now: UnixMillis, random: u64) -> Option<MessageId> {
        if self.state != State::Pending {
            return None;
        }
        let accepted = self.to_decide;
        self.federate(Standing::Manual, AskedBy::Them, self.wished_secs.min(rules.ttl_secs), now, random);
        accepted
    }

    /// The owner rejects the request that waits, which is returned; nothing where none does.
    pub fn reject(&mut self, now: UnixMillis) -> Option<MessageId> {
        if self.state != State::Pending {
            return None;
        }
        let rejected = self.to_decide;
        self.enter(State::Rejected, now);
        rejected
    }

    /// The owner blocks it: what is alive ends without a word.
    pub fn block(&mut self, now: UnixMillis) {
        self.blocked = true;
        if self.is_alive() {
            self.enter(State::Left, now);
        }
    }

    /// The federation is renewed by the message `id`. It is tried again halfway to the end, where that is far enough
    /// away.
    pub fn renew(&mut self, id: MessageId, now: UnixMillis) {
        self.ask(Ask::renew(id));
        self.put_off_renewal(now);
    }

    /// No RENEW can be sent now: one is tried later, if there is time.
    pub fn put_off_renewal(&mut self, now: UnixMillis) {
        let left = self.until.map_or(Duration::ZERO, |until| until.since(now));
        let next = left / 2;
        self.renew_at = (next >= LEAST_LEAD).then(|| now.plus(next));
    }

    /// Its time is up. What it asked and was asked is answered by that.
    pub fn expire(&mut self, now: UnixMillis) {
        self.enter(State::Expired, now);
    }

    /// A REQUEST or RENEW with this id that is open.
    pub(super) fn open_ask(&self, reply_to: &str) -> Option<usize> {
        let id = MessageId::from_canonical(reply_to)?;
        self.asks.iter().position(|ask| ask.id == id)
    }

    pub(super) fn federate(
        &mut self,
        standing: Standing,
        asked_by: AskedBy,
        lasts_secs: u64,
        now: UnixMillis,
        random: u64,
    ) {
        let asks = std::mem::take(&mut self.asks);
        self.enter(State::Federated, now);
        self.asks = asks;
        self.asked_by = Some(asked_by);
        self.standing = Some(standing);
        self.go_on_for(lasts_secs, now, random);
    }

    /// The federation lasts so long from now, or longer where that was agreed before: nobody can wear a federation out by
    /// asking for less of it.
    pub(super) fn go_on_for(&mut self, lasts_secs: u64, now: UnixMillis, random: u64) {
        let until = now.plus(Duration::from_secs(lasts_secs));
        if self.until.is_none_or(|agreed| agreed < until) {
            self.last_for(lasts_secs, now);
            self.plan_renewal(random);
        }
    }

    /// The ACCEPT of what the peer asked, once it is federated.
    pub fn acceptance(&self, rules: &Rules) -> Payload {
        let imp_id = rules.imp_id.clone();
        Payload::Accept { imp_id, ttl_secs: self.lasts_secs, terms: self.rights(rules) }
    }

    /// The peer asked by the message `id`, for so long, and the owner is to decide.
    pub(super) fn wait_for_owner(&mut self, id: MessageId, ttl_secs: u64, now: UnixMillis) {
        if self.state != State::Pending {
            self.enter(State::Pending, now);
        }
        self.asked_by = Some(AskedBy::Them);
        self.to_decide = Some(id);
        self.last_for(REQUEST_LASTS.as_secs(), now);
        self.wished_secs = ttl_secs;
    }

    /// Comes to a state without anything of the one before but what the owner set.
    pub(super) fn enter(&mut self, state: State, since: UnixMillis) {
        self.state = state;
        self.since = since;
        self.standing = None;
        self.until = None;
        (self.lasts_secs, self.wished_secs) = (0, 0);
        self.renew_at = None;
        self.asks.clear();
        self.to_decide = None;
        self.before = None;
    }

    fn last_for(&mut self, secs: u64, now: UnixMillis) {
        self.lasts_secs = secs;
        self.until = Some(now.plus(Duration::from_secs(secs)));
    }

    /// Notes a question. One that is asked once more, because it could not be sent, is the newest again.
    fn ask(&mut self, ask: Ask) {
        self.asks.retain(|open| open.id != ask.id);
        if self.asks.len() == MAX_ASKS {
            self.asks.remove(0);
        }
        self.asks.push(ask);
    }

    /// Renews at a time before the end that is not the peer's: who has asked for nothing leaves it to the peer.
    fn plan_renewal(&mut self, random: u64) {
        let (Some(until), Some(standing)) = (self.until, self.standing) else { return };
        if standing == Standing::Auto {
            self.renew_at = None;
            return;
        }
        let whole = Duration::from_secs(self.lasts_secs);
        let lead = (whole / 10).max(LEAST_LEAD.min(whole / 2));
        let jitter_ms = random % (lead.as_millis() as u64 / 4).max(1);
        self.renew_at = Some(until.minus(lead).plus(Duration::from_millis(jitter_ms)));
    }
}

#[cfg(test)]
mod tests;
