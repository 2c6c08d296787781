//! Tasks, time, signals and the machine's address: the only place that starts tasks, reads clocks or listens to the operating
//! system.

#![expect(clippy::disallowed_methods, reason = "this is where the others get them from")]

pub mod clock;
pub mod files;
pub mod own_address;
pub mod shutdown;
pub mod tasks;
