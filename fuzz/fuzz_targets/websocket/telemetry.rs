//! In place of the daemon's counters, which the HTTP side counts with.

pub mod metrics {
    /// Counts nothing.
    #[derive(Clone, Debug, Default)]
    pub struct Metrics;

    /// A connection that is not counted.
    #[derive(Debug)]
    pub struct Open;

    impl Metrics {
        pub fn connection(&self, _listener: &'static str) -> Open {
            Open
        }

        pub fn refused(&self, _reason: &'static str) {}
    }
}
