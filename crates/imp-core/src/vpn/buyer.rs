//! What a buyer pays for.

mod row;
mod step;

pub use row::{HeldQuote, Inquiry, OpenRefresh, Purchase, PurchaseState, UpWish};
pub use step::Step;
