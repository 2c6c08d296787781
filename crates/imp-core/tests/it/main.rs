//! Envelopes against the committed vectors, and what must hold for every input and every history.

#![allow(clippy::unwrap_used, reason = "what a test cannot do without may end it")]

mod envelope;
mod exchange;
mod federation;
mod order;
mod reassembly;
mod relay;
mod traffic;
mod vectors;
mod vpn;
mod vpn_buyer;
mod vpn_seller;
