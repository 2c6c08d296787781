//! The line of messages that wait for one recipient: messages whose try failed and that are kept for a while.
//!
//! The line is tried in *passes*, each from its front, in the order in which the messages were accepted. One message at a
//! time is tried until one has settled; that the recipient takes something lets more go at once. A message that fails ends
//! the pass for all that send as much or more; one that sends less may get through where it did not, so that a message
//! that is too large for the balance or for the way holds nobody up. Between passes there is a pause, which doubles with
//! each pass in which nothing settled. News of the recipient cut it short; the more of them led to nothing, the less they
//! do. Whatever is not settled in time is given up.
//!
//! ```text
//! join ──> waiting ── send ──> under way ── settled, or ended otherwise ──> gone
//!            │  ^                  │
//!            │  └───── failed ─────┘
//!            └── time is up ── give up ──> gone
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::UnixMillis;

/// The longest that a message may be kept.
pub const LONGEST_KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

/// The pause before the first pass, and after one in which something settled. It doubles with each that settled nothing.
pub const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between passes.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Messages of a line that are under way at once, once the recipient has taken one.
pub const MAX_UNDER_WAY: usize = 16;

/// A message's place in the order of acceptance.
pub type Place = u64;

/// What is to be done about a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Try this message now, and say how its try [`Line::ended`].
    Send(Place),
    /// Give this message up: its time is over. It is not in the line any more.
    GiveUp(Place),
    /// Nothing before this time, or before something happens; nothing at all for an empty line.
    Wait(Option<UnixMillis>),
}

/// How a message's try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryEnd {
    /// It is settled.
    Settled,
    /// It ended in another way: it is not to be tried again.
    Over,
    /// It was not paid, which one that sends less might be.
    Failed,
    /// It was not paid, and nothing else would be now.
    Unreachable,
}

/// The messages that wait for one recipient.
#[derive(Clone, Debug, Default)]
pub struct Line {
    members: BTreeMap<Place, Member>,
    /// Those that are not under way, by the end of their time.
    waiting: BTreeSet<(UnixMillis, Place)>,
    under_way: usize,
    /// Passes in a row in which nothing settled.
    failures: u32,
    /// Those among them that news had brought about.
    false_news: u32,
    /// When the next pass begins.
    due: UnixMillis,
    /// It begins for the news.
    due_by_news: bool,
    /// When the last pass ended.
    rested_since: Option<UnixMillis>,
    pass: Option<Pass>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    until: UnixMillis,
    amount_sat: u64,
    under_way: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    /// What is before this was looked at.
    next: Place,
    /// A message has settled.
    reached: bool,
    /// Only messages that send less are tried.
    less_than_sat: Option<u64>,
    /// It began for the news.
    by_news: bool,
    /// News came meanwhile.
    woken: bool,
}

impl Line {
    /// Whether no message waits or is under way.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many messages wait or are under way.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Adds a message that sends `amount_sat` over all its parts and is kept until `until`. The first one of a line is
    /// tried again after [`FIRST_PAUSE`].
    pub fn join(&mut self, place: Place, amount_sat: u64, until: UnixMillis, now: UnixMillis) {
        if self.members.is_empty() {
            *self = Self { due: now.plus(FIRST_PAUSE), ..Self::default() };
        }
        if self.members.insert(place, Member { until, amount_sat, under_way: false }).is_none() {
            self.waiting.insert((until, place));
        }
    }

    /// Says that the recipient may be reached now: the next pass begins at once, but no sooner than [`FIRST_PAUSE`] after
    /// the last one. That doubles with each pass in a row that such news brought about and in which nothing settled.
    pub fn wake(&mut self, now: UnixMillis) {
        if let Some(pass) = &mut self.pass {
            pass.woken = true;
            return;
        }
        let rested = self.rested_since.map_or(now, |since| since.plus(doubled(self.false_news)));
        let due = now.max(rested);
        if due < self.due {
            self.due = due;
            self.due_by_news = true;
        }
    }

    /// What to do now. To be asked again after each step, and whenever something changed.
    pub fn next(&mut self, now: UnixMillis) -> Step {
        if let Some((until, place)) = self.waiting.first().copied()
            && until <= now
        {
            self.remove(place);
            return Step::GiveUp(place);
        }
        if self.pass.is_none() && !self.waiting.is_empty() && self.due <= now {
            self.pass = Some(Pass { by_news: std::mem::take(&mut self.due_by_news), ..Pass::default() });
        }
        if let Some(place) = self.next_of_pass() {
            return Step::Send(place);
        }
        if self.under_way == 0 {
            self.end_pass(now);
        }
        let first_up = self.waiting.first().map(|(until, _)| *until);
        let due = (self.pass.is_none() && !self.waiting.is_empty()).then_some(self.due);
        Step::Wait(first_up.into_iter().chain(due).min())
    }

    /// Notes how the try of a message that was under way ended.
    pub fn ended(&mut self, place: Place, end: TryEnd) {
        let Some(member) = self.members.get_mut(&place).filter(|member| member.under_way) else { return };
        member.under_way = false;
        self.under_way -= 1;
        let member = *member;
        let pass = self.pass.get_or_insert_default();
        match end {
            TryEnd::Settled => {
                pass.reached = true;
                self.members.remove(&place);
                return;
            }
            TryEnd::Over => {
                self.members.remove(&place);
                return;
            }
            TryEnd::Failed => {
                let limit =
                    pass.less_than_sat.map_or(member.amount_sat, |limit| limit.min(member.amount_sat));
                pass.less_than_sat = Some(limit);
            }
            TryEnd::Unreachable => pass.less_than_sat = Some(0),
        }
        self.waiting.insert((member.until, place));
    }

    /// The next message that the pass lets go, which is under way from here on.
    fn next_of_pass(&mut self) -> Option<Place> {
        let pass = self.pass.as_mut()?;
        let at_once = if pass.reached { MAX_UNDER_WAY } else { 1 };
        if self.under_way >= at_once || pass.less_than_sat == Some(0) {
            return None;
        }
        let (place, member) = self.members.range_mut(pass.next..).find(|(_, member)| {
            !member.under_way && pass.less_than_sat.is_none_or(|limit| member.amount_sat < limit)
        })?;
        let place = *place;
        pass.next = place + 1;
        member.under_way = true;
        self.waiting.remove(&(member.until, place));
        self.under_way += 1;
        Some(place)
    }

    fn end_pass(&mut self, now: UnixMillis) {
        let Some(pass) = self.pass.take() else { return };
        if pass.reached {
            (self.failures, self.false_news) = (0, 0);
        } else {
            self.failures = self.failures.saturating_add(1);
            self.false_news = self.false_news.saturating_add(pass.by_news.into());
        }
        self.rested_since = Some(now);
        self.due = now.plus(doubled(self.failures.saturating_sub(1)));
        if pass.woken {
            self.wake(now);
        }
    }

    fn remove(&mut self, place: Place) {
        if let Some(member) = self.members.remove(&place) {
            self.waiting.remove(&(member.until, place));
        }
    }
}

/// [`FIRST_PAUSE`], doubled so often, but at most [`LONGEST_PAUSE`].
fn doubled(times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
