//! The chain as its users see it: the rules, the JSON-RPC with and without HTTP, the directory it is kept in.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod blocks;
mod branches;
mod client;
mod fuzz;
mod http;
mod mempool;
mod properties;
mod replacement;
mod rpc;
mod rpc_mempool;
mod store;
mod wallet;
