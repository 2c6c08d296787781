//! UDP relays and the local ends of other nodes' relays: sockets, threads and batches under the rules of
//! [`imp_core::relay`].
//!
//! ```text
//!  Engine ─┬─ thread "udp-0" ─ current-thread runtime ─┬─ task: relay       2 sockets ─┐
//!          │    one set of buffers                     ├─ task: relay                  ├─ handle: counters, pins, end
//!          │                                           └─ task: connection  2 sockets ─┘
//!          └─ thread "udp-1" ...
//! ```
//!
//! The threads are the engine's own, so that a flood takes nothing from the API and from payments. A relay belongs to one
//! thread for life: its rules need no lock, and its counters are plain numbers that the thread alone writes and others
//! read. Packets come in and go out in batches (`batch`); after one batch from each side a relay lets the others have
//! their turn. An idle relay costs two sockets, a task and, at most, one timer that is set once in its idle time.

mod batch;
mod connection;
mod engine;
mod relay;
mod sockets;

pub use connection::{ConnectError, ConnectionHandle, ConnectionSnapshot, ConnectionSpec};
pub use engine::{Engine, EngineOptions};
pub use relay::{OpenError, Ports, RelayHandle, RelaySpec, SavedPin, SideSnapshot, Snapshot};
