use proptest::prelude::*;

use super::*;

const REAL: &str =
    r#"{"recordId": "SOCKET", "protocol": "udp", "ip": "1.1.1.1", "port1": ":6000", "port2": ":9000"}"#;

#[test]
fn an_offer_of_2021_is_read() {
    let offer = Offer::parse(REAL).unwrap();
    let expected = Offer { ip: [1, 1, 1, 1].into(), port1: 6000, port2: 9000, id: None, token: None };
    assert_eq!(offer, expected);
    assert_eq!(offer.address(Side::First), "1.1.1.1:6000".parse().unwrap());
    assert_eq!(offer.address(Side::Second), "1.1.1.1:9000".parse().unwrap());
    assert_eq!(
        offer.to_json(),
        r#"{"recordId":"SOCKET","protocol":"udp","ip":"1.1.1.1","port1":":6000","port2":":9000"}"#
    );
}

#[test]
fn id_and_token_stand_behind_the_keys_of_2021() {
    let offer = Offer {
        ip: "2001:db8::1".parse().unwrap(),
        port1: 1,
        port2: 65535,
        id: Some(RelayId::from_random([0xab; 16])),
        token: Some(Token::from_random([0x0f; 16])),
    };
    assert_eq!(
        offer.to_json(),
        r#"{"recordId":"SOCKET","protocol":"udp","ip":"2001:db8::1","port1":":1","port2":":65535","id":"abababab-abab-4bab-abab-abababababab","token":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"}"#
    );
}

#[test]
fn what_is_unknown_is_left_out_and_what_is_spelt_otherwise_is_made_one() {
    let text = r#"{"token":null,"port2":":2","port1":":1","ip":"::ffff:10.0.0.1","x":{"y":[1,2]},"protocol":"udp","id":"ABABABAB-ABAB-4BAB-ABAB-ABABABABABAB","recordId":"SOCKET"}"#;
    assert_eq!(
        Offer::parse(text).unwrap().to_json(),
        r#"{"recordId":"SOCKET","protocol":"udp","ip":"10.0.0.1","port1":":1","port2":":2","id":"abababab-abab-4bab-abab-abababababab"}"#
    );
}

#[test]
fn each_fault_of_a_text_has_its_own_error() {
    let with = |from: &str, to: &str| Offer::parse(&REAL.replace(from, to));
    for (text, error) in [
        (Offer::parse(""), OfferError::Malformed),
        (Offer::parse("[]"), OfferError::Malformed),
        (Offer::parse(r#"["SOCKET",null,"udp","1.1.1.1",":1",":2"]"#), OfferError::Malformed),
        (Offer::parse(&"[".repeat(100_000)), OfferError::Malformed),
        (Offer::parse(&format!("{REAL} ")[1..]), OfferError::Malformed),
        (with("\":6000\"", "6000"), OfferError::Malformed),
        (with("\"port2\"", "\"port1\""), OfferError::Malformed),
        (Offer::parse("{}"), OfferError::RecordId),
        (with("SOCKET", "socket"), OfferError::RecordId),
        (with("\"protocol\"", "\"type\": \"ENDED\", \"protocol\""), OfferError::Type),
        (with("udp", "tcp"), OfferError::Protocol),
        (with("1.1.1.1", "example.com"), OfferError::Ip),
        (with("1.1.1.1", "1.1.1.1:1"), OfferError::Ip),
        (with("1.1.1.1", "fe80::1%eth0"), OfferError::Ip),
        (with("\"ip\"", "\"pi\""), OfferError::Ip),
        (with(":6000", "6000"), OfferError::Port("port1")),
        (with(":6000", ":06000"), OfferError::Port("port1")),
        (with(":6000", ":+6000"), OfferError::Port("port1")),
        (with(":9000", ":0"), OfferError::Port("port2")),
        (with(":9000", ":65536"), OfferError::Port("port2")),
        (with("\"ip\"", "\"id\": \"7\", \"ip\""), OfferError::Id),
        (with("\"ip\"", "\"id\": \"abababababab4bababababababababab\", \"ip\""), OfferError::Id),
        (with("\"ip\"", "\"token\": \"short\", \"ip\""), OfferError::Token),
        (with("\"ip\"", "\"token\": \"with a space inside\", \"ip\""), OfferError::Token),
        (with("\"ip\"", &format!("\"token\": \"{}\", \"ip\"", "x".repeat(65))), OfferError::Token),
    ] {
        assert_eq!(text, Err(error));
    }
}

#[test]
fn an_end_is_no_offer() {
    let ended = Ended { id: RelayId::from_random([1; 16]), reason: "idle", port1: 20_000, port2: 20_001 };
    assert_eq!(
        ended.to_json(),
        r#"{"recordId":"SOCKET","type":"ENDED","id":"01010101-0101-4101-8101-010101010101","reason":"idle","port1":":20000","port2":":20001"}"#
    );
    assert_eq!(Offer::parse(&ended.to_json()), Err(OfferError::Type));
}

#[test]
fn a_token_is_not_printed() {
    assert_eq!(format!("{:?}", Token::from_random([1; 16])), "Token(***)");
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|bytes| IpAddr::from(bytes).to_canonical()),
    ]
}

prop_compose! {
    fn offer()(
        ip in ip(),
        port1 in 1_u16..,
        port2 in 1_u16..,
        id in any::<Option<[u8; 16]>>(),
        token in proptest::option::of("[!-~]{16,64}"),
    ) -> Offer {
        let token = token.map(|text| Token::parse(&text).expect("16 to 64 printable characters"));
        Offer { ip, port1, port2, id: id.map(RelayId::from_bytes), token }
    }
}

proptest! {
    #[test]
    fn every_offer_survives_its_text(offer in offer()) {
        prop_assert_eq!(Offer::parse(&offer.to_json()), Ok(offer));
    }

    #[test]
    fn what_is_read_has_one_text(text in "\\PC{0,40}", offer in offer(), at in any::<prop::sample::Index>()) {
        // A text put anywhere into an offer breaks it, or is left out.
        let mut mixed = offer.to_json();
        mixed.insert_str(at.index(mixed.len() + 1), &text);
        if let Ok(read) = Offer::parse(&mixed) {
            prop_assert_eq!(Offer::parse(&read.to_json()), Ok(read));
        }
    }
}
