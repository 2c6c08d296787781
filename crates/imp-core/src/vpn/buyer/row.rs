//! What a buyer remembers.

use serde::{Deserialize, Serialize};

use crate::id::{MessageId, NodeId};
use crate::time::UnixMillis;
use crate::vpn::meter::Meter;
use crate::vpn::{Config, Nonce, PrivateKey, PublicKey, Quote};

/// A quote of another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldQuote {
    /// What it says.
    pub quote: Quote,
    /// Who gave it.
    pub seller: NodeId,
    /// The request that it answers.
    pub request_id: MessageId,
    /// When it came.
    pub received: UnixMillis,
    /// Until when it may be paid, by this node's clock.
    pub accept_until: UnixMillis,
}

/// How a purchase stands. The names are those of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurchaseState {
    /// The payment is on its way, or nobody can tell.
    Paying,
    /// Paid, and the configuration has not come.
    Paid,
    /// The configuration is here, and time is left.
    Active,
    /// Its time is over.
    Expired,
    /// The seller gave the money back.
    Refunded,
    /// Nothing was paid.
    Failed,
    /// Paid, and the seller said nothing for long.
    Unanswered,
}

/// When the seller is asked what became of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// Since when an answer is waited for.
    pub since: UnixMillis,
    /// When to ask; nothing once that is over.
    pub next: Option<UnixMillis>,
    /// How often it was asked.
    pub tries: u32,
    /// Programs know that there is no answer.
    pub told: bool,
}

/// A payment for more time that the seller has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRefresh {
    /// The message that carries it.
    pub id: MessageId,
    /// When it was sent.
    pub sent: UnixMillis,
    /// It is paid.
    pub settled: bool,
    /// This node made it by itself.
    pub auto: bool,
    /// Asking what became of it, once it is paid or nobody can tell.
    pub inquiry: Option<Inquiry>,
}

/// A wish that the tunnel be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpWish {
    /// Private networks go into it, too.
    pub allow_private: bool,
    /// The system's DNS servers stay.
    pub keep_dns: bool,
    /// Since when.
    pub since: UnixMillis,
}

/// A contract that this node pays for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchase {
    /// The quote, whose nonce is its name.
    pub quote: Quote,
    /// Who sells.
    pub seller: NodeId,
    /// How it stands.
    pub state: PurchaseState,
    /// This end's key of the tunnel; nothing once the contract is over for good.
    pub private_key: Option<PrivateKey>,
    /// What belongs to it.
    pub public_key: PublicKey,
    /// The CONTRACT.
    pub contract_id: MessageId,
    /// How the payment of that ends is not known yet.
    pub payment_open: bool,
    /// When it was begun.
    pub made: UnixMillis,
    /// The configuration, once it came.
    pub config: Option<Config>,
    /// The message that brought it, and the event that told of it.
    pub event_id: Option<MessageId>,
    /// When its time began.
    pub started: Option<UnixMillis>,
    /// When its time ends or ended.
    pub ends: Option<UnixMillis>,
    /// Seconds that it had left when that was last set.
    pub left_secs: u64,
    /// A payment for more time that is open.
    pub refresh: Option<OpenRefresh>,
    /// Asking for the configuration, once it is paid or nobody can tell.
    pub inquiry: Option<Inquiry>,
    /// What was paid for it, without fees.
    pub paid_sat: u64,
    /// What came back.
    pub refunded_sat: u64,
    /// What refreshes by themselves may cost in all; nothing where there are none.
    pub auto_limit_sat: Option<u64>,
    /// What they have cost, with what is on its way.
    pub auto_spent_sat: u64,
    /// When the next one may be tried, after the last one.
    pub auto_next: Option<UnixMillis>,
    /// Programs know that it ends soon.
    pub told_expiring: bool,
    /// The tunnel is to be up.
    pub up: Option<UpWish>,
    /// What went through, as far as this node carried the tunnel.
    pub meter: Meter,
    /// Bytes that may go through in all, both ways together; nothing for no limit.
    pub bytes_allowed: Option<u64>,
    /// Why it is over or in doubt, in a few words.
    pub reason: String,
}

impl Purchase {
    /// Its name.
    pub const fn nonce(&self) -> &Nonce {
        &self.quote.nonce
    }

    /// The event whose private key is joined when programs get it, and the key: only while the contract has time left.
    pub fn published_key(&self) -> Option<(MessageId, &PrivateKey)> {
        let key = self.private_key.as_ref().filter(|_| self.state == PurchaseState::Active)?;
        Some((self.event_id?, key))
    }
}

impl PurchaseState {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Paying,
        Self::Paid,
        Self::Active,
        Self::Expired,
        Self::Refunded,
        Self::Failed,
        Self::Unanswered,
    ];

    /// The name in the API and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Paying => "paying",
            Self::Paid => "paid",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Refunded => "refunded",
            Self::Failed => "failed",
            Self::Unanswered => "unanswered",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
