//! Any value that a text can say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use imp_core::id::MessageId;
use imp_core::vpn::config::{ALLOWED_NETWORKS, CLIENT_PREFIX, MTU_BYTES};
use imp_core::vpn::payload::{
    DURATION_SECS, LEFT_SECS, LIMIT_BYTES, MAX_REASON_BYTES, MAX_SAT, PRICE_SAT, TIME_SECS, VALID_SECS,
};
use imp_core::vpn::reach::canonical;
use imp_core::vpn::{
    Config, EndReason, Limits, Nonce, PresharedKey, PrivateKey, PublicKey, Quote, Request, Response,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(super) fn nonce() -> impl Strategy<Value = Nonce> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(Nonce::from_random),
        "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().unwrap()),
    ]
}

pub(super) fn private_key() -> impl Strategy<Value = PrivateKey> {
    any::<[u8; 32]>().prop_map(PrivateKey::from_random)
}

fn message_id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 16]>().prop_map(MessageId::from_random)
}

fn limits() -> impl Strategy<Value = Limits> {
    (option::of(LIMIT_BYTES), option::of(LIMIT_BYTES))
        .prop_map(|(data_bytes, bytes_per_sec)| Limits { data_bytes, bytes_per_sec })
}

/// What people may read: any characters but those that control a terminal.
fn reason() -> impl Strategy<Value = String> {
    "\\PC{0,80}".prop_filter("a reason has a longest length", |text| text.len() <= MAX_REASON_BYTES)
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Quote),
        (nonce(), PRICE_SAT, any::<[u8; 32]>()).prop_map(|(nonce, price_sat, key)| Request::Contract {
            nonce,
            price_sat,
            public_key: PublicKey::from_bytes(key),
        }),
        (nonce(), PRICE_SAT).prop_map(|(nonce, price_sat)| Request::Refresh { nonce, price_sat }),
        (nonce(), message_id()).prop_map(|(nonce, id)| Request::Status { nonce, id }),
    ]
}

/// What one node can send another.
pub(super) fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        quote().prop_map(Response::Quote),
        (config(), private_key())
            .prop_map(|(config, key)| Response::Config(Box::new(config_for(config, &key)))),
        (nonce(), DURATION_SECS, LEFT_SECS, TIME_SECS).prop_map(
            |(nonce, duration_secs, remaining_secs, expiry_secs)| Response::Refreshed {
                nonce,
                duration_secs,
                remaining_secs,
                expiry_secs,
            }
        ),
        (nonce(), 0..=MAX_SAT, 0..=MAX_SAT, reason()).prop_map(
            |(nonce, amount_sat, received_sat, reason)| Response::Refund {
                nonce,
                amount_sat,
                received_sat,
                reason
            }
        ),
        reason().prop_map(|reason| Response::Refused { reason }),
        (nonce(), prop_oneof![Just(EndReason::Time), Just(EndReason::Data)])
            .prop_map(|(nonce, reason)| Response::Expired { nonce, reason }),
    ]
}

fn quote() -> impl Strategy<Value = Quote> {
    (nonce(), PRICE_SAT, VALID_SECS, TIME_SECS, DURATION_SECS, LEFT_SECS, limits()).prop_map(
        |(nonce, price_sat, valid_secs, expiry_secs, duration_secs, max_secs, limits)| Quote {
            nonce,
            price_sat,
            valid_secs,
            expiry_secs,
            duration_secs,
            max_secs,
            limits,
        },
    )
}

/// The configuration for whoever has this key.
pub(super) fn config_for(config: Config, key: &PrivateKey) -> Config {
    Config { client_key: key.public(), ..config }
}

pub(super) fn config() -> impl Strategy<Value = Config> {
    let keys = (private_key(), private_key(), any::<[u8; 32]>().prop_map(PresharedKey::from_random));
    let addresses = (host(), 1..=u16::MAX, client(), vec(network(), ALLOWED_NETWORKS), host());
    let terms = (nonce(), TIME_SECS, DURATION_SECS, MTU_BYTES, limits());
    (keys, addresses, terms)
        .prop_filter("a buyer is not its seller", |((client, server, _), ..)| {
            client.public() != server.public()
        })
        .prop_map(|((client_key, server_key, psk), addresses, terms)| {
            let (server, port, client, mut allowed, dns) = addresses;
            let (nonce, expiry_secs, duration_secs, mtu, limits) = terms;
            allowed.sort_unstable();
            allowed.dedup();
            Config {
                client_key: client_key.public(),
                server: SocketAddr::new(server, port),
                server_key: server_key.public(),
                client,
                allowed,
                dns,
                psk,
                nonce,
                expiry_secs,
                duration_secs,
                mtu,
                limits,
            }
        })
}

pub(super) fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
        (any::<u128>(), 0..128_u32).prop_map(|(bits, shift)| IpAddr::V6(Ipv6Addr::from(bits >> shift))),
    ]
}

fn host() -> impl Strategy<Value = IpAddr> {
    ip().prop_map(|ip| ip.to_canonical()).prop_filter("a host has one address", |ip| {
        !ip.is_unspecified() && !ip.is_multicast() && *ip != IpAddr::V4(Ipv4Addr::BROADCAST)
    })
}

fn client() -> impl Strategy<Value = Ipv4Net> {
    (any::<u32>(), CLIENT_PREFIX)
        .prop_map(|(bits, prefix)| Ipv4Net::new(Ipv4Addr::from(bits), prefix).unwrap())
        .prop_filter("a client is a host of its network", |client| {
            let ip = client.addr();
            let other = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_broadcast();
            let whole = client.prefix_len() < 31 && (ip == client.network() || ip == client.broadcast());
            !other && !whole
        })
}

pub(super) fn network() -> impl Strategy<Value = IpNet> {
    (ip(), 0..=128_u8).prop_map(|(ip, prefix)| {
        canonical(match ip {
            IpAddr::V4(ip) => IpNet::V4(Ipv4Net::new(ip, prefix / 4).unwrap()),
            IpAddr::V6(ip) => IpNet::V6(Ipv6Net::new(ip, prefix).unwrap()),
        })
    })
}
