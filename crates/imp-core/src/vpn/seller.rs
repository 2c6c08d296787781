//! A seller's book.

mod row;
mod step;

pub use row::{Contract, ContractState, Offer, Payment, PaymentKind, PaymentState, Terms};
pub use step::Step;
