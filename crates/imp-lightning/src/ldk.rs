//! The embedded node: ldk-node behind the port.
//!
//! [`LdkNode`] owns the library's node and the runtime that it lives in. Calls go to threads of that runtime, for the
//! library's own calls block. Around the library stand a store on top of ours (`store`), a look at the chain before the
//! start (`preflight`), the reasons for refused payments (`outlook`), payments over restarts (`resume`), events that are
//! taken once (`events`), a memory of the channels whose end matters (`ready`), a dialler (`dial`) and a repair of channels that others cannot find (`gossip`).
//!
//! A payment to a node behind a hop of lnd that fails because the node is away makes the library forget the node's
//! channel for a week, or until the process starts anew; it then counts as unknown. Nothing here heals that yet.

mod bitcoind;
mod channels;
mod config;
mod dial;
mod events;
mod gossip;
mod in_flight;
mod log;
mod names;
mod outlook;
mod pay;
mod peers;
mod preflight;
mod ready;
mod resume;
mod send;
mod start;
mod store;
mod transfer;
mod wallet;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};
use imp_core::wire::signature;
use ldk_node::Node;
use ldk_node::lightning::ln::types::ChannelId;
use ldk_node::payment::PaymentDirection;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tracing::{error, info, warn};

pub use config::{ChainSource, LdkConfig, Seed, StartError};

use crate::invoice;
use crate::ldk::events::EventGate;
use crate::ldk::in_flight::InFlight;
use crate::ldk::names::payment_id;
use crate::ldk::outlook::Outlook;
use crate::ldk::peers::AddressBook;
use crate::ldk::ready::ReadyChannels;
use crate::ldk::resume::Lost;
use crate::ldk::store::LdkStore;
use crate::ldk::transfer::Unshown;
use crate::onchain::Transfer;
use crate::port::{
    Channel, InvoiceState, Keysend, LightningError, LightningEvent, LightningNode, Network, NodeStatus,
    OnchainAmount, OpenChannel, PaymentState, Peer, SendError, SendRoom,
};

/// How long a stop may take. The library bounds its own steps by more than that; what it has not stored by then is
/// recovered at the next start as after a crash.
const STOP_PATIENCE: Duration = Duration::from_secs(12);

/// How long a node may take to answer a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);

/// An embedded Lightning node.
///
/// Stop it with [`LightningNode::shutdown`]. Dropping it stops it, too, in the background.
pub struct LdkNode {
    shared: Arc<Shared>,
    handle: Handle,
    engine: Mutex<Option<Engine>>,
}

/// What is taken apart at the stop.
struct Engine {
    runtime: Runtime,
    store: Arc<LdkStore>,
}

/// What calls, dialler and events have in common.
struct Shared {
    id: NodeId,
    network: Network,
    alias: String,
    listen: Vec<SocketAddr>,
    /// The library stores when it last saw the chain; at the start that is what an earlier run saw.
    seen_before: SeenAt,
    node: RwLock<Option<Arc<Node>>>,
    phase: watch::Sender<Phase>,
    in_flight: InFlight,
    /// Since when all channels have been usable and no event of an earlier run was left, as seen by who looked last.
    back_since: Mutex<Option<Instant>>,
    events: EventGate,
    peers: AddressBook,
    ready: ReadyChannels,
    chain: ChainSource,
    /// Held by who spends coins of the on-chain wallet.
    transfers: Mutex<Option<Unshown>>,
    /// Channels that were closed by both ends in this run.
    closed_together: Mutex<HashSet<ChannelId>>,
}

/// When the chain was looked at, in Unix seconds.
type SeenAt = Option<u64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping,
    Stopped,
}

/// The node is stopped, or stops.
#[derive(Debug)]
struct Stopped;

impl From<Stopped> for LightningError {
    fn from(_: Stopped) -> Self {
        Self::Unavailable("it was stopped".to_owned())
    }
}

impl From<Stopped> for SendError {
    fn from(_: Stopped) -> Self {
        Self::Unavailable("it was stopped".to_owned())
    }
}

/// A call into the library did not come back with an answer.
enum CallError {
    Stopped,
    /// It panicked: what it has done is not known.
    Panicked,
}

impl From<CallError> for LightningError {
    fn from(fault: CallError) -> Self {
        match fault {
            CallError::Stopped => Stopped.into(),
            CallError::Panicked => Self::Unknown("the Lightning library failed".to_owned()),
        }
    }
}

impl From<CallError> for SendError {
    fn from(fault: CallError) -> Self {
        match fault {
            CallError::Stopped => Stopped.into(),
            CallError::Panicked => Self::Unknown("the Lightning library failed".to_owned()),
        }
    }
}

impl fmt::Debug for LdkNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdkNode").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl Shared {
    fn node(&self) -> Result<Arc<Node>, Stopped> {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Stopped)
    }

    /// This run has seen the chain.
    fn is_synced(&self, node: &Node) -> bool {
        let seen = node.status().latest_lightning_wallet_sync_timestamp;
        seen.is_some() && seen != self.seen_before
    }

    fn payment(&self, node: &Node, hash: &PaymentHash) -> Option<PaymentState> {
        match node.payment(&payment_id(hash)) {
            Some(record) if record.direction == PaymentDirection::Outbound => Some(send::state_of(&record)),
            Some(_) => None,
            None => self.in_flight.unrecorded(hash),
        }
    }
}

impl LdkNode {
    /// Runs a call into the library on one of its own threads. The call goes on if the caller is dropped.
    async fn run<R: Send + 'static>(
        &self,
        call: impl FnOnce(&Shared, &Node) -> R + Send + 'static,
    ) -> Result<R, CallError> {
        let node = self.shared.node().map_err(|Stopped| CallError::Stopped)?;
        let shared = Arc::clone(&self.shared);
        let called = self.handle.spawn_blocking(move || call(&shared, &node));
        called.await.map_err(|fault| {
            if fault.is_panic() {
                error!("a call into the Lightning library panicked");
                CallError::Panicked
            } else {
                CallError::Stopped
            }
        })
    }

    /// Begins the stop, once; [`Shared::phase`] tells when it is done.
    fn begin_stop(&self) {
        let Some(engine) = self.engine.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        self.shared.phase.send_replace(Phase::Stopping);
        let node = self.shared.node.write().unwrap_or_else(PoisonError::into_inner).take();
        let shared = Arc::clone(&self.shared);
        let stop = move || {
            // A panic of the library must not leave the rest standing.
            let stop = AssertUnwindSafe(|| node.map_or(Ok(()), |node| node.stop()));
            match catch_unwind(stop) {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => warn!(%fault, "the Lightning node did not stop as it should"),
                Err(_) => error!("the Lightning library panicked while it stopped"),
            }
            engine.store.close();
            engine.runtime.shutdown_background();
            shared.phase.send_replace(Phase::Stopped);
        };
        // Not a thread of a runtime: a runtime cannot be taken down from within one.
        let spawned = std::thread::Builder::new().name("ldk-stop".to_owned()).spawn(stop);
        if let Err(fault) = spawned {
            error!(%fault, "no thread to stop the Lightning node with");
        }
    }
}

impl Drop for LdkNode {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

#[async_trait]
impl LightningNode for LdkNode {
    fn backend(&self) -> &'static str {
        "ldk"
    }

    fn id(&self) -> NodeId {
        self.shared.id
    }

    fn network(&self) -> Network {
        self.shared.network
    }

    async fn status(&self) -> Result<NodeStatus, LightningError> {
        Ok(self.run(Shared::status).await?)
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 65], LightningError> {
        let message = message.to_vec();
        let text = self.run(move |_, node| node.sign_message(&message)).await?;
        signature::zbase32_decode(&text)
            .map_err(|fault| LightningError::Failed(format!("the signature {fault}")))
    }

    async fn send_room(&self, recipient: &NodeId) -> Result<SendRoom, LightningError> {
        let recipient = *recipient;
        Ok(self.run(move |_, node| Outlook::of(node, &recipient, false).room()).await?)
    }

    async fn send_keysend(&self, payment: Keysend) -> Result<(), SendError> {
        self.run(move |shared, node| shared.begin_keysend(node, &payment)).await?
    }

    async fn resume_keysend(&self, payment: Keysend, patience: Duration) -> Result<PaymentState, SendError> {
        self.resume(Lost::Keysend(payment), patience).await
    }

    async fn create_invoice(
        &self,
        amount: Msat,
        memo: &str,
        expiry: Duration,
    ) -> Result<String, LightningError> {
        let terms = invoice::terms(amount, memo, expiry)?;
        self.run(move |shared, node| shared.make_invoice(node, &terms)).await?
    }

    async fn pay_invoice(&self, invoice: &str, fee_limit: Msat) -> Result<PaymentHash, SendError> {
        let payable = invoice::payable(invoice, &self.shared.id, self.shared.network)?;
        self.run(move |shared, node| shared.begin_invoice(node, &payable, fee_limit)).await?
    }

    async fn resume_invoice(
        &self,
        invoice: &str,
        fee_limit: Msat,
        patience: Duration,
    ) -> Result<PaymentState, SendError> {
        let payable = invoice::payable(invoice, &self.shared.id, self.shared.network)?;
        self.resume(Lost::Invoice { payable, fee_limit }, patience).await
    }

    async fn payment(&self, hash: PaymentHash) -> Result<Option<PaymentState>, LightningError> {
        Ok(self.run(move |shared, node| shared.payment(node, &hash)).await?)
    }

    async fn invoice(&self, hash: PaymentHash) -> Result<Option<InvoiceState>, LightningError> {
        Ok(self.run(move |shared, node| shared.invoice_state(node, &hash)).await?)
    }

    async fn next_event(&self) -> LightningEvent {
        self.oldest_event().await
    }

    async fn acknowledge_event(&self) -> Result<(), LightningError> {
        self.acknowledge().await
    }

    async fn channels(&self) -> Result<Vec<Channel>, LightningError> {
        Ok(self.run(|_, node| node.list_channels().iter().map(channels::channel).collect()).await?)
    }

    async fn new_address(&self) -> Result<String, LightningError> {
        let made = self.run(|_, node| node.onchain_payment().new_address()).await?;
        made.map(|address| address.to_string())
            .map_err(|fault| LightningError::Failed(format!("the wallet gives no address: {fault}")))
    }

    async fn send_onchain(
        &self,
        address: &str,
        amount: OnchainAmount,
        fee_rate_sat_per_vbyte: Option<u64>,
    ) -> Result<String, LightningError> {
        let transfer = Transfer::of(address, amount, fee_rate_sat_per_vbyte, self.shared.network)?;
        self.run(move |shared, node| shared.transfer(node, &transfer)).await?
    }

    async fn connect(&self, peer: &NodeId, address: &str) -> Result<(), LightningError> {
        let (peer, address) = (*peer, address.to_owned());
        let late = format!("{peer} at {address} does not answer in time");
        let connect = self.run(move |shared, node| shared.connect(node, &peer, &address));
        match tokio::time::timeout(CONNECT_PATIENCE, connect).await {
            Ok(connected) => connected?,
            Err(_) => Err(LightningError::Failed(late)),
        }
    }

    async fn list_peers(&self) -> Result<Vec<Peer>, LightningError> {
        Ok(self.run(Shared::known_peers).await?)
    }

    async fn disconnect(&self, peer: &NodeId) -> Result<(), LightningError> {
        let peer = *peer;
        self.run(move |shared, node| shared.hang_up(node, &peer)).await?
    }

    async fn open_channel(&self, channel: OpenChannel) -> Result<u128, LightningError> {
        let channel = Arc::new(channel);
        let asked = Arc::clone(&channel);
        self.run(move |shared, _| shared.check_opening(&asked)).await??;
        // By itself, for only this part waits for somebody else.
        self.connect(&channel.peer, &channel.address).await?;
        self.run(move |shared, node| shared.open(node, &channel)).await?
    }

    async fn close_channel(&self, user_channel_id: u128, force: bool) -> Result<(), LightningError> {
        self.run(move |shared, node| shared.close(node, user_channel_id, force)).await?
    }

    async fn knows_node(&self, node: &NodeId) -> Result<bool, LightningError> {
        let id = *node;
        Ok(self.run(move |shared, node| shared.knows(node, &id)).await?)
    }

    async fn sync_chain(&self) -> Result<u32, LightningError> {
        self.look_at_chain().await
    }

    async fn shutdown(&self) {
        let mut phase = self.shared.phase.subscribe();
        self.begin_stop();
        let stopped = phase.wait_for(|phase| *phase == Phase::Stopped);
        match tokio::time::timeout(STOP_PATIENCE, stopped).await {
            Ok(_) => info!("the Lightning node has stopped"),
            Err(_) => warn!("the Lightning node has not stopped in time"),
        }
    }
}
