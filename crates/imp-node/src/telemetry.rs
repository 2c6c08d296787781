//! What the daemon tells of itself.

pub mod log;
pub mod metrics;
pub mod queue;
pub mod rotate;
