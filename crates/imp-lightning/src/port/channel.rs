//! Channels and peers.

use imp_core::amount::Msat;
use imp_core::id::NodeId;

/// One of this node's channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The other end.
    pub peer: NodeId,
    /// `txid:vout` of the funding output, once it is known.
    pub funding: Option<String>,
    /// Size of the channel in satoshis.
    pub capacity_sat: u64,
    /// What this end can send now.
    pub outbound: Msat,
    /// What this end can receive now.
    pub inbound: Msat,
    /// The funding has its confirmations.
    pub ready: bool,
    /// Ready, and the peer is connected.
    pub usable: bool,
    /// Announced to the network.
    pub announced: bool,
    /// This end's name for the channel.
    pub user_channel_id: u128,
}

/// A channel to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenChannel {
    /// The other end.
    pub peer: NodeId,
    /// Where it listens, `host:port`.
    pub address: String,
    /// What this end puts in, in satoshis.
    pub capacity_sat: u64,
    /// What of it belongs to the other end from the start.
    pub push: Msat,
    /// Announce it to the network.
    pub announce: bool,
}

/// A node that this one is, or keeps itself, connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub id: NodeId,
    /// Where it can be called, `host:port`; nothing where only it can call.
    pub address: Option<String>,
    /// Connected now.
    pub connected: bool,
}
