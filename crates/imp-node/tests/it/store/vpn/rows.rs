//! Rows as the rules of the VPN make them, told apart by a number.

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{Inquiry, OpenRefresh, Purchase, PurchaseState, UpWish};
use imp_core::vpn::seller::{Contract, ContractState, Offer, Payment, PaymentKind, PaymentState};
use imp_core::vpn::{Config, Limits, Meter, Nonce, PresharedKey, PrivateKey, Quote};
use imp_node::store::journal::NewEvent;
use imp_node::store::vpn::VpnInbound;

use super::super::{id, node};

pub(super) const HOUR_SECS: u64 = 3600;

pub(super) fn other() -> NodeId {
    "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5".parse().unwrap()
}

pub(super) fn nonce(n: u8) -> Nonce {
    format!("nonce-{n}").parse().unwrap()
}

pub(super) fn hash(n: u8) -> PaymentHash {
    Preimage([n; 32]).payment_hash()
}

pub(super) fn key(n: u8) -> PrivateKey {
    PrivateKey::from_random([n; 32])
}

pub(super) fn inbound(n: u8) -> VpnInbound {
    VpnInbound {
        hash: hash(n),
        sender: node(),
        id: id(n),
        reply_to: "é".to_owned(),
        text: format!("text {n}"),
        amount: Msat(1_234_567),
        at: UnixMillis(n.into()),
        repeated: n == 2,
    }
}

pub(super) fn quote(n: u8) -> Quote {
    Quote {
        nonce: nonce(n),
        price_sat: 100,
        valid_secs: 600,
        expiry_secs: 1_700_000_000,
        duration_secs: HOUR_SECS,
        max_secs: 24 * HOUR_SECS,
        limits: Limits { data_bytes: Some(7), bytes_per_sec: None },
    }
}

pub(super) fn offer(n: u8) -> Offer {
    Offer {
        nonce: nonce(n),
        buyer: node(),
        price_sat: 100,
        duration_secs: HOUR_SECS,
        max_secs: 24 * HOUR_SECS,
        limits: Limits::default(),
        made: UnixMillis(5),
        accept_until: UnixMillis(9),
    }
}

pub(super) fn config(n: u8) -> Config {
    let text = format!(
        r#"{{"recordId":"VPN_RESPONSE","type":"CONFIG","pubkey":"{}","privkey":"","serverIp":"203.0.113.5","serverPort":"51820","serverPubKey":"{}","clientIp":"10.0.0.10/24","allowedIp":"0.0.0.0/0, 10.0.0.0/24","dnsIp":"8.8.8.8","psk":"{}","nonce":"{}","expiry":"1700003600","duration_secs":"3600","mtu":"1420"}}"#,
        key(n).public(),
        key(200).public(),
        PresharedKey::from_random([n; 32]).to_base64().as_str(),
        nonce(n),
    );
    text.try_into().unwrap()
}

/// A contract that was made at `made`, and is over an hour later.
pub(super) fn contract(n: u8, made: u64, state: ContractState) -> Contract {
    let ends = UnixMillis(made + 1000 * HOUR_SECS);
    Contract {
        nonce: nonce(n),
        buyer: if n.is_multiple_of(2) { node() } else { other() },
        config: config(n),
        leased: !matches!(state, ContractState::Expired | ContractState::Refunded),
        price_sat: 100,
        duration_secs: HOUR_SECS,
        max_secs: 24 * HOUR_SECS,
        rest_secs: HOUR_SECS,
        limits: Limits::default(),
        state,
        config_id: id(n),
        contract_id: id(n + 100),
        payment: hash(n),
        made: UnixMillis(made),
        give_up: UnixMillis(made + 5),
        started: Some(UnixMillis(made)),
        ends: Some(ends),
        left_secs: HOUR_SECS,
        told_expiring: true,
        bytes_allowed: Some(u64::MAX),
        meter: Meter {
            rx_bytes: 1,
            tx_bytes: 2,
            last_handshake: Some(ends),
            seen_rx_bytes: 3,
            seen_tx_bytes: 4,
        },
        paid_sat: 100,
        refunded_sat: 3,
        reason: "time".to_owned(),
    }
}

pub(super) fn payment(n: u8, at: u64, state: PaymentState) -> Payment {
    Payment {
        hash: hash(n),
        buyer: node(),
        message: id(n),
        repeated: false,
        kind: PaymentKind::Refresh,
        nonce: nonce(n % 10),
        received: Msat(1_999),
        at: UnixMillis(at),
        state,
        reason: "price".to_owned(),
        refund_sat: 1,
        withheld_sat: 0,
        answer_id: Some(id(n + 100)),
        answer_open: false,
        answer: "{}".to_owned(),
        next_try: Some(UnixMillis(8)),
        tries: 3,
        repeated_at: None,
        error: "no route".to_owned(),
    }
}

pub(super) fn purchase(n: u8, made: u64, state: PurchaseState) -> Purchase {
    let inquiry = Inquiry { since: UnixMillis(7), next: Some(UnixMillis(8)), tries: 2, told: true };
    Purchase {
        quote: quote(n),
        seller: if n.is_multiple_of(2) { node() } else { other() },
        state,
        private_key: Some(key(n)),
        public_key: key(n).public(),
        contract_id: id(n),
        payment_open: true,
        made: UnixMillis(made),
        config: Some(config(n)),
        event_id: Some(id(n + 100)),
        started: Some(UnixMillis(made + 1)),
        ends: Some(UnixMillis(made + 1000 * HOUR_SECS)),
        left_secs: 5,
        refresh: Some(OpenRefresh {
            id: id(n),
            sent: UnixMillis(9),
            settled: true,
            auto: true,
            inquiry: Some(inquiry),
        }),
        inquiry: Some(inquiry),
        bytes_allowed: Some(7),
        paid_sat: 200,
        refunded_sat: 0,
        auto_limit_sat: Some(500),
        auto_spent_sat: 100,
        auto_next: Some(UnixMillis(99)),
        told_expiring: false,
        up: Some(UpWish { allow_private: true, keep_dns: false, since: UnixMillis(6) }),
        meter: Meter::default(),
        reason: "é".to_owned(),
    }
}

pub(super) fn keyless(purchase: Purchase) -> Purchase {
    Purchase { private_key: None, ..purchase }
}

pub(super) fn event(n: u8) -> NewEvent {
    NewEvent {
        at: UnixMillis(50),
        id: n.to_string(),
        reply_to: String::new(),
        from: node(),
        service: imp_core::record::Service::Vpn.into(),
        data: format!("event {n}"),
        amount_sat: 1,
        late: false,
    }
}
