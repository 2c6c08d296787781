use super::*;
use crate::id::{MessageId, NodeId};
use crate::vpn::{Nonce, PublicKey};

const KEY: &str = "d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn nonce() -> Nonce {
    "DjPL6L35WGdvxhiRz6PqZU".parse().unwrap()
}

/// A text of the service, from a pattern in which ~ is the nonce.
fn with_nonce(text: &str) -> String {
    text.replace('~', r#""nonce":"DjPL6L35WGdvxhiRz6PqZU""#)
}

#[test]
fn requests_have_one_text_each() {
    let public_key: PublicKey = KEY.parse().unwrap();
    let id = MessageId::from_random([0xab; 16]);
    let requests = [
        (Request::Quote, r#"{"recordId":"VPN_REQUEST","type":"QUOTE"}"#.to_owned()),
        (
            Request::Contract { nonce: nonce(), price_sat: 100, public_key },
            format!(
                r#"{{"recordId":"VPN_REQUEST","type":"CONTRACT","nonce":"{}","price":"100","pubkey":"{KEY}"}}"#,
                nonce()
            ),
        ),
        (
            Request::Refresh { nonce: nonce(), price_sat: MAX_SAT },
            r#"{"recordId":"VPN_REQUEST","type":"REFRESH","nonce":"DjPL6L35WGdvxhiRz6PqZU","price":"2100000000000000"}"#
                .to_owned(),
        ),
        (
            Request::Status { nonce: nonce(), id },
            r#"{"recordId":"VPN_REQUEST","type":"STATUS","nonce":"DjPL6L35WGdvxhiRz6PqZU","id":"abababab-abab-4bab-abab-abababababab"}"#
                .to_owned(),
        ),
    ];
    for (request, text) in requests {
        assert_eq!(request.to_json(), text);
        assert_eq!(Request::parse(&text).as_ref(), Ok(&request));
        assert_eq!(Response::parse(&text), Err(PayloadError::RecordId));
        assert_eq!(Payload::parse(&text), Ok(Payload::Request(request)));
    }
}

#[test]
fn responses_have_one_text_each() {
    let quote = |limits| {
        Response::Quote(Quote {
            nonce: nonce(),
            price_sat: 100,
            valid_secs: 600,
            expiry_secs: 1_700_000_600,
            duration_secs: 3600,
            max_secs: 604_800,
            limits,
        })
    };
    let responses = [
        (
            quote(Limits::default()),
            r#"{"recordId":"VPN_RESPONSE","type":"QUOTE",~,"price":"100","valid_secs":"600","expiry":"1700000600","duration_secs":"3600","max_secs":"604800"}"#,
        ),
        (
            quote(Limits { data_bytes: Some(1), bytes_per_sec: Some(125_000) }),
            r#"{"recordId":"VPN_RESPONSE","type":"QUOTE",~,"price":"100","valid_secs":"600","expiry":"1700000600","duration_secs":"3600","max_secs":"604800","data_bytes":"1","bytes_per_sec":"125000"}"#,
        ),
        (
            Response::Refreshed {
                nonce: nonce(),
                duration_secs: 3600,
                remaining_secs: 4000,
                expiry_secs: 1_700_004_000,
            },
            r#"{"recordId":"VPN_RESPONSE","type":"REFRESHED",~,"duration_secs":"3600","remaining_secs":"4000","expiry":"1700004000"}"#,
        ),
        (
            Response::Refund {
                nonce: nonce(),
                amount_sat: 98,
                received_sat: 100,
                reason: "no \"such\" quote".to_owned(),
            },
            r#"{"recordId":"VPN_RESPONSE","type":"REFUND",~,"amount":"98","received":"100","reason":"no \"such\" quote"}"#,
        ),
        (
            Response::Refused { reason: "not selling".to_owned() },
            r#"{"recordId":"VPN_RESPONSE","type":"REFUSED","reason":"not selling"}"#,
        ),
        (
            Response::Expired { nonce: nonce(), reason: EndReason::Data },
            r#"{"recordId":"VPN_RESPONSE","type":"EXPIRED",~,"reason":"data"}"#,
        ),
        (
            Response::Expired { nonce: nonce(), reason: EndReason::Time },
            r#"{"recordId":"VPN_RESPONSE","type":"EXPIRED",~,"reason":"time"}"#,
        ),
    ];
    for (response, text) in responses {
        let text = with_nonce(text);
        assert_eq!(response.to_json(), text);
        assert_eq!(Response::parse(&text).as_ref(), Ok(&response));
        assert_eq!(Request::parse(&text), Err(PayloadError::RecordId));
        assert_eq!(Payload::parse(&text), Ok(Payload::Response(response)));
    }
}

#[test]
fn what_a_node_tells_its_own_programs_names_the_other_node_and_is_not_taken_from_others() {
    let node: NodeId = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798".parse().unwrap();
    let local = [
        (
            Response::Expiring { nonce: nonce(), remaining_secs: 300 },
            r#"{"recordId":"VPN_RESPONSE","type":"EXPIRING",~,"remaining_secs":"300","node":"#,
        ),
        (
            Response::Unanswered { nonce: nonce() },
            r#"{"recordId":"VPN_RESPONSE","type":"UNANSWERED",~,"node":"#,
        ),
    ];
    for (response, start) in local {
        let text = response.to_json_about(&node);
        assert_eq!(text, format!("{}\"{node}\"}}", with_nonce(start)));
        assert_eq!(Response::parse(&text), Err(PayloadError::UnknownType));
        assert_eq!(Response::parse(&response.to_json()), Err(PayloadError::UnknownType));
    }
    assert_eq!(
        Request::Quote.to_json_about(&node),
        format!(r#"{{"recordId":"VPN_REQUEST","type":"QUOTE","node":"{node}"}}"#)
    );
}

#[test]
fn unknown_keys_are_left_out_in_any_order_and_of_any_type() {
    let text = r#" { "x":[1,{"price":2}], "price":"7", "node":null, "\u006eonce":"a", "type":"REFRESH", "recordId":"VPN_REQUEST" } "#;
    let expected = Request::Refresh { nonce: "a".parse().unwrap(), price_sat: 7 };
    assert_eq!(Request::parse(text), Ok(expected));
}

#[test]
fn what_is_no_object_of_texts_is_malformed() {
    for text in [
        "",
        "null",
        "\"VPN_REQUEST\"",
        r#"["VPN_REQUEST","QUOTE"]"#,
        r#"{"recordId":"VPN_REQUEST","type":"QUOTE"}{}"#,
        r#"{"recordId":"VPN_REQUEST","type":"QUOTE""#,
        r#"{"recordId":"VPN_REQUEST","type":"QUOTE","type":"QUOTE"}"#,
        r#"{"recordId":"VPN_REQUEST","type":"QUOTE","nonce":null}"#,
        r#"{"recordId":"VPN_REQUEST","type":"QUOTE","nonce":"a","\u006eonce":"b"}"#,
        r#"{"recordId":"VPN_REQUEST","type":"REFRESH","nonce":"a","price":100}"#,
        r#"{"recordId":"VPN_REQUEST","type":["QUOTE"]}"#,
        r#"{"recordId":"VPN_REQUEST","type":"QUOTE","reason":"\ud800"}"#,
    ] {
        assert_eq!(Request::parse(text), Err(PayloadError::Malformed), "{text}");
        assert_eq!(Payload::parse(text), Err(PayloadError::Malformed), "{text}");
    }
}

#[test]
fn a_value_nested_deeply_does_no_harm() {
    let deep = format!(
        r#"{{"recordId":"VPN_REQUEST","type":"QUOTE","x":{}{}}}"#,
        "[".repeat(1000),
        "]".repeat(1000)
    );
    assert_eq!(Request::parse(&deep), Ok(Request::Quote));
}

#[test]
fn a_text_has_a_longest_length() {
    let text = |spaces| format!("{{\"recordId\":\"VPN_REQUEST\",\"type\":\"QUOTE\"}}{}", " ".repeat(spaces));
    let short = text(0).len();
    assert_eq!(Request::parse(&text(MAX_PAYLOAD_BYTES - short)), Ok(Request::Quote));
    assert_eq!(Request::parse(&text(MAX_PAYLOAD_BYTES - short + 1)), Err(PayloadError::TooLong));
}

#[test]
fn other_records_and_types_are_told_apart() {
    for text in ["{}", r#"{"type":"QUOTE"}"#, r#"{"recordId":"SOCKET","type":"QUOTE"}"#] {
        assert_eq!(Payload::parse(text), Err(PayloadError::RecordId), "{text}");
    }
    for text in [
        r#"{"recordId":"VPN_REQUEST"}"#,
        r#"{"recordId":"VPN_REQUEST","type":"quote"}"#,
        r#"{"recordId":"VPN_REQUEST","type":"CONFIG"}"#,
        r#"{"recordId":"VPN_RESPONSE","type":"CONTRACT"}"#,
    ] {
        assert_eq!(Payload::parse(text), Err(PayloadError::UnknownType), "{text}");
    }
}

/// A field of a request with a value, in the JSON that fits the rest.
fn refused(field: &str, value: &str) -> PayloadError {
    let mut fields = vec![
        ("nonce", "a".to_owned()),
        ("price", "1".to_owned()),
        ("pubkey", KEY.to_owned()),
        ("id", MessageId::from_random([1; 16]).to_string()),
        ("valid_secs", "600".to_owned()),
        ("expiry", "1".to_owned()),
        ("duration_secs", "1".to_owned()),
        ("max_secs", "1".to_owned()),
        ("remaining_secs", "1".to_owned()),
        ("amount", "1".to_owned()),
        ("received", "1".to_owned()),
        ("reason", String::new()),
    ];
    fields.retain(|(known, _)| *known != field);
    fields.push((field_name(field), value.to_owned()));
    let (record, kind) = match field {
        "nonce" | "price" | "pubkey" => (REQUEST_RECORD, "CONTRACT"),
        "id" => (REQUEST_RECORD, "STATUS"),
        "remaining_secs" => (RESPONSE_RECORD, "REFRESHED"),
        "amount" | "received" | "reason" => (RESPONSE_RECORD, "REFUND"),
        _ => (RESPONSE_RECORD, "QUOTE"),
    };
    let text = fields
        .iter()
        .fold(Object::new(record, kind), |object, (key, value)| object.text(key, value))
        .finish();
    Payload::parse(&text).map(|read| panic!("{text} was read as {read:?}")).unwrap_err()
}

/// The name as the parser knows it.
fn field_name(field: &str) -> &'static str {
    const NAMES: [&str; 14] = [
        "nonce",
        "price",
        "pubkey",
        "id",
        "valid_secs",
        "expiry",
        "duration_secs",
        "max_secs",
        "remaining_secs",
        "amount",
        "received",
        "reason",
        "data_bytes",
        "bytes_per_sec",
    ];
    NAMES.into_iter().find(|known| *known == field).unwrap()
}

#[test]
fn a_value_out_of_range_names_its_field_and_is_not_repeated() {
    let long = "x".repeat(MAX_REASON_BYTES + 1);
    let wrong: &[(&str, &[&str])] = &[
        ("nonce", &["", "a b", "a\n"]),
        (
            "price",
            &["", "0", "-1", "+1", "01", "1.0", " 1", "1e3", "2100000000000001", "18446744073709551616"],
        ),
        ("pubkey", &["", "AAAA"]),
        ("id", &["", "1", "ABABABAB-ABAB-4BAB-ABAB-ABABABABABAB"]),
        ("valid_secs", &["0", "86401"]),
        ("expiry", &["253402300800", "-1"]),
        ("duration_secs", &["0", "31536001"]),
        ("max_secs", &["315360001"]),
        ("remaining_secs", &["315360001", "١"]),
        ("amount", &["2100000000000001", "0x1"]),
        ("received", &["00"]),
        ("reason", &[&long, "a\nb", "\u{85}", "\u{1b}[31m"]),
        ("data_bytes", &["", "0", "9223372036854775808"]),
        ("bytes_per_sec", &["", "0"]),
    ];
    for (field, values) in wrong {
        for value in *values {
            let error = refused(field, value);
            assert!(!matches!(error, PayloadError::Missing { .. }), "{field} {value:?}: {error:?}");
            assert_eq!(error.field(), Some(*field));
            let message = error.to_string();
            assert!(message.starts_with(&format!("{field} is not ")), "{message}");
        }
    }
}

#[test]
fn each_field_of_a_text_must_be_there() {
    let texts = [
        Request::Contract { nonce: nonce(), price_sat: 1, public_key: KEY.parse().unwrap() }.to_json(),
        Request::Refresh { nonce: nonce(), price_sat: 1 }.to_json(),
        Request::Status { nonce: nonce(), id: MessageId::from_random([1; 16]) }.to_json(),
        Response::Refund { nonce: nonce(), amount_sat: 1, received_sat: 1, reason: "price".to_owned() }
            .to_json(),
        Response::Refused { reason: String::new() }.to_json(),
    ];
    for text in texts {
        let serde_json::Value::Object(object) = serde_json::from_str(&text).unwrap() else {
            panic!("{text}")
        };
        for key in object.keys().filter(|key| !["recordId", "type"].contains(&key.as_str())) {
            let mut without = object.clone();
            without.remove(key);
            let without = serde_json::Value::Object(without).to_string();
            assert_eq!(Payload::parse(&without), Err(PayloadError::Missing { field: field_name(key) }));
        }
    }
}

#[test]
fn an_end_has_one_of_two_reasons() {
    for reason in ["", "Data", "data ", "refund"] {
        let text = with_nonce(r#"{"recordId":"VPN_RESPONSE","type":"EXPIRED",~,"reason":"?"}"#);
        let error = Payload::parse(&text.replace('?', reason)).unwrap_err();
        assert_eq!(error.to_string(), "reason is not \"time\" or \"data\"");
    }
}

#[test]
fn a_price_has_one_spelling() {
    assert_eq!(price_from_text("100"), Some(100));
    assert_eq!(price_from_text("2100000000000000"), Some(MAX_SAT));
    for text in ["", "0", "0100", "100 ", "1e2", "-1", "100.0", "2100000000000001", "99999999999999999999999"]
    {
        assert_eq!(price_from_text(text), None, "{text:?}");
    }
}
