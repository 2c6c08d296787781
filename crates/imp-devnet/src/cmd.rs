//! The commands.

mod rpc;
pub(crate) mod running;
mod show;
pub(crate) mod up;
