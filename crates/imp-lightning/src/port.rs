//! What the daemon needs of a Lightning node.

mod channel;
mod event;
mod invoice;
mod network;
mod payment;
mod wallet;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash};
use thiserror::Error;

pub use channel::{Channel, OpenChannel, Peer};
pub use event::{LightningEvent, ReceivedKind};
pub use invoice::{InvoiceFault, InvoiceState};
pub use network::Network;
pub use payment::{FailureReason, Keysend, PaymentState, SendError, SendRoom};
pub use wallet::{NodeStatus, OnchainAmount};

/// What a call other than a payment can fail with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LightningError {
    /// The request makes no sense, and will not later.
    #[error("{0}")]
    Invalid(String),
    /// What the request names is not there. The text says what.
    #[error("{0}")]
    NotFound(String),
    /// The on-chain wallet has too little.
    #[error(
        "the on-chain wallet can send {spendable_sat} sat, {needed_sat} sat and the fee are needed; \
         {reserved_sat} sat more are held back for closing channels"
    )]
    InsufficientFunds {
        /// What it can send, in satoshis, fees included.
        spendable_sat: u64,
        /// What it has beside that and keeps, in satoshis.
        reserved_sat: u64,
        /// What is to be sent, in satoshis, without the fee.
        needed_sat: u64,
    },
    /// Starting, stopping or away; the same call may work later.
    #[error("the Lightning node is not available: {0}")]
    Unavailable(String),
    /// The node refused or could not do it.
    #[error("{0}")]
    Failed(String),
    /// It cannot be told whether it was done: look before doing it again.
    #[error("{0}")]
    Unknown(String),
}

/// A Lightning node.
///
/// Duties of an adapter:
/// - A payment is named by its hash. Sending the same [`Keysend`] twice pays once.
/// - Every payment that was begun ends in one [`LightningEvent`], over restarts too.
/// - An event is handed out until it is acknowledged, also after a crash; a caller may see it again and must not mind.
/// - No secret is logged: no preimage, no key, no record.
///
/// All calls are safe to cancel by dropping them: what they began goes on.
#[async_trait]
pub trait LightningNode: Send + Sync + fmt::Debug + 'static {
    /// The backend's name: `ldk`, `lnd` or `fake`.
    fn backend(&self) -> &'static str;

    /// This node's public key.
    fn id(&self) -> NodeId;

    /// The network that the node is on.
    fn network(&self) -> Network;

    /// The node's state.
    async fn status(&self) -> Result<NodeStatus, LightningError>;

    /// Signs "Lightning Signed Message:" and `message` with the node's key: recovery byte (31 and up), then the compact
    /// signature.
    async fn sign(&self, message: &[u8]) -> Result<[u8; 65], LightningError>;

    /// How much can be sent to a recipient, and how many payments at once.
    async fn send_room(&self, recipient: &NodeId) -> Result<SendRoom, LightningError>;

    /// Begins a payment; its end comes as an event. An error other than [`SendError::Known`] and [`SendError::Unknown`]
    /// is definite: nothing was sent.
    async fn send_keysend(&self, payment: Keysend) -> Result<(), SendError>;

    /// Finds out about a payment whose outcome was lost, and sends it, byte for byte, if it had never gone. After
    /// [`PaymentState::InFlight`] its end comes as an event. Waits until the node's channels have had time to come
    /// back, at most `patience`; meanwhile the caller goes on taking events, for the outcome may be among them: a failure
    /// is told here only after its event was taken, and then as [`FailureReason::Unrecorded`] where the event alone says
    /// why.
    /// [`SendError::Unknown`] is the answer where nothing could be decided: try again later.
    async fn resume_keysend(&self, payment: Keysend, patience: Duration) -> Result<PaymentState, SendError>;

    /// Makes an invoice (BOLT 11) for `amount` that expires after `expiry`.
    async fn create_invoice(
        &self,
        amount: Msat,
        memo: &str,
        expiry: Duration,
    ) -> Result<String, LightningError>;

    /// Begins to pay an invoice that has an amount; the payment's end comes as an event. Upper case, surrounding blanks
    /// and the prefix `lightning:` are taken. One that was paid by this node, has expired, names no amount, is this
    /// node's own or another network's is [`SendError::InvalidInvoice`]; one that failed may be paid once more.
    async fn pay_invoice(&self, invoice: &str, fee_limit: Msat) -> Result<PaymentHash, SendError>;

    /// Finds out about the payment of an invoice whose outcome was lost, and makes it if it had never gone and the
    /// invoice has not expired; else as [`Self::resume_keysend`]. [`SendError::InvalidInvoice`] is definite: nothing was
    /// sent. That an expired one was not paid is known some ten seconds after the channels are back, and until then
    /// [`SendError::Unknown`]; one that failed is not paid once more.
    async fn resume_invoice(
        &self,
        invoice: &str,
        fee_limit: Msat,
        patience: Duration,
    ) -> Result<PaymentState, SendError>;

    /// How a payment of ours stands; nothing where this node never made it.
    async fn payment(&self, hash: PaymentHash) -> Result<Option<PaymentState>, LightningError>;

    /// How an invoice of this node stands; nothing where this node did not make it.
    async fn invoice(&self, hash: PaymentHash) -> Result<Option<InvoiceState>, LightningError>;

    /// The oldest event that was not acknowledged. Waits for one, for ever if the node is shut down. For one caller at a
    /// time.
    async fn next_event(&self) -> LightningEvent;

    /// Takes the event that [`Self::next_event`] handed out off the queue. Call it once what it told is stored.
    async fn acknowledge_event(&self) -> Result<(), LightningError>;

    /// This node's channels.
    async fn channels(&self) -> Result<Vec<Channel>, LightningError>;

    /// A fresh address of the on-chain wallet.
    async fn new_address(&self) -> Result<String, LightningError>;

    /// Sends from the on-chain wallet to an address of the node's network; returns the transaction's id, 64 hexadecimal
    /// digits, once the transaction is handed to the network. Without a fee rate an estimate is taken. What channels need
    /// in reserve is never sent.
    ///
    /// An address that is malformed or of another network, an amount that is dust and a fee rate of 0 are
    /// [`LightningError::Invalid`]; too little, fee included, is [`LightningError::InsufficientFunds`]; while the wallet
    /// cannot know which of its coins are spent, as when a channel's funding waits for a block, it may be
    /// [`LightningError::Failed`]; after [`LightningError::Unknown`] the transaction may still be confirmed, and after
    /// every other error there is none. Payments are made one after the other, each in some seconds.
    async fn send_onchain(
        &self,
        address: &str,
        amount: OnchainAmount,
        fee_rate_sat_per_vbyte: Option<u64>,
    ) -> Result<String, LightningError>;

    /// Connects to a node and keeps it in mind for reconnecting.
    async fn connect(&self, peer: &NodeId, address: &str) -> Result<(), LightningError>;

    /// The nodes that this one is, or keeps itself, connected to, in no particular order: those with a channel among them.
    async fn list_peers(&self) -> Result<Vec<Peer>, LightningError>;

    /// Ends the connection to a node and does not connect to it again by itself. With a channel to it that is
    /// [`LightningError::Failed`], for the channel would be connected again; a node that is no peer is
    /// [`LightningError::NotFound`].
    async fn disconnect(&self, peer: &NodeId) -> Result<(), LightningError>;

    /// Opens a channel; returns this end's name for it once the opening was sent off. The next one is opened when this
    /// one's funding shows in [`Self::channels`] and the chain was looked at: before, both may spend the same coin. After
    /// [`LightningError::Unknown`] it may have been sent off, and after every other error it was not.
    async fn open_channel(&self, channel: OpenChannel) -> Result<u128, LightningError>;

    /// Begins to close the channel that has this name at this end; [`LightningEvent::ChannelClosed`] tells when it is
    /// gone, and its money comes back by the chain after that. Without `force` both ends agree on the closing
    /// transaction, once nothing is in flight: that takes a connected peer, else it is [`LightningError::Failed`]. With
    /// `force` this end closes it alone, which costs more, and its own share comes back only after the delay that the
    /// other end asked for (a day, often). A name that no channel has is [`LightningError::NotFound`].
    async fn close_channel(&self, user_channel_id: u128, force: bool) -> Result<(), LightningError>;

    /// Whether there is a node with this key, as far as this one can know: itself, a node that it has a channel with, or
    /// one in the network graph, where nodes stand that have announced channels.
    async fn knows_node(&self, node: &NodeId) -> Result<bool, LightningError>;

    /// Looks at the chain now; returns the best height.
    async fn sync_chain(&self) -> Result<u32, LightningError>;

    /// Stops the node, so that its state is whole on disk. Afterwards every call fails with `Unavailable`.
    async fn shutdown(&self);
}
