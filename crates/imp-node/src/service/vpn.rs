//! WireGuard contracts, bought and sold, as calls name them.

use imp_core::id::{MessageId, NodeId};
use imp_core::vpn::Nonce;
use imp_core::vpn::buyer::PurchaseState;
use imp_core::vpn::payload::{MAX_SAT, price_from_text};
use imp_core::vpn::seller::{ContractState, PaymentState};

use super::pubkey;
use crate::error::Error;
use crate::idempotency::CallKey;
use crate::listing;
use crate::vpn::{ContractPlace, ContractQuery, PaymentQuery, Vpn};

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
pub struct VpnService {
    vpn: Vpn,
    own: NodeId,
}

impl VpnService {
    /// The service of the node `own`.
    pub const fn new(vpn: Vpn, own: NodeId) -> Self {
        Self { vpn, own }
    }

    /// Asks a node for its price, and answers once that is paid for. The quote comes as an event. A call with a key that was
    /// used before sends nothing twice. Every error holds the word "failed".
    pub async fn request_quote(&self, node: &str, key: Option<CallKey>) -> Result<MessageId, Error> {
        let asked = async { self.vpn.ask(self.other(node)?, key).await };
        Ok(asked.await.map_err(Error::of_send)?.id)
    }

    /// Accepts a quote and pays for it. The configuration comes as an event. A call with a key that was used before pays
    /// nothing twice. Every error holds the word "failed".
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense; `FAILED_PRECONDITION` where this node holds no such quote, or one
    /// with another price; `ALREADY_EXISTS` where the quote was accepted before. Nothing is paid then. Else those of
    /// [`Outbox::send`](crate::outbox::Outbox::send).
    pub async fn accept_contract(
        &self,
        node: &str,
        nonce: &str,
        price: &str,
        key: Option<CallKey>,
    ) -> Result<MessageId, Error> {
        let accepted = async {
            let (node, price_sat, nonce) = (self.other(node)?, sat(price)?, nonce_of(nonce)?);
            self.vpn.accept(node, nonce, price_sat, key).await
        };
        Ok(accepted.await.map_err(Error::of_payment)?.id)
    }

    /// Pays for more time on a contract. A call with a key that was used before pays nothing twice. Every error holds the
    /// word "failed".
    ///
    /// # Errors
    ///
    /// Like [`Self::accept_contract`], of contracts.
    pub async fn refresh_contract(
        &self,
        node: &str,
        nonce: &str,
        price: &str,
        key: Option<CallKey>,
    ) -> Result<MessageId, Error> {
        let refreshed = async {
            let (node, price_sat, nonce) = (self.other(node)?, sat(price)?, nonce_of(nonce)?);
            self.vpn.refresh(node, nonce, price_sat, key).await
        };
        Ok(refreshed.await.map_err(Error::of_payment)?.id)
    }

    /// Some contracts, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn contracts(&self, request: ListContracts) -> Result<ContractPage, Error> {
        self.vpn.contracts(query(request)?).await
    }

    /// One contract.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for one that this node neither bought nor sold.
    pub async fn contract(&self, nonce: &str) -> Result<ContractView, Error> {
        self.vpn.contract(&nonce_of(nonce)?).await
    }

    /// The configuration of a contract that this node bought.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for one that it did not buy; `FAILED_PRECONDITION` before it came and after the contract has ended.
    pub async fn config(&self, nonce: &str) -> Result<ConfigFile, Error> {
        self.vpn.config(&nonce_of(nonce)?).await
    }

    /// Brings the tunnel of a contract up that this node bought, and answers once it stands. Dropping the future does not
    /// keep it from being brought up.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` where the contract or the system does not allow it; the text says what is missing.
    pub async fn bring_up(&self, nonce: &str, request: BringUp) -> Result<TunnelView, Error> {
        self.vpn.bring_up(nonce_of(nonce)?, request.allow_private, request.keep_dns).await
    }

    /// Takes a tunnel down; nothing happens where it is not up.
    pub async fn take_down(&self, nonce: &str) -> Result<(), Error> {
        self.vpn.take_down(nonce_of(nonce)?).await
    }

    /// Has a contract refreshed by itself, as long as all of that costs no more than so many satoshis; 0 ends it.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for an amount that is none, `FAILED_PRECONDITION` for a contract that can have no more time.
    pub async fn set_auto_refresh(&self, nonce: &str, limit_sat: i64) -> Result<ContractView, Error> {
        let nonce = nonce_of(nonce)?;
        let limit = u64::try_from(limit_sat)
            .ok()
            .filter(|limit| *limit <= MAX_SAT)
            .ok_or_else(|| Error::invalid("limit_sat", format!("{limit_sat} is not from 0 to {MAX_SAT}")))?;
        self.vpn.set_auto_refresh(nonce, (limit > 0).then_some(limit)).await
    }

    /// Quotes that this node holds and can still accept, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn quotes(&self, node: &str, request_id: &str) -> Result<Vec<QuoteView>, Error> {
        let node = (!node.is_empty()).then(|| pubkey(node)).transpose()?;
        let request = MessageId::from_canonical(request_id);
        if request.is_none() && !request_id.is_empty() {
            return Err(Error::invalid(
                "request_id",
                "is no id of a message: take that which RequestQuote returned",
            ));
        }
        let mut quotes = self.vpn.quotes().await;
        quotes.retain(|quote| {
            node.is_none_or(|node| quote.node == node) && request.is_none_or(|id| quote.request_id == id)
        });
        Ok(quotes)
    }

    /// Payments of buyers, newest first.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a field that makes no sense.
    pub async fn payments(&self, request: ListPayments) -> Result<PaymentPage, Error> {
        let states = listing::names("state", &request.state, &PaymentState::ALL, PaymentState::name)?;
        let nonce = (!request.nonce.is_empty()).then(|| nonce_of(&request.nonce)).transpose()?;
        let (limit, before) = (listing::rows(request.limit)?, listing::cursor(request.cursor)?);
        self.vpn.payments(PaymentQuery { before: before.map(i64::cast_unsigned), limit, states, nonce }).await
    }

    /// Whether this node sells, and if not, what is missing.
    pub async fn seller(&self) -> SellerView {
        self.vpn.seller().await
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

fn nonce_of(text: &str) -> Result<Nonce, Error> {
    text.parse().map_err(|error| Error::invalid("nonce", error))
}

/// A price as quotes name it.
fn sat(text: &str) -> Result<u64, Error> {
    price_from_text(text).ok_or_else(|| {
        Error::invalid("price", format!("is no number of satoshis from 1 to {MAX_SAT} in decimal digits"))
    })
}

fn query(request: ListContracts) -> Result<ContractQuery, Error> {
    let roles = listing::names("role", &request.role, &Role::ALL, Role::name)?;
    let sold = ContractState::ALL.map(ContractState::name);
    let bought = PurchaseState::ALL.map(PurchaseState::name);
    let mut known = bought.to_vec();
    known.extend(sold.into_iter().filter(|name| !bought.contains(name)));
    let states = listing::names("state", &request.state, &known, |name| name)?;
    let before = if request.cursor.is_empty() { None } else { Some(cursor(&request.cursor)?) };
    Ok(ContractQuery {
        before,
        limit: listing::rows(request.limit)?,
        roles,
        states,
        node: (!request.pubkey.is_empty()).then(|| pubkey(&request.pubkey)).transpose()?,
    })
}

fn cursor(text: &str) -> Result<ContractPlace, Error> {
    text.parse().map_err(|_| Error::invalid("cursor", "give the next_cursor of the page before, or nothing"))
}

#[cfg(test)]
mod tests {
    use imp_api::error::Code;

    use super::*;

    #[test]
    fn a_price_is_plain_digits() {
        for (text, price) in [("1", 1), ("100", 100), ("2100000000000000", 2_100_000_000_000_000)] {
            assert_eq!(sat(text).unwrap(), price);
        }
        for text in
            ["", "0", "01", "+1", "-1", "1.0", "1e3", " 1", "1 ", "one", "2100000000000001", "\u{661}"]
        {
            let error = sat(text).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{text:?}");
            assert!(error.to_string().starts_with("price"), "{error}");
        }
    }

    #[test]
    fn fields_of_a_list_are_checked_by_name() {
        let bad = [
            ("limit", ListContracts { limit: -1, ..ListContracts::default() }),
            ("cursor", ListContracts { cursor: "last".to_owned(), ..ListContracts::default() }),
            ("role", ListContracts { role: "lent".to_owned(), ..ListContracts::default() }),
            ("state", ListContracts { state: "open".to_owned(), ..ListContracts::default() }),
            ("pubkey", ListContracts { pubkey: "02".to_owned(), ..ListContracts::default() }),
        ];
        for (field, request) in bad {
            let error = query(request).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let state = "active, refund_due,unanswered".to_owned();
        let request = ListContracts { state, role: "sold".to_owned(), ..ListContracts::default() };
        let query = query(request).unwrap();
        assert_eq!(query.states, ["active", "refund_due", "unanswered"]);
        assert_eq!(query.roles, [Role::Sold]);
    }
}
