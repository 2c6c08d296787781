//! What an event makes of a seller's book.

use super::row::{Contract, Offer, Payment};
use crate::id::MessageId;
use crate::time::UnixMillis;
use crate::vpn::Nonce;
use crate::vpn::outgoing::{Note, Post};

/// A change of the book and what goes with it: to be committed as one, and applied once that stands. `Default` changes
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// When it was decided.
    pub at: UnixMillis,
    /// Everything was looked at, since the clock may have been set back.
    pub looked_at_all: bool,
    /// Offers to keep.
    pub put_offers: Vec<Offer>,
    /// Offers to forget.
    pub forget_offers: Vec<Nonce>,
    /// Contracts to keep, in place of those with the same nonce.
    pub put_contracts: Vec<Contract>,
    /// Payments to keep, in place of those with the same hash.
    pub put_payments: Vec<Payment>,
    /// Messages that the outbox takes in.
    pub send: Vec<Post>,
    /// Messages that the outbox gives up, if they have not ended.
    pub give_up: Vec<MessageId>,
    /// Events for programs, in this order.
    pub publish: Vec<Note>,
    /// What is counted.
    pub count: Vec<&'static str>,
}

impl Step {
    /// Whether there is nothing to commit.
    pub const fn is_empty(&self) -> bool {
        self.put_offers.is_empty()
            && self.forget_offers.is_empty()
            && self.put_contracts.is_empty()
            && self.put_payments.is_empty()
            && self.send.is_empty()
            && self.give_up.is_empty()
            && self.publish.is_empty()
            && self.count.is_empty()
    }

    /// The same where the allowance has no room for what is paid from it: that is not sent, and nothing is promised by it.
    #[must_use]
    pub fn without_answer(mut self) -> Self {
        let before = self.send.len();
        self.send.retain(|post| !post.from_allowance);
        if self.send.len() < before {
            // Offers that a clock made shorter were told long ago.
            self.put_offers.retain(|offer| offer.made != self.at);
            self.count.push("vpn_not_answered");
        }
        self
    }
}
