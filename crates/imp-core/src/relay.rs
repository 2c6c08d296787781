//! UDP relays: who is let in, who is sent to, and when a relay is over.
//!
//! ```text
//!  packets ─> admission ─> pins ─> meter ─> forward to the pin of the other side
//!             (new source)  │        └────> drop: rate; end: limit
//!                           └─────────────> drop: other_source, no_peer, ...
//! ```
//!
//! [`Rules`] decides on a *run* at a time: packets of one source that came in together and have one length, but the last,
//! which may be shorter. That is how systems hand over packets in batches, and it is what makes a decision cheap.
//! [`KeepAlive`] is the other end's: a program that joins a relay.

mod admission;
mod keep_alive;
mod meter;
mod pins;
mod rules;
mod spans;

use std::time::Duration;

pub use admission::{canonical, carried, is_private, refused};
pub use keep_alive::{
    Due, FIRST_KEEP_ALIVE, GIVE_UP_AFTER, KEEP_ALIVE_EVERY, KeepAlive, State as KeepAliveState,
};
pub use meter::Limits;
pub use pins::{Pin, Pins, REPLACEABLE_AFTER};
pub use rules::{ECHO_EVERY, Options, Rules, SideCount, Verdict};
pub use spans::{Span, spans};

/// A point in time of a clock that never steps back, in milliseconds since whenever it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// This moment and `after` later.
    pub const fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(after)))
    }

    /// This moment and `before` earlier, at least the clock's beginning.
    pub const fn minus(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(before)))
    }

    /// How long ago `earlier` was.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

const fn whole_millis(duration: Duration) -> u64 {
    let millis = duration.as_millis();
    if millis > u64::MAX as u128 { u64::MAX } else { millis as u64 }
}

/// A side of a relay, which is one of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// That of the first port: who started the relay.
    First,
    /// That of the second port: the far end.
    Second,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one across.
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Its place in an array of both.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Packets of one source that came in together: all of `stride` bytes but the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many packets; at least 1.
    pub packets: u64,
    /// Bytes of payload in each but the last.
    pub stride: u64,
    /// Bytes of payload in all.
    pub bytes: u64,
}

impl Run {
    /// `bytes` of payload in packets of `stride` bytes; one packet where the stride is 0.
    pub const fn new(bytes: u64, stride: u64) -> Self {
        let packets = if bytes == 0 || stride == 0 { 1 } else { bytes.div_ceil(stride) };
        Self { packets, stride, bytes }
    }

    /// One packet.
    pub const fn one(bytes: u64) -> Self {
        Self { packets: 1, stride: bytes, bytes }
    }

    /// Bytes in its first `packets` packets.
    pub const fn bytes_of(&self, packets: u64) -> u64 {
        if packets >= self.packets { self.bytes } else { packets.saturating_mul(self.stride) }
    }
}

/// Why a packet did not go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// Nobody is known on the other side, or it has been silent for the idle time.
    NoPeer,
    /// Another source is known on this side.
    OtherSource,
    /// The source is a relay socket of this node: packets would go round for ever.
    OwnRelay,
    /// The source is the limited broadcast address, in either form (RFC 1122 section 3.3.6), or of 0/8 or 240/4, which are
    /// no machine's.
    Broadcast,
    /// The source is a multicast address.
    Multicast,
    /// The source has port 0, to which nothing can be sent.
    PortZero,
    /// The source is private or link-local, and such are not allowed.
    PrivateSource,
    /// The source's first packet was not the token that the relay demands.
    Token,
    /// Above the packets or bytes of a second.
    Rate,
    /// The system did not take it.
    Send,
    /// Too long for the way out.
    TooLong,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NoPeer,
        Self::OtherSource,
        Self::OwnRelay,
        Self::Broadcast,
        Self::Multicast,
        Self::PortZero,
        Self::PrivateSource,
        Self::Token,
        Self::Rate,
        Self::Send,
        Self::TooLong,
    ];

    /// Its place in an array of a number for each.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPeer => "no_peer",
            Self::OtherSource => "other_source",
            Self::OwnRelay => "own_relay",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::PortZero => "port_zero",
            Self::PrivateSource => "private_source",
            Self::Token => "token",
            Self::Rate => "rate",
            Self::Send => "send",
            Self::TooLong => "too_long",
        }
    }
}

/// Why a relay is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Somebody stopped it, or the node stops.
    Stopped,
    /// Both sides were silent, or unknown, for the idle time.
    Idle,
    /// Its life is over.
    Life,
    /// Its packets or bytes are used up.
    Limit,
}

impl End {
    /// Its name in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Idle => "idle",
            Self::Life => "life",
            Self::Limit => "limit",
        }
    }
}
