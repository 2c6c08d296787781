//! The daemon impd: services, inbox, outbox, events, store and API edges.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks that end with them"))]

pub mod api;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod lock;
pub mod runtime;
pub mod seed;
pub mod store;
pub mod telemetry;
