//! Tasks, time and signals: the only place that starts tasks, reads clocks or listens to the operating system.

pub mod clock;
pub mod shutdown;
pub mod tasks;
