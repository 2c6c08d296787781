//! This node: who it is, and what only its owner may do.

use std::fmt;
use std::sync::Arc;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_lightning::{
    Channel, LightningError, LightningNode, NodeStatus, OnchainAmount, OpenChannel, Peer, check_address,
};

use super::pubkey;
use crate::error::Error;
use crate::idempotency::{CallKey, Claim, KeyUse, Keys};
use crate::runtime::clock::Clock;
use crate::runtime::tasks::Tasks;
use crate::store::IdempotencyStore;

/// All the bitcoin there will ever be, in satoshis.
const MAX_AMOUNT_SAT: u64 = 21_000_000 * 100_000_000;

/// The largest fee rate taken for meant, in satoshis per virtual byte.
const MAX_FEE_SAT_PER_VBYTE: u64 = 10_000;

/// The node service. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    lightning: Arc<dyn LightningNode>,
    store: Arc<dyn IdempotencyStore>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    keys: Keys,
}

/// A channel that a caller wants to open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenChannelRequest {
    /// The other end's public key, as the caller wrote it.
    pub pubkey: String,
    /// Its address, host:port.
    pub address: String,
    /// What this node puts in.
    pub capacity_sat: i64,
    /// What of it is the other end's from the start.
    pub push_sat: i64,
    /// Announce the channel.
    pub announce: bool,
}

/// Bitcoin that a caller wants to send on the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendOnchain {
    /// Where to.
    pub address: String,
    /// How much; 0 with `all`.
    pub amount_sat: i64,
    /// All that can be sent.
    pub all: bool,
    /// The fee; 0 for an estimate.
    pub fee_sat_per_vbyte: i64,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("lightning", &self.lightning).finish_non_exhaustive()
    }
}

impl Node {
    /// The service of a node.
    pub fn new(
        lightning: Arc<dyn LightningNode>,
        store: Arc<dyn IdempotencyStore>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        keys: Keys,
    ) -> Self {
        Self { lightning, store, clock, tasks, keys }
    }

    /// The Lightning node.
    pub fn lightning(&self) -> &dyn LightningNode {
        &*self.lightning
    }

    /// The node's state.
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        Ok(self.lightning.status().await?)
    }

    /// The node's channels.
    pub async fn channels(&self) -> Result<Vec<Channel>, Error> {
        Ok(self.lightning.channels().await?)
    }

    /// The nodes that this one is, or keeps itself, connected to.
    pub async fn peers(&self) -> Result<Vec<Peer>, Error> {
        Ok(self.lightning.list_peers().await?)
    }

    /// A fresh on-chain address.
    pub async fn new_address(&self) -> Result<String, Error> {
        Ok(self.lightning.new_address().await?)
    }

    /// Connects to another node.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a key or an address that is none; `FAILED_PRECONDITION` where the node does not answer.
    pub async fn connect(&self, key: &str, address: &str) -> Result<(), Error> {
        let peer = pubkey(key)?;
        Ok(self.lightning.connect(&peer, host_and_port(address)?).await?)
    }

    /// Ends the connection to a node.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a key that is none, `NOT_FOUND` for a node that is no peer, `FAILED_PRECONDITION` for one with
    /// which there is a channel.
    pub async fn disconnect(&self, key: &str) -> Result<(), Error> {
        Ok(self.lightning.disconnect(&pubkey(key)?).await?)
    }

    /// Opens a channel; returns this end's name for it. Dropping the future does not stop what was begun. Under a key that
    /// has opened one before, the answer is the same again.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a key or an address that is none, a capacity below 1 sat or a push beyond it; what the
    /// Lightning node refuses is `FAILED_PRECONDITION`; `UNKNOWN` where it cannot be told whether the channel was opened:
    /// none is opened under the key of such a call again.
    pub async fn open_channel(
        &self,
        request: OpenChannelRequest,
        key: Option<CallKey>,
    ) -> Result<u128, Error> {
        let channel = opening(request)?;
        let node = self.clone();
        self.begin("channel", async move {
            let open = async { Ok(node.lightning.open_channel(channel).await?.to_be_bytes().to_vec()) };
            let name = node.once(key, "the channel was opened", "at the channels", open).await?;
            let name = name.try_into().map_err(|_| Error::internal("a channel's name has 16 bytes"))?;
            Ok(u128::from_be_bytes(name))
        })
        .await
    }

    /// Begins to close the channel that has this name at this end.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for what is no name, `NOT_FOUND` where no channel has it, `FAILED_PRECONDITION` where the other
    /// end is needed and away.
    pub async fn close_channel(&self, user_channel_id: &str, force: bool) -> Result<(), Error> {
        // Digits alone: numbers are read with a sign, too.
        let digits = Some(user_channel_id).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let id = digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
            Error::invalid("user_channel_id", "is not the decimal number that ListChannels has for a channel")
        })?;
        Ok(self.lightning.close_channel(id, force).await?)
    }

    /// Sends from the on-chain wallet; returns the transaction's id once it is handed to the network. Dropping the future
    /// does not stop what was begun. Under a key that has sent before, the answer is the same again.
    ///
    /// # Errors
    ///
    /// Every one holds the word "failed". `INVALID_ARGUMENT` for fields that make no sense, `FAILED_PRECONDITION` for too
    /// little in the wallet; `UNKNOWN` where it cannot be told whether the transaction was made: nothing is sent under
    /// the key of such a call again.
    pub async fn send_onchain(&self, request: SendOnchain, key: Option<CallKey>) -> Result<String, Error> {
        let Transfer { address, amount, fee_sat_per_vbyte } =
            Transfer::of(request).map_err(Error::of_payment)?;
        let node = self.clone();
        let sent = self.begin("on-chain", async move {
            let send = async {
                let txid = node.lightning.send_onchain(&address, amount, fee_sat_per_vbyte).await?;
                hex::decode(&txid)
                    .map_err(|_| LightningError::Unknown(format!("the transaction has the id {txid:?}")))
            };
            let what = "the transaction was made";
            Ok(hex::encode(node.once(key, what, "at the transactions of the wallet", send).await?))
        });
        sent.await.map_err(Error::of_payment)
    }

    /// Runs what goes on when its caller is gone.
    async fn begin<T, F>(&self, name: &'static str, run: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let ran = self.tasks.run_detached(name, run).await;
        ran.unwrap_or_else(|error| Err(Error::internal(error.to_string())))
    }

    /// Does something at most once under a key; returns what names it. The key is stored before, and leads to the name
    /// afterwards: one that leads nowhere is of a call that ended in between. Who has the claim is alone with the key
    /// until then. `what` and `look` are for the error of a call that cannot tell whether it was done.
    async fn once(
        &self,
        call: Option<CallKey>,
        what: &str,
        look: &str,
        act: impl Future<Output = Result<Vec<u8>, LightningError>>,
    ) -> Result<Vec<u8>, Error> {
        let Some(call) = call else { return Ok(act.await?) };
        let claim: Claim = match self.keys.claim(call).await? {
            KeyUse::Fresh(claim) => claim,
            KeyUse::Used(stored) if stored.subject.is_empty() => return Err(in_doubt(what, look)),
            KeyUse::Used(stored) => return Ok(stored.subject),
        };
        let key = claim.key([], self.clock.now());
        self.store.store_key(key.clone()).await?;
        match act.await {
            Ok(name) => {
                if let Err(error) = self.store.set_key_subject(key.method, key.key, name.clone()).await {
                    // It was done, and the key is as one of a call that ended in between: it is not done twice.
                    tracing::error!("what was done under an idempotency key cannot be noted: {error}");
                }
                Ok(name)
            }
            Err(error @ LightningError::Unknown(_)) => Err(error.into()),
            // Nothing was done, so that the key is as good as new.
            Err(error) => {
                self.store.remove_key(key.method, key.key).await?;
                Err(error.into())
            }
        }
    }

    /// Looks at the chain now; returns the best height.
    pub async fn sync_chain(&self) -> Result<u32, Error> {
        Ok(self.lightning.sync_chain().await?)
    }
}

/// What is to be sent on the chain.
struct Transfer {
    address: String,
    amount: OnchainAmount,
    fee_sat_per_vbyte: Option<u64>,
}

impl Transfer {
    fn of(request: SendOnchain) -> Result<Self, Error> {
        let SendOnchain { address, amount_sat, all, fee_sat_per_vbyte } = request;
        if address.trim().is_empty() {
            return Err(Error::invalid("address", "is empty: give a bitcoin address"));
        }
        let amount = match (u64::try_from(amount_sat), all) {
            (Ok(0), true) => OnchainAmount::All,
            (Ok(sat @ 1..=MAX_AMOUNT_SAT), false) => OnchainAmount::Sat(sat),
            (_, true) => {
                let problem = format!("is {amount_sat}, and all is set: give an amount, or set all");
                return Err(Error::invalid("amount_sat", problem));
            }
            (_, false) => {
                let problem = format!("is {amount_sat}; give 1 to {MAX_AMOUNT_SAT} sat, or set all");
                return Err(Error::invalid("amount_sat", problem));
            }
        };
        let fee_sat_per_vbyte = match u64::try_from(fee_sat_per_vbyte) {
            Ok(0) => None,
            Ok(rate @ 1..=MAX_FEE_SAT_PER_VBYTE) => Some(rate),
            _ => {
                let problem = format!(
                    "is {fee_sat_per_vbyte}; give 1 to {MAX_FEE_SAT_PER_VBYTE}, or 0 for an estimate"
                );
                return Err(Error::invalid("fee_sat_per_vbyte", problem));
            }
        };
        Ok(Self { address, amount, fee_sat_per_vbyte })
    }
}

/// An address out of a request.
fn host_and_port(address: &str) -> Result<&str, Error> {
    check_address(address).map_err(|error| Error::invalid("address", error))?;
    Ok(address)
}

fn in_doubt(what: &str, look: &str) -> Error {
    let message = format!(
        "failed to learn whether {what} that this idempotency_key was given for: look {look} before you try again with \
         another key"
    );
    Error::new(Code::Unknown, "OUTCOME_UNKNOWN", message)
}

/// A channel out of a request.
fn opening(request: OpenChannelRequest) -> Result<OpenChannel, Error> {
    let peer = pubkey(&request.pubkey)?;
    host_and_port(&request.address)?;
    let capacity_sat = u64::try_from(request.capacity_sat).ok();
    let capacity_sat = capacity_sat.filter(|sat| (1..=MAX_AMOUNT_SAT).contains(sat)).ok_or_else(|| {
        Error::invalid("capacity_sat", format!("{} sat is no capacity", request.capacity_sat))
    })?;
    let push_sat = u64::try_from(request.push_sat).ok().filter(|push_sat| *push_sat <= capacity_sat);
    let push_sat = push_sat.ok_or_else(|| {
        Error::invalid("push_sat", format!("{} is not 0 to capacity_sat", request.push_sat))
    })?;
    Ok(OpenChannel {
        peer,
        address: request.address,
        capacity_sat,
        push: Msat::from_sat(push_sat),
        announce: request.announce,
    })
}
