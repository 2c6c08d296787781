//! A regtest chain and whole IMP nodes on it.

pub mod chain;
pub mod devnet;
pub mod netns;
