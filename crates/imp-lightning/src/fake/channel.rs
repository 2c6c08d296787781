//! Channels between simulated nodes.

use imp_core::amount::Msat;
use imp_core::id::NodeId;

/// A channel. What is in flight belongs to neither side's balance.
#[derive(Debug)]
pub(super) struct FakeChannel {
    pub(super) ends: [NodeId; 2],
    pub(super) balance: [Msat; 2],
    pub(super) user_ids: [u128; 2],
    pub(super) capacity_sat: u64,
    /// Payments that may be in flight at once in each direction.
    pub(super) slots: usize,
    pub(super) announced: bool,
    pub(super) funding: String,
    pub(super) state: ChannelState,
    /// Payments could go over it at some time.
    pub(super) was_ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelState {
    Opening,
    Ready,
    /// Both ends have agreed to close it; it takes no payment any more, and closes when none is in flight.
    Closing,
    /// Closed; what was in flight on it waits for a block.
    Closed,
}

impl FakeChannel {
    /// Which end a node is.
    pub(super) fn end(&self, node: &NodeId) -> Option<usize> {
        self.ends.iter().position(|end| end == node)
    }

    pub(super) fn joins(&self, one: &NodeId, other: &NodeId) -> bool {
        self.ends == [*one, *other] || self.ends == [*other, *one]
    }

    pub(super) const fn make_ready(&mut self) {
        self.state = ChannelState::Ready;
        self.was_ready = true;
    }

    /// What is in flight on it can come to its end.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, ChannelState::Ready | ChannelState::Closing)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == ChannelState::Ready
    }
}
