//! What travels between nodes: envelopes, the signatures in them, and how a long text becomes several of them.

pub mod envelope;
pub mod signature;
pub mod split;
