//! Federation with other nodes, and what they may do here.

use std::sync::Arc;

use imp_api::error::Code;
use imp_core::federation::State;
use imp_core::id::{MessageId, NodeId};

use super::pubkey;
use crate::error::Error;
use crate::federation::{Federation, PeerPage, PeerQuery, PeerView, RightsChange};
use crate::idempotency::{CallKey, Claim, KeyUse, Keys};
use crate::listing;
use crate::outbox::Outbox;
use crate::store::InboxStore;
use crate::store::inbox::{WithheldPage, WithheldQuery};

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// The most satoshis that a minimum may be: all bitcoin there will be.
const MAX_SAT: i64 = 21_000_000 * 100_000_000;

/// A peer, and how many of its messages were withheld.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer.
    pub view: PeerView,
    /// How many.
    pub withheld: u64,
}

/// Some peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerList {
    /// By key.
    pub peers: Vec<PeerInfo>,
    /// Where to go on; nothing where there are no more.
    pub next: Option<NodeId>,
    /// How many are federated, in all.
    pub federated: usize,
    /// How many requests wait for the owner, in all.
    pub pending: usize,
}

/// Which peers to list, as the caller wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPeers {
    /// How many at most, up to 1,000; 0 for 100.
    pub limit: i64,
    /// The cursor of the page before; nothing for the first.
    pub cursor: String,
    /// States, separated by commas; nothing for every one.
    pub state: String,
    /// Only the node with this name; nothing for all.
    pub name: String,
    /// Only nodes that are blocked.
    pub blocked: bool,
}

/// What to change of a peer's rights, as the caller wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetRights {
    /// Whether its messages are published.
    pub messages: Option<bool>,
    /// Whether its relays are published.
    pub sockets: Option<bool>,
    /// Whether its requests for quotes are answered.
    pub vpn_quotes: Option<bool>,
    /// The least of its messages, in satoshis.
    pub min_message_sat: Option<i64>,
    /// Back to the rights of its standing.
    pub reset: bool,
}

/// The federate service.
#[derive(Clone)]
pub struct Federate {
    federation: Federation,
    outbox: Outbox,
    keys: Keys,
    store: Arc<dyn InboxStore>,
    own: NodeId,
}

impl std::fmt::Debug for Federate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Federate").field("federation", &self.federation).finish_non_exhaustive()
    }
}

impl Federate {
    /// The service of the node `own`.
    pub fn new(
        federation: Federation,
        outbox: Outbox,
        keys: Keys,
        store: Arc<dyn InboxStore>,
        own: NodeId,
    ) -> Self {
        Self { federation, outbox, keys, store, own }
    }

    /// Asks a node to federate, and answers once that is paid: see [`Federation::request`]. A call with a key that was
    /// used before sends nothing twice. Every error holds the word "failed".
    pub async fn request(&self, node: &str, key: Option<CallKey>) -> Result<MessageId, Error> {
        let sent = async {
            let node = self.other(node)?;
            match self.claim(key).await? {
                Ok(claim) => self.federation.request(node, claim).await,
                Err(id) => self.federation.repeat_request(node, id).await,
            }
        };
        Ok(sent.await.map_err(Error::of_send)?.id)
    }

    /// Leaves a node, here at once, and answers once the far end knows, or is told later: see [`Federation::leave`].
    /// Every error holds the word "failed".
    pub async fn leave(&self, node: &str, key: Option<CallKey>) -> Result<MessageId, Error> {
        let left = async {
            let node = self.other(node)?;
            match self.claim(key).await? {
                Ok(claim) => {
                    let left = self.federation.leave(node, claim).await?;
                    self.outbox.repeat(left.id, left.is_kept).await
                }
                Err(id) => self.federation.repeat_leave(node, id).await,
            }
        };
        Ok(left.await.map_err(Error::of_send)?.id)
    }

    /// The right to begin under a key, if there is one; or the message that was begun under it.
    async fn claim(&self, key: Option<CallKey>) -> Result<Result<Option<Claim>, MessageId>, Error> {
        let Some(key) = key else { return Ok(Ok(None)) };
        match self.keys.claim(key).await? {
            KeyUse::Fresh(claim) => Ok(Ok(Some(claim))),
            KeyUse::Used(stored) => {
                let id = stored.subject.try_into().map(MessageId::from_bytes);
                id.map(Err).map_err(|_| Error::internal("a key that names no message"))
            }
        }
    }

    /// Some peers, by key.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn list(&self, request: ListPeers) -> Result<PeerList, Error> {
        let PeerPage { peers, next, federated, pending } = self.federation.list(&query(request)?).await;
        let nodes = peers.iter().map(|view| view.node).collect();
        let counts = self.store.withheld_counts(nodes).await?;
        let peers = peers.into_iter().zip(counts).map(|(view, withheld)| PeerInfo { view, withheld });
        Ok(PeerList { peers: peers.collect(), next, federated, pending })
    }

    /// One peer.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` where nothing is remembered of it.
    pub async fn get(&self, node: &str) -> Result<PeerInfo, Error> {
        let node = pubkey(node)?;
        let view = self.federation.peer(node).await.ok_or_else(|| {
            let text = format!("this node remembers nothing of {node}");
            Error::new(Code::NotFound, "PEER_NOT_FOUND", text)
        })?;
        self.info(view).await
    }

    /// Accepts a request that waits: see [`Federation::accept`].
    pub async fn accept(&self, node: &str) -> Result<MessageId, Error> {
        self.federation.accept(self.other(node).map_err(Error::of_send)?).await.map_err(Error::of_send)
    }

    /// Rejects a request that waits: see [`Federation::reject`].
    pub async fn reject(&self, node: &str) -> Result<MessageId, Error> {
        self.federation.reject(self.other(node).map_err(Error::of_send)?).await.map_err(Error::of_send)
    }

    /// Sets what a node may do here.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense, and for a reset with anything else.
    pub async fn set_rights(&self, node: &str, request: SetRights) -> Result<PeerInfo, Error> {
        let node = self.other(node)?;
        let SetRights { messages, sockets, vpn_quotes, min_message_sat, reset } = request;
        let min_message_sat = match min_message_sat {
            None => None,
            Some(sat @ 0..=MAX_SAT) => Some(sat.unsigned_abs()),
            Some(sat) => {
                return Err(Error::invalid("min_message_sat", format!("{sat} is not from 0 to {MAX_SAT}")));
            }
        };
        let change = RightsChange { messages, sockets, vpn_quotes, min_message_sat };
        if reset && change != RightsChange::default() {
            return Err(Error::invalid("reset", "goes with no other field"));
        }
        self.info(self.federation.set_rights(node, (!reset).then_some(change)).await?).await
    }

    /// Gives a node a name, or takes it away where it is empty.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no name, `ALREADY_EXISTS` where another node has it.
    pub async fn set_name(&self, node: &str, name: String) -> Result<PeerInfo, Error> {
        let node = self.other(node)?;
        check_name(&name).map_err(|problem| Error::invalid("name", problem))?;
        self.info(self.federation.set_name(node, name).await?).await
    }

    /// Blocks a node.
    pub async fn block(&self, node: &str) -> Result<PeerInfo, Error> {
        self.info(self.federation.block(self.other(node)?).await?).await
    }

    /// Ends a block.
    pub async fn unblock(&self, node: &str) -> Result<PeerInfo, Error> {
        self.info(self.federation.unblock(self.other(node)?).await?).await
    }

    /// Messages that were not published, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn withheld(&self, limit: i64, cursor: i64, node: &str) -> Result<WithheldPage, Error> {
        let query = WithheldQuery {
            before: listing::cursor(cursor)?.map(i64::cast_unsigned),
            limit: listing::rows(limit)?,
            sender: (!node.is_empty()).then(|| pubkey(node)).transpose()?,
        };
        Ok(self.store.list_withheld(query).await?)
    }

    async fn info(&self, view: PeerView) -> Result<PeerInfo, Error> {
        let counts = self.store.withheld_counts(vec![view.node]).await?;
        Ok(PeerInfo { view, withheld: counts.first().copied().unwrap_or(0) })
    }

    /// A public key that is not this node's.
    fn other(&self, text: &str) -> Result<NodeId, Error> {
        let node = pubkey(text)?;
        if node == self.own {
            return Err(Error::invalid("pubkey", "is that of this node itself"));
        }
        Ok(node)
    }
}

fn query(request: ListPeers) -> Result<PeerQuery, Error> {
    let after = (!request.cursor.is_empty()).then(|| request.cursor.parse());
    let problem = |_| Error::invalid("cursor", "give the next_cursor of the page before, or nothing");
    Ok(PeerQuery {
        after: after.transpose().map_err(problem)?,
        limit: listing::rows(request.limit)?,
        states: listing::names("state", &request.state, &State::ALL, State::name)?,
        name: (!request.name.is_empty()).then_some(request.name),
        blocked: request.blocked,
    })
}

fn check_name(name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("has {} bytes; a name has at most {MAX_NAME_BYTES}", name.len()));
    }
    if name.chars().any(char::is_control) || name.trim() != name {
        return Err("holds control characters, or blanks at its ends".to_owned());
    }
    if name.parse::<NodeId>().is_ok() {
        return Err("is a public key".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_refused() {
        let key = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
        for bad in [" bob", "bob ", "a\nb", "a\u{85}b", &"x".repeat(65), key, &key.to_uppercase()] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["", "b", "Bob at work", "é", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn fields_of_a_list_are_checked_by_name() {
        let bad = [
            ("limit", ListPeers { limit: -1, ..ListPeers::default() }),
            ("cursor", ListPeers { cursor: "02".to_owned(), ..ListPeers::default() }),
            ("state", ListPeers { state: "friends".to_owned(), ..ListPeers::default() }),
        ];
        for (field, request) in bad {
            let error = query(request).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let request = ListPeers { state: "federated, pending".to_owned(), ..ListPeers::default() };
        assert_eq!(query(request).unwrap().states, [State::Federated, State::Pending]);
    }
}
