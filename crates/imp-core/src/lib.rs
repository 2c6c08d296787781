//! Wire format, rules and state machines of the IMP node.
//!
//! Nothing in this crate opens a file, a socket or a clock: time and randomness come in as arguments, what is to be
//! done comes out as values. That is what lets the rules be tested as properties and fuzzed.

pub mod amount;
pub mod attempt;
pub mod delivery;
pub mod dispatch;
pub mod federation;
pub mod id;
pub mod kept;
pub mod order;
pub mod parts;
pub mod record;
pub mod relay;
pub mod retry;
pub mod socket;
pub mod time;
pub mod vpn;
pub mod wire;
