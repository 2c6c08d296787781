//! The seller: quotes that bind it, contracts that were paid for, and what it owes.
//!
//! [`Book`] decides and changes nothing by that: each event gives a [`Step`], which the caller commits as one and then
//! has the book [`Book::apply`]. A step that was not committed never was.
//!
//! ```text
//!            CONTRACT            CONFIG is settled,
//! offer ── paid as quoted ──> configuring ── or a handshake ──> active ── no time or data left ──> expired
//!                                  │                              ^                                   │
//!                                  │                              └──── REFRESH within the rest ──────┘
//!                                  └── not delivered ──> refund_due ── off the device, REFUND is settled ──> refunded
//! ```
//!
//! Each payment for a contract or for more time is `served`, or its refund is due until a REFUND is settled, or it was
//! too little to be sent back and is `kept`.

mod addresses;
mod book;
mod clock;
mod refund;
mod request;
mod row;
mod step;

use std::time::Duration;

pub use book::{Book, WantedPeer};
pub use row::{Contract, ContractState, Offer, Payment, PaymentKind, PaymentState, Terms};
pub use step::Step;

/// How long a quote is valid, as buyers are told.
pub const QUOTE_VALID: Duration = Duration::from_secs(600);

/// How much longer a payment for it is taken: payments take their time, and buyers count from when the quote came.
pub const QUOTE_GRACE: Duration = Duration::from_secs(120);

/// Open quotes that a buyer may have.
pub const MAX_OFFERS_OF_ONE: usize = 8;

/// Open quotes in all.
pub const MAX_OFFERS: usize = 10_000;

/// How long a CONFIG or a REFRESHED is tried.
pub const ANSWER_TRIED: Duration = Duration::from_secs(15 * 60);

/// How long a REFUND is tried before another one is made, where others forward it.
pub const REFUND_TRIED: Duration = crate::kept::LONGEST_KEEP;

/// How long it is tried over a channel with the buyer, which may have nothing on this side; and the pause before another
/// one is made.
pub const REFUND_PAUSE: Duration = Duration::from_secs(3600);

/// What is less is not sent back, in satoshis: fees would take too much of it.
pub const LEAST_REFUND_SAT: u64 = 10;

/// The least time between two repetitions of an answer.
pub const REPEAT_PAUSE: Duration = Duration::from_secs(20);

/// How long a buyer can have an answer repeated.
pub const ANSWERS_KEPT: Duration = Duration::from_secs(26 * 3600);

/// The most that a payment in answer to one of so much may cost, in satoshis: 2 in a hundred, or 1.
const fn fee_limit_sat(amount_sat: u64) -> u64 {
    let part_sat = amount_sat / 50;
    if part_sat == 0 { 1 } else { part_sat }
}

#[cfg(test)]
mod tests;
