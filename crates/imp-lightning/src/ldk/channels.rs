//! Peers and channels.

use std::collections::BTreeMap;

use bitcoin::secp256k1::PublicKey;
use imp_core::amount::Msat;
use imp_core::id::NodeId;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::{ChannelDetails, Node, NodeError};

use crate::address;
use crate::ldk::Shared;
use crate::ldk::names::{graph_id, public_key};
use crate::port::{Channel, LightningError, OpenChannel, Peer};

impl Shared {
    pub(super) fn connect(&self, node: &Node, peer: &NodeId, address: &str) -> Result<(), LightningError> {
        let (key, socket_address) = self.reachable(peer, address)?;
        let was_connected = is_connected(node, key);
        match node.connect(key, socket_address, true) {
            Ok(()) => {
                self.learn(peer, address, was_connected);
                Ok(())
            }
            Err(NodeError::NotRunning) => Err(LightningError::Unavailable("it was stopped".to_owned())),
            Err(_) => Err(LightningError::Failed(format!("cannot connect to {peer} at {address}"))),
        }
    }

    /// Whether a channel can be opened at all.
    pub(super) fn check_opening(&self, open: &OpenChannel) -> Result<(), LightningError> {
        let capacity = Msat::from_sat(open.capacity_sat);
        if capacity == Msat::ZERO || open.push > capacity {
            return Err(LightningError::Invalid(format!(
                "a channel of {capacity} cannot push {} to the other end",
                open.push
            )));
        }
        if open.announce && (self.alias.is_empty() || self.listen.is_empty()) {
            return Err(LightningError::Invalid(
                "only a node with an alias and an address to listen on announces channels".to_owned(),
            ));
        }
        Ok(())
    }

    /// Opens a channel to a node that is connected.
    pub(super) fn open(&self, node: &Node, open: &OpenChannel) -> Result<u128, LightningError> {
        let (key, socket_address) = self.reachable(&open.peer, &open.address)?;
        let _turn = self.take_coins(node)?;
        let push_msat = Some(open.push.0).filter(|push| *push > 0);
        let opened = if open.announce {
            node.open_announced_channel(key, socket_address, open.capacity_sat, push_msat, None)
        } else {
            node.open_channel(key, socket_address, open.capacity_sat, push_msat, None)
        };
        match opened {
            Ok(name) => Ok(name.0),
            Err(NodeError::NotRunning) => Err(LightningError::Unavailable("it was stopped".to_owned())),
            Err(NodeError::ConnectionFailed | NodeError::InvalidSocketAddress) => {
                Err(LightningError::Failed(format!("cannot connect to {} at {}", open.peer, open.address)))
            }
            Err(NodeError::InsufficientFunds) => {
                let spendable_sat = node.list_balances().spendable_onchain_balance_sats;
                Err(LightningError::Failed(format!(
                    "the wallet can spend {spendable_sat} sat, the channel takes {} sat and a reserve",
                    open.capacity_sat
                )))
            }
            // The opening is sent off; only the peer's address could not be stored.
            Err(NodeError::PersistenceFailed) => {
                Err(LightningError::Unknown("the channel's peer could not be stored".to_owned()))
            }
            Err(other) => Err(LightningError::Failed(format!(
                "a channel of {} sat that pushes {} was not opened: {other}",
                open.capacity_sat, open.push
            ))),
        }
    }

    pub(super) fn known_peers(&self, node: &Node) -> Vec<Peer> {
        let mut peers: BTreeMap<NodeId, Peer> = BTreeMap::new();
        for known in node.list_peers() {
            let id = NodeId::from(known.node_id);
            // Of a connection that the other end made, the library has the port that it was made from.
            let address = self.peers.last_good(&id);
            let address = address.or_else(|| known.is_persisted.then(|| known.address.to_string()));
            peers.insert(id, Peer { id, address, connected: known.is_connected });
        }
        for channel in node.list_channels() {
            let id = NodeId::from(channel.counterparty_node_id);
            let away = || Peer { id, address: self.peers.last_good(&id), connected: false };
            peers.entry(id).or_insert_with(away);
        }
        peers.into_values().collect()
    }

    pub(super) fn hang_up(&self, node: &Node, peer: &NodeId) -> Result<(), LightningError> {
        let key = public_key(peer);
        let channels = node.list_channels();
        let shared = channels.iter().filter(|channel| channel.counterparty_node_id == key).count();
        if shared > 0 {
            return Err(LightningError::Failed(format!(
                "{peer} shares {shared} open channels with this node, which keep it connected: close them first"
            )));
        }
        if !node.list_peers().iter().any(|known| known.node_id == key) {
            return Err(LightningError::NotFound(format!("{peer} is no peer of this node")));
        }
        node.disconnect(key).map_err(|fault| match fault {
            NodeError::NotRunning => LightningError::Unavailable("it was stopped".to_owned()),
            other => LightningError::Failed(format!("{peer} stays connected: {other}")),
        })
    }

    pub(super) fn close(&self, node: &Node, name: u128, force: bool) -> Result<(), LightningError> {
        let channels = node.list_channels();
        let channel = channels.iter().find(|channel| channel.user_channel_id.0 == name).ok_or_else(|| {
            LightningError::NotFound(format!("no channel of this node has the name {name}"))
        })?;
        let (name, key) = (&channel.user_channel_id, channel.counterparty_node_id);
        if !force && !is_connected(node, key) {
            return Err(LightningError::Failed(format!(
                "the other end of the channel, {}, is away: connect to it first, or close the channel with force",
                NodeId::from(key)
            )));
        }
        let closed = if force {
            node.force_close_channel(name, key, Some("its owner closes the channel alone".to_owned()))
        } else {
            node.close_channel(name, key)
        };
        closed.map_err(|fault| match fault {
            NodeError::NotRunning => LightningError::Unavailable("it was stopped".to_owned()),
            other if force => LightningError::Failed(format!("the channel stays open: {other}")),
            _ => LightningError::Failed(
                "the channel is being closed already, or the other end is away: wait, or close it with force"
                    .to_owned(),
            ),
        })
    }

    /// Whether the node is this one, at the other end of a channel, or in the network graph.
    pub(super) fn knows(&self, node: &Node, id: &NodeId) -> bool {
        let key = public_key(id);
        *id == self.id
            || node.list_channels().iter().any(|channel| channel.counterparty_node_id == key)
            || node.network_graph().node(&graph_id(id)).is_some()
    }

    /// Keeps an address that was used, or given while there was no need to use it.
    fn learn(&self, peer: &NodeId, address: &str, was_connected: bool) {
        if was_connected {
            self.peers.note(peer, address);
        } else {
            self.peers.remember(peer, address);
        }
    }

    /// The names of a peer that can be called, as the library has them.
    fn reachable(&self, peer: &NodeId, address: &str) -> Result<(PublicKey, SocketAddress), LightningError> {
        address::check(address)?;
        if *peer == self.id {
            return Err(LightningError::Invalid("a node cannot connect to itself".to_owned()));
        }
        let socket_address = address
            .parse()
            .map_err(|fault| LightningError::Invalid(format!("{address:?} is no address: {fault}")))?;
        Ok((public_key(peer), socket_address))
    }
}

fn is_connected(node: &Node, key: PublicKey) -> bool {
    node.list_peers().iter().any(|peer| peer.node_id == key && peer.is_connected)
}

pub(super) fn channel(details: &ChannelDetails) -> Channel {
    Channel {
        peer: NodeId::from(details.counterparty_node_id),
        funding: details.funding_txo.map(|outpoint| outpoint.to_string()),
        capacity_sat: details.channel_value_sats,
        outbound: Msat(details.outbound_capacity_msat),
        inbound: Msat(details.inbound_capacity_msat),
        ready: details.is_channel_ready,
        usable: details.is_usable,
        announced: details.is_announced,
        user_channel_id: details.user_channel_id.0,
    }
}
