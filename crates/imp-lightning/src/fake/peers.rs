//! Peers and channels of simulated nodes.

use std::collections::BTreeSet;

use imp_core::amount::Msat;
use imp_core::id::NodeId;

use crate::address;
use crate::fake::channel::ChannelState;
use crate::fake::world::{Step, World, link};
use crate::port::{Channel, LightningError, OpenChannel, Peer};

/// Blocks until the end that closes a channel alone has its share: a day.
const FORCE_CLOSE_BLOCKS: u32 = 144;

impl World {
    pub(super) fn connect(
        &mut self,
        id: &NodeId,
        peer: &NodeId,
        address: &str,
    ) -> Result<(), LightningError> {
        address::check(address)?;
        if peer == id {
            return Err(LightningError::Invalid("a node cannot connect to itself".to_owned()));
        }
        if !self.nodes.contains_key(peer) || !self.connected(id, peer) {
            return Err(LightningError::Failed(format!("cannot connect to {peer} at {address}")));
        }
        self.links.insert(link(id, peer));
        self.node_mut(id).peers.insert(*peer, address.to_owned());
        Ok(())
    }

    /// The nodes at the other ends of a node's open channels, once for each channel.
    fn neighbours(&self, id: &NodeId) -> impl Iterator<Item = NodeId> {
        let open = self.channels.iter().filter(|channel| channel.state != ChannelState::Closed);
        open.filter_map(|channel| Some(channel.ends[1 - channel.end(id)?]))
    }

    pub(super) fn peers(&self, id: &NodeId) -> Vec<Peer> {
        let node = self.node(id);
        let linked = |peer: &NodeId| self.links.contains(&link(id, peer)) && self.connected(id, peer);
        let mut peers: BTreeSet<NodeId> = node.peers.keys().copied().chain(self.neighbours(id)).collect();
        peers.extend(self.nodes.keys().filter(|peer| linked(peer)));
        let peer = |peer: NodeId| Peer {
            id: peer,
            address: node.peers.get(&peer).cloned(),
            connected: linked(&peer),
        };
        peers.into_iter().map(peer).collect()
    }

    pub(super) fn disconnect(&mut self, id: &NodeId, peer: &NodeId) -> Result<(), LightningError> {
        let shared = self.neighbours(id).filter(|neighbour| neighbour == peer).count();
        if shared > 0 {
            return Err(LightningError::Failed(format!(
                "{peer} shares {shared} open channels with this node, which keep it connected: close them first"
            )));
        }
        let linked = self.links.remove(&link(id, peer));
        let known = self.node_mut(id).peers.remove(peer);
        if !linked && known.is_none() {
            return Err(LightningError::NotFound(format!("{peer} is no peer of this node")));
        }
        Ok(())
    }

    pub(super) fn channels_of(&self, id: &NodeId) -> Vec<Channel> {
        let open = self.channels.iter().filter(|channel| channel.state != ChannelState::Closed);
        open.filter_map(|channel| {
            let end = channel.end(id)?;
            Some(Channel {
                peer: channel.ends[1 - end],
                funding: Some(channel.funding.clone()),
                capacity_sat: channel.capacity_sat,
                outbound: channel.balance[end],
                inbound: channel.balance[1 - end],
                ready: channel.is_alive(),
                usable: self.usable(channel),
                announced: channel.announced,
                user_channel_id: channel.user_ids[end],
            })
        })
        .collect()
    }

    pub(super) fn open(&mut self, id: &NodeId, open: &OpenChannel) -> Result<u128, LightningError> {
        let capacity = Msat::from_sat(open.capacity_sat);
        if capacity == Msat::ZERO || open.push > capacity {
            return Err(LightningError::Invalid(format!(
                "a channel of {capacity} cannot push {} to the other end",
                open.push
            )));
        }
        self.connect(id, &open.peer, &open.address)?;
        let (spendable, reserve) = (self.spendable_onchain(id), Msat::from_sat(self.options.reserve_sat));
        if spendable < capacity.saturating_add(reserve) {
            return Err(LightningError::Failed(format!(
                "the wallet can spend {spendable}, the channel takes {capacity} and a reserve of {reserve}"
            )));
        }
        let wallet = &mut self.node_mut(id).wallet;
        wallet.confirmed = wallet.confirmed - capacity;
        let balance = [capacity - open.push, open.push];
        let channel = self.add_channel(*id, open.peer, balance, open.announce);
        self.later(Step::Confirm(channel));
        Ok(self.channels[channel].user_ids[0])
    }

    pub(super) fn close_named(&mut self, id: &NodeId, name: u128, force: bool) -> Result<(), LightningError> {
        let found = self.channels.iter().enumerate().find_map(|(index, channel)| {
            let end = channel.end(id).filter(|end| channel.user_ids[*end] == name)?;
            (channel.state != ChannelState::Closed).then_some((index, end))
        });
        let Some((index, end)) = found else {
            return Err(LightningError::NotFound(format!("no channel of this node has the name {name}")));
        };
        let peer = self.channels[index].ends[1 - end];
        if force {
            let mut blocks = [1, 1];
            blocks[end] = FORCE_CLOSE_BLOCKS;
            self.close(index, blocks, "one end has closed it alone");
            return Ok(());
        }
        if !self.connected(id, &peer) {
            return Err(LightningError::Failed(format!(
                "the other end of the channel, {peer}, is away: connect to it first, or close the channel with force"
            )));
        }
        if self.channels[index].state == ChannelState::Closing {
            return Err(LightningError::Failed(
                "the channel is being closed already: wait, or close it with force".to_owned(),
            ));
        }
        self.channels[index].state = ChannelState::Closing;
        self.later(Step::Close(index));
        Ok(())
    }

    pub(super) fn knows(&self, id: &NodeId, other: &NodeId) -> bool {
        let mut announced = self.channels.iter().filter(|channel| channel.announced && channel.is_alive());
        id == other
            || self.neighbours(id).any(|neighbour| neighbour == *other)
            || announced.any(|channel| channel.end(other).is_some())
    }
}
