//! The protos against what clients of 2021 were compiled with, and against this project's own rules for them.

use std::collections::HashSet;

use imp_api::{descriptors, rest};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};

/// The packages whose services and messages are those of the 2021 API.
const ORIGINAL: [&str; 7] = ["federate", "lightning", "messaging", "signing", "socket", "vpn", "websocket"];

/// gRPC path, verb, REST path, fields of the request and of the answer. A field is `number name type`.
type Rpc = (&'static str, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// The fifteen RPCs of the 2021 API.
const RPCS: [Rpc; 15] = [
    (
        "/federate.Federate/RequestFederate",
        "POST",
        "/v1/federate/request",
        &["1 pubkey string"],
        &["1 id string"],
    ),
    (
        "/federate.Federate/LeaveFederation",
        "POST",
        "/v1/federate/leave",
        &["1 pubkey string"],
        &["1 id string"],
    ),
    ("/socket.Socket/SendSocket", "POST", "/v1/socket/sendRequest", &["1 pubkey string"], &["1 id string"]),
    (
        "/socket.Socket/StartSocket",
        "POST",
        "/v1/socket/start",
        &[],
        &["1 protocol string", "2 ip string", "3 port1 string", "4 port2 string"],
    ),
    ("/socket.Socket/StopSocket", "POST", "/v1/socket/stop", &[], &[]),
    (
        "/messaging.Messaging/SendMessage",
        "POST",
        "/v1/message/send",
        &["1 msg string", "2 pubkey string", "3 amount int64", "4 replyToId string"],
        &["1 id string"],
    ),
    (
        "/lightning.Lightning/GenerateInvoice",
        "POST",
        "/v1/lightning/generateinvoice",
        &["1 amount int64", "2 memo string"],
        &["1 invoice string"],
    ),
    (
        "/lightning.Lightning/PayInvoice",
        "POST",
        "/v1/lightning/payinvoice",
        &["1 invoice string"],
        &["1 preimage string"],
    ),
    (
        "/lightning.Lightning/CheckInvoice",
        "POST",
        "/v1/lightning/checkinvoice",
        &["1 invoice string"],
        &["1 paid bool"],
    ),
    ("/vpn.VPN/RequestQuote", "POST", "/v1/vpn/quote", &["1 pubkey string"], &["1 id string"]),
    (
        "/vpn.VPN/AcceptContract",
        "POST",
        "/v1/vpn/contract",
        &["1 pubkey string", "2 nonce string", "3 price string"],
        &["1 id string"],
    ),
    (
        "/vpn.VPN/RefreshContract",
        "POST",
        "/v1/vpn/refresh",
        &["1 pubkey string", "2 nonce string", "3 price string"],
        &["1 id string"],
    ),
    ("/signing.Signing/SignMessage", "POST", "/v1/sign", &["1 msg string"], &["1 signature string"]),
    (
        "/signing.Signing/VerifySignature",
        "POST",
        "/v1/verify",
        &["1 msg string", "2 signature string"],
        &["1 result bool"],
    ),
    (
        "/websocket.Websocket/Subscribe",
        "GET",
        "/v1/subscribe",
        &[],
        &[
            "1 id string",
            "2 replyToId string",
            "3 fromPubkey string",
            "4 data string",
            "5 serviceType string",
            "6 amount int64",
        ],
    ),
];

/// What the 2021 API knew of a message; what we added has numbers from 100 up.
fn original_fields(message: &MessageDescriptor) -> Vec<String> {
    message
        .fields()
        .filter(|field| field.number() < 100)
        .map(|field| format!("{} {} {:?}", field.number(), field.json_name(), field.kind()))
        .collect()
}

#[test]
fn the_fifteen_rpcs_of_2021_stand_unchanged() {
    for (grpc_path, verb, path, input, output) in RPCS {
        let route = rest::routes().iter().find(|route| route.grpc_path == grpc_path).expect(grpc_path);
        assert_eq!((route.verb.as_str(), route.path.as_str()), (verb, path));
        assert_eq!(route.server_streaming, path == "/v1/subscribe");
        assert_eq!(original_fields(&route.input), input, "{grpc_path}");
        assert_eq!(original_fields(&route.output), output, "{grpc_path}");
    }
    let original = rest::routes().iter().filter(|route| ORIGINAL.contains(&route.input.package_name()));
    assert_eq!(original.count(), RPCS.len(), "an addition stands in a package of its own");
}

#[test]
fn fields_added_to_the_original_messages_are_optional() {
    let messages =
        descriptors::pool().all_messages().filter(|message| ORIGINAL.contains(&message.package_name()));
    for field in messages.flat_map(|message| message.fields().collect::<Vec<_>>()) {
        assert_eq!(field.number() >= 100, field.supports_presence(), "{}", field.full_name());
    }
}

#[test]
fn every_rpc_has_a_route_of_its_own_and_takes_no_stream() {
    let mut seen = HashSet::new();
    for service in descriptors::pool().services() {
        for method in service.methods() {
            let route = rest::routes()
                .iter()
                .find(|route| route.grpc_path == format!("/{}/{}", service.full_name(), method.name()));
            let route = route.unwrap_or_else(|| panic!("{} has no option imp.http", method.full_name()));
            assert!(seen.insert((route.verb.clone(), route.path.clone())), "{} stands twice", route.path);
            assert!(route.path.starts_with("/v1/"), "{}", route.path);
            assert!(!method.is_client_streaming(), "{}", method.full_name());
        }
    }
}

#[test]
fn every_field_has_a_type_that_rest_carries() {
    let carried = |field: &FieldDescriptor| {
        let scalar = matches!(
            field.kind(),
            Kind::String
                | Kind::Bool
                | Kind::Int32
                | Kind::Int64
                | Kind::Uint32
                | Kind::Uint64
                | Kind::Enum(_)
        );
        let message =
            matches!(field.kind(), Kind::Message(ref desc) if desc.package_name() != "google.protobuf");
        let real_oneof = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
        (scalar || message) && !field.is_map() && !real_oneof && field.cardinality() != Cardinality::Required
    };
    for route in rest::routes().iter() {
        assert_reachable_fields(&route.input, &mut Vec::new(), &carried);
        // The bytes of a file are no part of any JSON.
        let of_answer =
            |field: &FieldDescriptor| carried(field) || (route.is_file && field.kind() == Kind::Bytes);
        assert_reachable_fields(&route.output, &mut Vec::new(), &of_answer);
        if route.verb == http::Method::GET {
            for field in route.input.fields() {
                assert!(
                    !matches!(field.kind(), Kind::Message(_)),
                    "{} cannot stand in a query",
                    field.full_name()
                );
            }
        }
    }
}

/// Also refuses a message that holds itself: its depth would have no bound.
fn assert_reachable_fields(
    message: &MessageDescriptor,
    path: &mut Vec<String>,
    carried: &impl Fn(&FieldDescriptor) -> bool,
) {
    assert!(!path.contains(&message.full_name().to_owned()), "{} holds itself", message.full_name());
    path.push(message.full_name().to_owned());
    for field in message.fields() {
        assert!(carried(&field), "{} has a type that REST does not carry", field.full_name());
        if let Kind::Message(inner) = field.kind() {
            assert_reachable_fields(&inner, path, carried);
        }
    }
    path.pop();
}

#[test]
fn fields_are_declared_in_the_order_of_their_numbers() {
    for message in
        descriptors::pool().all_messages().filter(|message| message.package_name() != "google.protobuf")
    {
        let declared: Vec<i32> =
            message.descriptor_proto().field.iter().map(|field| field.number()).collect();
        assert!(declared.is_sorted(), "{}: JSON is written in this order", message.full_name());
    }
}
