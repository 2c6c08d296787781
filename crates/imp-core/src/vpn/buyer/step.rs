//! What an event makes of a buyer's purchases.

use super::row::{HeldQuote, Purchase};
use crate::time::UnixMillis;
use crate::vpn::Nonce;
use crate::vpn::outgoing::{Note, Post};

/// A change of the purchases and what goes with it: to be committed as one, and applied once that stands. `Default`
/// changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// When it was decided.
    pub at: UnixMillis,
    /// Everything was looked at, since the clock may have been set back.
    pub looked_at_all: bool,
    /// Quotes to keep.
    pub put_quotes: Vec<HeldQuote>,
    /// Quotes to forget.
    pub forget_quotes: Vec<Nonce>,
    /// Purchases to keep, in place of those with the same nonce.
    pub put_purchases: Vec<Purchase>,
    /// Purchases to forget.
    pub forget_purchases: Vec<Nonce>,
    /// Payments for contracts and for more time, to be made once the rest stands: what no longer happens because the node
    /// stopped in between ends as [`End::Failed`](crate::vpn::End).
    pub pay: Vec<Post>,
    /// Messages that the outbox takes in with the rest.
    pub send: Vec<Post>,
    /// Events for programs, in this order.
    pub publish: Vec<Note>,
    /// What is counted.
    pub count: Vec<&'static str>,
}

impl Step {
    /// Whether there is nothing to commit.
    pub const fn is_empty(&self) -> bool {
        self.put_quotes.is_empty()
            && self.forget_quotes.is_empty()
            && self.put_purchases.is_empty()
            && self.forget_purchases.is_empty()
            && self.pay.is_empty()
            && self.send.is_empty()
            && self.publish.is_empty()
            && self.count.is_empty()
    }

    /// The same where the allowance has no room for what is paid from it.
    #[must_use]
    pub fn without_answers(mut self) -> Self {
        let before = self.send.len();
        self.send.retain(|post| !post.from_allowance);
        if self.send.len() < before {
            self.count.push("vpn_not_answered");
        }
        self
    }
}
