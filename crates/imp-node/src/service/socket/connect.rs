//! Local ends of relays that other nodes offered.
//!
//! The address in an offer is its sender's choice, who is a stranger: by it this node could be made to send into networks
//! that only it reaches. So only public addresses are sent to, unless the owner says otherwise.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_api::error::Code;
use imp_core::id::NodeId;
use imp_core::relay::{KeepAliveState, Side, refused};
use imp_core::socket::{Offer, RelayId};
use imp_core::time::UnixMillis;

use super::{Sockets, relay_id};
use crate::error::Error;
use crate::outbox::random;
use crate::udp::{ConnectError, ConnectionHandle, ConnectionSpec};

/// Local ends that may be open at once.
const MAX_CONNECTIONS: usize = 1_000;

/// A relay to join, as the caller wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect {
    /// The id of the event that offered it.
    pub event_id: String,
    /// The local UDP port; 0 for one that is free.
    pub local_port: u32,
    /// 1 for the side of who started it; 2, or 0, for the far end's.
    pub side: u32,
    /// Also addresses that are not public.
    pub allow_private: bool,
}

/// A local end that is open, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// Its name.
    pub id: RelayId,
    /// The event that offered the relay.
    pub event_id: String,
    /// Who offered it.
    pub from: NodeId,
    /// When it was opened.
    pub opened: UnixMillis,
    /// Where the local program sends to.
    pub local: SocketAddr,
    /// The relay.
    pub remote: SocketAddr,
    /// How it stands with the relay.
    pub state: KeepAliveState,
    /// When the relay was last heard.
    pub last_heard: Option<UnixMillis>,
    /// The local program.
    pub program: Option<SocketAddr>,
    /// Packets from the program to the relay.
    pub packets_out: u64,
    /// Packets from the relay to the program.
    pub packets_in: u64,
}

/// The local ends that are open. They are of this run of the node alone.
#[derive(Default)]
pub(super) struct Connections {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next: u64,
    open: BTreeMap<u64, Arc<Local>>,
}

struct Local {
    id: RelayId,
    event_id: String,
    from: NodeId,
    opened: UnixMillis,
    handle: ConnectionHandle,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.list().open.len()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local {
    fn view(&self) -> ConnectionView {
        let now = self.handle.snapshot();
        ConnectionView {
            id: self.id,
            event_id: self.event_id.clone(),
            from: self.from,
            opened: self.opened,
            local: now.local,
            remote: now.remote,
            state: now.state,
            last_heard: now.last_heard,
            program: now.program,
            packets_out: now.packets_out,
            packets_in: now.packets_in,
        }
    }
}

impl Sockets {
    /// Opens a local end of the relay that an event offered.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` where no such event is kept, `INVALID_ARGUMENT` for a field that makes no sense, `FAILED_PRECONDITION`
    /// for a relay at an address that is not to be sent to, `ALREADY_EXISTS` where the local port is taken,
    /// `RESOURCE_EXHAUSTED` where too many are open.
    pub async fn connect(&self, request: Connect) -> Result<ConnectionView, Error> {
        let Connect { event_id, local_port, side, allow_private } = request;
        let local_port = u16::try_from(local_port)
            .map_err(|_| Error::invalid("local_port", format!("{local_port} is above 65535")))?;
        let side = match side {
            1 => Side::First,
            0 | 2 => Side::Second,
            _ => return Err(Error::invalid("side", format!("{side} is neither 1 nor 2"))),
        };
        let (offer, from) = self.offer_of(&event_id).await?;
        let remote = offer.address(side);
        self.check_remote(remote, allow_private)?;
        let id = RelayId::from_random(random()?);
        let spec = ConnectionSpec {
            remote,
            local_port: (local_port != 0).then_some(local_port),
            token: offer.token,
        };
        let opened = self.inner.ports.clock.now();
        // The list is held over the look at its length, so that no two calls take the last place; binding is quick.
        let mut list = self.inner.connections.list();
        if list.open.len() >= MAX_CONNECTIONS {
            let text = format!("{MAX_CONNECTIONS} local ends of relays are open: close one");
            return Err(Error::new(Code::ResourceExhausted, "TOO_MANY_CONNECTIONS", text));
        }
        let handle = self.inner.engine.connect(spec)?;
        let local = Arc::new(Local { id, event_id, from, opened, handle });
        let place = list.next;
        list.next += 1;
        list.open.insert(place, Arc::clone(&local));
        drop(list);
        Ok(local.view())
    }

    /// The local ends that are open, oldest first.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.inner.connections.list().open.values().map(|local| local.view()).collect()
    }

    /// Closes a local end. Its port is closed when this returns; also where the future is dropped, if somewhat later.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no id, `NOT_FOUND` where none has it.
    pub async fn close_connection(&self, id: &str) -> Result<(), Error> {
        let id = relay_id("id", id)?;
        let local = {
            let mut list = self.inner.connections.list();
            let place = list.open.iter().find(|(_, local)| local.id == id).map(|(place, _)| *place);
            place.and_then(|place| list.open.remove(&place))
        };
        let Some(local) = local else {
            let text = format!("there is no local end {id}: ListConnections names those that are open");
            return Err(Error::new(Code::NotFound, "CONNECTION_NOT_FOUND", text));
        };
        local.handle.close().await;
        Ok(())
    }

    /// The newest offer among the events with an id, and who made it.
    async fn offer_of(&self, event_id: &str) -> Result<(Offer, NodeId), Error> {
        if event_id.is_empty() {
            return Err(Error::invalid("event_id", "is empty: give the id of a socket event"));
        }
        let events = self.inner.ports.store.socket_events(event_id.to_owned()).await?;
        let is_known = !events.is_empty();
        let mut offers = events
            .into_iter()
            .filter_map(|found| Some((Offer::parse(&found.event.data).ok()?, found.event.from)));
        offers.next().ok_or_else(|| {
            let why = if is_known { "offers no relay" } else { "is not kept, or is no socket event" };
            let text = format!("the event with this id {why}: /v1/events?service=socket lists them");
            Error::new(Code::NotFound, "OFFER_NOT_FOUND", text)
        })
    }

    /// Whether a relay at this address may be sent to.
    fn check_remote(&self, remote: SocketAddr, allow_private: bool) -> Result<(), Error> {
        let refuse = |what: &str, remedy: &str| {
            let text = format!("the relay is offered at {remote}, {what}, which its sender chose: {remedy}");
            Err(Error::new(Code::FailedPrecondition, "ADDRESS_REFUSED", text))
        };
        if refused(remote, true, || false).is_some() {
            return refuse("which is the address of no machine", "ask for another offer");
        }
        if allow_private {
            return Ok(());
        }
        let what = if remote.ip().is_loopback() {
            "this machine itself"
        } else if refused(remote, false, || false).is_some() {
            "a private or link-local address"
        } else if self.inner.engine.is_own_address(remote.ip()) {
            "an address of this machine"
        } else {
            return Ok(());
        };
        refuse(what, "join it by allow_private (--allow-private) if you trust the sender")
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let text = format!("{error}: {source}");
        match error {
            ConnectError::Taken { .. } => Self::new(Code::AlreadyExists, "PORT_TAKEN", text),
            ConnectError::Io { .. } => Self::new(Code::Unavailable, "NO_SOCKETS", text),
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("open", &self.len()).finish()
    }
}
