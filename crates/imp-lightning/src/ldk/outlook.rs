//! What a payment to one recipient would find now.
//!
//! ldk-node answers nearly every payment that it does not begin with one and the same error; the reason is told from
//! the channels and the network graph instead, before the call.

use bitcoin::secp256k1::PublicKey;
use imp_core::amount::Msat;
use imp_core::id::NodeId;
use ldk_node::lightning::routing::gossip;
use ldk_node::{ChannelDetails, Node};

use crate::ldk::names::{graph_id, public_key};
use crate::port::{SendError, SendRoom};

/// Payments that may be in flight at once in a channel with LDK at the other end, each direction.
const SLOTS_PER_CHANNEL: usize = 50;

/// The channels that a payment to a recipient can leave by.
#[derive(Debug)]
pub(super) struct Outlook {
    recipient: NodeId,
    /// It has a channel with this node, whether usable or not.
    is_peer: bool,
    /// It stands in the network graph, or the payment knows a way to it.
    has_path: bool,
    /// Those to the recipient, if any is usable; else all usable ones.
    lanes: Vec<Lane>,
    /// The lanes end at the recipient.
    direct: bool,
}

/// A usable channel.
#[derive(Clone, Copy, Debug)]
struct Lane {
    /// What this end has in it, less the reserve.
    balance: Msat,
    /// The largest payment that the other end takes.
    maximum: Msat,
    /// The largest payment that can be added now: nothing where no slot is free.
    free: Msat,
    /// The smallest one.
    minimum: Msat,
}

impl Lane {
    fn of(channel: &ChannelDetails) -> Self {
        Self {
            balance: Msat(channel.outbound_capacity_msat),
            maximum: Msat(channel.counterparty_outbound_htlc_maximum_msat.unwrap_or(u64::MAX)),
            free: Msat(channel.next_outbound_htlc_limit_msat),
            minimum: Msat(channel.next_outbound_htlc_minimum_msat),
        }
    }

    /// The largest payment, were nothing else in flight.
    fn largest(&self) -> Msat {
        self.balance.min(self.maximum)
    }
}

/// How a payment may be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// It goes over one path.
    Whole,
    /// It may go over several.
    Parts,
}

impl Outlook {
    /// `hinted`: the payment brings a way to the recipient along, so that it need not be in the graph.
    pub(super) fn of(node: &Node, recipient: &NodeId, hinted: bool) -> Self {
        let key: PublicKey = public_key(recipient);
        let channels = node.list_channels();
        let to_recipient = |channel: &&ChannelDetails| channel.counterparty_node_id == key;
        let is_peer = channels.iter().any(|channel| to_recipient(&channel) && channel.is_channel_ready);
        let usable = || channels.iter().filter(|channel| channel.is_usable);
        let mut lanes: Vec<Lane> = usable().filter(to_recipient).map(Lane::of).collect();
        let direct = !lanes.is_empty();
        if !direct {
            lanes = usable().map(Lane::of).collect();
        }
        let in_graph = || node.network_graph().node(&graph_id(recipient)).is_some_and(has_channels);
        Self { recipient: *recipient, is_peer, has_path: hinted || direct || in_graph(), lanes, direct }
    }

    /// The lanes end at the recipient.
    pub(super) const fn is_direct(&self) -> bool {
        self.direct
    }

    /// Payments that may be in flight at once.
    pub(super) const fn slots(&self) -> usize {
        self.lanes.len() * SLOTS_PER_CHANNEL
    }

    pub(super) fn room(&self) -> SendRoom {
        SendRoom {
            max_in_flight: self.slots(),
            spendable: self.lanes.iter().map(|lane| lane.balance).sum(),
            largest: self.lanes.iter().map(Lane::largest).max().unwrap_or_default(),
            direct: self.direct,
        }
    }

    /// Why a payment cannot be begun now, if that can be seen; `others_in_flight`: payments of this node that have not
    /// ended.
    pub(super) fn check(&self, amount: Msat, split: Split, others_in_flight: usize) -> Result<(), SendError> {
        if !self.is_peer && !self.has_path {
            return Err(SendError::NoRoute(format!(
                "unknown node {}: it has no channel with this node and is not in the network graph",
                self.recipient
            )));
        }
        if self.lanes.is_empty() {
            return Err(self.no_route(amount, None));
        }
        let join = |amounts: &mut dyn Iterator<Item = Msat>| match split {
            Split::Whole => amounts.max().unwrap_or_default(),
            Split::Parts => amounts.sum(),
        };
        let spendable = join(&mut self.lanes.iter().map(Lane::largest));
        if amount > spendable {
            return Err(SendError::InsufficientBalance { spendable, needed: amount });
        }
        let free = join(&mut self.lanes.iter().map(|lane| lane.free));
        if amount > free && others_in_flight > 0 {
            return Err(SendError::Busy);
        }
        if amount > free {
            return Err(SendError::InsufficientBalance { spendable: free, needed: amount });
        }
        let minimum = self.lanes.iter().map(|lane| lane.minimum).min().unwrap_or_default();
        if amount < minimum && others_in_flight > 0 {
            return Err(SendError::Busy);
        }
        if amount < minimum {
            return Err(SendError::Invalid(format!("the channel takes payments of {minimum} and more")));
        }
        Ok(())
    }

    /// The error for a payment that found no path although nothing speaks against it.
    pub(super) fn no_route(&self, amount: Msat, fee_limit: Option<Msat>) -> SendError {
        if self.is_peer && !self.direct {
            return SendError::NoRoute(format!("the node {} is away", self.recipient));
        }
        if self.lanes.is_empty() {
            return SendError::NoRoute("no channel of this node is usable".to_owned());
        }
        let fees = fee_limit.map(|limit| format!(" for fees of up to {limit}")).unwrap_or_default();
        SendError::NoRoute(format!("no path to {} carries {amount}{fees}", self.recipient))
    }
}

fn has_channels(node: gossip::NodeInfo) -> bool {
    !node.channels.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(balance: u64, maximum: u64, free: u64) -> Lane {
        Lane { balance: Msat(balance), maximum: Msat(maximum), free: Msat(free), minimum: Msat(1) }
    }

    fn outlook(is_peer: bool, has_path: bool, direct: bool, lanes: Vec<Lane>) -> Outlook {
        let recipient = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
        Outlook { recipient, is_peer, has_path, lanes, direct }
    }

    fn text(error: Result<(), SendError>) -> String {
        error.unwrap_err().to_string()
    }

    #[test]
    fn the_reason_is_told_apart() {
        let unknown = outlook(false, false, false, vec![lane(1000, 1000, 1000)]);
        assert!(text(unknown.check(Msat(1), Split::Whole, 0)).contains("unknown node"));
        let away = outlook(true, true, false, vec![]);
        assert!(text(away.check(Msat(1), Split::Whole, 0)).contains("is away"));
        let cut_off = outlook(false, true, false, vec![]);
        assert!(text(cut_off.check(Msat(1), Split::Whole, 0)).contains("no channel of this node"));
        let far = outlook(false, true, false, vec![lane(1000, 1000, 1000)]);
        assert_eq!(far.check(Msat(1000), Split::Whole, 0), Ok(()));
        assert!(text(Err(far.no_route(Msat(1000), Some(Msat(5))))).contains("no path"));
    }

    #[test]
    fn a_full_channel_is_busy_and_an_empty_one_is_not() {
        let full = outlook(true, true, true, vec![lane(1000, 500, 0)]);
        assert_eq!(full.check(Msat(500), Split::Whole, 50), Err(SendError::Busy));
        let short = |spendable, needed| {
            Err(SendError::InsufficientBalance { spendable: Msat(spendable), needed: Msat(needed) })
        };
        assert_eq!(full.check(Msat(501), Split::Whole, 50), short(500, 501));
        assert_eq!(full.check(Msat(400), Split::Whole, 0), short(0, 400));
    }

    #[test]
    fn only_a_payment_in_parts_uses_several_channels() {
        let two = outlook(true, true, true, vec![lane(1000, 900, 900), lane(500, 500, 500)]);
        assert_eq!(two.check(Msat(1300), Split::Parts, 0), Ok(()));
        let refused = two.check(Msat(1300), Split::Whole, 0);
        assert!(matches!(refused, Err(SendError::InsufficientBalance { spendable: Msat(900), .. })));
        assert_eq!(two.room().max_in_flight, 2 * SLOTS_PER_CHANNEL);
        assert_eq!(two.room().spendable, Msat(1500));
        assert_eq!(two.room().largest, Msat(900));
    }
}
