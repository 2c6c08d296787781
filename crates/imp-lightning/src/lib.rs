//! The port [`LightningNode`] and its adapters.
//!
//! What the daemon needs of a Lightning node is a trait; behind it stands a node that runs in this process ([`ldk`]) or
//! a simulated network for tests ([`fake`]). One conformance suite runs on every adapter.

mod address;
pub mod blob;
pub mod fake;
mod invoice;
pub mod ldk;
mod onchain;
mod port;

pub use address::check as check_address;
pub use invoice::{InvoiceFacts, read_invoice, read_payable};
pub use port::*;
