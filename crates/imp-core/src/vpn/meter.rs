//! What went through a tunnel.

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// What a device says of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Bytes from the peer since the device knows it.
    pub rx_bytes: u64,
    /// Bytes to the peer likewise.
    pub tx_bytes: u64,
    /// The newest handshake.
    pub last_handshake: Option<UnixMillis>,
}

/// What went through a tunnel over all devices that carried it. A device begins at 0 whenever it is made or gets the peer
/// again, which shows in counts that are lower than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Bytes from the other node.
    pub rx_bytes: u64,
    /// Bytes to the other node.
    pub tx_bytes: u64,
    /// The newest handshake.
    pub last_handshake: Option<UnixMillis>,
    /// What the device last said of bytes from the other node.
    pub seen_rx_bytes: u64,
    /// What the device last said of bytes to the other node.
    pub seen_tx_bytes: u64,
}

impl Meter {
    /// Bytes in both ways.
    pub const fn bytes(&self) -> u64 {
        self.rx_bytes.saturating_add(self.tx_bytes)
    }

    /// Takes in what the device says. Says whether that is new.
    pub fn read(&mut self, reading: &Reading) -> bool {
        let before = *self;
        self.rx_bytes = self.rx_bytes.saturating_add(more(self.seen_rx_bytes, reading.rx_bytes));
        self.tx_bytes = self.tx_bytes.saturating_add(more(self.seen_tx_bytes, reading.tx_bytes));
        self.seen_rx_bytes = reading.rx_bytes;
        self.seen_tx_bytes = reading.tx_bytes;
        self.last_handshake = reading.last_handshake.or(self.last_handshake);
        *self != before
    }
}

const fn more(seen: u64, now: u64) -> u64 {
    if now >= seen { now - seen } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(rx_bytes: u64, tx_bytes: u64) -> Reading {
        Reading { rx_bytes, tx_bytes, last_handshake: None }
    }

    #[test]
    fn a_device_that_begins_anew_adds_to_what_went_before() {
        let mut meter = Meter::default();
        for (at, total) in [(reading(10, 20), 30), (reading(10, 25), 35), (reading(3, 4), 42)] {
            meter.read(&at);
            assert_eq!(meter.bytes(), total);
        }
    }

    #[test]
    fn a_handshake_is_remembered_and_the_same_reading_is_no_news() {
        let mut meter = Meter::default();
        let first = Reading { last_handshake: Some(UnixMillis(5)), ..reading(1, 1) };
        assert!(meter.read(&first));
        assert!(!meter.read(&reading(1, 1)));
        assert_eq!(meter.last_handshake, Some(UnixMillis(5)));
    }
}
