//! Tests of the daemon's parts together.

#![allow(clippy::disallowed_methods, reason = "tests start tasks that end with them")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the way to fail")]

mod config;
mod crash;
mod edge;
mod exit;
mod federate;
mod hosts;
mod impd;
mod inbox;
mod kept;
mod lab;
mod layering;
mod messages;
mod metrics;
mod payments;
mod repeat;
mod signing;
mod simulated;
mod socket;
mod start;
mod store;
mod tries;
mod tunnel;
mod udp;
mod vpn;
mod wallet;
