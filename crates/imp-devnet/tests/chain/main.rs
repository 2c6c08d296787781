//! The chain as its users see it: over HTTP, through the JSON-RPC, as a library, from its directory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;
mod http;
