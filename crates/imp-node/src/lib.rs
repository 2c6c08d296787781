//! The daemon impd: services, inbox, outbox, events, store and API edges.
pub mod api;
