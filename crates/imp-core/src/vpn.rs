//! The VPN: what two nodes say to each other about a WireGuard contract, and the rules of either side.
//!
//! A text of another node is read into typed values, and everything that is made of it (events, wg-quick files, routes)
//! is written from those: a CONFIG comes from someone who may wish its reader ill.

pub mod buyer;
pub mod config;
mod incoming;
pub mod key;
mod meter;
pub mod nonce;
mod outgoing;
pub mod payload;
pub mod reach;
pub mod seller;
mod wg_quick;

use crate::amount::Msat;

pub use config::{Config, join_private_key};
pub use incoming::{End, Incoming, Moment};
pub use key::{KeyError, PresharedKey, PrivateKey, PublicKey};
pub use meter::{Meter, Reading};
pub use nonce::{Nonce, NonceError};
pub use outgoing::{Note, Post};
pub use payload::{EndReason, Limits, Payload, PayloadError, Quote, Request, Response};
pub use wg_quick::KEEPALIVE_SECS;

/// The most that each payment of a message from the allowance for answers may pay to forwarding nodes: four quotes that are
/// open at once fit into what one buyer gets of it, 20 sat a day.
pub const ALLOWANCE_FEE_LIMIT: Msat = Msat::from_sat(4);

/// The reason of a REFUND of what was paid once more for the same: the first payment stands.
pub const PAID_TWICE: &str = "paid twice";
