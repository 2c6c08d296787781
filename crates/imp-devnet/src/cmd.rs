//! The commands.

pub(crate) mod on;
mod rpc;
pub(crate) mod running;
mod show;
pub(crate) mod unshare;
pub(crate) mod up;
