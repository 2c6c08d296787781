//! The programming interface of the IMP node, as both ends need it: generated types, the REST route table, JSON, error
//! codes and a typed client. Links no node.
//!
//! The protos under `proto/` are the one contract. `cargo xtask gen` makes [`proto`] and [`descriptors`] of them; the
//! REST interface is read from the descriptors, so it cannot differ from the gRPC one.

pub mod client;
pub mod descriptors;
pub mod error;
pub mod json;
pub mod rest;

/// The types, clients and server traits of every service, in modules named like the proto packages.
#[allow(clippy::all, missing_docs, missing_debug_implementations, reason = "generated code")]
#[rustfmt::skip]
#[path = "gen/mod.rs"]
pub mod proto;
