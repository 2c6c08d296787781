//! Whole nets: real daemons with real Lightning nodes on a chain of their own.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the way to fail")]

mod commits;
