//! What [`exit`](crate::exit) and [`tunnel`](crate::tunnel) both need of this machine: its routes and rules, programs, rights, and notes on what
//! was changed.

pub(crate) mod netlink;
pub(crate) mod note;
pub(crate) mod programs;
pub(crate) mod rights;
pub(crate) mod routes;
