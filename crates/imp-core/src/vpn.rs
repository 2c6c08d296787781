//! The VPN: what two nodes say to each other about a WireGuard contract, and the rules of either side.
//!
//! A text of another node is read into typed values, and everything that is made of it (events, wg-quick files, routes)
//! is written from those: a CONFIG comes from someone who may wish its reader ill.

pub mod config;
pub mod key;
pub mod nonce;
pub mod payload;
pub mod reach;
mod wg_quick;

pub use config::{Config, join_private_key};
pub use key::{KeyError, PresharedKey, PrivateKey, PublicKey};
pub use nonce::{Nonce, NonceError};
pub use payload::{EndReason, Limits, Payload, PayloadError, Quote, Request, Response};
pub use wg_quick::KEEPALIVE_SECS;
