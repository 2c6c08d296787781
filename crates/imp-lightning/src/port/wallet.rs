//! What the node holds.

use std::net::SocketAddr;

use imp_core::amount::Msat;

/// The state of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Name that the node announces, or nothing.
    pub alias: String,
    /// The chain was seen since the start, so that payments can be made.
    pub synced: bool,
    /// Height of the best block known.
    pub block_height: u32,
    /// What the on-chain wallet can spend, in satoshis.
    pub onchain_sat: u64,
    /// All that is in the on-chain wallet, in satoshis, with what is not confirmed.
    pub onchain_total_sat: u64,
    /// What of it is held back so that channels can be closed when fees are high.
    pub onchain_reserved_sat: u64,
    /// This node's side of all its channels.
    pub in_channels: Msat,
    /// What can be sent now over usable channels.
    pub spendable: Msat,
    /// What can be received now over usable channels.
    pub receivable: Msat,
    /// What comes back to the wallet, in satoshis, from channels that were closed: in none of the other figures.
    pub closing_sat: u64,
    /// Where the node listens for other Lightning nodes.
    pub listen: Vec<SocketAddr>,
}

/// How much to send on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnchainAmount {
    /// So many satoshis arrive; the fee is paid on top.
    Sat(u64),
    /// All that can be sent; the fee is taken from it. What is held back for closing channels stays.
    All,
}
