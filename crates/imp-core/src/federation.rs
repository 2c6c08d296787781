//! Federation: nodes that remember each other for a while, and what each may do at the other.
//!
//! [`Payload`] is what they tell each other, [`Rights`] is what one of them may do here, and [`Peer`] is how this node
//! stands to one of them: a state machine to which times, ids and the owner's rules are arguments.
//!
//! ```text
//! none ── own request ──> requested ── ACCEPT, or a REQUEST that crosses ──> federated ── LEAVE, own leave ──> left
//!   │                         │                                               ^  │  │
//!   │                         └── REJECT ──> rejected <── REJECT of a RENEW ──┼──┘  └── time is up ──> expired
//!   └── REQUEST ──> pending ── the owner accepts ─────────────────────────────┘
//!          └───────── by the rules ───────────────────────────────────────────^
//! ```
//!
//! From `left`, `rejected` and `expired` it goes on as from `none`. A request is given up after [`REQUEST_LASTS`].

mod ask;
mod payload;
mod peer;
mod receive;
mod rights;
mod rules;
mod state;

pub use ask::{Ask, AskKind, MAX_ASKS};
pub use payload::{MAX_IMP_ID_BYTES, MAX_PAYLOAD_BYTES, MAX_REASON_BYTES, Payload, PayloadError, TTL_SECS};
pub use peer::{Before, Due, Peer, REQUEST_LASTS};
pub use receive::{Incoming, Received};
pub use rights::{Denial, Rights};
pub use rules::{Policy, Rules};
pub use state::{AskedBy, Standing, State};
