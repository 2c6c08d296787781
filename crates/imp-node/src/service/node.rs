//! This node: who it is, and what only its owner may do.

use std::sync::Arc;

use imp_core::amount::Msat;
use imp_lightning::{Channel, LightningNode, NodeStatus, OpenChannel};

use super::pubkey;
use crate::error::Error;

/// The node service.
#[derive(Clone, Debug)]
pub struct Node {
    lightning: Arc<dyn LightningNode>,
}

/// A channel that a caller wants to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenChannelRequest {
    /// The other end's public key, as the caller wrote it.
    pub pubkey: String,
    /// Its address, host:port.
    pub address: String,
    /// What this node puts in.
    pub capacity_sat: i64,
    /// What of it is the other end's from the start.
    pub push_sat: i64,
    /// Announce the channel.
    pub announce: bool,
}

impl Node {
    /// The service of a node.
    pub fn new(lightning: Arc<dyn LightningNode>) -> Self {
        Self { lightning }
    }

    /// The Lightning node.
    pub fn lightning(&self) -> &dyn LightningNode {
        &*self.lightning
    }

    /// The node's state.
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        Ok(self.lightning.status().await?)
    }

    /// The node's channels.
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        Ok(self.lightning.channels().await?)
    }

    /// A fresh on-chain address.
    pub async fn new_address(&self) -> Result<String, Error> {
        Ok(self.lightning.new_address().await?)
    }

    /// Connects to another node.
    pub async fn connect(&self, key: &str, address: &str) -> Result<(), Error> {
        let peer = pubkey(key)?;
        Ok(self.lightning.connect(&peer, address).await?)
    }

    /// Opens a channel; returns this end's name for it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a capacity below 1 sat or a push beyond it; what the Lightning node refuses is
    /// `FAILED_PRECONDITION`.
    pub async fn open_channel(&self, request: OpenChannelRequest) -> Result<u128, Error> {
        let peer = pubkey(&request.pubkey)?;
        let capacity_sat =
            u64::try_from(request.capacity_sat).ok().filter(|sat| *sat > 0).ok_or_else(|| {
                Error::invalid("capacity_sat", format!("{} sat is no capacity", request.capacity_sat))
            })?;
        let push_sat =
            u64::try_from(request.push_sat).ok().filter(|push_sat| *push_sat <= capacity_sat).ok_or_else(
                || Error::invalid("push_sat", format!("{} is not 0 to capacity_sat", request.push_sat)),
            )?;
        let channel = OpenChannel {
            peer,
            address: request.address,
            capacity_sat,
            push: Msat::from_sat(push_sat),
            announce: request.announce,
        };
        Ok(self.lightning.open_channel(channel).await?)
    }

    /// Looks at the chain now; returns the best height.
    pub async fn sync_chain(&self) -> Result<u32, Error> {
        Ok(self.lightning.sync_chain().await?)
    }
}
