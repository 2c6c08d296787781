//! Contracts of the VPN, bought and sold, and what came in for them.

use std::fmt;

use async_trait::async_trait;
use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{HeldQuote, Purchase, PurchaseState};
use imp_core::vpn::seller::{Contract, ContractState, Offer, Payment, PaymentState};
use imp_core::vpn::{Nonce, PrivateKey};

use super::StoreError;
use super::idempotency::NewKey;
use super::journal::NewEvent;
use super::outbox::{Answer, GiveUp};

/// A message for the VPN that nothing was decided about yet.
#[derive(Clone, PartialEq, Eq)]
pub struct VpnInbound {
    /// The payment that brought it; of several, that of its last part.
    pub hash: PaymentHash,
    /// Who signed it.
    pub sender: NodeId,
    /// The message. Of one that is paid for twice there is one row for each payment.
    pub id: MessageId,
    /// The id of the message that it answers, as the sender says, or nothing.
    pub reply_to: String,
    /// The text.
    pub text: String,
    /// What came with it; of one that is paid for twice, with this payment alone.
    pub amount: Msat,
    /// When its turn came.
    pub at: UnixMillis,
    /// It is another payment for a message that was taken before.
    pub repeated: bool,
}

/// Without the text, which may hold keys.
impl fmt::Debug for VpnInbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VpnInbound")
            .field("hash", &self.hash)
            .field("sender", &self.sender)
            .field("id", &self.id)
            .field("reply_to", &self.reply_to)
            .field("amount", &self.amount)
            .field("at", &self.at)
            .field("repeated", &self.repeated)
            .finish_non_exhaustive()
    }
}

/// What is decided about the VPN: one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpnChange {
    /// What came in and is done with.
    pub handled: Vec<PaymentHash>,
    /// Quotes of this node, in place of those with the same nonce.
    pub put_offers: Vec<Offer>,
    /// Quotes of this node to forget.
    pub forget_offers: Vec<Nonce>,
    /// Contracts sold, in place of those with the same nonce.
    pub put_contracts: Vec<Contract>,
    /// Payments of buyers, in place of those with the same hash.
    pub put_payments: Vec<Payment>,
    /// Quotes of other nodes, in place of those with the same nonce.
    pub put_quotes: Vec<HeldQuote>,
    /// Quotes of other nodes to forget.
    pub forget_quotes: Vec<Nonce>,
    /// Contracts bought, in place of those with the same nonce. A private key that is not there any more is overwritten.
    pub put_purchases: Vec<Purchase>,
    /// Contracts bought to forget.
    pub forget_purchases: Vec<Nonce>,
    /// Events to append, in order.
    pub publish: Vec<NewEvent>,
    /// Messages to give up, before others are taken in.
    pub give_up: Vec<GiveUp>,
    /// Messages to send, as queued.
    pub answers: Vec<Answer>,
    /// The key of the call that caused this; where it is stored, for the same request, it names what was begun last.
    pub key: Option<NewKey>,
    /// Things to count.
    pub count: Vec<&'static str>,
}

/// A contract, on whichever side of it this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deal {
    /// This node sold it.
    Sold(Contract),
    /// This node bought it. The private key is left out.
    Bought(Purchase),
}

impl Deal {
    /// Its place in lists.
    pub fn place(&self) -> DealPlace {
        let (made, nonce) = match self {
            Self::Sold(contract) => (contract.made, &contract.nonce),
            Self::Bought(purchase) => (purchase.made, purchase.nonce()),
        };
        DealPlace { made, nonce: nonce.clone() }
    }
}

/// A contract's place in lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DealPlace {
    /// When it was made.
    pub made: UnixMillis,
    /// Of those made at the same time, which.
    pub nonce: Nonce,
}

/// Which contracts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DealQuery {
    /// Only those before this place; nothing for the newest.
    pub before: Option<DealPlace>,
    /// How many at most.
    pub limit: usize,
    /// Those sold, in one of these states, or in any where there is none; nothing for no contract sold.
    pub sold: Option<Vec<ContractState>>,
    /// Those bought, likewise.
    pub bought: Option<Vec<PurchaseState>>,
    /// Only those with this node.
    pub node: Option<NodeId>,
}

/// Some contracts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DealPage {
    /// Newest first.
    pub deals: Vec<Deal>,
    /// Where to go on; nothing where there are no more.
    pub next: Option<DealPlace>,
}

/// Which payments of buyers to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpnPaymentQuery {
    /// Only those before this place; nothing for the newest.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: usize,
    /// Only those in one of these states; every one where there is none.
    pub states: Vec<PaymentState>,
    /// Only those that name this nonce.
    pub nonce: Option<Nonce>,
}

/// Some payments of buyers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VpnPaymentPage {
    /// Newest first.
    pub payments: Vec<Payment>,
    /// Where to go on; nothing where there are no more.
    pub next: Option<u64>,
}

/// The VPN as a store keeps it. What comes in for it is a part of [`super::inbox::InboxChange`].
#[async_trait]
pub trait VpnStore: Send + Sync + 'static {
    /// What came in and is not done with, oldest first, at most so many.
    async fn vpn_inbound(&self, limit: usize) -> Result<Vec<VpnInbound>, StoreError>;

    /// This node's key as a seller: `fresh`, from now on, where there is none yet.
    async fn vpn_server_key(&self, fresh: PrivateKey) -> Result<PrivateKey, StoreError>;

    /// Quotes of this node.
    async fn vpn_offers(&self) -> Result<Vec<Offer>, StoreError>;

    /// Contracts sold for which something is still to be done, and those whose time ended after `since`, oldest first.
    async fn vpn_contracts(&self, since: UnixMillis) -> Result<Vec<Contract>, StoreError>;

    /// Payments of buyers for which something is still to be done, and those that came after `since`, oldest first.
    async fn vpn_payments(&self, since: UnixMillis) -> Result<Vec<Payment>, StoreError>;

    /// Quotes of other nodes.
    async fn vpn_quotes(&self) -> Result<Vec<HeldQuote>, StoreError>;

    /// Contracts bought, with their private keys, oldest first.
    async fn vpn_purchases(&self) -> Result<Vec<Purchase>, StoreError>;

    /// The contract with this nonce.
    async fn vpn_deal(&self, nonce: Nonce) -> Result<Option<Deal>, StoreError>;

    /// Some contracts.
    async fn list_vpn_deals(&self, query: DealQuery) -> Result<DealPage, StoreError>;

    /// Some payments of buyers.
    async fn list_vpn_payments(&self, query: VpnPaymentQuery) -> Result<VpnPaymentPage, StoreError>;

    /// Makes a change, whole or not at all. The events are in the journal's tail when this returns.
    async fn commit_vpn(&self, change: VpnChange) -> Result<(), StoreError>;

    /// Lets contracts go that are over for longer than since a time, and payments that came before it, some in each
    /// transaction; none for which something is still to be done. Returns how many rows went.
    async fn forget_vpn_before(&self, before: UnixMillis) -> Result<usize, StoreError>;
}
