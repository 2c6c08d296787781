//! Peers, channels and the state of the node.

use bitcoin::secp256k1::PublicKey;
use imp_core::amount::Msat;
use imp_core::id::NodeId;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::{ChannelDetails, Node, NodeError};

use crate::address;
use crate::ldk::Shared;
use crate::ldk::names::public_key;
use crate::port::{Channel, LightningError, NodeStatus, OpenChannel};

impl Shared {
    pub(super) fn status(&self, node: &Node) -> NodeStatus {
        let status = node.status();
        let channels = node.list_channels();
        let usable = channels.iter().filter(|channel| channel.is_usable);
        NodeStatus {
            alias: self.alias.clone(),
            synced: self.is_synced(node),
            block_height: status.current_best_block.height,
            onchain_sat: node.list_balances().spendable_onchain_balance_sats,
            in_channels: channels.iter().map(own_balance).sum(),
            spendable: usable.map(|channel| Msat(channel.outbound_capacity_msat)).sum(),
            listen: self.listen.clone(),
        }
    }

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
            Err(other) => Err(LightningError::Failed(format!(
                "a channel of {} sat that pushes {} was not opened: {other}",
                open.capacity_sat, open.push
            ))),
        }
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

/// This end's side of a channel, its reserve included.
fn own_balance(channel: &ChannelDetails) -> Msat {
    let reserve = Msat::from_sat(channel.unspendable_punishment_reserve.unwrap_or_default());
    match channel.outbound_capacity_msat {
        // At or below the reserve the library says no more than that.
        0 => Msat::ZERO,
        outbound_msat => Msat(outbound_msat).saturating_add(reserve),
    }
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
