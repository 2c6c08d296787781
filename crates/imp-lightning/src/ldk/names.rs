//! Names of nodes and payments, between the library's types and ours.

use bitcoin::secp256k1::PublicKey;
use imp_core::id::{NodeId, PaymentHash};
use ldk_node::lightning::ln::channelmanager::PaymentId;
use ldk_node::lightning::routing::gossip;

pub(super) fn public_key(id: &NodeId) -> PublicKey {
    PublicKey::from_slice(id.as_bytes()).expect("a node id is a point of the curve")
}

pub(super) fn graph_id(id: &NodeId) -> gossip::NodeId {
    gossip::NodeId::from_pubkey(&public_key(id))
}

/// ldk-node names Lightning payments by their hash.
pub(super) const fn payment_id(hash: &PaymentHash) -> PaymentId {
    PaymentId(hash.0)
}
