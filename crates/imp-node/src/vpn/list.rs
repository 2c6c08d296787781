//! What callers see of contracts, quotes and payments. The rows are the store's; what has gone through tunnels since they
//! were saved is in memory.

use std::fmt;
use std::str::FromStr;

use imp_api::error::Code;
use imp_core::id::NodeId;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{HeldQuote, Purchase, PurchaseState};
use imp_core::vpn::seller::{Contract, ContractState, Payment, PaymentState};
use imp_core::vpn::{Config, Nonce};

use super::tunnels::usable;
use super::view::{
    ConfigFile, ContractPage, ContractView, PaymentPage, PaymentView, QuoteView, Role, SellerView,
};
use super::{Inner, Vpn};
use crate::error::Error;
use crate::store::vpn::{Deal, DealPlace, DealQuery, VpnPaymentQuery};

/// Which contracts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContractQuery {
    /// Only those before this place; nothing for the newest.
    pub before: Option<ContractPlace>,
    /// How many at most.
    pub limit: usize,
    /// Only those in one of these roles; both where there is none.
    pub roles: Vec<Role>,
    /// Only those in one of these states, by name; every state where there is none.
    pub states: Vec<&'static str>,
    /// Only those with this node.
    pub node: Option<NodeId>,
}

/// A contract's place in the list, as a cursor writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractPlace {
    made: UnixMillis,
    nonce: Nonce,
}

/// A text that is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace;

impl fmt::Display for ContractPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.made.0, self.nonce)
    }
}

impl FromStr for ContractPlace {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (made, nonce) = text.split_once('.').ok_or(NoPlace)?;
        let is_plain = !made.is_empty() && made.bytes().all(|byte| byte.is_ascii_digit());
        let made = made.parse().ok().filter(|_| is_plain).ok_or(NoPlace)?;
        Ok(Self { made: UnixMillis(made), nonce: nonce.parse().map_err(|_| NoPlace)? })
    }
}

/// Which payments to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentQuery {
    /// Only those before this place; nothing for the newest.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: usize,
    /// Only those in one of these states; every one where there is none.
    pub states: Vec<PaymentState>,
    /// Only those that name this nonce.
    pub nonce: Option<Nonce>,
}

impl Vpn {
    /// Some contracts, newest first.
    pub async fn contracts(&self, query: ContractQuery) -> Result<ContractPage, Error> {
        let ContractQuery { before, limit, roles, states, node } = query;
        let has_role = |role| roles.is_empty() || roles.contains(&role);
        let sold = wanted(&states, &ContractState::ALL, ContractState::name);
        let bought = wanted(&states, &PurchaseState::ALL, PurchaseState::name);
        let query = DealQuery {
            before: before.map(|ContractPlace { made, nonce }| DealPlace { made, nonce }),
            limit,
            sold: sold.filter(|_| has_role(Role::Sold)),
            bought: bought.filter(|_| has_role(Role::Bought)),
            node,
        };
        if query.sold.is_none() && query.bought.is_none() {
            return Ok(ContractPage::default());
        }
        let page = self.inner.store.list_vpn_deals(query).await?;
        let next = page.next.map(|DealPlace { made, nonce }| ContractPlace { made, nonce }.to_string());
        let memory = self.inner.memory.lock().await;
        let contracts = page.deals.into_iter().map(|deal| match deal {
            Deal::Sold(contract) => sold_view(memory.book.contract(&contract.nonce).unwrap_or(&contract)),
            Deal::Bought(purchase) => {
                self.inner.bought_view(memory.purchases.purchase(purchase.nonce()).unwrap_or(&purchase))
            }
        });
        Ok(ContractPage { contracts: contracts.collect(), next_cursor: next.unwrap_or_default() })
    }

    /// One contract.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for one that this node neither bought nor sold.
    pub async fn contract(&self, nonce: &Nonce) -> Result<ContractView, Error> {
        {
            let memory = self.inner.memory.lock().await;
            if let Some(purchase) = memory.purchases.purchase(nonce) {
                return Ok(self.inner.bought_view(purchase));
            }
            if let Some(contract) = memory.book.contract(nonce) {
                return Ok(sold_view(contract));
            }
        }
        match self.inner.store.vpn_deal(nonce.clone()).await? {
            Some(Deal::Bought(purchase)) => Ok(self.inner.bought_view(&purchase)),
            Some(Deal::Sold(contract)) => Ok(sold_view(&contract)),
            None => Err(not_found(nonce)),
        }
    }

    /// The configuration of a contract that this node bought.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for one that it did not buy; `FAILED_PRECONDITION` before it came and after the contract has ended.
    pub async fn config(&self, nonce: &Nonce) -> Result<ConfigFile, Error> {
        let memory = self.inner.memory.lock().await;
        let purchase = memory.purchases.purchase(nonce).ok_or_else(|| not_found(nonce))?;
        let (config, key) = usable(purchase, self.inner.clock.now()).ok_or_else(|| not_usable(purchase))?;
        let short: String = nonce.as_str().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        Ok(ConfigFile { name: format!("imp-{short}.conf"), text: config.to_wg_quick(key) })
    }

    /// Quotes that this node holds and can still accept, newest first.
    pub async fn quotes(&self) -> Vec<QuoteView> {
        let now = self.inner.clock.now();
        let memory = self.inner.memory.lock().await;
        let mut quotes: Vec<_> =
            memory.purchases.quotes().filter(|held| now <= held.accept_until).map(quote_view).collect();
        quotes.sort_by(|a, b| (b.received, &b.nonce).cmp(&(a.received, &a.nonce)));
        quotes
    }

    /// Payments of buyers, newest first.
    pub async fn payments(&self, query: PaymentQuery) -> Result<PaymentPage, Error> {
        let PaymentQuery { before, limit, states, nonce } = query;
        let query = VpnPaymentQuery { before, limit, states, nonce };
        let page = self.inner.store.list_vpn_payments(query).await?;
        Ok(PaymentPage {
            payments: page.payments.into_iter().map(payment_view).collect(),
            next_cursor: page.next.map(u64::cast_signed),
        })
    }

    /// Whether this node sells, and if not, what is missing.
    pub async fn seller(&self) -> SellerView {
        let inner = &self.inner;
        let options = &inner.options.seller;
        let standing = inner.station.standing();
        let enabled = options.sell && inner.options.active;
        let terms = inner.terms();
        let memory = inner.memory.lock().await;
        SellerView {
            enabled,
            selling: terms.selling,
            problem: if enabled { standing.problem } else { String::new() },
            price_sat: terms.price_sat,
            duration_secs: terms.duration_secs,
            interface: options.interface.clone(),
            device: standing.kind.unwrap_or_default().to_owned(),
            endpoint: terms.server.to_string(),
            public_key: terms.server_key.to_string(),
            subnet: options.subnet.to_string(),
            free_addresses: memory.book.free_addresses(),
            contracts: memory.book.active() as u64,
            refunds_due: memory.book.refunds_due() as u64,
        }
    }
}

impl Inner {
    pub(super) fn bought_view(&self, purchase: &Purchase) -> ContractView {
        let known = purchase.config.as_ref().map(Known::of).unwrap_or_default();
        let Known { client_ip, endpoint, server_public_key, allowed_ips, dns_ip, mtu } = known;
        ContractView {
            nonce: purchase.nonce().to_string(),
            role: Role::Bought,
            node: purchase.seller,
            state: purchase.state.name(),
            price_sat: purchase.quote.price_sat,
            duration_secs: purchase.quote.duration_secs,
            made: purchase.made,
            started: purchase.started,
            ends: purchase.ends,
            paid_sat: purchase.paid_sat,
            refunded_sat: purchase.refunded_sat,
            client_public_key: purchase.public_key.to_string(),
            received_bytes: purchase.meter.rx_bytes,
            sent_bytes: purchase.meter.tx_bytes,
            last_handshake: purchase.meter.last_handshake,
            data_limit_bytes: purchase.quote.limits.data_bytes,
            reason: purchase.reason.clone(),
            tunnel: self.tunnels.shown(purchase.nonce()),
            auto_refresh_limit_sat: purchase.auto_limit_sat,
            auto_refresh_spent_sat: purchase.auto_spent_sat,
            client_ip,
            endpoint,
            server_public_key,
            allowed_ips,
            dns_ip,
            mtu,
        }
    }
}

fn sold_view(contract: &Contract) -> ContractView {
    let Known { client_ip, endpoint, server_public_key, allowed_ips, dns_ip, mtu } =
        Known::of(&contract.config);
    ContractView {
        nonce: contract.nonce.to_string(),
        role: Role::Sold,
        node: contract.buyer,
        state: contract.state.name(),
        price_sat: contract.price_sat,
        duration_secs: contract.duration_secs,
        made: contract.made,
        started: contract.started,
        ends: contract.ends,
        paid_sat: contract.paid_sat,
        refunded_sat: contract.refunded_sat,
        client_public_key: contract.client_key().to_string(),
        received_bytes: contract.meter.rx_bytes,
        sent_bytes: contract.meter.tx_bytes,
        last_handshake: contract.meter.last_handshake,
        data_limit_bytes: contract.bytes_allowed,
        reason: contract.reason.clone(),
        client_ip,
        endpoint,
        server_public_key,
        allowed_ips,
        dns_ip,
        mtu,
        tunnel: None,
        auto_refresh_limit_sat: None,
        auto_refresh_spent_sat: 0,
    }
}

/// What a configuration says of a contract.
#[derive(Default)]
struct Known {
    client_ip: String,
    endpoint: String,
    server_public_key: String,
    allowed_ips: Vec<String>,
    dns_ip: String,
    mtu: u16,
}

impl Known {
    fn of(config: &Config) -> Self {
        Self {
            client_ip: config.client.to_string(),
            endpoint: config.server.to_string(),
            server_public_key: config.server_key.to_string(),
            allowed_ips: config.allowed.iter().map(ToString::to_string).collect(),
            dns_ip: config.dns.to_string(),
            mtu: config.mtu,
        }
    }
}

fn quote_view(held: &HeldQuote) -> QuoteView {
    let quote = &held.quote;
    QuoteView {
        nonce: quote.nonce.to_string(),
        node: held.seller,
        request_id: held.request_id,
        price_sat: quote.price_sat,
        duration_secs: quote.duration_secs,
        received: held.received,
        accept_until: held.accept_until,
        max_secs: Some(quote.max_secs),
        data_limit_bytes: quote.limits.data_bytes,
        bytes_per_sec: quote.limits.bytes_per_sec,
    }
}

fn payment_view(payment: Payment) -> PaymentView {
    PaymentView {
        hash: payment.hash,
        node: payment.buyer,
        message: payment.message,
        kind: payment.kind.name(),
        nonce: payment.nonce.to_string(),
        received: payment.received,
        at: payment.at,
        state: payment.state.name(),
        reason: payment.reason,
        refund_sat: payment.refund_sat,
        answer_id: payment.answer_id,
        error: payment.error,
    }
}

/// The states of one role that are wanted by name: any where no name is given, and no contract where none of the names is one
/// of this role.
fn wanted<T: Copy>(names: &[&str], all: &[T], name: impl Fn(T) -> &'static str) -> Option<Vec<T>> {
    if names.is_empty() {
        return Some(Vec::new());
    }
    let wanted: Vec<T> = all.iter().copied().filter(|state| names.contains(&name(*state))).collect();
    (!wanted.is_empty()).then_some(wanted)
}

pub(super) fn not_found(nonce: &Nonce) -> Error {
    let text = format!("there is no contract {nonce}: ListVpnContracts names those that there are");
    Error::new(Code::NotFound, "CONTRACT_NOT_FOUND", text)
}

/// The error of a contract whose tunnel cannot be used.
pub(super) fn not_usable(purchase: &Purchase) -> Error {
    let text = match purchase.state {
        PurchaseState::Paying | PurchaseState::Paid | PurchaseState::Unanswered => {
            "the seller has not sent the configuration yet"
        }
        PurchaseState::Active | PurchaseState::Expired => {
            "the contract has ended: RefreshContract gives it more time, unless it is over for too long"
        }
        PurchaseState::Refunded => "the seller gave the money back",
        PurchaseState::Failed => "nothing was paid for it",
    };
    Error::new(Code::FailedPrecondition, "CONTRACT_NOT_USABLE", text).with("state", purchase.state.name())
}
