//! The buyer: quotes that other nodes gave, and contracts that this node pays for.
//!
//! [`Purchases`] decides and changes nothing by that: each event gives a [`Step`], which the caller commits as one and then
//! has the purchases [`Purchases::apply`]. A step that was not committed never was. What sellers send is taken for what it
//! can do to this node: nothing is paid because of it, and it counts for the contract that it names only.
//!
//! ```text
//!           accept            settled              CONFIG                 time is up
//! quote ──────────> paying ───────────> paid ───────────────> active ──────────────────> expired
//!                     │                  │  │                  ^  ^                          │
//!                     │ failed           │  └─ 20 minutes ─> unanswered                      │
//!                     v                  │                       │  └──── REFRESHED ─────────┘
//!                   failed               └────── REFUND ─────────┴───────────> refunded
//! ```
//!
//! A seller that has not answered a payment is asked STATUS for a day, ever more seldom.

mod answer;
mod clock;
mod pay;
mod purchases;
mod row;
mod step;

use std::time::Duration;

pub use answer::Asked;
pub use pay::{AcceptError, RefreshError};
pub use purchases::Purchases;
pub use row::{HeldQuote, Inquiry, OpenRefresh, Purchase, PurchaseState, UpWish};
pub use step::Step;

/// How long before the end of a quote nothing is paid for it any more: the payment has to come before the seller is free
/// to refuse it.
pub const PAYING_LEAD: Duration = Duration::from_secs(60);

/// How long after that it is still listed.
pub const QUOTE_LISTED: Duration = Duration::from_secs(600);

/// Quotes of one seller that are held.
pub const MAX_QUOTES_OF_ONE: usize = 16;

/// Quotes that are held.
pub const MAX_QUOTES: usize = 1000;

/// How long after it was asked for a quote is taken.
pub const QUOTE_AWAITED: Duration = Duration::from_secs(3600);

/// How long after its end a contract can be refreshed, as far as this node is concerned.
pub const REVIVABLE: Duration = Duration::from_secs(3600);

/// How long an answer to a payment is waited for before the seller is asked. Each next time it is twice as long.
pub const FIRST_INQUIRY: Duration = Duration::from_secs(30);

/// How long a seller is asked.
pub const INQUIRIES: Duration = Duration::from_secs(24 * 3600);

/// How long until programs are told that there is no answer.
pub const UNANSWERED_AFTER: Duration = Duration::from_secs(20 * 60);

/// How long an answer can come at all: then the key of the tunnel is forgotten.
pub const ANSWERABLE: Duration = crate::kept::LONGEST_KEEP;

/// The pause after a refresh of this node's own accord that failed, or was not allowed.
pub const AUTO_PAUSE: Duration = Duration::from_secs(15);

/// How long purchases are listed after their end.
pub const PURCHASES_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

#[cfg(test)]
mod tests;
