//! WireGuard contracts, bought and sold, as calls name them.

use imp_core::id::MessageId;

use crate::error::Error;
use crate::idempotency::CallKey;

pub use crate::vpn::{
    ConfigFile, ContractPage, ContractView, PaymentPage, PaymentView, QuoteView, Role, SellerView, TunnelView,
};

/// Which contracts to list, as the caller wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListContracts {
    /// `bought` or `sold`; nothing for both.
    pub role: String,
    /// States, separated by commas; nothing for every one.
    pub state: String,
    /// Only with this node; nothing for all.
    pub pubkey: String,
    /// How many at most, up to 1,000; 0 for 100.
    pub limit: i64,
    /// The cursor of the page before; nothing for the first.
    pub cursor: String,
}

/// Which payments to list, as the caller wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPayments {
    /// States, separated by commas; nothing for every one.
    pub state: String,
    /// Only for this contract; nothing for all.
    pub nonce: String,
    /// How many at most, up to 1,000; 0 for 100.
    pub limit: i64,
    /// The cursor of the page before; 0 for the first.
    pub cursor: i64,
}

/// How a tunnel is to stand on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BringUp {
    /// Also route private, link-local and shared address ranges into it, if the seller names them.
    pub allow_private: bool,
    /// Leave the system's DNS servers as they are.
    pub keep_dns: bool,
}

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VpnService {}

impl VpnService {
    /// Asks a node for its price, and answers once that is paid for. The quote comes as an event. Every error holds the
    /// word "failed".
    pub async fn request_quote(&self, node: &str, key: Option<CallKey>) -> Result<MessageId, Error> {
        let _ = (node, key);
        Err(not_yet())
    }

    /// Accepts a quote and pays for it. The configuration comes as an event. Every error holds the word "failed".
    pub async fn accept_contract(
        &self,
        node: &str,
        nonce: &str,
        price: &str,
        key: Option<CallKey>,
    ) -> Result<MessageId, Error> {
        let _ = (node, nonce, price, key);
        Err(not_yet())
    }

    /// Pays for more time on a contract. Every error holds the word "failed".
    pub async fn refresh_contract(
        &self,
        node: &str,
        nonce: &str,
        price: &str,
        key: Option<CallKey>,
    ) -> Result<MessageId, Error> {
        let _ = (node, nonce, price, key);
        Err(not_yet())
    }

    /// Some contracts, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn contracts(&self, request: ListContracts) -> Result<ContractPage, Error> {
        let _ = request;
        Err(not_yet())
    }

    /// One contract.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for one that this node neither bought nor sold.
    pub async fn contract(&self, nonce: &str) -> Result<ContractView, Error> {
        let _ = nonce;
        Err(not_yet())
    }

    /// The configuration of a contract that this node bought.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` before it came and after the contract has ended.
    pub async fn config(&self, nonce: &str) -> Result<ConfigFile, Error> {
        let _ = nonce;
        Err(not_yet())
    }

    /// Brings the tunnel of a contract up that this node bought.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` where the contract or the system does not allow it; the text says what is missing.
    pub async fn bring_up(&self, nonce: &str, request: BringUp) -> Result<TunnelView, Error> {
        let _ = (nonce, request);
        Err(not_yet())
    }

    /// Takes a tunnel down; nothing happens where it is not up.
    pub async fn take_down(&self, nonce: &str) -> Result<(), Error> {
        let _ = nonce;
        Err(not_yet())
    }

    /// Has a contract refreshed by itself, as long as all of that costs no more than so many satoshis; 0 ends it.
    pub async fn set_auto_refresh(&self, nonce: &str, limit_sat: i64) -> Result<ContractView, Error> {
        let _ = (nonce, limit_sat);
        Err(not_yet())
    }

    /// Quotes that this node holds and can still accept, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn quotes(&self, pubkey: &str, request_id: &str) -> Result<Vec<QuoteView>, Error> {
        let _ = (pubkey, request_id);
        Err(not_yet())
    }

    /// Payments of buyers, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn payments(&self, request: ListPayments) -> Result<PaymentPage, Error> {
        let _ = request;
        Err(not_yet())
    }

    /// Whether this node sells, and if not, what is missing.
    pub async fn seller(&self) -> SellerView {
        SellerView::default()
    }
}

/// Until the runtime joins the parts.
fn not_yet() -> Error {
    Error::unavailable("failed: contracts are not carried out yet")
}
