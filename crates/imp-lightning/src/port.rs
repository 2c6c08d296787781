//! What the daemon needs of a Lightning node.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use imp_core::record::RecordType;
use thiserror::Error;

/// A Bitcoin network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The real one.
    Bitcoin,
    /// The third test network.
    Testnet,
    /// The signed test network.
    Signet,
    /// A private chain.
    Regtest,
}

impl Network {
    /// The network's name in configuration: `bitcoin`, `testnet`, `signet` or `regtest`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitcoin => "bitcoin",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// The network with this name; `mainnet` is another name of `bitcoin`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "bitcoin" | "mainnet" => Some(Self::Bitcoin),
            "testnet" => Some(Self::Testnet),
            "signet" => Some(Self::Signet),
            "regtest" => Some(Self::Regtest),
            _ => None,
        }
    }

    /// The hash of the network's first block, in the byte order of BOLT 0's `chain_hash`.
    pub fn genesis_hash(self) -> [u8; 32] {
        bitcoin::constants::ChainHash::using_genesis_block(bitcoin::Network::from(self)).to_bytes()
    }
}

impl From<Network> for bitcoin::Network {
    fn from(network: Network) -> Self {
        match network {
            Network::Bitcoin => Self::Bitcoin,
            Network::Testnet => Self::Testnet,
            Network::Signet => Self::Signet,
            Network::Regtest => Self::Regtest,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A spontaneous payment that carries one custom record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keysend {
    /// Who is paid.
    pub recipient: NodeId,
    /// Settles the payment; its hash is the payment's name. Fresh for every attempt.
    pub preimage: Preimage,
    /// What the recipient gets, at least 1 msat.
    pub amount: Msat,
    /// The most that may go to forwarding nodes.
    pub fee_limit: Msat,
    /// Type of the custom record.
    pub record_type: RecordType,
    /// Value of the custom record, at most 1000 bytes.
    pub record: Vec<u8>,
}

/// How a payment that was sent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// Its end will come as an event.
    InFlight,
    /// Paid.
    Settled {
        /// The proof of payment.
        preimage: Preimage,
        /// What forwarding nodes got, where the backend knows it.
        fee: Option<Msat>,
    },
    /// Not paid, and this hash will not be, unless it is an invoice's that is paid once more.
    Failed(FailureReason),
}

/// Why a payment failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureReason {
    /// No path to the recipient now: unknown, away, or without capacity.
    NoRoute,
    /// The recipient refused it.
    RecipientRejected,
    /// Every path that was tried failed.
    RetriesExhausted,
    /// The time for trying was over.
    TimedOut,
    /// Anything else, in the backend's words.
    Other(String),
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => f.write_str("no route to the node"),
            Self::RecipientRejected => f.write_str("the node refused the payment"),
            Self::RetriesExhausted => f.write_str("no path carried the payment"),
            Self::TimedOut => f.write_str("the payment found no path in time"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Why a payment was not begun.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// Every slot for payments is taken; one frees when a payment ends.
    #[error("all payment slots are in use")]
    Busy,
    /// No path: the text says whether the node is unknown, away, or no channel of ours is usable.
    #[error("no route: {0}")]
    NoRoute(String),
    /// Less can be sent than asked.
    #[error("not enough balance: {spendable} can be sent, {needed} are needed")]
    InsufficientBalance {
        /// What can be sent now.
        spendable: Msat,
        /// What the payment takes.
        needed: Msat,
    },
    /// A payment with this hash is known: look it up.
    #[error("a payment with this hash is known already")]
    Known,
    /// The request makes no sense to the backend, and will not later.
    #[error("{0}")]
    Invalid(String),
    /// The backend is starting, stopping or away. Nothing was sent.
    #[error("the Lightning node is not available: {0}")]
    Unavailable(String),
    /// It cannot be told whether the payment was begun: look it up.
    #[error("the Lightning node did not answer: {0}")]
    Unknown(String),
}

/// What a call other than a payment can fail with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LightningError {
    /// The request makes no sense, and will not later.
    #[error("{0}")]
    Invalid(String),
    /// Starting, stopping or away; the same call may work later.
    #[error("the Lightning node is not available: {0}")]
    Unavailable(String),
    /// The node refused or could not do it.
    #[error("{0}")]
    Failed(String),
}

/// Room for payments to one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendRoom {
    /// Payments that may be in flight at once; 0 where no channel is usable.
    pub max_in_flight: usize,
    /// What can be sent now over all usable channels.
    pub spendable: Msat,
    /// The largest single payment, were nothing else in flight.
    pub largest: Msat,
    /// The recipient is at the other end of a usable channel, so that nobody takes a fee.
    pub direct: bool,
}

/// What happens at the Lightning node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LightningEvent {
    /// A payment of ours settled.
    PaymentSettled {
        /// Which one.
        hash: PaymentHash,
        /// The proof of payment.
        preimage: Preimage,
        /// What forwarding nodes got, where the backend knows it.
        fee: Option<Msat>,
    },
    /// A payment of ours failed. Definite only if no channel of ours closed since it was begun.
    PaymentFailed {
        /// Which one.
        hash: PaymentHash,
        /// Why.
        reason: FailureReason,
    },
    /// Another node paid us.
    PaymentReceived {
        /// Which payment. The same one may be told of more than once.
        hash: PaymentHash,
        /// What we got.
        amount: Msat,
        /// How it was paid.
        kind: ReceivedKind,
    },
    /// A channel can be used.
    ChannelReady {
        /// The other end.
        peer: Option<NodeId>,
    },
    /// A channel is gone, and what was in flight on it is undecided until the chain decides it.
    ChannelClosed {
        /// The other end.
        peer: Option<NodeId>,
        /// Why, in the backend's words.
        reason: String,
    },
}

/// How a payment to us was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivedKind {
    /// Spontaneously; only these carry envelopes.
    Keysend {
        /// The payment's preimage.
        preimage: Preimage,
        /// The custom records that came along, without the backend's own.
        records: Vec<(u64, Vec<u8>)>,
    },
    /// By an invoice of this node.
    Invoice,
}

/// One of this node's channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The other end.
    pub peer: NodeId,
    /// `txid:vout` of the funding output, once it is known.
    pub funding: Option<String>,
    /// Size of the channel in satoshis.
    pub capacity_sat: u64,
    /// What this end can send now.
    pub outbound: Msat,
    /// What this end can receive now.
    pub inbound: Msat,
    /// The funding has its confirmations.
    pub ready: bool,
    /// Ready, and the peer is connected.
    pub usable: bool,
    /// Announced to the network.
    pub announced: bool,
    /// This end's name for the channel.
    pub user_channel_id: u128,
}

/// A channel to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenChannel {
    /// The other end.
    pub peer: NodeId,
    /// Where it listens, `host:port`.
    pub address: String,
    /// What this end puts in, in satoshis.
    pub capacity_sat: u64,
    /// What of it belongs to the other end from the start.
    pub push: Msat,
    /// Announce it to the network.
    pub announce: bool,
}

/// The state of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Name that the node announces, or nothing.
    pub alias: String,
    /// The chain was seen since the start, so that payments can be made.
    pub synced: bool,
    /// Height of the best block known.
    pub block_height: u32,
    /// What the on-chain wallet can spend, in satoshis.
    pub onchain_sat: u64,
    /// This node's side of all its channels.
    pub in_channels: Msat,
    /// What can be sent now over usable channels.
    pub spendable: Msat,
    /// Where the node listens for other Lightning nodes.
    pub listen: Vec<SocketAddr>,
}

/// How an invoice of this node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// Not paid.
    Open,
    /// Paid in full.
    Paid,
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
    /// back, at most `patience`; meanwhile the caller goes on taking events, for the outcome may be among them.
    /// [`SendError::Unknown`] is the answer where nothing could be decided: try again later.
    async fn resume_keysend(&self, payment: Keysend, patience: Duration) -> Result<PaymentState, SendError>;

    /// Makes an invoice (BOLT 11) for `amount` that expires after `expiry`.
    async fn create_invoice(
        &self,
        amount: Msat,
        memo: &str,
        expiry: Duration,
    ) -> Result<String, LightningError>;

    /// Begins to pay an invoice that has an amount; the payment's end comes as an event. One that was paid by this node,
    /// has expired, names no amount, is this node's own or another network's is [`SendError::Invalid`].
    async fn pay_invoice(&self, invoice: &str, fee_limit: Msat) -> Result<PaymentHash, SendError>;

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

    /// Connects to a node and keeps it in mind for reconnecting.
    async fn connect(&self, peer: &NodeId, address: &str) -> Result<(), LightningError>;

    /// Opens a channel; returns this end's name for it once the opening was sent off. The next one is opened when this
    /// one's funding shows in [`Self::channels`] and the chain was looked at: before, both may spend the same coin.
    async fn open_channel(&self, channel: OpenChannel) -> Result<u128, LightningError>;

    /// Looks at the chain now; returns the best height.
    async fn sync_chain(&self) -> Result<u32, LightningError>;

    /// Stops the node, so that its state is whole on disk. Afterwards every call fails with `Unavailable`.
    async fn shutdown(&self);
}
