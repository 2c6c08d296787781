//! UDP relays of this node, and what other nodes offered of theirs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use imp_core::relay::Limits;
use imp_core::socket::{RelayId, Token};
use imp_core::time::UnixMillis;

use super::StoreError;
use super::journal::{JournalEvent, NewEvent};

/// Most events of one id that are looked at.
pub const MAX_EVENTS_OF_ID: usize = 100;

/// A relay that is to run until it ends, also in later runs of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRelay {
    /// Its name.
    pub id: RelayId,
    /// Who started it.
    pub owner: String,
    /// What it is for.
    pub label: String,
    /// Whether it is the one of StartSocket, SendSocket and StopSocket. There is one such row at most.
    pub is_default: bool,
    /// Its ports: that of who started it, and that of the far end.
    pub ports: [u16; 2],
    /// What keeps a side alive.
    pub token: Token,
    /// Whether a new source must begin with the token.
    pub require_token: bool,
    /// How long a side may be silent; whole seconds.
    pub idle: Duration,
    /// How much may go through, of which [`RelayUse`] tells what has.
    pub limits: Limits,
    /// When it was started.
    pub started: UnixMillis,
    /// When it ends at the latest; nothing where it has no such end.
    pub ends: Option<UnixMillis>,
    /// How far it has come.
    pub used: RelayUse,
}

/// What changes of a relay while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayUse {
    /// Packets that went through.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
    /// Who is known on each side.
    pub pins: [Option<StoredPin>; 2],
}

/// Who is known on a side of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPin {
    /// The user's address.
    pub source: SocketAddr,
    /// Whether packets passed both ways.
    pub is_firm: bool,
    /// When it was first heard.
    pub learned: UnixMillis,
    /// When it was last heard.
    pub last_heard: UnixMillis,
    /// The address of this host to which it sends; nothing where the system does not tell.
    pub reached: Option<IpAddr>,
}

/// Relays as a store keeps them.
#[async_trait]
pub trait SocketStore: Send + Sync + 'static {
    /// Keeps a relay. Another one with its id, or a second default one, is [`StoreError::Database`].
    async fn add_relay(&self, relay: StoredRelay) -> Result<(), StoreError>;

    /// The relays that are to run, in the order in which they were started.
    async fn relays(&self) -> Result<Vec<StoredRelay>, StoreError>;

    /// Notes how far relays have come. One that is not kept any more is left out.
    async fn save_relays(&self, used: Vec<(RelayId, RelayUse)>) -> Result<(), StoreError>;

    /// Keeps relays no more and publishes an event for each that was kept. The events are in the journal's tail when
    /// this returns. Returns how many there were.
    async fn end_relays(&self, ended: Vec<(RelayId, NewEvent)>) -> Result<usize, StoreError>;

    /// The events of the service `socket` with this id, newest first, at most [`MAX_EVENTS_OF_ID`].
    async fn socket_events(&self, id: String) -> Result<Vec<JournalEvent>, StoreError>;
}
