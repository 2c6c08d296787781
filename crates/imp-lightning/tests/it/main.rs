//! The adapters under test: one suite of behaviours on each, and what is particular to one.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the way to fail")]

mod conformance;
mod fake;
mod fake_properties;
mod ldk;
mod ldk_lab;
mod ldk_start;
mod ldk_wallet;
mod logs;
mod memory;
mod servers;
