//! What ties an envelope to one payment.

use bitcoin_hashes::{Hash, HashEngine, sha256};

use crate::id::{NodeId, Preimage};
use crate::record::RecordType;

/// Where an envelope is valid. None of it travels in the envelope: both ends know it, and it is signed along, so that
/// nobody can move an envelope to another chain, recipient, service or payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Hash of the chain's first block in the byte order of BOLT 0: one seed has the same node key on every chain.
    pub genesis_hash: [u8; 32],
    /// For whom the envelope is.
    pub recipient: NodeId,
    /// The custom record that carries it.
    pub record_type: RecordType,
    /// What carries it.
    pub carrier: CarrierBinding,
}

/// Names what carries an envelope, by something that no forwarder knows while it could still change the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierBinding(pub [u8; 32]);

impl CarrierBinding {
    /// For a keysend: the last hop to an LND node can replace the records of somebody else's payment, but it learns
    /// the preimage only from the recipient, when the payment is settled.
    pub fn keysend(preimage: &Preimage) -> Self {
        let mut engine = sha256::Hash::engine();
        engine.input(b"imp/keysend");
        engine.input(&preimage.0);
        Self(sha256::Hash::from_engine(engine).to_byte_array())
    }
}
