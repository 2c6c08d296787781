//! What a seller remembers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::amount::Msat;
use crate::id::{MessageId, NodeId, PaymentHash};
use crate::time::UnixMillis;
use crate::vpn::meter::Meter;
use crate::vpn::{Config, Limits, Nonce, PublicKey};

/// What this node sells, for contracts that are not quoted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether it makes new contracts, which needs a device that works.
    pub selling: bool,
    /// Whether it can carry the contracts that there are: then more time is sold on them, as was promised with their price,
    /// also where no new ones are made.
    pub carrying: bool,
    /// The price of [`Self::duration_secs`].
    pub price_sat: u64,
    /// What one payment buys.
    pub duration_secs: u64,
    /// How long after its end a contract keeps its address, and can be refreshed.
    pub rest: Duration,
    /// The most that a contract can have left after a refresh.
    pub max_secs: u64,
    /// How much, and how fast.
    pub limits: Limits,
    /// The addresses in the tunnel, of which the first is the server's.
    pub subnet: Ipv4Net,
    /// Where buyers find the server.
    pub server: SocketAddr,
    /// The server's key.
    pub server_key: PublicKey,
    /// What buyers reach.
    pub allowed: Vec<IpNet>,
    /// The DNS server that buyers are told.
    pub dns: IpAddr,
    /// Largest packet in the tunnel, in bytes.
    pub mtu: u16,
}

/// A quote that was given, and whose price binds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name.
    pub nonce: Nonce,
    /// Who may accept it.
    pub buyer: NodeId,
    /// The price of [`Self::duration_secs`].
    pub price_sat: u64,
    /// What one payment buys.
    pub duration_secs: u64,
    /// The most that the contract can have left after a refresh.
    pub max_secs: u64,
    /// How much, and how fast.
    pub limits: Limits,
    /// When it was given.
    pub made: UnixMillis,
    /// Until when it is accepted.
    pub accept_until: UnixMillis,
}

/// How a contract stands. The names are those of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractState {
    /// Paid for, and its configuration is on its way.
    Configuring,
    /// The buyer has its configuration, and time left.
    Active,
    /// It has no time or data left.
    Expired,
    /// The buyer did not get the configuration: it gets its money back once the device has let go of it.
    RefundDue,
    /// The buyer has its money back.
    Refunded,
}

/// A contract that was paid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Its name: that of its quote.
    pub nonce: Nonce,
    /// Who bought it.
    pub buyer: NodeId,
    /// The CONFIG, with the buyer's address, the buyer's key and the key of both ends: the same however often it is sent.
    pub config: Config,
    /// That address and the buyer's key are this contract's alone.
    pub leased: bool,
    /// The price of [`Self::duration_secs`].
    pub price_sat: u64,
    /// What one payment buys.
    pub duration_secs: u64,
    /// The most that it can have left after a refresh.
    pub max_secs: u64,
    /// How long it keeps its address after its end.
    pub rest_secs: u64,
    /// How much for each payment, and how fast.
    pub limits: Limits,
    /// How it stands.
    pub state: ContractState,
    /// The message that carries it first.
    pub config_id: MessageId,
    /// The buyer's CONTRACT.
    pub contract_id: MessageId,
    /// The payment of that.
    pub payment: PaymentHash,
    /// When it was paid for.
    pub made: UnixMillis,
    /// Until when the CONFIG is tried.
    pub give_up: UnixMillis,
    /// When its time began.
    pub started: Option<UnixMillis>,
    /// When its time ends or ended.
    pub ends: Option<UnixMillis>,
    /// Seconds that it had left when that was last set.
    pub left_secs: u64,
    /// Programs know that it ends soon.
    pub told_expiring: bool,
    /// Bytes that may go through in all, both ways together; nothing for no limit.
    pub bytes_allowed: Option<u64>,
    /// What went through.
    pub meter: Meter,
    /// What was paid for it in all.
    pub paid_sat: u64,
    /// What was given back of that.
    pub refunded_sat: u64,
    /// Why it ended, in a few words.
    pub reason: String,
}

/// What was paid for. The names are those of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    /// A contract.
    Contract,
    /// More time.
    Refresh,
}

/// What became of a payment. The names are those of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// The buyer gets what it paid for.
    Served,
    /// The buyer is to get it back.
    RefundDue,
    /// The buyer has it back.
    Refunded,
    /// It was too little to send it back.
    Kept,
}

/// A payment for a contract or for more time, well-formed or not, as long as it was understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its name.
    pub hash: PaymentHash,
    /// Who paid.
    pub buyer: NodeId,
    /// The message that it came with.
    pub message: MessageId,
    /// That message had been paid for before.
    pub repeated: bool,
    /// What for.
    pub kind: PaymentKind,
    /// The nonce that the message names.
    pub nonce: Nonce,
    /// What came.
    pub received: Msat,
    /// When it came.
    pub at: UnixMillis,
    /// What became of it.
    pub state: PaymentState,
    /// Why it is not served, in a few words.
    pub reason: String,
    /// What the newest refund gives back; 0 where there is none.
    pub refund_sat: u64,
    /// What is not given back, since a CONFIG that was given up may have cost that or may still cost it.
    pub withheld_sat: u64,
    /// The newest message that answers it, but for repetitions.
    pub answer_id: Option<MessageId>,
    /// How that message ends is not known yet, and matters.
    pub answer_open: bool,
    /// The text of the answer. A CONFIG is in the contract.
    pub answer: String,
    /// When a refund is tried again.
    pub next_try: Option<UnixMillis>,
    /// Refunds that were sent for it.
    pub tries: u32,
    /// When the answer was last repeated because the buyer asked, or was sent with nobody waiting for its end.
    pub repeated_at: Option<UnixMillis>,
    /// Why the last refund did not get there.
    pub error: String,
}

impl Offer {
    /// Whether the buyer may still accept it.
    pub fn is_open(&self, now: UnixMillis) -> bool {
        now <= self.accept_until
    }
}

impl Contract {
    /// The buyer's key.
    pub const fn client_key(&self) -> &PublicKey {
        &self.config.client_key
    }

    /// The buyer's address in the tunnel.
    pub const fn address(&self) -> Ipv4Addr {
        self.config.client.addr()
    }

    /// Whether its peer is to be on the device.
    pub const fn is_wanted(&self) -> bool {
        matches!(self.state, ContractState::Configuring | ContractState::Active)
    }

    /// Whether something is still to be done for it: the book needs it, however old it is.
    pub const fn is_open(&self) -> bool {
        self.leased || matches!(self.state, ContractState::RefundDue)
    }
}

impl Payment {
    /// Whether something is still to be done for it: the book needs it, however old it is.
    pub const fn is_open(&self) -> bool {
        self.answer_open || matches!(self.state, PaymentState::RefundDue)
    }
}

impl ContractState {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Configuring, Self::Active, Self::Expired, Self::RefundDue, Self::Refunded];

    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuring => "configuring",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::RefundDue => "refund_due",
            Self::Refunded => "refunded",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl PaymentKind {
    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Refresh => "refresh",
        }
    }
}

impl PaymentState {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Served, Self::RefundDue, Self::Refunded, Self::Kept];

    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::RefundDue => "refund_due",
            Self::Refunded => "refunded",
            Self::Kept => "kept",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
