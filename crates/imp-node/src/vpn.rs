//! Access to the internet through WireGuard, bought and sold.

mod view;

pub use view::{
    ConfigFile, ContractPage, ContractView, PaymentPage, PaymentView, QuoteView, Role, SellerView, TunnelView,
};
