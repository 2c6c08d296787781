//! The daemon impd: services, inbox, outbox, events, store and API edges.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks that end with them"))]

pub mod api;
pub mod cli;
pub mod config;
pub mod data_dir;
pub mod error;
pub mod events;
pub mod exit;
pub mod federation;
mod host;
pub mod idempotency;
pub mod inbox;
pub mod listing;
pub mod lock;
pub mod node;
pub mod outbox;
pub mod runtime;
pub mod seed;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod tunnel;
pub mod udp;
pub mod vpn;
pub mod wireguard;
